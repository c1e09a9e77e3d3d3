"""Files of fields and files of tokens, each with the names of its shapes and the way back to their own units.

Decisions:
- Fields are one safetensors file: `flat` (B, P) float32, `center` (B, D) and `scale` (B,) float64; its header,
  one JSON text, holds the format, its version, the architecture, the names and the labels. The file alone is enough to
  evaluate a field, and equal fields give equal bytes.
- Tokens are one JSON file, readable by anything, that names the codebook without which the ids mean nothing.

Dimensions: B shapes, D dimension, P parameters, L tokens of a sequence.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.io import read_tensors, write_tensors
from weightgpt.shapes.shape import Shape

FIELDS = "weightgpt.fields"
VERSION = 1


@dataclass(frozen=True)
class ShapeMetadata:
    """What is known of B shapes beside their geometry: file units = unit coordinates * scale + center."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    center: Tensor
    """(B, D) float64."""
    scale: Tensor
    """(B,) float64."""

    def __post_init__(self) -> None:
        count = len(self.names)
        fits = len(self.labels) == count and self.scale.shape == (count,)
        if not fits or self.center.ndim != 2 or len(self.center) != count:
            raise InputError(f"{count} names need as many labels, centers and scales; give one of each for a shape.")
        if not (torch.isfinite(self.center).all() and torch.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise InputError("a center or a scale is not finite, or a scale is not positive; read the shapes again.")

    @classmethod
    def of_shapes(cls, shapes: Sequence[Shape]) -> "ShapeMetadata":
        """The entries of shapes."""
        center = torch.tensor([shape.center[: shape.dimension] for shape in shapes], dtype=torch.float64)
        scale = torch.tensor([shape.scale for shape in shapes], dtype=torch.float64)
        return cls(tuple(shape.name for shape in shapes), tuple(shape.label for shape in shapes), center, scale)

    @classmethod
    def plain(cls, names: Sequence[str], labels: Sequence[str], dimension: int = 3) -> "ShapeMetadata":
        """Entries of shapes that have no units but their own, such as samples."""
        count = len(names)
        center, scale = torch.zeros(count, dimension, dtype=torch.float64), torch.ones(count, dtype=torch.float64)
        return cls(tuple(names), tuple(labels), center, scale)


def save_fields(path: Path | str, fields: Fields, metadata: ShapeMetadata) -> None:
    """Write fields to a .safetensors file.

    Raises:
        InputError: the catalogue is of another number of shapes, or the folder cannot be written to.
    """
    _check_count(len(fields), metadata)
    header = {
        "format": FIELDS,
        "version": VERSION,
        "field": fields.config.to_dict(),
        "names": metadata.names,
        "labels": metadata.labels,
    }
    tensors = {"flat": fields.flat, "center": metadata.center, "scale": metadata.scale}
    write_tensors(path, tensors, {"weightgpt": json.dumps(header)})


def load_fields(path: Path | str) -> tuple[Fields, ShapeMetadata]:
    """Read what `save_fields` wrote.

    Raises:
        InputError: the file is missing, broken, of another format or version, or holds NaN or infinite weights.
    """
    tensors = read_tensors(path)
    with safe_open(path, "pt") as file:
        header = _header((file.metadata() or {}).get("weightgpt", ""))
    _check_format(path, header, FIELDS, "fields")
    try:
        fields = Fields(FieldConfig.from_dict(header["field"]), tensors["flat"].float())
        metadata = _metadata(header["names"], header["labels"], tensors["center"], tensors["scale"])
        _check_count(len(fields), metadata)
        if len(fields) == 0 or metadata.center.shape[1] != fields.config.in_features:
            raise InputError("there are no fields, or centers of another dimension; make the file again.")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a whole file of fields ({error!r}); make it again.") from error
    return fields, metadata


def _metadata(names: Any, labels: Any, center: Tensor, scale: Tensor) -> ShapeMetadata:
    """A catalogue of what a file says, which may be anything."""
    if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in (names, labels)):
        raise InputError("names and labels are not lists of text; make the file again.")
    return ShapeMetadata(tuple(names), tuple(labels), center.double(), scale.double())


def _header(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None


def _check_format(path: Path | str, header: Any, expected: str, what: str) -> None:
    found = header if isinstance(header, dict) else {}
    if found.get("format") != expected:
        actual = found.get("format", "of an unknown format")
        raise InputError(f"{path} is {actual}, not a file of {what}; give one that is.")
    if found.get("version") != VERSION:
        version = found.get("version")
        raise InputError(f"{path} is of version {version}, this library reads version {VERSION}; make the file again.")


def _check_count(count: int, metadata: ShapeMetadata) -> None:
    if len(metadata.names) != count:
        raise InputError(f"{count} shapes have {len(metadata.names)} names; give one for each.")
