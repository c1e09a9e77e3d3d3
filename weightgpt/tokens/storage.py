"""Files of tokens.

Decision: a file of tokens is one JSON text. It names the codebook, because the ids mean nothing without it, and it has
the name, the class, the position and the size of each shape.

Dimensions: B shapes, L tokens of a sequence, D dimension of the shapes.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.storage import ShapeMetadata
from weightgpt.io import check_format, read_json, write_json

FORMAT = "weightgpt.tokens"
VERSION = 1
MOST_BYTES = 2**30
"""The largest file of tokens that is read."""


@dataclass(frozen=True)
class Tokens:
    """Sequences of B shapes."""

    ids: Int[Tensor, "B L"]
    """(B, L) int64."""
    fingerprint: str
    """Fingerprint of the codebook that the ids were written with."""
    metadata: ShapeMetadata
    """Names, labels, positions and sizes of the shapes."""


def save_tokens(path: Path | str, tokens: Tokens) -> None:
    """Write sequences to a .json file.

    Args:
        path: the file.
        tokens: the sequences.

    Raises:
        InputError: the metadata is of another number of shapes, or the folder cannot be written to.
    """
    metadata = tokens.metadata
    metadata.check_count(len(tokens.ids))
    content = {
        "format": FORMAT,
        "version": VERSION,
        "codebook_fingerprint": tokens.fingerprint,
        "names": list(metadata.names),
        "labels": list(metadata.labels),
        "center": metadata.center.tolist(),
        "scale": metadata.scale.tolist(),
        "ids": tokens.ids.tolist(),
    }
    write_json(path, {**content, "sha256": _checksum(content)})


def load_tokens(path: Path | str) -> Tokens:
    """Read a file that `save_tokens` wrote.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, not JSON, of another format or version, or its ids are not whole numbers.
    """
    content = read_json(path, MOST_BYTES)
    check_format(path, content, FORMAT, VERSION)
    checksum = content.pop("sha256", None)
    try:
        rows, fingerprint = content["ids"], content["codebook_fingerprint"]
        if not all(type(token) is int for row in rows for token in row):
            raise ValueError("an id is not a whole number")
        if not isinstance(fingerprint, str):
            raise ValueError("codebook_fingerprint is not a text")
        center, scale = (torch.tensor(content[name], dtype=torch.float64) for name in ("center", "scale"))
        metadata = ShapeMetadata.from_file(content["names"], content["labels"], center, scale)
        tokens = Tokens(torch.tensor(rows, dtype=torch.long), fingerprint, metadata)
        metadata.check_count(len(tokens.ids))
        if tokens.ids.ndim != 2:
            raise ValueError("there are no sequences")
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{path} is not a whole file of tokens ({error}); write it again.") from error
    if checksum != _checksum(content):
        raise InputError(f"{path} was changed since it was written; write it again with `weightgpt encode`.")
    return tokens


def _checksum(content: dict[str, Any]) -> str:
    """The sha256 of what a file of tokens says of its shapes."""
    values = [content[name] for name in ("names", "labels", "center", "scale", "ids")]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
