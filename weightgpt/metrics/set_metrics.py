"""How good sets of generated shapes are beside held-out sets of equal size, with intervals.

Two protocols are in use; both are here:

- Yang et al. 2019 (PointFlow, section 5.1): MMD, COV and 1-NNA of two sets drawn without replacement.
- Erkoç et al. 2023 (HyperDiffusion): the same three formulae on squared distances, summed over both directions, of sets
  from which empty shapes were taken and replaced. Squaring weighs far strays more and changes who is nearest, so the
  figures of the two do not compare. `metrics.chamfer_matrices` gives the distances of both.

Decisions:
- Distances are computed once, as blocks of one joint matrix; everything else is read off it.
- MMD and COV depend on the size of the sets. To know more of a model than one small set tells, several pairs of sets of
  that size are compared, each pair for itself, and the figures are means over all of them.
- Each figure is a mean over shapes of something that a shape has: its distance, whether it is covered, whether its
  neighbor is of its own set. Intervals are percentiles of the bootstrap over those values, with neighbors as they are
  in the full sets: a shape drawn twice would be its own neighbor at distance 0. They hold for these sets, then, up to
  which shapes the mean is taken over; a new draw of all varies more.
- Several sets of samples beside one and the same held-out set tell no more of that set than one does. The bootstrap
  then draws places in the sets, and with a place the shapes that all sets have there.
- Two rows with the same held-out shapes are compared place by place (`leads`): which shapes happen to be held out moves
  both alike, so the interval of their difference is narrower than those of the figures themselves.

Dimensions: n shapes in each set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError

Array = NDArray[np.float64]
Interval = tuple[float, float]

LOWER_IS_BETTER: dict[str, Callable[[Any], Any]] = {
    "mmd": lambda x: x,
    "cov": lambda x: -x,
    "one_nna": lambda x: abs(x - 0.5),
}
"""Of each figure, what is the smaller the better it is; 1-NNA is best at 0.5, below it samples copy references."""


@dataclass(frozen=True, kw_only=True)
class SetMetrics:
    """Set metrics and their 95 % intervals."""

    mmd: float
    """Mean over held-out shapes of the distance to the nearest sample: lower is better; quality of the nearest."""
    mmd_interval: Interval
    cov: float
    """Share of held-out shapes that are the nearest one of some sample: higher is better."""
    cov_interval: Interval
    one_nna: float
    """Share of all shapes whose nearest other shape is of their own set: 0.5 is ideal, 1 says the sets are told apart,
    below 0.5 says that samples copy references. Ties go to the earlier shape, samples first."""
    one_nna_interval: Interval
    per_shape_values: dict[str, list[float]]
    """Where all sets have the same held-out shapes, the mean over the sets of what each place adds to a figure: n
    values for MMD and COV, 2 n for 1-NNA, samples first. Else nothing."""


Distances = tuple[Array, Array, Array]
"""(n, n) each: between samples; from samples (rows) to held-out shapes (columns); between held-out shapes."""


def set_metrics(*pairs: Distances, same_held: bool = False, draws: int = 2000, seed: int = 0) -> SetMetrics:
    """MMD, COV and 1-NNA with intervals.

    Args:
        pairs: a set of samples and one of held-out shapes each; the figures are means over the shapes of all of them.
        same_held: whether all pairs, of one size then, have the same held-out shapes in the same order.
        draws: of the bootstrap.

    Raises:
        InputError: the sets of a pair differ in size or hold fewer than two shapes, or a distance is not finite.
    """
    found = [shape_values(*pair) for pair in pairs]
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {"per_shape_values": {}}
    for name in found[0]:
        part = (np.mean if same_held else np.concatenate)([one[name] for one in found], axis=0)
        means = part[rng.integers(len(part), size=(draws, len(part)))].mean(1)
        values |= {name: float(part.mean()), f"{name}_interval": percentiles(means)}
        if same_held:
            values["per_shape_values"][name] = part.round(6).tolist()
    return SetMetrics(**values)


def paired_difference_ci(
    mine: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]], draws: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """95 % intervals of how much less the `LOSS` of each figure is than another row's; above zero, it is ahead.

    Args:
        mine: `SetFigures.places`.
        other: those of a row with the same held-out shapes; a figure whose places are not as many in both has no
            interval. Only held-out shapes are paired; samples at one place have nothing in common.
        draws: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Interval] = {}
    for name in mine:
        if name in other and len(mine[name]) == len(other[name]):
            drawn = rng.integers(len(mine[name]), size=(draws, len(mine[name])))
            ours, theirs = (LOWER_IS_BETTER[name](np.asarray(part[name])[drawn].mean(1)) for part in (mine, other))
            found[name] = percentiles(theirs - ours)
    return found


def percentiles(draws: Array) -> Interval:
    """Those between which 95 % of the draws (d,) of a bootstrap lie."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def shape_values(within: Array, cross: Array, held: Array) -> dict[str, Array]:
    """What each shape adds to a figure: (n,) for MMD and COV, of held-out shapes, and (2 n,) for 1-NNA, of all."""
    count = len(within)
    if count < 2 or not within.shape == cross.shape == held.shape == (count, count):
        raise InputError(
            f"set metrics were given {within.shape[0]} samples and {held.shape[0]} references; "
            "give two sets of the same size, two shapes or more each."
        )
    joint = np.block([[within, cross], [cross.T, held]])
    if not np.isfinite(joint).all():
        raise InputError("a distance is not finite; leave shapes without a surface out of the sets.")
    np.fill_diagonal(joint, np.inf)
    generated = np.arange(2 * count) < count
    covered = np.zeros(count)
    covered[cross.argmin(1)] = 1
    return {"mmd": cross.min(0), "cov": covered, "one_nna": generated[joint.argmin(1)] == generated}
