"""Files of fields, with the names and classes of their shapes and the transform back to the units of their files.

File (format `weightgpt.fields`, version 1): one safetensors file with the tensors `flat` (B, P) float32, `center`
(B, D) float64 and `scale` (B,) float64. Its metadata has two entries: `weightgpt`, a JSON object {format, version,
field_config: the `FieldConfig`, names: B texts, labels: B texts}, and `sha256`, the checksum (see `weightgpt.io`).

Decisions:

- The file alone is enough to evaluate the fields: it holds their architecture.
- Equal fields give equal bytes.

Dimensions: B shapes, D dimension, P parameters.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.io import check_format, parse_json, read_metadata, read_tensors, write_tensors
from weightgpt.shapes.shape import Shape

FORMAT = "weightgpt.fields"
VERSION = 1
MAX_NAME = 1000
"""The most characters of a name or a label."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MAX_SCALE = 1e30
"""Centers and scales beyond it, and scales below its inverse, leave the range of single precision in a mesh file."""


@dataclass(frozen=True)
class ShapeMetadata:
    """Names, classes and transforms of B shapes: file units = unit coordinates * scale + center."""

    names: tuple[str, ...]
    """B names."""
    labels: tuple[str, ...]
    """B names of classes."""
    center: Tensor
    """(B, D) float64."""
    scale: Tensor
    """(B,) float64, positive."""

    def __post_init__(self) -> None:
        count = len(self.names)
        complete = len(self.labels) == count and self.scale.shape == (count,)
        if not complete or self.center.ndim != 2 or len(self.center) != count:
            raise InputError(f"{count} names need as many labels, centers and scales; give one of each for a shape.")
        if any(len(text) > MAX_NAME for text in (*self.names, *self.labels)):
            raise InputError(f"a name or a label has more than {MAX_NAME} characters; give shorter ones.")
        if not (torch.isfinite(self.center).all() and torch.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise InputError("a center or a scale is not finite, or a scale is not positive; read the shapes again.")
        sizes = torch.cat([self.center.abs().flatten(), self.scale, 1 / self.scale])
        if len(sizes) and sizes.max() > MAX_SCALE:
            raise InputError(
                f"a center or a scale is beyond {MAX_SCALE:g}, or a scale is below {1 / MAX_SCALE:g}; give shapes of an"
                " ordinary size."
            )

    @classmethod
    def of_shapes(cls, shapes: Sequence[Shape]) -> "ShapeMetadata":
        """Collect the metadata of shapes.

        Args:
            shapes: B shapes of one dimension.
        """
        center = torch.tensor([shape.center[: shape.dimension] for shape in shapes], dtype=torch.float64)
        scale = torch.tensor([shape.scale for shape in shapes], dtype=torch.float64)
        return cls(tuple(shape.name for shape in shapes), tuple(shape.label for shape in shapes), center, scale)

    @classmethod
    def plain(cls, names: Sequence[str], labels: Sequence[str], dimension: int = 3) -> "ShapeMetadata":
        """Create the metadata of shapes that no file has, such as generated ones: center 0 and scale 1.

        Args:
            names: B names.
            labels: B names of classes.
            dimension: D.
        """
        count = len(names)
        center, scale = torch.zeros(count, dimension, dtype=torch.float64), torch.ones(count, dtype=torch.float64)
        return cls(tuple(names), tuple(labels), center, scale)

    @classmethod
    def from_file(cls, names: Any, labels: Any, center: Tensor, scale: Tensor) -> "ShapeMetadata":
        """Create metadata from the values of a file, which may be anything.

        Args:
            names: should be a list of B texts.
            labels: should be a list of B texts.
            center: should be (B, D).
            scale: should be (B,).

        Returns:
            The metadata; a replacement character takes the place of each control character of a text, because names
            are shown in terminals.

        Raises:
            InputError: the values are not metadata.
        """
        lists = (names, labels)
        if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in lists):
            raise InputError("names and labels are not lists of text; make the file again.")
        printable = [tuple(_CONTROL.sub("\ufffd", text) for text in texts) for texts in lists]
        return cls(printable[0], printable[1], center.double(), scale.double())

    def check_count(self, count: int) -> None:
        """Check that there is one entry for each shape.

        Args:
            count: number of shapes.

        Raises:
            InputError: there are more or fewer entries.
        """
        if len(self.names) != count:
            raise InputError(f"{count} shapes have {len(self.names)} names; give one name for each shape.")


def save_fields(path: Path | str, fields: Fields, metadata: ShapeMetadata | None = None) -> None:
    """Write fields to a .safetensors file.

    Args:
        path: the file; its folder is created if necessary.
        fields: B fields, written in single precision.
        metadata: names, classes and transforms of their shapes; numbers as names, and no class or transform, when None.

    Raises:
        InputError: the metadata is of another number of shapes, or the folder cannot be written to.

    Examples:
        >>> fields = Fields(FieldConfig(), torch.zeros(1, FieldConfig().parameters))
        >>> save_fields("fields.safetensors", fields, ShapeMetadata.plain(["a"], ["chair"]))  # doctest: +SKIP
    """
    if metadata is None:
        names = [f"{i:04d}" for i in range(len(fields))]
        metadata = ShapeMetadata.plain(names, ["none"] * len(fields), fields.config.in_features)
    metadata.check_count(len(fields))
    header = {
        "format": FORMAT,
        "version": VERSION,
        "field_config": fields.config.to_dict(),
        "names": metadata.names,
        "labels": metadata.labels,
    }
    tensors = {"flat": fields.flat.float(), "center": metadata.center.double(), "scale": metadata.scale.double()}
    write_tensors(path, tensors, {"weightgpt": json.dumps(header)})


def load_fields(path: Path | str) -> tuple[Fields, ShapeMetadata]:
    """Read a file of fields.

    Args:
        path: a file that `save_fields` wrote.

    Raises:
        InputError: the file is missing, broken, of another format or version, or holds NaN or infinite weights.

    Examples:
        >>> fields, metadata = load_fields("fields.safetensors")  # doctest: +SKIP
    """
    header = read_header(path)
    check_format(path, header, FORMAT, VERSION)
    try:
        config = FieldConfig.from_dict(header.get("field_config"))
        sizes = {
            "flat": (torch.float32, ("B", config.parameters)),
            "center": (torch.float64, ("B", config.in_features)),
            "scale": (torch.float64, ("B",)),
        }
        tensors = read_tensors(path, sizes)
        metadata = ShapeMetadata.from_file(
            header.get("names"), header.get("labels"), tensors["center"], tensors["scale"]
        )
        metadata.check_count(len(tensors["flat"]))
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
    return Fields(config, tensors["flat"]), metadata


def read_header(path: Path | str) -> Any:
    """Read the header of a file of fields, which may be any JSON value; None if there is none.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, cut short, or not safetensors.
    """
    try:
        return parse_json(read_metadata(path).get("weightgpt", ""))
    except InputError:
        raise
    except ValueError:
        return None
