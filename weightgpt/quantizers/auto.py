"""The kinds of quantizers there are: the one place that knows them all, by the `format` in their `config.json`."""

from pathlib import Path

from weightgpt.errors import InputError
from weightgpt.io import read_json
from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.weight_vq import WeightVQ

QUANTIZERS: dict[str, type[Quantizer]] = {kind.FORMAT: kind for kind in (RVQAutoencoder, GraphQuantizer, WeightVQ)}


def load_quantizer(folder: Path | str) -> Quantizer:
    """The quantizer that was saved to `folder`, of whichever kind.

    Raises:
        InputError: a file is missing, broken, of an unknown kind, or does not belong with the others.
    """
    path = Path(folder) / "config.json"
    config = read_json(path)
    found = config.get("format") if isinstance(config, dict) else None
    if found not in QUANTIZERS:
        raise InputError(f"{path} is not of a quantizer; it must name one of {', '.join(QUANTIZERS)}.")
    return QUANTIZERS[found].from_pretrained(folder)
