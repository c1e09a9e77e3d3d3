"""Polygons become triangles.

Decisions:

- A polygon is split into a fan around a corner that sees all the others. Where no corner does, ear clipping in the
  plane of the polygon finds the triangles (mapbox_earcut).
- Every edge of the polygon stays an edge of a triangle, and every other edge has two triangles. So a closed surface of
  polygons becomes a closed surface of triangles, also where corners lie on a line.
- A polygon that crosses itself has no right triangles. It becomes a fan, which keeps the surface closed.
"""

from collections import Counter
from itertools import pairwise

import mapbox_earcut
import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Faces, Vertices
from weightgpt.shapes.readers.limits import check_faces

MAX_CORNERS = 4096
"""Polygons with more corners must be convex."""
MAX_PAIRS = 2 * 10**8
"""Pairs of edges that are compared at most, over all polygons that are not convex."""

_TRUSTED = 32
"""Up to so many corners, ear clipping is quick for every input."""
_CORNERS_TRIED = 8
"""Polygons of up to so many corners are tried as a fan around each corner."""


def check_corners(vertices: Vertices, corners: NDArray[np.int64]) -> None:
    """Refuse polygons that point to vertices which do not exist, and vertices that are not finite.

    Args:
        vertices: (n, 3).
        corners: indices into `vertices`, of any shape.

    Raises:
        InputError: an index is out of range, or a vertex is NaN or infinite.
    """
    if len(corners) and (corners.min() < 0 or corners.max() >= len(vertices)):
        raise InputError("has faces with vertices that do not exist; repair or export it again.")
    if len(vertices) and not np.isfinite([vertices.min(), vertices.max()]).all():
        raise InputError("has vertices that are NaN or infinite; repair or export it again.")


def count_triangles(sizes: NDArray[np.int64]) -> int:
    """The number of triangles of polygons; those with fewer than three corners have none.

    Args:
        sizes: number of corners of each polygon.
    """
    large = sizes > 2
    return int(sizes.sum(where=large)) - 2 * int(large.sum())


def triangulate(vertices: Vertices, corners: NDArray[np.int64], sizes: NDArray[np.int64]) -> Faces:
    """Split polygons into triangles.

    Args:
        vertices: (n, 3).
        corners: (sum of `sizes`,) indices into `vertices`, polygon after polygon.
        sizes: number of corners of each polygon.

    Returns:
        (m, 3) triangles, those of the polygons with the fewest corners first.

    Raises:
        InputError: an index is out of range, or there are too many triangles or too many corners to compare.
    """
    check_corners(vertices, corners)
    check_faces(count_triangles(sizes))
    if (sizes == 3).all():  # no copy of a large mesh of triangles
        return corners.reshape(-1, 3)
    starts, pairs = np.cumsum(sizes) - sizes, 0
    triangles: list[Faces] = [np.empty((0, 3), np.int64)]
    for size in np.unique(sizes[sizes >= 3]).tolist():
        chosen = sizes == size
        every = bool(chosen.all())
        polygons = corners.reshape(-1, size) if every else corners[starts[chosen][:, None] + np.arange(size)]
        if size == 3:
            triangles.append(polygons)
            continue
        fans, concave = _fans(vertices, polygons)
        triangles.append(fans)
        if len(concave) and size > _TRUSTED:
            pairs += len(concave) * size**2
            if size > MAX_CORNERS or pairs > MAX_PAIRS:
                raise InputError(f"has a concave polygon of {size:,} corners; export it again as triangles.")
        triangles += [_clip_ears(vertices, polygon) for polygon in concave]
    return np.concatenate(triangles)


def _fan(polygons: NDArray[np.int64]) -> Faces:
    """Triangles (m · (n - 2), 3) around the first corner of polygons (m, n)."""
    first = np.broadcast_to(polygons[:, :1], polygons[:, 1:-1].shape)
    return np.stack([first, polygons[:, 1:-1], polygons[:, 2:]], axis=-1).reshape(-1, 3)


def _fans(vertices: Vertices, polygons: NDArray[np.int64]) -> tuple[Faces, NDArray[np.int64]]:
    """Triangles of the polygons (m, n) that a fan fills, and the polygons (k, n) that none fills."""
    triangles, size = [], polygons.shape[1]
    for corner in range(size if size <= _CORNERS_TRIED else 1):
        turned = np.roll(polygons, -corner, axis=1)
        filled = _fan_fills(vertices, turned)
        triangles.append(_fan(turned[filled]))
        polygons = polygons[~filled]
        if len(polygons) == 0:
            break
    return np.concatenate(triangles), polygons


def _fan_fills(vertices: Vertices, polygons: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether all triangles around the first corner of each polygon (m, n) face the same way."""
    filled = np.ones(len(polygons), bool)
    step = max(1, 2**18 // polygons.shape[1])
    for start in range(0, len(polygons), step):
        points = vertices[polygons[start : start + step]]
        spokes = points[:, 1:] - points[:, :1]
        normals = np.cross(spokes[:, :-1], spokes[:, 1:])
        total = normals.sum(axis=1, keepdims=True)
        along = (normals * total).sum(axis=-1)
        filled[start : start + step] = (along >= -1e-12 * (total * total).sum(axis=-1)).all(axis=1)
    return filled


def _clip_ears(vertices: Vertices, polygon: NDArray[np.int64]) -> Faces:
    """Triangles (m, 3) of one polygon (n,)."""
    points = _plane_points(vertices[polygon])
    if len(set(polygon.tolist())) <= len(polygon) // 2 or (len(polygon) > _TRUSTED and _crosses_itself(points)):
        return _fan(polygon[None])
    ears = mapbox_earcut.triangulate_float64(points, np.array([len(points)], np.uint32)).astype(np.int64).reshape(-1, 3)
    a, b, c = points[ears].transpose(1, 2, 0)
    if ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])).sum() < 0:
        ears = ears[:, ::-1]
    # Ear clipping that leaves no corner out makes n - 2 triangles.
    return polygon[ears if len(ears) == len(polygon) - 2 else _with_all_edges(ears, len(polygon))]


def _plane_points(points: Vertices) -> Vertices:
    """Points (n, 3) of a polygon in its plane: (n, 2), with a size of 1, counterclockwise."""
    points = points - points.mean(axis=0)
    size = np.abs(points).max()
    points = points / (size if size > 0 else 1.0)
    normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
    drop = int(np.abs(normal).argmax())
    flat = np.delete(points, drop, axis=1)
    # Without the middle axis, the other two are a left-handed pair.
    mirrored = (normal[drop] < 0) != (drop == 1)
    return np.ascontiguousarray(flat[:, ::-1] if mirrored else flat)


def _crosses_itself(points: Vertices) -> bool:
    """Whether two edges of a polygon (n, 2) cross, or half of its corners coincide with others."""
    if len(np.unique(points, axis=0)) <= len(points) // 2:
        return True
    begin, end = points, np.roll(points, -1, axis=0)

    def side(a: Vertices, b: Vertices, c: Vertices) -> NDArray[np.bool_ | np.float64]:
        return np.sign(
            (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
        )

    for start in range(0, len(points), 64):
        a, b = begin[start : start + 64, None], end[start : start + 64, None]
        apart = side(a, b, begin) * side(a, b, end) < 0
        if (apart & (side(begin, end, a) * side(begin, end, b) < 0)).any():
            return True
    return False


def _with_all_edges(triangles: Faces, corners: int) -> Faces:
    """Add triangles without area so that each edge of the polygon bounds one triangle and no other edge bounds one.

    Ear clipping leaves out corners on a line between their neighbors, which would open the surface.

    Args:
        triangles: (m, 3) indices of corners.
        corners: number of corners of the polygon.
    """
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    missing = Counter((corner, (corner + 1) % corners) for corner in range(corners))
    missing.subtract(map(tuple, edges.tolist()))
    follow: dict[int, list[int]] = {}
    for a, b in list(missing):
        # An edge and its opposite cancel; what is left runs in loops, which fans close.
        for _ in range(missing.get((a, b), 0) - missing.get((b, a), 0)):
            follow.setdefault(a, []).append(b)
        if (b, a) not in missing:
            for _ in range(-missing[a, b]):
                follow.setdefault(b, []).append(a)
    added: list[list[int]] = []
    for first in list(follow):
        while follow.get(first):
            path = [first, follow[first].pop()]
            while path[-1] != first and follow.get(path[-1]):
                path.append(follow[path[-1]].pop())
            added += [[first, b, c] for b, c in pairwise(path[1:]) if c != first]
    return np.concatenate([triangles, np.array(added, np.int64).reshape(-1, 3)])
