"""Training, validation and test shapes, and augmented training shapes.

Decisions:

- Every class gives the same share of its shapes to the held-out sets. Half of them are for validation, which early
  stopping uses, and half for test, which only the final figures use.
- Only training shapes are augmented. Augmentation changes the shapes themselves: it mirrors them, turns them by
  quarters and stretches them along the axes.
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
    """The shapes of a run."""

    train: list[Shape]
    """Shapes to learn from."""
    validation: list[Shape]
    """Held-out shapes for early stopping."""
    test: list[Shape]
    """Held-out shapes for the final figures."""
    extra: Sequence[Shape] = ()
    """Extra training shapes for the GPT: only their codes are used."""

    @property
    def all(self) -> list[Shape]:
        """Training, validation and test shapes, in this order."""
        return [*self.train, *self.validation, *self.test]


def split_shapes(shapes: Sequence[Shape], held_out_fraction: float, seed: int) -> Split:
    """Hold out a share of every class; a class of three or more gives at least one shape to each held-out set.

    Args:
        shapes: all shapes of the run.
        held_out_fraction: share of each class that is held out.
        seed: equal seeds give equal splits.

    Returns:
        The split, its training shapes in random order.

    Raises:
        InputError: there are too few shapes to hold any out.

    Examples:
        >>> from weightgpt import draw_shapes
        >>> split = split_shapes(draw_shapes(60, seed=0), 0.2, seed=0)
        >>> len(split.train), len(split.validation), len(split.test)
        (48, 6, 6)
    """
    rng = np.random.default_rng(seed)
    classes: dict[str, list[Shape]] = defaultdict(list)
    for shape in shapes:
        classes[shape.label].append(shape)
    train: list[Shape] = []
    validation: list[Shape] = []
    test: list[Shape] = []
    for label in sorted(classes):
        members = [classes[label][i] for i in rng.permutation(len(classes[label]))]
        count = max(1, round(held_out_fraction * len(members) / 2)) if len(members) >= 3 else 0
        validation += members[:count]
        test += members[count : 2 * count]
        train += members[2 * count :]
    if not validation:
        raise InputError(f"{len(shapes)} shapes are too few to hold any out; give at least 3 of one class.")
    return Split([train[i] for i in rng.permutation(len(train))], validation, test)


def augment(shapes: Sequence[Shape], augmentations: int, seed: int, mirror_all_axes: bool = False) -> list[Shape]:
    """Add stretched and mirrored copies: each axis is scaled by 0.8 to 1, and half of the copies are mirrored in x.

    Where the sides of a shape are known, as those of mesh files are, its copies are scaled to the same longest side.
    Mesh files all have that longest side, so smaller copies would teach a generator a size that no file has.

    Args:
        shapes: N shapes.
        augmentations: number of copies of each shape.
        seed: equal seeds give equal copies.
        mirror_all_axes: mirror half of the copies in every other axis as well, and turn half of the solid ones by a
            quarter about the vertical y. Use it for shapes that have no top and no front.

    Returns:
        The shapes and then their copies, N * (1 + augmentations) in all.
    """
    rng = np.random.default_rng([seed, augmentations])
    copies = [
        _copy(shape, rng, f"{shape.name}~{number + 1}", mirror_all_axes)
        for number in range(augmentations)
        for shape in shapes
    ]
    return [*shapes, *copies]


def _copy(shape: Shape, rng: np.random.Generator, name: str, mirror_all_axes: bool) -> Shape:
    stretch = torch.tensor(rng.uniform(0.8, 1.0, shape.dimension), dtype=torch.float32)
    signs = torch.ones(shape.dimension)
    for axis in range(shape.dimension if mirror_all_axes else 1):
        if rng.random() < 0.5:
            signs[axis] = -1.0
    axes = list(range(shape.dimension))
    if mirror_all_axes and shape.dimension == 3 and rng.random() < 0.5:
        axes.reverse()  # exchanges x and z: together with the mirrors, this gives every quarter turn about y
    sides = None
    if shape.sides is not None:
        lengths = torch.tensor(shape.sides)
        stretch = stretch * lengths.max() / (stretch * lengths).max()
        sides = tuple((stretch * lengths)[axes].tolist())
    inverse = signs / stretch

    def sdf(points: Tensor) -> Tensor:
        # The sign is exact. The size is right along the least stretched axis and up to a fifth too small along others.
        return shape.sdf((points[:, axes] * inverse).clamp(-1.25, 1.25)) * stretch.min()

    return replace(shape, name=name, sdf=sdf, sides=sides)
