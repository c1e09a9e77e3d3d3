"""The generalized winding number of a mesh (Jacobson et al. 2013), by the tree of Barill et al. 2018."""

import igl
import numpy as np
from numpy.typing import NDArray

_FAST = 1.25  # accuracy at which errors stay below 0.08
_EXACT = 2.0  # accuracy near 1/2, where errors would decide; it takes three times as long
_UNCLEAR = 0.1  # values nearer to 1/2 than this are computed again


class WindingNumber:
    """The winding number of a mesh at points; its tree is built once.

    It is 1 inside a closed surface that faces outward, 0 outside, and the sum over the parts of a mesh. A surface with
    holes gives fractions near its holes.
    """

    def __init__(self, vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> None:
        """Build the tree.

        Args:
            vertices: (n, 3).
            faces: (m, 3).
        """
        self._empty = len(faces) == 0
        self._tree = igl.FastWindingNumberBVH()
        if not self._empty:  # a query of an empty tree would end the process
            self._tree.init(np.ascontiguousarray(vertices), np.ascontiguousarray(faces))

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the winding numbers (n,) at points (n, 3)."""
        if self._empty or len(points) == 0:
            return np.zeros(len(points))
        values: NDArray[np.float64] = self._tree.winding_number(np.ascontiguousarray(points), _FAST)
        unclear = np.flatnonzero(np.abs(values - 0.5) < _UNCLEAR)
        if len(unclear):
            values[unclear] = self._tree.winding_number(np.ascontiguousarray(points[unclear]), _EXACT)
        return values

    def beside(self, triangles: NDArray[np.float64], depth: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the winding numbers on both sides of the middle of triangles.

        Args:
            triangles: positions of the corners (m, 3, 3), none without an area.
            depth: distance from the triangle.

        Returns:
            The winding numbers (m,) in front of the triangles, where their normals point, and (m,) behind them.
        """
        return self.beyond(triangles, depth), self.beyond(triangles, -depth)

    def beyond(self, triangles: NDArray[np.float64], depth: float) -> NDArray[np.float64]:
        """Compute the winding numbers (m,) on one side of the middle of triangles.

        Args:
            triangles: positions of the corners (m, 3, 3), none without an area.
            depth: distance from the triangle, along its normal.
        """
        return self(triangles.mean(1) + depth * _unit_normals(triangles))

    def near_corners(self, triangles: NDArray[np.float64], depth: float) -> NDArray[np.float64]:
        """Compute the winding numbers (m, 3) beside triangles, a tenth of the way from each corner to the middle.

        Args:
            triangles: positions of the corners (m, 3, 3), none without an area.
            depth: distance from the triangle, along its normal.
        """
        points = 0.9 * triangles + 0.1 * triangles.mean(1, keepdims=True) + depth * _unit_normals(triangles)[:, None]
        return self(points.reshape(-1, 3)).reshape(-1, 3)


def _unit_normals(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit normals (m, 3)."""
    a, b, c = triangles.transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    unit: NDArray[np.float64] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    return unit
