"""Triangles cut where other triangles cross them, so that each piece lies wholly inside or outside of a solid.

Decisions:

- A triangle is cut along the segment in which another triangle crosses it, and along the edges of each triangle that
  overlaps it in its own plane. Only the pieces are cut that the segment goes through, each from side to side.

Dimensions: m faces, q pairs of faces, p pieces.
"""

from dataclasses import dataclass

import igl.predicates
import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices
from weightgpt.shapes.solids.convexity import is_convex
from weightgpt.shapes.solids.crowding import TooComplexError, check_pairs
from weightgpt.shapes.solids.triangles import Triangles

MAX_PIECES = 120_000
"""Most pieces that the faces of a mesh are cut into."""
MAX_PAIRS = 300_000
"""Most pairs of faces that cross."""
_SAMPLE = 2000  # faces from which the number of pairs is estimated
_ON_PLANE = 1e-9  # corners nearer to a plane lie on it, in unit coordinates
_PARALLEL = 1e-9  # sine of the angle below which two planes are parallel
_TANGLED = (
    "parts that cross each other at too many places to unite them; unite them in a 3D program, or give a simpler mesh"
)
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

    Raises:
        TooComplexError: there are more than `MAX_PAIRS`, by an estimate from some of the faces or by count, or too many
            faces are near to each other.
    """
    if is_convex(vertices, faces):
        return Crossings(np.zeros((0, 2), np.int64), np.zeros(0, bool))
    check_pairs(vertices, faces)
    if len(faces) > _SAMPLE:
        chosen = np.random.default_rng(0).choice(len(faces), _SAMPLE, replace=False)
        _, pairs, _ = igl.predicates.find_self_intersections(vertices, np.ascontiguousarray(faces[chosen]))
        if len(pairs) > 10 and len(pairs) * (len(faces) / _SAMPLE) ** 2 > 2 * MAX_PAIRS:
            raise TooComplexError(_TANGLED)
    _, pairs, coplanar = igl.predicates.find_self_intersections(vertices, faces)
    pairs = pairs.reshape(-1, 2)
    if len(pairs) > MAX_PAIRS:
        raise TooComplexError(_TANGLED)
    return Crossings(pairs, coplanar.ravel().astype(bool))


@dataclass(frozen=True)
class _Cuts:
    """Segments in the planes of faces along which the faces are cut, sorted by face (c,)."""

    face: NDArray[np.int64]
    """The face that is cut (c,)."""
    normal: NDArray[np.float64]
    """Normal (c, 3) of the plane that cuts it."""
    start: NDArray[np.float64]
    """Starts (c, 3) of the segments."""
    along: NDArray[np.float64]
    """Unit directions (c, 3)."""
    length: NDArray[np.float64]
    """Lengths (c,)."""


def cut_faces(vertices: Vertices, faces: Faces, crossings: Crossings) -> tuple[Triangles, NDArray[np.int64]]:
    """Cut the faces that others cross.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3).
        crossings: the pairs.

    Returns:
        The pieces (p, 3, 3) of the faces that are in a pair, facing as these do, and the face of each piece (p,).

    Raises:
        TooComplexError: there are more than `MAX_PIECES` pieces.
    """
    cuts = _join_cuts(_plane_cuts(vertices, faces, crossings), _edge_cuts(vertices, faces, crossings))
    owners = np.unique(crossings.pairs)
    first, last = np.searchsorted(cuts.face, owners), np.searchsorted(cuts.face, owners, side="right")
    pieces, owner = vertices[faces[owners]], np.arange(len(owners))
    done_pieces, done_owners = [], []
    for turn in range(int((last - first).max(initial=0)) + 1):
        active = first[owner] + turn < last[owner]
        done_pieces.append(pieces[~active])
        done_owners.append(owner[~active])
        pieces, owner = pieces[active], owner[active]
        if len(pieces) + sum(map(len, done_pieces)) > MAX_PIECES:
            raise TooComplexError(_TANGLED)
        pieces, owner = _cut(pieces, owner, cuts, first[owner] + turn)
    return np.concatenate([*done_pieces, pieces]), owners[np.concatenate([*done_owners, owner])]


def _cut(
    pieces: Triangles, owner: NDArray[np.int64], cuts: _Cuts, number: NDArray[np.int64]
) -> tuple[Triangles, NDArray[np.int64]]:
    """Cut each piece (p, 3, 3) along one segment, given by its number (p,), if the segment lies in the piece."""
    offsets = pieces - cuts.start[number][:, None]
    sides = np.einsum("pij,pj->pi", offsets, cuts.normal[number])
    sides[np.abs(sides) < _ON_PLANE] = 0.0
    along = np.einsum("pij,pj->pi", offsets, cuts.along[number])
    across = (sides.min(1) < 0) & (sides.max(1) > 0)
    across &= (along.min(1) < cuts.length[number] - _ON_PLANE) & (along.max(1) > _ON_PLANE)
    index = np.flatnonzero(across)
    parts = split_triangles(pieces[index], sides[index])
    # The plane goes through the whole piece, but the segment may end before it.
    cut = np.einsum("pij,pj->pi", parts[:, 0, 1:] - cuts.start[number[index]][:, None], cuts.along[number[index]])
    inside = (cut.min(1) < cuts.length[number[index]] - _ON_PLANE) & (cut.max(1) > _ON_PLANE)
    whole = np.ones(len(pieces), bool)
    whole[index[inside]] = False
    new = parts[inside].reshape(-1, 3, 3)
    new_owner = np.repeat(owner[index[inside]], 3)
    areas = np.linalg.norm(np.cross(new[:, 1] - new[:, 0], new[:, 2] - new[:, 0]), axis=1) / 2
    new, new_owner = new[areas > _NO_AREA], new_owner[areas > _NO_AREA]
    return np.concatenate([pieces[whole], new]), np.concatenate([owner[whole], new_owner])


def _plane_cuts(vertices: Vertices, faces: Faces, crossings: Crossings) -> _Cuts:
    """Where the faces that cross a face meet its plane."""
    pairs = crossings.pairs[~crossings.coplanar]
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    own, other = vertices[faces[pairs[:, 0]]], vertices[faces[pairs[:, 1]]]
    own_normal, other_normal = _normals(own), _normals(other)
    heights = np.einsum("pij,pj->pi", other - own[:, :1], own_normal)
    heights[np.abs(heights) < _ON_PLANE] = 0.0
    # Corners in the plane, and the points where edges go through it.
    after = np.roll(heights, -1, axis=1)
    through = heights * after < 0
    share = np.where(through, heights / np.where(through, heights - after, 1.0), 0.0)
    points = np.concatenate([other, other + share[:, :, None] * (np.roll(other, -1, axis=1) - other)], 1)
    valid = np.concatenate([heights == 0, through], 1)
    direction = np.cross(own_normal, other_normal)
    size = np.linalg.norm(direction, axis=1)
    along = direction / np.maximum(size, 1e-300)[:, None]
    place = np.einsum("pij,pj->pi", points, along)
    low, high = np.where(valid, place, np.inf), np.where(valid, place, -np.inf)
    rows = np.arange(len(pairs))
    good = valid.any(1) & (size > _PARALLEL)
    start = points[rows, low.argmin(1)]
    length = np.where(good, high.max(1, initial=-np.inf) - low.min(1, initial=np.inf), 0.0)
    good &= length > _ON_PLANE
    return _Cuts(pairs[good, 0], other_normal[good], start[good], along[good], length[good])


def _edge_cuts(vertices: Vertices, faces: Faces, crossings: Crossings) -> _Cuts:
    """The edges of the faces that overlap a face in its own plane."""
    pairs = crossings.pairs[crossings.coplanar]
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    corners = vertices[faces[pairs[:, 1]]]
    edges = (np.roll(corners, -1, axis=1) - corners).reshape(-1, 3)
    length = np.linalg.norm(edges, axis=1)
    good = length > _ON_PLANE
    along = edges[good] / length[good, None]
    normal = np.cross(np.repeat(_normals(corners), 3, axis=0)[good], along)
    return _Cuts(np.repeat(pairs[:, 0], 3)[good], normal, corners.reshape(-1, 3)[good], along, length[good])


def _join_cuts(one: _Cuts, two: _Cuts) -> _Cuts:
    """Join cuts, sorted by face."""
    face = np.concatenate([one.face, two.face])
    order = np.argsort(face, kind="stable")
    normal = np.concatenate([one.normal, two.normal])[order]
    start, along = np.concatenate([one.start, two.start])[order], np.concatenate([one.along, two.along])[order]
    return _Cuts(face[order], normal, start, along, np.concatenate([one.length, two.length])[order])


def _normals(triangles: Triangles) -> NDArray[np.float64]:
    """Unit normals (m, 3); zero for triangles without an area."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    unit: NDArray[np.float64] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    return unit


def split_triangles(triangles: Triangles, sides: NDArray[np.float64]) -> Triangles:
    """Split triangles (p, 3, 3) at planes, by the signed distances (p, 3) of their corners; three pieces (p, 3, 3, 3).

    One corner is alone on its side. The pieces are the triangle at that corner, and two that make up the rest. Where
    the plane goes through a corner, one piece has no area.

    Args:
        triangles: (p, 3, 3).
        sides: (p, 3), neither all positive nor all negative for any triangle.
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
