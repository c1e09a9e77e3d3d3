"""How crowded a mesh is: how many of its faces are near to each other, estimated from some of them.

Trees of boxes find the faces near a face or a point fast only if these are few. Where thousands of large faces overlap,
each has to be compared with each, which takes minutes. So the number of comparisons is estimated first.

Dimensions: n vertices, m faces.
"""

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices

MAX_PAIRS = 20_000_000
"""Most pairs of faces whose boxes overlap."""
MAX_NEAR = 5_000_000
"""Most pairs of a face and a point that is near to it."""
_SAMPLE = 400  # faces from which the number of pairs is estimated
_COMPARED = 20_000_000  # fewer faces are taken where these are compared with more faces than this
_REACH = 1.5  # a point is near a face within this times the radius of the face, as the winding number takes it


class TooComplexError(Exception):
    """A mesh whose solid would take minutes to find. The message says of what it has too
    much, and what to do."""


def check_pairs(vertices: Vertices, faces: Faces) -> None:
    """Refuse a mesh of too many pairs of faces whose boxes overlap.

    Args:
        vertices: (n, 3).
        faces: (m, 3).

    Raises:
        TooComplexError: there are more than `MAX_PAIRS` pairs.
    """
    corners = vertices[faces]
    low, high = np.ascontiguousarray(corners.min(1).T), np.ascontiguousarray(corners.max(1).T)
    chosen = _sample(len(faces))
    count = 0
    for i in chosen:
        near = (low[0] <= high[0, i]) & (high[0] >= low[0, i])
        for axis in (1, 2):
            near &= (low[axis] <= high[axis, i]) & (high[axis] >= low[axis, i])
        count += int(near.sum()) - 1
    _check(count * len(faces) / max(len(chosen), 1) / 2, MAX_PAIRS)


def check_points(vertices: Vertices, faces: Faces, number: int) -> None:
    """Refuse a mesh whose winding number would take too long at some points on its faces.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
        number: number of points.

    Raises:
        TooComplexError: there are more than `MAX_NEAR` pairs of a point and a face near to it.
    """
    corners = vertices[faces]
    middle = corners.mean(1)
    reach = _REACH * np.linalg.norm(corners - middle[:, None], axis=2).max(1)
    x, y, z = np.ascontiguousarray(middle.T)
    chosen = _sample(len(faces))
    count = 0
    for i in chosen:
        count += int(((x - x[i]) ** 2 + (y - y[i]) ** 2 + (z - z[i]) ** 2 < reach**2).sum())
    _check(count * number / max(len(chosen), 1), MAX_NEAR)


def _sample(count: int) -> NDArray[np.int64]:
    """Choose some of the faces."""
    number = min(_SAMPLE, count, max(_COMPARED // max(count, 1), 10))
    return np.random.default_rng(0).choice(count, number, replace=False).astype(np.int64)


def _check(pairs: float, most: int) -> None:
    if pairs > most:
        raise TooComplexError(
            f"about {pairs / 1e6:,.0f} million comparisons of faces that overlap or nearly do, and at most"
            f" {most // 10**6} million are made; give a simpler mesh"
        )
