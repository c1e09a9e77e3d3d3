"""Files of tokens: one JSON file that names the codebook without which the ids mean nothing.

Dimensions: B shapes, L tokens of a sequence.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.storage import ShapeMetadata
from weightgpt.io import check_format, read_json, write_json

TOKENS = "weightgpt.tokens"
VERSION = 1


@dataclass(frozen=True)
class Tokens:
    """Sequences of one codebook."""

    ids: Tensor
    """(B, L) int64."""
    fingerprint: str
    """Of the codebook."""
    metadata: ShapeMetadata


def save_tokens(path: Path | str, tokens: Tokens) -> None:
    """Write sequences to a .json file.

    Raises:
        InputError: the catalogue is of another number of shapes, or the folder cannot be written to.
    """
    tokens.metadata.check_count(len(tokens.ids))
    metadata = tokens.metadata
    value = {
        "format": TOKENS,
        "version": VERSION,
        "codebook": tokens.fingerprint,
        "names": metadata.names,
        "labels": metadata.labels,
        "center": metadata.center.tolist(),
        "scale": metadata.scale.tolist(),
        "ids": tokens.ids.tolist(),
    }
    write_json(path, value)


def load_tokens(path: Path | str) -> Tokens:
    """Read what `save_tokens` wrote.

    Raises:
        InputError: the file is missing, not JSON, of another format or version, or its ids are not whole numbers.
    """
    found = read_json(path)
    check_format(path, found, TOKENS, VERSION)
    try:
        rows = found["ids"]
        if not all(type(token) is int for row in rows for token in row):
            raise ValueError("an id is not a whole number")
        center, scale = (torch.tensor(found[name], dtype=torch.float64) for name in ("center", "scale"))
        metadata = ShapeMetadata.from_file(found["names"], found["labels"], center, scale)
        tokens = Tokens(torch.tensor(rows, dtype=torch.long), str(found["codebook"]), metadata)
        metadata.check_count(len(tokens.ids))
        if tokens.ids.ndim != 2:
            raise ValueError("there are no sequences")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole file of tokens ({error}); make it again.") from error
    return tokens
