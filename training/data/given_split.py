"""Shapes that come with their split: which of them are for training, for validation and for test.

Decisions:
- A shape that nearly equals a held-out shape must not be learned from, because a held-out copy of a training shape
  measures nothing. Such training shapes are left out with a word. Published splits rarely have any.
- The order of the training shapes is random, because the first of them are fitted and measured.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.corpus import SPLITS
from weightgpt.errors import InputError
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import Split, duplicate_groups


@dataclass(frozen=True)
class GivenShapes:
    """Shapes and the part of the split that each belongs to."""

    shapes: Sequence[Shape]
    """The shapes."""
    parts: Sequence[str]
    """The part of each, one of `SPLITS`."""
    source: str
    """Where they come from, for messages."""


def join_given(given: Sequence[GivenShapes]) -> GivenShapes:
    """Join the shapes of several files.

    Args:
        given: the shapes of each file.
    """
    return GivenShapes(
        [shape for part in given for shape in part.shapes],
        [name for part in given for name in part.parts],
        " and ".join(part.source for part in given),
    )


def split_given(given: GivenShapes, seed: int) -> Split:
    """Split shapes as they say, and tell about near-duplicates on stderr.

    Args:
        given: the shapes with their parts.
        seed: seed of the order of the training shapes.

    Raises:
        InputError: a part is unknown, or has no shape.
    """
    if unknown := sorted(set(given.parts) - set(SPLITS)):
        raise InputError(f"{given.source} has a split {unknown[0]!r}; give each shape one of {', '.join(SPLITS)}.")
    if absent := sorted(set(SPLITS) - set(given.parts)):
        raise InputError(f"{given.source} has no shapes for {absent[0]}; give shapes for each of {', '.join(SPLITS)}.")
    parts = dict(zip((shape.name for shape in given.shapes), given.parts, strict=True))
    left_out = _tell_duplicates(given.shapes, parts)
    rows = {part: [shape for shape in given.shapes if parts[shape.name] == part] for part in SPLITS}
    train = [shape for shape in rows["train"] if shape.name not in left_out]
    if not train:
        raise InputError(f"every training shape of {given.source} equals a held-out shape; give other shapes.")
    order = np.random.default_rng(seed).permutation(len(train))
    return Split([train[i] for i in order], rows["validation"], rows["test"])


def _tell_duplicates(shapes: Sequence[Shape], parts: dict[str, str]) -> set[str]:
    """Tell how many shapes are near-duplicates; return the names of training shapes that equal a held-out one."""
    groups = duplicate_groups(shapes)
    sides = [{parts[shape.name] == "train" for shape in group} for group in groups]
    across = [group for group, side in zip(groups, sides, strict=True) if len(side) > 1]
    left_out = {shape.name for group in across for shape in group if parts[shape.name] == "train"}
    if groups:
        print(
            f"near-duplicates: {len(groups)} groups of {sum(map(len, groups))} shapes, {len(across)} of them on both"
            f" sides of the split; {len(left_out)} training shapes are left out.",
            file=sys.stderr,
        )
    return left_out
