"""The generalized winding number of a mesh (Jacobson et al. 2013), by the tree of Barill et al. 2018."""

import igl
import numpy as np
from numpy.typing import NDArray

_FAST = 1.5  # accuracy at which errors stay below 0.03
_EXACT = 2.0  # accuracy near 1/2, where errors would decide; it takes twice as long
_OWN_TREES = 256  # most closed parts that have a tree of their own; the largest ones have
_UNCLEAR = 0.1  # values nearer to 1/2 than this are computed again


class WindingNumber:
    """The winding number of a mesh at points; its trees are built once.

    It is 1 inside a closed surface that faces outward, 0 outside, and the sum over the parts of a mesh. A surface with
    holes gives fractions near its holes.
    """

    def __init__(
        self, vertices: NDArray[np.float64], faces: NDArray[np.int64], closed: NDArray[np.int64] | None = None
    ) -> None:
        """Build the trees.

        Args:
            vertices: (n, 3).
            faces: (m, 3).
            closed: closed part of each face (m,), -1 for faces of open parts. Points outside of the box of a closed
                part are then not compared with its faces, which saves time where there are many.
        """
        own = np.full(len(faces), -1) if closed is None or len(np.unique(closed)) < 2 else closed
        sizes = np.bincount(own[own >= 0], minlength=1)
        largest = np.argsort(-sizes, kind="stable")[: min(_OWN_TREES, int((sizes > 0).sum()))]
        self._rest = _tree(vertices, faces[~np.isin(own, largest)])
        self._parts = [_Part(vertices, faces[own == part]) for part in largest]

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the winding numbers (n,) at points (n, 3)."""
        values = self._query(points, _FAST)
        unclear = np.flatnonzero(np.abs(values - 0.5) < _UNCLEAR)
        values[unclear] = self._query(points[unclear], _EXACT)
        return values

    def _query(self, points: NDArray[np.float64], accuracy: float) -> NDArray[np.float64]:
        values = _query_tree(self._rest, points, accuracy)
        for part in self._parts:
            near = np.flatnonzero(((points > part.low) & (points < part.high)).all(1))
            values[near] += _query_tree(part.tree, points[near], accuracy)
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


class _Part:
    """A closed part of a mesh: its box and its tree."""

    def __init__(self, vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> None:
        corners = vertices[faces].reshape(-1, 3)
        self.low, self.high = corners.min(0), corners.max(0)
        self.tree = _tree(vertices, faces)


def _tree(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> igl.FastWindingNumberBVH | None:
    """Build the tree of a mesh; None if there are no faces, as a query of an empty tree would end the process."""
    if len(faces) == 0:
        return None
    tree = igl.FastWindingNumberBVH()
    tree.init(np.ascontiguousarray(vertices), np.ascontiguousarray(faces))
    return tree


def _query_tree(
    tree: igl.FastWindingNumberBVH | None, points: NDArray[np.float64], accuracy: float
) -> NDArray[np.float64]:
    """The winding numbers (n,) of a tree at points (n, 3)."""
    if tree is None or len(points) == 0:
        return np.zeros(len(points))
    values: NDArray[np.float64] = tree.winding_number(np.ascontiguousarray(points), accuracy)
    return values


def _unit_normals(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit normals (m, 3)."""
    a, b, c = triangles.transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    unit: NDArray[np.float64] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    return unit
