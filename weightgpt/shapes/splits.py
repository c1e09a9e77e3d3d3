"""Which shapes are learned from and which are held out.

Decisions:
- Within every class a share of the shapes is held out, half of it for validation (early stopping looks at it) and half
  for test (nothing looks at it but the final figures).
- Only training shapes are augmented, and only as shapes: mirrored, turned by quarters and stretched along the axes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.shape import Shape


@dataclass(frozen=True)
class Split:
    """Shapes of a run."""

    train: list[Shape]
    validation: list[Shape]
    test: list[Shape]
    more: Sequence[Shape] = ()
    """Further training shapes, of which codes are taken and nothing else."""

    @property
    def all(self) -> list[Shape]:
        """Training, validation and test shapes, in this order."""
        return [*self.train, *self.validation, *self.test]


def split_shapes(shapes: Sequence[Shape], held_out: float, seed: int) -> Split:
    """Hold out a share of every class, at least one shape each for validation and test where a class has three.

    Raises:
        InputError: there are too few shapes to hold any out.
    """
    rng = np.random.default_rng(seed)
    classes: dict[str, list[Shape]] = defaultdict(list)
    for shape in shapes:
        classes[shape.label].append(shape)
    parts: tuple[list[Shape], list[Shape], list[Shape]] = ([], [], [])
    for label in sorted(classes):
        members = [classes[label][i] for i in rng.permutation(len(classes[label]))]
        each = max(1, round(held_out * len(members) / 2)) if len(members) >= 3 else 0
        for part, chosen in zip(parts, (members[2 * each :], members[:each], members[each : 2 * each]), strict=True):
            part.extend(chosen)
    if not parts[1]:
        raise InputError(f"{len(shapes)} shapes are too few to hold any out; give at least 3 of one class.")
    train = [parts[0][i] for i in rng.permutation(len(parts[0]))]
    return Split(train, parts[1], parts[2])


def augment(shapes: Sequence[Shape], copies: int, seed: int, mirrored: bool = False) -> list[Shape]:
    """The shapes and `copies` of each, stretched by 0.8 to 1 along every axis and half of them mirrored in x.

    Where the sides of a shape are known, as those of mesh files are, its copies are scaled to the same longest side.
    Held-out files have that too: smaller copies would teach a generator a size that no file has.

    Args:
        mirrored: whether half of the copies are mirrored in every other axis, too, and half of solid ones have a
            quarter of a turn about the vertical y; for shapes that have no top and no front.
    """
    rng = np.random.default_rng([seed, copies])
    return [
        *shapes,
        *(_copy(shape, rng, f"{shape.name}~{copy + 1}", mirrored) for copy in range(copies) for shape in shapes),
    ]


def _copy(shape: Shape, rng: np.random.Generator, name: str, mirrored: bool) -> Shape:
    stretch = torch.tensor(rng.uniform(0.8, 1.0, shape.dimension), dtype=torch.float32)
    signs = torch.ones(shape.dimension)
    for axis in range(shape.dimension if mirrored else 1):
        if rng.random() < 0.5:
            signs[axis] = -1.0
    axes = list(range(shape.dimension))
    if mirrored and shape.dimension == 3 and rng.random() < 0.5:
        axes.reverse()  # x and z change places: with the mirrors, every quarter of a turn about y
    sides = None
    if shape.sides is not None:
        own = torch.tensor(shape.sides)
        stretch = stretch * own.max() / (stretch * own).max()
        sides = tuple((stretch * own)[axes].tolist())
    inverse = signs / stretch

    def sdf(points: Tensor) -> Tensor:
        # Exact in sign; in size right along the least stretched axis and too small by up to a fifth along the others.
        return shape.sdf((points[:, axes] * inverse).clamp(-1.25, 1.25)) * stretch.min()

    return replace(shape, name=name, sdf=sdf, sides=sides)
