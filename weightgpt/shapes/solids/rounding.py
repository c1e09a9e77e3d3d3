"""Coordinates rounded where parts of a mesh meet, and volumes rounded to what is known of them.

Decisions:

- Parts that nearly touch should touch, so the vertices of parts whose boxes meet are rounded to a grid. A part on its
  own keeps its coordinates.
- A volume has as many digits as the coordinates allow.

Dimensions: n vertices, m faces, k parts.
"""

import math

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices

_APART = 4.0  # longer than the box of a mesh in unit coordinates
_ROUNDS = 4  # sweeps along each axis, as a gap along one axis can open gaps along the others


def round_neighbors(vertices: Vertices, faces: Faces, of_face: NDArray[np.int64], step: float) -> tuple[Vertices, bool]:
    """Round the vertices of parts whose boxes meet.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3).
        of_face: part of each face (m,).
        step: what coordinates are rounded to multiples of.

    Returns:
        The vertices, and whether any were rounded.
    """
    count = int(of_face.max(initial=-1)) + 1
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, of_face, vertices[faces].min(1) - step)
    np.maximum.at(high, of_face, vertices[faces].max(1) + step)
    cluster = _clusters(low, high)
    together = (np.bincount(cluster, minlength=1)[cluster] > 1)[of_face]
    chosen = np.unique(faces[together])
    vertices = vertices.copy()
    vertices[chosen] = np.rint(vertices[chosen] / step) * step
    return vertices, len(chosen) > 0


def _clusters(low: Vertices, high: Vertices) -> NDArray[np.int64]:
    """Number the clusters of boxes (k,) with a gap between them along an axis.

    Args:
        low: lowest corners (k, 3).
        high: highest corners (k, 3).
    """
    cluster = np.zeros(len(low), np.int64)
    for axis in (0, 1, 2) * _ROUNDS:
        # Each cluster is moved to a place of its own, so that one sweep along the axis serves all.
        start, end = low[:, axis] + _APART * cluster, high[:, axis] + _APART * cluster
        order = np.argsort(start, kind="stable")
        gap = start[order][1:] > np.maximum.accumulate(end[order])[:-1]
        cluster[order] = np.cumsum(np.concatenate([[False], gap]))[: len(order)]
    return cluster


def round_volume(volume: float, error: float) -> float:
    """Round a volume to the digits that an error leaves.

    Args:
        volume: the volume.
        error: how wrong it can be, more than 0.

    Examples:
        >>> round_volume(2.99999, 3e-5), round_volume(0.0012346, 1e-6)
        (3.0, 0.001235)
    """
    return round(volume, -math.ceil(math.log10(error))) if 0 < error < math.inf else volume
