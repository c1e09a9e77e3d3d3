"""The earth mover's distance of point clouds: exact, beside the Chamfer distance of `metrics`.

Decisions: an assignment pairs every point with one of its own, so that, unlike under the Chamfer distance, the density
of a cloud counts. It is exact, O(n³): some hundreds of points a cloud are what a matrix of many can afford.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from weightgpt.errors import InputError
from weightgpt.metrics.pairwise import Array


def emd(a: Array, b: Array) -> float:
    """Earth mover's distance of two clouds of equally many points (Rubner et al. 2000; Fan et al. 2017, section 3).

    EMD(A, B) = min over bijections f of A to B of the mean over a in A of |a - f(a)|, with the Euclidean norm; in
    units of the box's half-side.

    Args:
        a: (n, 3) finite points, n >= 1.
        b: (n, 3) finite points.

    Raises:
        InputError: a cloud is empty, misshapen or non-finite, or the clouds differ in size.
    """
    return float(emd_matrix([a], [b])[0, 0])


def emd_matrix(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """(A, B) earth mover's distances between two lists of clouds; half the work when both are the same list.

    Raises:
        InputError: as `emd`.
    """
    _check([*a, *b])
    matrix = np.zeros((len(a), len(b)))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            matrix[i, j] = matrix[j, i] if a is b and j <= i else _assigned(one, other)
    return matrix


def _assigned(a: Array, b: Array) -> float:
    """Mean distance under the optimal assignment."""
    costs = cdist(a, b)
    return float(costs[linear_sum_assignment(costs)].mean())


def _check(clouds: Sequence[Array]) -> None:
    """Refuse clouds that are no clouds, or not all of one size."""
    for cloud in clouds:
        if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) == 0 or not np.isfinite(cloud).all():
            raise InputError(f"a point cloud has shape {cloud.shape}; give one or more finite points, (n, 3).")
    if len({len(cloud) for cloud in clouds}) > 1:
        sizes = sorted({len(cloud) for cloud in clouds})
        raise InputError(
            f"clouds of {sizes[0]} and {sizes[-1]} points cannot be paired; draw equally many points on each."
        )
