"""Holes of a mesh, and the surfaces that close them.

Decisions:

- A flat hole of a solid part is closed by the polygon of its rim, so that the part is a closed solid.
- Every other hole is closed where the winding number is 1/2.
- Caps, which are fans of triangles, serve to measure holes.

Dimensions: n vertices, m faces, h holes, c triangles of caps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from weightgpt.shapes.readers.polygons import MAX_CORNERS, triangulate
from weightgpt.shapes.solids.connectivity import Faces, Vertices, find_edges
from weightgpt.shapes.solids.distances import TriangleDistance
from weightgpt.shapes.solids.triangles import Triangles, face_areas, halve, longest_edges
from weightgpt.shapes.solids.winding import WindingNumber

_DEPTH = 1e-3  # distance from a cap at which the winding number is taken, in unit coordinates
_CRACK = 1e-6  # holes of a smaller area are cracks, in squared unit coordinates
_FLAT = 0.05  # a rim is flat if it is nearer to a plane than this, as a share of the size of the hole
_SHEETS = 0.05  # no hole is closed if open surfaces that bound a volume have more than this share of the area
_SIZE = 0.04  # longest edge of the triangles that fill holes, in unit coordinates
_MOST = 10_000  # about the largest number of triangles that fill holes
_HALVINGS = 8  # steps in which the place is found where the winding number is 1/2
_CLEAR = 0.1  # a triangle fills a hole if the winding number in its middle is nearer to 1/2 than this


@dataclass(frozen=True)
class Caps:
    """Fans of triangles about the middle of each loop of open edges."""

    triangles: Triangles
    """Positions of the corners (c, 3, 3), facing outward if the mesh does."""
    ends: NDArray[np.int64]
    """The first two of these corners, as numbers of vertices (c, 2)."""
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
    return Caps(triangles, ends % len(vertices), hole, part, middle, vectors)


@dataclass(frozen=True)
class Closing:
    """Faces that close flat holes."""

    faces: Faces
    """Faces (c, 3), facing outward."""
    holes: int
    """Number of the holes."""


def close_flat_holes(vertices: Vertices, faces: Faces, of_face: NDArray[np.int64], solid: NDArray[np.bool_]) -> Closing:
    """Find faces that close the flat holes of solid parts, as far as nothing else does.

    A hole is flat if its rim is one loop in a plane. It is left open where other faces cover it, where it leads through
    a solid, or where open surfaces surround the volume together with its part.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3), facing outward.
        of_face: part of each face (m,).
        solid: which parts surround a volume by themselves, (k,).
    """
    area, sheet = face_areas(vertices[faces]), ~solid[of_face]
    caps = cap_holes(vertices, faces, of_face)
    flat = np.flatnonzero(_is_flat(caps) & solid[caps.part] & (area[sheet].sum() <= _SHEETS * area.sum()))
    if len(flat) == 0:
        return Closing(faces[:0], 0)
    loops = [_trace(caps.ends[caps.hole == hole]) for hole in flat]
    parts = [triangulate(vertices, loop, np.array([len(loop)])) for loop in loops]
    added, number = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    areas = face_areas(vertices[added])
    corners, of_hole, weight = vertices[added][areas > 0], number[areas > 0], areas[areas > 0]
    front, back = WindingNumber(vertices, faces).beside(corners, _DEPTH)
    around = np.abs(WindingNumber(vertices, faces[sheet]).beyond(corners, _DEPTH))
    jump, level, around = (
        np.bincount(of_hole, weight * value, len(parts)) / np.bincount(of_hole, weight, len(parts))
        for value in (back - front, (front + back) / 2, around)
    )
    closing = (jump < 0.5) & (level > 0.25) & (around < 0.25)
    return Closing(np.ascontiguousarray(added[closing[number]]), int(closing.sum()))


def _is_flat(caps: Caps) -> NDArray[np.bool_]:
    """Which holes (h,) have a rim that is one loop in a plane, and not too long to be triangulated."""
    count = len(caps.part)
    area = np.linalg.norm(caps.vectors, axis=1)
    normals = caps.vectors / np.maximum(area, 1e-300)[:, None]
    heights = np.abs(np.einsum("ij,ij->i", caps.triangles[:, 0] - caps.middle[caps.hole], normals[caps.hole]))
    height = np.zeros(count)
    np.maximum.at(height, caps.hole, heights)
    size = np.bincount(caps.hole, minlength=count)
    flat: NDArray[np.bool_] = (height < _FLAT * np.sqrt(area)) & (area > _CRACK) & (size <= MAX_CORNERS)
    for ends in caps.ends.T:
        _, first = np.unique(np.stack([caps.hole, ends], 1), axis=0, return_index=True)
        flat &= np.bincount(caps.hole[first], minlength=count) == size
    return flat


def _trace(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The vertices of a loop in their order, from the two ends (c, 2) of its edges."""
    following = dict(ends.tolist())
    loop = [int(ends[0, 0])]
    while len(loop) < len(ends):
        loop.append(following[loop[-1]])
    return np.array(loop, np.int64)


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


def fill_holes(caps: Caps, winding: WindingNumber) -> Triangles:
    """Find the surface across the holes of a mesh: where the winding number is 1/2.

    The caps are halved until they are small. Each of their corners is moved along the normal of its hole to where the
    winding number is 1/2, by no more than half its distance from the rim. What then lies elsewhere is dropped, such as
    a cap inside another part of the mesh.

    Args:
        caps: the caps of the holes.
        winding: winding number of the mesh, in unit coordinates.

    Returns:
        Triangles (t, 3, 3), which face outward if the mesh does.
    """
    areas = face_areas(caps.triangles)
    chosen = (np.bincount(caps.hole, areas, len(caps.part))[caps.hole] > _CRACK) & (areas > 0)
    triangles, hole = caps.triangles[chosen], caps.hole[chosen]
    to_rim = TriangleDistance(triangles[:, [0, 1, 1]])
    size = max(_SIZE, 2 * float(np.sqrt(areas[chosen].sum() / _MOST)))
    while (long := longest_edges(triangles) > size).any():
        triangles = np.concatenate([triangles[~long], halve(triangles[long])])
        hole = np.concatenate([hole[~long], np.tile(hole[long], 2)])
    corners, first, of_corner = np.unique(triangles.reshape(-1, 3), axis=0, return_index=True, return_inverse=True)
    normals = caps.vectors / np.maximum(np.linalg.norm(caps.vectors, axis=1, keepdims=True), 1e-300)
    step = to_rim(corners)[:, None] / 2 * normals[np.repeat(hole, 3)[first]]
    low, high = corners - step, corners + step
    crossed = (winding(low) > 0.5) & (winding(high) < 0.5)
    low, high = low[crossed], high[crossed]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = (winding(middle) > 0.5)[:, None]
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    corners[crossed] = (low + high) / 2
    triangles = corners[of_corner.reshape(-1, 3)]
    return triangles[np.abs(winding(triangles.mean(1)) - 0.5) < _CLEAR]
