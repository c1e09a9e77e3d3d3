"""Holes of a mesh, closed by flat caps to measure them.

Dimensions: n vertices, m faces, h holes, c triangles of caps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from weightgpt.shapes.solids.connectivity import Faces, Vertices, find_edges
from weightgpt.shapes.solids.triangles import Triangles, face_areas
from weightgpt.shapes.solids.winding import WindingNumber

_DEPTH = 1e-3  # distance from a cap at which the winding number is taken, in unit coordinates
_CRACK = 1e-6  # holes of a smaller area are cracks, in squared unit coordinates


@dataclass(frozen=True)
class Caps:
    """Fans of triangles about the middle of each loop of open edges."""

    triangles: Triangles
    """Positions of the corners (c, 3, 3), facing outward if the mesh does."""
    hole: NDArray[np.int64]
    """The hole of each triangle (c,)."""
    part: NDArray[np.int64]
    """The part of the mesh that each hole is in (h,)."""
    middle: NDArray[np.float64]
    """Middles of the holes (h, 3)."""
    vectors: NDArray[np.float64]
    """Area vectors of the holes (h, 3)."""


def cap_holes(vertices: Vertices, faces: Faces, of_face: NDArray[np.int64]) -> Caps:
    """Close every loop of open edges.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
        of_face: part of each face (m,); loops of different parts are closed on their own.
    """
    edges = find_edges(faces + of_face[:, None] * len(vertices))  # as if no two parts had a vertex in common
    missing = np.flatnonzero(edges.balance)
    missing = np.repeat(missing, np.abs(edges.balance[missing]))
    ends = np.where(edges.balance[missing][:, None] > 0, edges.ends[missing][:, ::-1], edges.ends[missing])
    nodes, inverse = np.unique(ends, return_inverse=True)
    start, end = inverse.reshape(-1, 2).T
    count, loops = connected_components(coo_array((np.ones(len(start)), (start, end)), shape=(len(nodes),) * 2), False)
    of_node, hole = vertices[nodes % len(vertices)], loops[start].astype(np.int64)
    number = np.bincount(loops, minlength=count)[:, None]
    middle = np.stack([np.bincount(loops, of_node[:, i], count) for i in range(3)], 1) / np.maximum(number, 1)
    triangles = np.stack([of_node[start], of_node[end], middle[hole]], 1)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]) / 2
    vectors = np.stack([np.bincount(hole, normals[:, i], count) for i in range(3)], 1).astype(np.float64)
    part = np.zeros(count, np.int64)
    part[hole] = edges.ends[missing][:, 0] // len(vertices)
    return Caps(triangles, hole, part, middle, vectors)


@dataclass(frozen=True)
class OpenCaps:
    """Which caps are part of the surface of a solid, because the winding number closes the holes."""

    closing: NDArray[np.bool_]
    """Whether each triangle of a cap (c,) is: the winding number is about 1/2 on both of its sides."""
    unclear: float
    """Area of the caps at which the winding number is not clear enough to tell."""
    holes: int
    """Number of holes with such triangles."""


def find_open_caps(caps: Caps, winding: WindingNumber) -> OpenCaps:
    """Tell the caps of holes that the winding number closes from those that other parts of a mesh cover or surround.

    Args:
        caps: the caps of the holes.
        winding: winding number of the mesh, in unit coordinates.
    """
    areas = face_areas(caps.triangles)
    tested = areas > _CRACK / 100
    front, back = np.zeros(len(areas)), np.zeros(len(areas))
    front[tested], back[tested] = winding.beside(caps.triangles[tested], _DEPTH)
    closing = (np.abs(front - 0.5) < 0.25) & (np.abs(back - 0.5) < 0.25)
    whole = (np.abs(front - np.rint(front)) < 0.1) & (np.abs(back - np.rint(back)) < 0.1)
    whole |= (front > 0.75) & (back > 0.75)  # inside another part
    area = np.bincount(caps.hole, areas * closing, len(caps.part))
    return OpenCaps(closing, float(areas[~closing & ~whole].sum()), int((area > _CRACK).sum()))
