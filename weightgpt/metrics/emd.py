"""The earth mover's distance of point clouds.

Decisions: we use the exact distance. An optimal assignment pairs every point of one cloud with a different point of
the other, so the density of a cloud counts, which the Chamfer distance ignores. The assignment takes O(n³) time, so a
matrix of many pairs is affordable for clouds of a few hundred points.

Dimensions: n points of each cloud, A and B clouds of two lists. Lengths are in half-sides of the box.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from weightgpt.errors import InputError
from weightgpt.metrics.pairwise import Array


def emd(a: Array, b: Array) -> float:
    """Compute the earth mover's distance of two clouds of equal size (Rubner et al. 2000; Fan et al. 2017, section 3).

    EMD(A, B) = min over bijections f of A to B of the mean over a in A of |a - f(a)|, with the Euclidean norm.

    Args:
        a: (n, 3) finite points, n >= 1.
        b: (n, 3) finite points.

    Returns:
        The distance in half-sides of the box; 0 or more.

    Raises:
        InputError: a cloud is empty, misshapen or non-finite, or the clouds differ in size.

    Examples:
        >>> import numpy as np
        >>> emd(np.array([[0.0, 0, 0], [0, 0, 0]]), np.array([[0.0, 0, 0], [1, 0, 0]]))
        0.5
    """
    return float(emd_matrix([a], [b])[0, 0])


def emd_matrix(a: Sequence[Array], b: Sequence[Array]) -> Float[Array, "A B"]:
    """Compute the earth mover's distances of all pairs of two lists of clouds.

    Args:
        a: A clouds, (n, 3) each.
        b: B clouds, (n, 3) each; pass the same list as `a` to do half the work.

    Returns:
        (A, B) distances.

    Raises:
        InputError: as `emd`.
    """
    _check_clouds([*a, *b])
    matrix = np.zeros((len(a), len(b)))
    for i, cloud_a in enumerate(a):
        for j, cloud_b in enumerate(b):
            matrix[i, j] = matrix[j, i] if a is b and j <= i else _optimal_assignment_cost(cloud_a, cloud_b)
    return matrix


def _optimal_assignment_cost(a: Array, b: Array) -> float:
    """Return the mean distance under the optimal assignment."""
    costs = cdist(a, b)
    return float(costs[linear_sum_assignment(costs)].mean())


def _check_clouds(clouds: Sequence[Array]) -> None:
    """Refuse arrays that are not clouds, and clouds of different sizes."""
    for cloud in clouds:
        if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) == 0 or not np.isfinite(cloud).all():
            raise InputError(f"a point cloud has shape {cloud.shape}; give one or more finite points, (n, 3).")
    sizes = sorted({len(cloud) for cloud in clouds})
    if len(sizes) > 1:
        raise InputError(
            f"clouds of {sizes[0]} and {sizes[-1]} points cannot be paired; sample equally many points on each."
        )
