"""Metrics of a set of generated shapes against a held-out set of the same size, with confidence intervals.

Two protocols are in use, and this module computes both:

- Yang et al. 2019 (PointFlow, section 5.1): MMD, COV and 1-NNA of two sets drawn without replacement.
- Erkoç et al. 2023 (HyperDiffusion): the same three formulas on squared distances, summed over both directions.
  Squaring gives more weight to outliers and changes which shape is nearest, so values of the two protocols are not
  comparable.
  `weightgpt.metrics.pairwise.chamfer_matrices` gives the distances of both.

Decisions:

- Distances are computed once, as blocks of one joint matrix. All metrics are read from that matrix.
- MMD and COV depend on the size of the sets. To reduce noise without changing the size, several pairs of sets are
  compared, each pair separately, and the metrics are means over all pairs.
- Each metric is a mean of per-shape values: a distance, whether the shape is covered, whether its neighbor belongs to
  its own set. Confidence intervals are percentiles of the bootstrap over those values. The neighbors stay those of the
  full sets, because a shape drawn twice would be its own neighbor at distance 0. The intervals describe these sets; a
  new sample of both sets varies more.
- Repeated sample sets against one held-out set are not independent. In that case the bootstrap resamples positions in
  the sets, and with each position all shapes that the sets have there.
- Two rows with the same held-out shapes are compared shape by shape (`paired_difference_ci`). The choice of held-out
  shapes affects both rows alike, so the interval of the difference is narrower than those of the metrics themselves.

Dimensions: n shapes in each set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weightgpt.errors import InputError
from weightgpt.metrics.pairwise import Array

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""

Distances = tuple[Array, Array, Array]
"""Three (n, n) matrices: between samples; from samples (rows) to held-out shapes (columns); between held-out shapes."""

SET_METRICS = ("mmd", "cov", "one_nna")
"""The names of the three metrics."""

LOWER_IS_BETTER: dict[str, Callable[[Any], Any]] = {
    "mmd": lambda value: value,
    "cov": lambda value: -value,
    "one_nna": lambda value: abs(value - 0.5),
}
"""Turns each metric into a number that is lower where the metric is better; 1-NNA is best at 0.5."""


@dataclass(frozen=True, kw_only=True)
class SetMetrics:
    """MMD, COV and 1-NNA with their 95 % confidence intervals."""

    mmd: float
    """Minimum matching distance: mean over held-out shapes of the distance to the nearest sample; lower is better."""
    mmd_interval: Interval
    """Confidence interval of `mmd`."""
    cov: float
    """Coverage: share of held-out shapes that are the nearest one of some sample; higher is better."""
    cov_interval: Interval
    """Confidence interval of `cov`."""
    one_nna: float
    """Leave-one-out accuracy of a nearest-neighbor classifier of the two sets: 0.5 is ideal, 1 means that the sets are
    fully separable, below 0.5 means that samples copy held-out shapes. Ties go to the earlier shape, samples first."""
    one_nna_interval: Interval
    """Confidence interval of `one_nna`."""
    per_shape_values: dict[str, list[float]] = field(default_factory=dict)
    """The per-shape values whose mean is each metric, if all sets have the same held-out shapes, else empty: n values
    for MMD and COV, 2 n for 1-NNA (samples first), each the mean over the sets."""


def set_metrics(*pairs: Distances, same_held_out: bool = False, draws: int = 2000, seed: int = 0) -> SetMetrics:
    """Compute MMD, COV and 1-NNA with confidence intervals.

    Args:
        *pairs: for each pair of a sample set and a held-out set, their distances; the metrics are means over the shapes
            of all pairs.
        same_held_out: whether all pairs have one size and the same held-out shapes in the same order.
        draws: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Raises:
        InputError: the sets of a pair differ in size or hold fewer than two shapes, or a distance is not finite.

    Examples:
        >>> between = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> metrics = set_metrics((between, between, between))
        >>> metrics.mmd, metrics.cov, metrics.one_nna
        (0.0, 1.0, 0.0)
    """
    per_pair = [shape_values(*pair) for pair in pairs]
    rng = np.random.default_rng(seed)
    combine = np.mean if same_held_out else np.concatenate
    results: dict[str, Any] = {"per_shape_values": {}}
    for name in SET_METRICS:
        values = combine([of_pair[name] for of_pair in per_pair], axis=0)
        means = values[rng.integers(len(values), size=(draws, len(values)))].mean(1)
        results |= {name: float(values.mean()), f"{name}_interval": interval_95(means)}
        if same_held_out:
            results["per_shape_values"][name] = values.round(6).tolist()
    return SetMetrics(**results)


def paired_difference_ci(
    values: Mapping[str, Sequence[float]],
    other_values: Mapping[str, Sequence[float]],
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Compute confidence intervals of how much better one row is than another, shape by shape.

    Only held-out shapes are paired; samples at the same position of two rows have nothing in common.

    Args:
        values: `SetMetrics.per_shape_values` of the first row.
        other_values: those of the second row, measured against the same held-out shapes.
        draws: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Returns:
        For each metric the 95 % interval of the second row's value minus the first row's, both after
        `LOWER_IS_BETTER`; an interval above zero means that the first row is better. A metric whose numbers of values
        differ between the rows is left out.
    """
    rng = np.random.default_rng(seed)
    intervals: dict[str, Interval] = {}
    for name in values:
        if name in other_values and len(values[name]) == len(other_values[name]):
            rows = rng.integers(len(values[name]), size=(draws, len(values[name])))
            first, second = (
                LOWER_IS_BETTER[name](np.asarray(part[name])[rows].mean(1)) for part in (values, other_values)
            )
            intervals[name] = interval_95(second - first)
    return intervals


def interval_95(draws: Array) -> Interval:
    """Return the percentiles between which 95 % of bootstrap draws lie.

    Args:
        draws: (d,) values.
    """
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def shape_values(within: Array, cross: Array, held_out: Array) -> dict[str, Array]:
    """Compute the per-shape values whose means are the metrics.

    Args:
        within: (n, n) distances between samples.
        cross: (n, n) distances from samples (rows) to held-out shapes (columns).
        held_out: (n, n) distances between held-out shapes.

    Returns:
        (n,) values of held-out shapes for "mmd" and "cov", (2 n,) values of all shapes, samples first, for "one_nna".

    Raises:
        InputError: the sets differ in size or hold fewer than two shapes, or a distance is not finite.
    """
    count = len(within)
    if count < 2 or not within.shape == cross.shape == held_out.shape == (count, count):
        raise InputError(
            f"set metrics were given {within.shape[0]} samples and {held_out.shape[0]} held-out shapes;"
            " give two sets of the same size, two shapes or more each."
        )
    joint = np.block([[within, cross], [cross.T, held_out]])
    if not np.isfinite(joint).all():
        raise InputError("a distance is not finite; leave shapes without a surface out of the sets.")
    np.fill_diagonal(joint, np.inf)
    is_sample = np.arange(2 * count) < count
    covered = np.zeros(count)
    covered[cross.argmin(1)] = 1
    return {"mmd": cross.min(0), "cov": covered, "one_nna": is_sample[joint.argmin(1)] == is_sample}
