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


def halve(corners: Triangles) -> Triangles:
    """Split each triangle at the middle of its longest edge.

    Args:
        corners: (m, 3, 3).

    Returns:
        The halves (2 m, 3, 3); those of triangle i are i and m + i.
    """
    longest = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).argmax(1)
    a, b, c = corners[np.arange(len(corners))[:, None], (longest[:, None] + np.arange(3)) % 3].transpose(1, 0, 2)
    middle = (a + b) / 2
    return np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])


def longest_edges(corners: Triangles) -> NDArray[np.float64]:
    """Compute the length (m,) of the longest edge of each triangle (m, 3, 3)."""
    lengths: NDArray[np.float64] = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).max(1, initial=0.0)
    return lengths
