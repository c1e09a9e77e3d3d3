"""Training, validation and test shapes, and augmented training shapes.

Decisions:

- Every class gives the same share of its shapes to the held-out sets. Half of them are for validation, which early
  stopping uses, and half for test, which only the final figures use.
- Shapes of equal geometry are held out together or not at all, whatever their names and classes. A held-out copy of a
  training shape would show nothing about new shapes.
- Only training shapes are augmented. Augmentation changes the shapes themselves: it mirrors them, turns them by
  quarters and stretches them along the axes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

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


def duplicate_groups(shapes: Sequence[Shape]) -> list[list[Shape]]:
    """Find shapes of equal geometry, by their digests.

    Args:
        shapes: the shapes; those whose digest is unknown equal no other.

    Returns:
        Groups of two shapes or more, in the order of their first shapes.
    """
    return [group for group in _group_equal(shapes) if len(group) > 1]


def _group_equal(shapes: Sequence[Shape]) -> list[list[Shape]]:
    """Group shapes of equal digest, in the order of their first shapes."""
    groups: dict[str | int, list[Shape]] = {}
    for number, shape in enumerate(shapes):
        groups.setdefault(number if shape.digest is None else shape.digest, []).append(shape)
    return list(groups.values())


def split_shapes(shapes: Sequence[Shape], held_out_fraction: float, seed: int) -> Split:
    """Hold out a share of every class; a class of three or more gives at least one shape to each held-out set.

    Shapes of equal geometry count as one: they all go to the training set or to one of the held-out sets.

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
    classes: dict[str, list[list[Shape]]] = defaultdict(list)
    for group in _group_equal(shapes):
        classes[group[0].label].append(group)
    train: list[Shape] = []
    validation: list[Shape] = []
    test: list[Shape] = []
    for label in sorted(classes):
        groups = [classes[label][i] for i in rng.permutation(len(classes[label]))]
        parts = _split_class(groups, held_out_fraction)
        for whole, part in zip((validation, test, train), parts, strict=True):
            whole += part
    if not validation:
        raise InputError(
            f"{len(shapes)} shapes are too few to hold any out; give at least 3 different ones of a class."
        )
    return Split([train[i] for i in rng.permutation(len(train))], validation, test)


def _split_class(groups: list[list[Shape]], held_out_fraction: float) -> tuple[list[Shape], list[Shape], list[Shape]]:
    """Split the groups of equal shapes of a class into validation, test and training shapes."""
    validation: list[list[Shape]] = []
    test: list[list[Shape]] = []
    train: list[list[Shape]] = []
    sizes = sorted(len(group) for group in groups)
    # Each held-out set takes at least a group, so it must have room for the second smallest.
    room = max(1, round(held_out_fraction * sum(sizes) / 2), sizes[1]) if len(sizes) >= 3 else 0
    for group in groups:
        fitting = (part for part in (validation, test) if sum(map(len, part)) + len(group) <= room)
        next(fitting, train).append(group)
    if len(validation) > 1 and not test:
        test.append(validation.pop())
    return list(chain(*validation)), list(chain(*test)), list(chain(*train))


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

    return replace(shape, name=name, sdf=sdf, sides=sides, volume=None, digest=None)
