"""Exact distances to triangles; the tree is built once."""

import igl
import numpy as np
from numpy.typing import NDArray


class TriangleDistance:
    """The distance to the nearest of some triangles."""

    def __init__(self, triangles: NDArray[np.float64]) -> None:
        """Build the tree.

        Args:
            triangles: positions of the corners (m, 3, 3).
        """
        self._vertices = np.ascontiguousarray(triangles.reshape(-1, 3))
        self._faces = np.arange(len(self._vertices), dtype=np.int64).reshape(-1, 3)
        self._tree = igl.AABB()
        self._tree.init(self._vertices, self._faces)

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the distances (n,) of points (n, 3); infinite where there is no triangle."""
        if len(self._faces) == 0 or len(points) == 0:
            return np.full(len(points), np.inf)
        squares, _, _ = self._tree.squared_distance(self._vertices, self._faces, np.ascontiguousarray(points))
        distances: NDArray[np.float64] = np.sqrt(squares)
        return distances
