"""Flat fans of many triangles around one vertex, cut into triangles of another kind.

Decisions:

- The triangles of such a fan are long and thin, and the boxes of most of them overlap. So each would be compared with
  each. Triangles that halve the outline again and again cover the same area with the same outline, and are short.
- Single precision bends the outline of a fan of many triangles a little inward at some places. So a convex polygon of
  some of its corners is cut, and so are the narrow pieces between that polygon and the outline.
- A fan whose outline is not nearly convex stays as it is.

Dimensions: n vertices, m faces, s corners of an outline, t triangles.
"""

from collections.abc import Iterator

import manifold3d
import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices

LEAST = 64
"""Fans of fewer triangles stay as they are."""
_PLANES = 4  # planes that are tried for the faces around a vertex
_PARALLEL = 0.9  # cosine of the angle between faces that may lie in one plane
_FLAT = 5e-7  # distance of a vertex to the plane of its fan, in unit coordinates
_STRIDES = (1, 4, 16, 64)  # every corner of an outline is taken for the convex polygon, or every fourth, and so on


def spread_fans(vertices: Vertices, faces: Faces) -> Faces:
    """Cut flat fans of at least `LEAST` triangles into triangles that are not all at one vertex.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3), neighbors facing the same way.

    Returns:
        The faces (m', 3); those of fans are the last. A vertex in the middle of a fan is used no more.
    """
    number = np.bincount(faces.ravel(), minlength=len(vertices))
    hubs = np.flatnonzero(number >= LEAST)
    if len(hubs) == 0:
        return faces
    corner = np.flatnonzero(np.isin(faces.ravel(), hubs))
    corner = corner[np.argsort(faces.ravel()[corner], kind="stable")]
    around = dict(zip(hubs.tolist(), np.split(corner, np.cumsum(number[hubs])[:-1]), strict=True))
    left, new = np.ones(len(faces), bool), []
    for hub in hubs[np.argsort(-number[hubs], kind="stable")].tolist():
        corners = around[hub][left[around[hub] // 3]]
        if len(corners) < LEAST:
            continue
        rows, turn = corners // 3, corners % 3
        # Each face begins at the hub.
        turned = faces[rows[:, None], (turn[:, None] + np.arange(3)) % 3]
        for members in _flat_groups(vertices, turned):
            for chosen, outline in _outlines(turned, members):
                triangles = _triangulate(vertices[outline])
                if triangles is not None:
                    left[rows[chosen]] = False
                    new.append(outline[triangles])
    return np.concatenate([faces[left], *new])


def _flat_groups(vertices: Vertices, turned: Faces) -> Iterator[NDArray[np.int64]]:
    """Numbers of the faces (t, 3) around a vertex that lie in one plane, for each such plane with enough of them."""
    corners = vertices[turned] - vertices[turned[0, 0]]
    normals = np.cross(corners[:, 1], corners[:, 2])
    sizes = np.linalg.norm(normals, axis=1)
    unit = normals / np.maximum(sizes, 1e-300)[:, None]
    left = np.ones(len(turned), bool)
    for _ in range(_PLANES):
        if left.sum() < LEAST:
            return
        first = int(np.argmax(np.where(left, sizes, -1)))
        normal = normals[left & (unit @ unit[first] > _PARALLEL)].sum(0)
        normal /= max(float(np.linalg.norm(normal)), 1e-300)
        members = left & (np.abs(corners @ normal) < _FLAT).all(1) & (unit @ normal > _PARALLEL)
        if members.sum() >= LEAST:
            yield np.flatnonzero(members)
        left &= ~members
        left[first] = False


def _outlines(turned: Faces, members: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The runs of neighbors among some faces around a vertex, as numbers of faces, and the outline of each run."""
    after = {int(turned[i, 1]): int(i) for i in members}
    ends = set(turned[members, 2].tolist())
    if len(after) < len(members) or len(ends) < len(members):
        return  # an edge has more than two faces
    starts = [start for start in after if start not in ends]
    while after:
        start = starts.pop() if starts else next(iter(after))
        run, at = [], start
        while at in after:
            run.append(after.pop(at))
            at = int(turned[run[-1], 2])
        if len(run) >= LEAST:
            rim = turned[run, 1]
            yield np.array(run), rim if at == start else np.concatenate([turned[run[:1], 0], rim, [at]])


def _triangulate(points: Vertices) -> NDArray[np.int64] | None:
    """Triangles (t, 3) of a flat polygon (s, 3); None if it is not nearly convex."""
    flat = _plane_points(points)
    for stride in _STRIDES:
        coarse = np.arange(0, len(flat), stride)
        if len(coarse) < 3 or not _is_convex(flat[coarse]):
            continue
        pieces = [coarse]
        if stride > 1:
            pieces += [np.arange(i, i + stride + 1) % len(flat) for i in coarse[:-1]]
            pieces.append(np.append(np.arange(coarse[-1], len(flat)), 0))
        cut = [piece[manifold3d.triangulate([flat[piece]])] for piece in pieces if len(piece) > 2]
        triangles = np.concatenate(cut).astype(np.int64)
        if len(triangles) == len(flat) - 2 and (_doubled_areas(flat[triangles]) > 0).all():
            return triangles
    return None


def _plane_points(points: Vertices) -> NDArray[np.float64]:
    """The corners (s, 3) of a polygon in its plane, (s, 2), counterclockwise."""
    points = points - points.mean(0)
    normal = np.cross(points, np.roll(points, -1, axis=0)).sum(0)
    normal /= max(float(np.linalg.norm(normal)), 1e-300)
    across = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    across /= np.linalg.norm(across)
    return np.ascontiguousarray(points @ np.stack([across, np.cross(normal, across)], 1))


def _is_convex(polygon: NDArray[np.float64]) -> bool:
    """Whether a polygon (s, 2) turns left at each corner, and once around in all."""
    step = np.roll(polygon, -1, axis=0) - polygon
    after = np.roll(step, -1, axis=0)
    left, ahead = step[:, 0] * after[:, 1] - step[:, 1] * after[:, 0], (step * after).sum(1)
    return bool((left > 0).all() and np.arctan2(left, ahead).sum() < 3 * np.pi)


def _doubled_areas(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twice the signed areas (t,) of triangles (t, 3, 2)."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    areas: NDArray[np.float64] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return areas
