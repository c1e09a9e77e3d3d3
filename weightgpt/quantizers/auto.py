"""The kinds of quantisers there are: the one place that knows them all, by the `format` in their `config.json`."""

from pathlib import Path

from weightgpt.errors import InputError
from weightgpt.io import read_json
from weightgpt.quantizers.base import Quantiser
from weightgpt.quantizers.graph import GraphQuantiser
from weightgpt.quantizers.rvq_autoencoder import LoopQuantiser
from weightgpt.quantizers.weight_vq import TableQuantiser

KINDS: dict[str, type[Quantiser]] = {kind.FORMAT: kind for kind in (LoopQuantiser, GraphQuantiser, TableQuantiser)}


def load_quantiser(folder: Path | str) -> Quantiser:
    """The quantiser that was saved to `folder`, of whichever kind.

    Raises:
        InputError: a file is missing, broken, of an unknown kind, or does not belong with the others.
    """
    path = Path(folder) / "config.json"
    config = read_json(path)
    found = config.get("format") if isinstance(config, dict) else None
    if found not in KINDS:
        raise InputError(f"{path} is not of a quantiser; it must name one of {', '.join(KINDS)}.")
    return KINDS[found].from_pretrained(folder)
