"""Triangles cut where other triangles cross them, so that each piece lies wholly inside or outside of a solid.

Decisions:

- A triangle is cut by the plane of each triangle that crosses it, and by the planes through the edges of each triangle
  that overlaps it in its own plane. Pieces that the box of the other triangle does not reach are not cut.

Dimensions: m faces, q pairs of faces, p pieces.
"""

from dataclasses import dataclass

import igl.predicates
import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.connectivity import Faces, Vertices
from weightgpt.shapes.triangles import Triangles

MAX_PIECES = 1_000_000
"""No triangle is cut once there are more pieces than this."""
_ON_PLANE = 1e-9  # corners nearer to a plane lie on it, in unit coordinates
_NO_AREA = 1e-16  # pieces of less than this area are dropped


@dataclass(frozen=True)
class Crossings:
    """The q pairs of faces of a mesh that cross, touch or overlap without being neighbors."""

    pairs: NDArray[np.int64]
    """The two faces (q, 2)."""
    coplanar: NDArray[np.bool_]
    """Whether they overlap in one plane (q,)."""

    def select(self, chosen: NDArray[np.bool_]) -> "Crossings":
        """Return some of the pairs.

        Args:
            chosen: which, (q,).
        """
        return Crossings(self.pairs[chosen], self.coplanar[chosen])


def find_crossings(vertices: Vertices, faces: Faces) -> Crossings:
    """Find the faces that cross, touch or overlap, by exact predicates.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
    """
    _, pairs, coplanar = igl.predicates.find_self_intersections(vertices, faces)
    return Crossings(pairs.reshape(-1, 2), coplanar.ravel().astype(bool))


@dataclass(frozen=True)
class _Cuts:
    """Planes that cut faces, sorted by face."""

    face: NDArray[np.int64]
    normal: NDArray[np.float64]
    offset: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def cut_faces(vertices: Vertices, faces: Faces, crossings: Crossings) -> tuple[Triangles, NDArray[np.int64]]:
    """Cut the faces that others cross.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3).
        crossings: the pairs.

    Returns:
        The pieces (p, 3, 3) of the faces that are in a pair, facing as these do, and the face of each piece (p,).
    """
    cuts = _find_cuts(vertices, faces, crossings)
    owners, first, counts = np.unique(cuts.face, return_index=True, return_counts=True)
    pieces, owner = vertices[faces[owners]], np.arange(len(owners))
    for turn in range(int(counts.max(initial=0))):
        if len(pieces) > MAX_PIECES:
            break
        active = np.flatnonzero(counts[owner] > turn)
        plane = first[owner[active]] + turn
        low, high = pieces[active].min(1), pieces[active].max(1)
        near = ((low <= cuts.high[plane] + _ON_PLANE) & (high >= cuts.low[plane] - _ON_PLANE)).all(1)
        active, plane = active[near], plane[near]
        sides = np.einsum("pij,pj->pi", pieces[active], cuts.normal[plane]) - cuts.offset[plane, None]
        sides[np.abs(sides) < _ON_PLANE] = 0.0
        across = (sides.min(1) < 0) & (sides.max(1) > 0)
        active, sides = active[across], sides[across]
        parts = _split(pieces[active], sides)
        whole = np.ones(len(pieces), bool)
        whole[active] = False
        pieces = np.concatenate([pieces[whole], parts.reshape(-1, 3, 3)])
        owner = np.concatenate([owner[whole], np.repeat(owner[active], 3)])
        areas = np.linalg.norm(np.cross(pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0]), axis=1) / 2
        pieces, owner = pieces[areas > _NO_AREA], owner[areas > _NO_AREA]
    return pieces, owners[owner]


def _find_cuts(vertices: Vertices, faces: Faces, crossings: Crossings) -> _Cuts:
    """The planes that cut each face: those of the faces that cross it, and those at the edges of coplanar ones."""
    pairs = np.concatenate([crossings.pairs, crossings.pairs[:, ::-1]])
    coplanar = np.concatenate([crossings.coplanar, crossings.coplanar])
    corners = vertices[faces[pairs[:, 1]]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    along = (np.roll(corners, -1, axis=1) - corners)[coplanar]
    edge_normals = np.cross(np.repeat(normals[coplanar], 3, axis=0), along.reshape(-1, 3))
    owner = np.concatenate([pairs[~coplanar, 0], np.repeat(pairs[coplanar, 0], 3)])
    normal = np.concatenate([normals[~coplanar], edge_normals])
    point = np.concatenate([corners[~coplanar, 0], corners[coplanar].reshape(-1, 3)])
    cutter = np.concatenate([corners[~coplanar], np.repeat(corners[coplanar], 3, axis=0)])
    length = np.linalg.norm(normal, axis=1)
    order = np.flatnonzero(length > 0)
    order = order[np.argsort(owner[order], kind="stable")]
    normal = normal[order] / length[order, None]
    offset = np.einsum("ij,ij->i", normal, point[order])
    return _Cuts(owner[order], normal, offset, cutter[order].min(1), cutter[order].max(1))


def _split(triangles: Triangles, sides: NDArray[np.float64]) -> Triangles:
    """Split triangles (p, 3, 3) at planes, by the signed distances (p, 3) of their corners; three pieces each.

    One corner is alone on its side. The pieces are the triangle at that corner, and two that make up the rest. Where
    the plane goes through a corner, one piece has no area.
    """
    signs = np.sign(sides)
    others = np.stack([np.roll(signs, -1, axis=1), np.roll(signs, -2, axis=1)])
    alone = (signs != 0) & (others != signs).all(0) & (others == -signs).any(0)
    order = (alone.argmax(1)[:, None] + np.arange(3)) % 3
    rows = np.arange(len(triangles))[:, None]
    (a, b, c), (s, t, u) = triangles[rows, order].transpose(1, 0, 2), sides[rows, order].T[:, :, None]
    to_b, to_c = a + (b - a) * (s / (s - t)), a + (c - a) * (s / (s - u))
    pieces = [np.stack(corners, 1) for corners in ((a, to_b, to_c), (to_b, b, c), (to_b, c, to_c))]
    return np.stack(pieces, 1)
