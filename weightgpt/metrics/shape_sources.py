"""The sets of shapes of an evaluation: loaded from files or objects, and drawn in equal numbers.

Decisions:

- Meshes are centered and scaled when they are read, and fields are taken as they are. Sets of one form have one scale.
- A mesh file that cannot be read counts as a broken shape among generated shapes, and is left out of other sets.

Dimensions: N shapes of a set, m points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import load_fields
from weightgpt.shapes.meshes import Shapes, load_shapes
from weightgpt.shapes.readers.limits import FORMATS
from weightgpt.shapes.sampling import sample_sdf
from weightgpt.shapes.shape import Sdf, Shape


@runtime_checkable
class HasFields(Protocol):
    """Generated shapes: fields with a class each, such as `weightgpt.GeneratedShapes`."""

    @property
    def fields(self) -> Fields:
        """N fields."""

    @property
    def labels(self) -> Sequence[str]:
        """The class of each."""


ShapeSource = Path | str | Fields | Sequence[Shape] | HasFields
"""What `evaluate` accepts as a set of shapes."""


@dataclass(frozen=True, kw_only=True)
class LoadedSet:
    """A set of N shapes."""

    shapes: list[Shape]
    """The shapes."""
    fields: Fields | None = None
    """The same shapes as fields, if they came as fields."""
    refused: tuple[str, ...] = ()
    """Why files were not read, one sentence each."""

    @property
    def sdfs(self) -> list[Sdf]:
        """The signed distance functions."""
        return [shape.sdf for shape in self.shapes]

    def select(self, index: Sequence[int]) -> "LoadedSet":
        """Return the shapes at some places.

        Args:
            index: numbers of the shapes.
        """
        fields = None if self.fields is None else self.fields.select(torch.tensor(index, dtype=torch.long))
        return replace(self, shapes=[self.shapes[i] for i in index], fields=fields)

    def sdf_at(self, points: Float[Tensor, "m 3"]) -> Float[Tensor, "N m"]:
        """Evaluate all shapes.

        Args:
            points: (m, 3).

        Returns:
            (N, m) signed distances.
        """
        if self.fields is None:
            return sample_sdf(self.shapes, points).sdf
        parts = self.fields.flat.split(256)
        return torch.cat([Fields(self.fields.config, part)(points)[..., 0] for part in parts])


def load_set(source: ShapeSource, *, keep_unreadable: bool = False) -> LoadedSet:
    """Load a set of shapes.

    Args:
        source: a folder of meshes, a .safetensors file of fields, fields, generated shapes, or a list of shapes.
        keep_unreadable: whether mesh files that cannot be read stay in the set, as broken shapes.

    Raises:
        InputError: the source is none of these, cannot be read, or holds fields that are not solids.
    """
    if isinstance(source, Path | str):
        return _load_path(Path(source), keep_unreadable)
    if isinstance(source, Fields):
        return _from_fields(source, ["none"] * len(source), None, "the fields")
    if isinstance(source, HasFields):
        return _from_fields(source.fields, source.labels, None, "the generated shapes")
    if isinstance(source, Shapes):
        return _from_meshes(source, keep_unreadable)
    if not isinstance(source, Iterable) or not all(isinstance(shape, Shape) for shape in source):
        raise InputError(
            f"a set of shapes cannot be read from a {type(source).__name__}; give a path, `Fields`, generated"
            " shapes, or a list of `Shape`."
        )
    return LoadedSet(shapes=list(source))


def _load_path(path: Path, keep_unreadable: bool) -> LoadedSet:
    """Load a folder of meshes or a file of fields."""
    if path.suffix.lower() == ".safetensors" and not path.is_dir():
        fields, metadata = load_fields(path)
        return _from_fields(fields, metadata.labels, metadata.names, str(path))
    if not path.is_dir():
        raise InputError(
            f"{path} is neither a folder of meshes nor a .safetensors file of fields; give one of the two."
        )
    return _from_meshes(load_shapes(path), keep_unreadable)


def _from_meshes(shapes: Shapes, keep_unreadable: bool) -> LoadedSet:
    """Add a broken shape for every mesh file that could not be read."""
    unreadable = [refusal.path for refusal in shapes.refused if refusal.path.suffix.lower() in FORMATS]
    broken = [Shape(name=mesh.stem, label="none", sdf=_broken_sdf) for mesh in unreadable if keep_unreadable]
    return LoadedSet(shapes=[*shapes, *broken], refused=tuple(refusal.reason for refusal in shapes.refused))


def _from_fields(fields: Fields, labels: Sequence[str], names: Sequence[str] | None, source: str) -> LoadedSet:
    """Check that fields are solids, and name them."""
    if (fields.config.in_features, fields.config.out_features) != (3, 1):
        raise InputError(f"{source} holds no solids but {fields.config}; give fields of 3D signed distances.")
    names = [f"{i:04d}-{label}" for i, label in enumerate(labels)] if names is None else names
    rows = zip(names, labels, fields.sdfs(), strict=True)
    return LoadedSet(shapes=[Shape(name=name, label=label, sdf=sdf) for name, label, sdf in rows], fields=fields)


def _broken_sdf(points: Tensor) -> Tensor:
    """Return NaN everywhere."""
    return torch.full((len(points),), torch.nan)


def equal_sets(sets: Sequence[LoadedSet], count: int | None, seed: int) -> list[LoadedSet]:
    """Draw equally many shapes of each set, without replacement.

    Args:
        sets: the sets.
        count: shapes of each set; None, or more than the smallest set has, takes as many as the smallest set has.
        seed: seed of the draw.

    Raises:
        InputError: that is fewer than two.
    """
    smallest = min(len(part.shapes) for part in sets)
    size = smallest if count is None else min(count, smallest)
    if size < 2:
        raise InputError(f"sets of {size} shapes cannot be compared; give two shapes or more of each set.")
    rng = np.random.default_rng(seed)
    return [part.select(np.sort(rng.permutation(len(part.shapes))[:size]).tolist()) for part in sets]
