"""Read a quantizer of any class. This is the one module that lists the classes, by the `format` in `config.json`."""

from pathlib import Path

from weightgpt.errors import InputError
from weightgpt.io import read_json
from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.files import pretrained_folder
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.local_autoencoder import LocalAutoencoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.weight_vq import WeightVQ

QUANTIZERS: dict[str, type[Quantizer]] = {
    kind.FORMAT: kind for kind in (RVQAutoencoder, LocalAutoencoder, GraphQuantizer, WeightVQ)
}


class AutoQuantizer:
    """Reads a quantizer of whichever class wrote the files.

    Examples:
        >>> AutoQuantizer.from_pretrained("tests/golden/rvq-ae").num_quantizers
        2
    """

    @classmethod
    def from_pretrained(
        cls, path_or_repo: Path | str, *, subfolder: str = "", revision: str | None = None, token: str | None = None
    ) -> Quantizer:
        """Read the quantizer that was saved to a folder or pushed to the Hub.

        Args:
            path_or_repo: a folder, or "owner/name" on the Hub.
            subfolder: folder inside `path_or_repo` that holds the files; a model has its quantizer in "codebook".
            revision: branch, tag or commit on the Hub.
            token: access token of the Hub; the stored one when None.

        Raises:
            InputError: a file is missing, broken, of an unknown format, or does not belong with the others.
        """
        folder = pretrained_folder(path_or_repo, subfolder, revision, token)
        config = read_json(folder / "config.json")
        kind = str(config.get("format")) if isinstance(config, dict) else ""
        if kind not in QUANTIZERS:
            raise InputError(
                f"{folder / 'config.json'} is not of a quantizer; its `format` must be one of {', '.join(QUANTIZERS)}."
            )
        return QUANTIZERS[kind].from_pretrained(folder)
