"""Times of several methods for one job, and a comparison of the codes that two methods find.

Decisions:
- The methods take turns, so that the load of the machine is the same for all of them. The first turn of each method is
  a warm-up, and a time is the median of the other turns. Ratios of one run can be compared, seconds cannot.
- Two different codes of one vector are both right if the vector is equally far from both, up to the rounding of single
  precision. We compare distances in double precision to tell such ties from errors.

Dimensions: n vectors, Q quantizer levels, K codes of a level, r numbers of a vector.
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
"""Two squared distances count as equal up to this share of |vector|² + |code|², the rounding of single precision."""


def time_in_turns(methods: Mapping[str, Callable[[int], Any]], turns: int) -> dict[str, float]:
    """Median seconds of each method.

    Args:
        methods: functions of the number of the turn, by name.
        turns: timed calls of each method; one more call, with number 0, warms up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(turns + 1):
        for name, method in methods.items():
            start = time.perf_counter()
            method(turn)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


@dataclass(frozen=True)
class CodeComparison:
    """How the codes (n, Q) of two methods for the same vectors compare."""

    vectors: int
    """n."""
    different: int
    """Vectors with different codes at some level."""
    ties: int
    """Those of them that are equally far from both codes at the first such level."""


def compare_codes(vectors: Tensor, code_vectors: Tensor, codes: Tensor, other_codes: Tensor) -> CodeComparison:
    """Compare residual codes of two methods.

    After the first level at which a vector has different codes, its residuals differ; later levels are not compared.

    Args:
        vectors: (n, r) vectors.
        code_vectors: (Q, K, r) code vectors of the levels.
        codes: (n, Q) codes of one method.
        other_codes: (n, Q) codes of the other method.
    """
    still_equal = torch.ones(len(vectors), dtype=torch.bool)
    different = ties = 0
    for level, table in enumerate(code_vectors):
        nearest, other = table[codes[:, level]], table[other_codes[:, level]]
        rows = still_equal & (codes[:, level] != other_codes[:, level])
        selected = (vectors - residual_decode(codes, code_vectors, level))[rows].double()
        distances = [(selected - part[rows].double()).square().sum(1) for part in (nearest, other)]
        scale = selected.square().sum(1) + nearest[rows].double().square().sum(1)
        different += int(rows.sum())
        ties += int(((distances[0] - distances[1]).abs() <= TIE * scale).sum())
        still_equal &= ~rows
    return CodeComparison(len(vectors), different, ties)
