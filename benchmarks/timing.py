"""Timing of several ways to do one job, side by side, and whether two ways found the same codes.

Decisions:
- The ways take turns, so that whatever else the machine does slows all of them alike; the first turn of each only warms
  up. A time is the median of its turns, and only ratios of one run mean anything.
- Two codes of one vector may both be right: where the vector is equally far from both, up to the rounding of single
  precision. Distances are compared in double precision to tell such ties from mistakes.

Dimensions: n vectors, Q levels, K codes of a level, r numbers of a vector.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weightgpt.quantizers.codes import residual_decode

TIE = 1e-5
"""Difference of two squared distances, as a share of |vector|² + |code|², that single precision may not see."""


def interleaved(ways: Mapping[str, Callable[[int], Any]], turns: int) -> dict[str, float]:
    """Median seconds of each way; every one is called with the number of its turn, 0 (not counted) to `turns`."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(turn)
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


@dataclass(frozen=True)
class Agreement:
    """How codes (n, Q) of the same vectors by two ways compare."""

    vectors: int
    """n."""
    different: int
    """Vectors with another code at some level."""
    ties: int
    """Those of them that were equally far from both codes at the first such level."""


def agreement(vectors: Tensor, tables: Tensor, ours: Tensor, theirs: Tensor) -> Agreement:
    """Compare residual codes `ours` and `theirs` (n, Q) of `vectors` (n, r) in `tables` (Q, K, r).

    After the first level at which a vector has two codes its rests differ, so only that level is judged.
    """
    open_rows = torch.ones(len(vectors), dtype=torch.bool)
    different = ties = 0
    for level, table in enumerate(tables):
        mine, other = table[ours[:, level]], table[theirs[:, level]]
        rows = open_rows & (ours[:, level] != theirs[:, level])
        here = (vectors - residual_decode(ours, tables, level))[rows].double()
        far = [(here - code[rows].double()).square().sum(1) for code in (mine, other)]
        scale = here.square().sum(1) + mine[rows].double().square().sum(1)
        different += int(rows.sum())
        ties += int(((far[0] - far[1]).abs() <= TIE * scale).sum())
        open_rows &= ~rows
    return Agreement(len(vectors), different, ties)
