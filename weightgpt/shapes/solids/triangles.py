"""Measures of single triangles.

Dimensions: m triangles.
"""

import numpy as np
from numpy.typing import NDArray

Triangles = NDArray[np.float64]
"""Positions (m, 3, 3) of the corners of triangles."""


def face_areas(corners: Triangles) -> NDArray[np.float64]:
    """Compute the areas (m,) of triangles (m, 3, 3)."""
    a, b, c = corners.transpose(1, 0, 2)
    areas: NDArray[np.float64] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


def tetrahedra(corners: Triangles) -> NDArray[np.float64]:
    """Compute the signed volumes (m,) between triangles (m, 3, 3) and the origin."""
    a, b, c = corners.transpose(1, 0, 2)
    volumes: NDArray[np.float64] = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    return volumes


def largest_of(sizes: NDArray[np.float64], groups: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Choose the largest members of each group.

    Args:
        sizes: size of each member (m,).
        groups: group of each member (m,).
        most: members of each group that are chosen.

    Returns:
        Numbers of the chosen members.
    """
    order = np.lexsort((-sizes, groups))
    place = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
    return order[place < most].astype(np.int64)
