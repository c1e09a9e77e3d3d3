"""New shapes that a model has generated: their fields, tokens and classes.

Dimensions: N shapes, L tokens of a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from weightgpt.fields.field import Field, Fields

if TYPE_CHECKING:
    import trimesh


@dataclass(frozen=True, eq=False)
class GeneratedShape:
    """One new shape."""

    field: Field
    """The neural field of its signed distance."""
    ids: Int[Tensor, " L"]
    """(L,) tokens."""
    label: str
    """Its class."""

    def to_mesh(self, resolution: int = 96) -> "trimesh.Trimesh":
        """Mesh the surface by marching cubes.

        Args:
            resolution: grid points along each axis, 8 or more.

        Raises:
            InputError: the field has no surface.
        """
        return self.field.to_mesh(resolution)

    def render(self, size: int = 256) -> Image.Image:
        """Return a picture.

        Args:
            size: pixels along each side.
        """
        return self.field.render(size)


@dataclass(frozen=True, eq=False)
class GeneratedShapes(Sequence[GeneratedShape]):
    """N new shapes, as a sequence.

    Examples:
        >>> shapes = WeightGPT.from_pretrained("runs/demo/model").generate(n=4, label="chair")  # doctest: +SKIP
        >>> shapes[0].to_mesh().export("chair.glb")  # doctest: +SKIP
        >>> shapes.render().save("chairs.png")  # doctest: +SKIP
    """

    fields: Fields
    """N fields."""
    ids: Int[Tensor, "N L"]
    """(N, L) tokens."""
    labels: list[str]
    """The class of each."""

    @classmethod
    def join(cls, batches: Sequence["GeneratedShapes"]) -> "GeneratedShapes":
        """Join batches of one model.

        Args:
            batches: one or more.
        """
        fields = Fields(batches[0].fields.config, torch.cat([batch.fields.flat for batch in batches]))
        labels = [label for batch in batches for label in batch.labels]
        return cls(fields, torch.cat([batch.ids for batch in batches]), labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"GeneratedShapes({len(self)} shapes, labels={self.labels})"

    @overload
    def __getitem__(self, index: int) -> GeneratedShape: ...

    @overload
    def __getitem__(self, index: slice) -> "GeneratedShapes": ...

    def __getitem__(self, index: int | slice) -> "GeneratedShape | GeneratedShapes":
        if isinstance(index, slice):
            rows = torch.tensor(range(len(self))[index], dtype=torch.long)
            return GeneratedShapes(self.fields.select(rows), self.ids[rows], self.labels[index])
        return GeneratedShape(self.fields[index], self.ids[index], self.labels[index])

    def render(self, size: int = 160) -> Image.Image:
        """Return a contact sheet with the class below each shape.

        Args:
            size: pixels along each side of one picture.
        """
        return self.fields.render(size, captions=self.labels)
