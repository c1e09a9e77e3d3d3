"""The surface of a solid: the faces of its mesh without those inside it.

Decisions:

- A point is inside where the winding number exceeds 1/2. A piece of a face belongs to the surface if one of its sides
  is inside and the other is not.
- Closed parts that cross each other are united by Manifold, which is exact. Faces that still cross others, because a
  part is open or crosses itself, are cut where they do, and the pieces inside are dropped.
- The largest part that crosses itself is united as well if it does so at few places. If its winding number is w and
  that of the other parts v, Manifold gives a solid of w + v - w v. That is right if v is 0 or 1 and w is not negative.
- A mesh of too many crossings is refused, because its surface would take minutes.
- Where all parts are closed, and no faces cross or touch but those of parts that are united, faces that hang together
  are all inside or not, so a few of them are tested. Elsewhere each face is tested, because faces that only touch can
  end a solid as well.
- Holes make the winding number vary along a face. Such a face is cut where the winding number on one of its sides is
  1/2.

Dimensions: n vertices, m faces, k parts, q pairs of faces.
"""

from dataclasses import dataclass

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from weightgpt.shapes.solids.arrangement import Crossings, cut_faces, find_crossings, split_triangles
from weightgpt.shapes.solids.connectivity import Faces, Vertices, drop_unused, find_edges, label_patches
from weightgpt.shapes.solids.parts import Parts, measure_parts
from weightgpt.shapes.solids.triangles import Triangles, face_areas, halve, largest_of, longest_edges, tetrahedra
from weightgpt.shapes.solids.winding import WindingNumber

_DEPTH = 2e-6  # distance from a face at which its two sides are tested, in unit coordinates
_TESTED = 3  # faces that are tested of those that hang together
_NO_AREA = 1e-16  # pieces of less than this area are dropped
_TURNS = 6  # times that triangles are cut where holes make the winding number vary
_COARSE = 0.1  # triangles with longer edges are halved first, in unit coordinates
_FINE = 0.04  # triangles of shorter edges are not cut, in unit coordinates
_MARGIN = 0.2  # the corners of a triangle are tested if the winding number is nearer to 1/2 than this and its length
_SELF_CROSSINGS = 0.01  # a part of more pairs than this share of its faces that cross is not united by Manifold


@dataclass(frozen=True)
class Surface:
    """The triangles that separate the inside of a solid from its outside."""

    triangles: Triangles
    """Positions of the corners (m, 3, 3) in unit coordinates, facing outward."""
    copies: NDArray[np.float64]
    """How many coincident triangles each is one of (m,)."""


def solid_surface(vertices: Vertices, faces: Faces, winding: WindingNumber) -> Surface:
    """Find the surface of the solid that a mesh surrounds.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3), facing outward.
        winding: winding number of the mesh.

    Raises:
        TooComplexError: its faces cross at too many places, or too many are near to each other.
    """
    if len(faces) == 0:
        return Surface(np.zeros((0, 3, 3)), np.zeros(0))
    crossings = find_crossings(vertices, faces)
    parts = measure_parts(vertices, faces)
    if len(crossings.pairs) == 0 and len(parts.area) == 1 and not parts.is_open.any():
        return Surface(vertices[faces], np.ones(len(faces)))
    united, left = _unite(vertices, faces, parts, crossings)
    others = crossings.select(left[crossings.pairs[:, 0]] | left[crossings.pairs[:, 1]])
    if united:
        one, two = parts.of_face[crossings.pairs].T
        tangled = ~left[crossings.pairs[one == two]].all()  # a part that crosses itself is in a union
        vertices, faces, of_union = _join_unions(vertices, faces[left], united)
        if tangled:
            crossings = find_crossings(vertices, faces)
        else:  # unions cross neither themselves nor each other
            crossings = _between(find_crossings(vertices, faces), of_union) if len(others.pairs) else others
    whole = np.ones(len(faces), bool)
    whole[crossings.pairs] = False
    in_patches = whole & (len(others.pairs) == 0) & ~parts.is_open.any()
    patches = _outer_patches(vertices, faces, in_patches, winding)
    single = _outer(vertices[faces[whole & ~in_patches]], True, winding)
    pieces = _outer(cut_faces(vertices, faces, crossings)[0], False, winding)
    if united:  # faces that lie on each other can be one face of a union
        several = pieces.copies > 1
        front, back = WindingNumber(vertices, faces).beside(pieces.triangles[several], _DEPTH)
        pieces.copies[several] = np.maximum(np.rint(back - front), 1)
    single = Surface(single.triangles, np.ones(len(single.triangles)))
    return _join(_join(patches, single), pieces)


def _join_unions(
    vertices: Vertices, faces: Faces, united: list[tuple[Vertices, Faces]]
) -> tuple[Vertices, Faces, NDArray[np.int64]]:
    """Join faces and unions to one mesh.

    Returns:
        The vertices (n, 3), the faces (m, 3), and the number of the union of each face (m,); 0 for those of none.
    """
    meshes = [(vertices, faces), *united]
    starts = np.cumsum([0, *(len(corners) for corners, _ in meshes)])
    joined = [triples + start for (_, triples), start in zip(meshes, starts, strict=False)]
    of_union = np.repeat(np.arange(len(meshes)), [len(triples) for triples in joined])
    return np.concatenate([corners for corners, _ in meshes]), np.concatenate(joined), of_union


def _between(crossings: Crossings, of_union: NDArray[np.int64]) -> Crossings:
    """The pairs of faces that are not both of one union, which has no crossings if its parts have none."""
    one, two = of_union[crossings.pairs].T
    return crossings.select((one != two) | (one == 0))


def enclosed_volume(surface: Surface, caps: Triangles) -> float:
    """Compute the volume inside a surface whose holes are closed by flat caps.

    Args:
        surface: the surface.
        caps: the triangles (c, 3, 3) of the caps.
    """
    return float((tetrahedra(surface.triangles) / surface.copies).sum() + tetrahedra(caps).sum())


def _join(first: Surface, second: Surface) -> Surface:
    return Surface(np.concatenate([first.triangles, second.triangles]), np.concatenate([first.copies, second.copies]))


def _outer_patches(vertices: Vertices, faces: Faces, chosen: NDArray[np.bool_], winding: WindingNumber) -> Surface:
    """Drop the patches that have both of their sides inside or outside; a few faces of each are tested.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
        chosen: which faces (m,) make up the patches; no others cross or touch them.
        winding: winding number of the mesh.
    """
    triangles, patches = vertices[faces[chosen]], label_patches(faces, chosen)
    areas, count = face_areas(triangles), int(patches.max(initial=-1)) + 1
    tested = largest_of(areas, patches, _TESTED)
    tested = tested[areas[tested] > 0]
    number = np.maximum(np.bincount(patches[tested], minlength=count), 1)
    front, back = (
        np.bincount(patches[tested], side, count) / number for side in winding.beside(triangles[tested], _DEPTH)
    )
    outer = triangles[((front < 0.5) & (back > 0.5))[patches]]
    return Surface(outer, np.ones(len(outer)))


def _outer(triangles: Triangles, single: bool, winding: WindingNumber) -> Surface:
    """Drop what of each triangle has both of its sides inside or outside.

    Triangles are cut while their corners and their middle differ, which holes of the mesh can cause.

    Args:
        triangles: (m, 3, 3).
        single: whether no other face of the mesh lies on them, so that the winding number grows by 1 behind them.
        winding: winding number of the mesh.
    """
    outer = Surface(np.zeros((0, 3, 3)), np.zeros(0))
    triangles = triangles[face_areas(triangles) > 0]
    front, jump = winding.beyond(triangles, _DEPTH), np.ones(len(triangles))
    doubtful = np.flatnonzero(front < (-0.5 if single else 0.5) + _MARGIN + longest_edges(triangles))
    behind = winding.beyond(triangles[doubtful], -_DEPTH)
    jump[doubtful] = np.maximum(np.rint(behind - front[doubtful]), 1)
    for turn in range(_TURNS + 1):
        separates = (front < 0.5) & (front + jump > 0.5)
        margin = np.minimum(np.abs(front - 0.5), np.abs(front + jump - 0.5))
        length = longest_edges(triangles)
        mixed = np.flatnonzero((margin < _MARGIN + length) & (length > _FINE) & (turn < _TURNS))
        sides = winding.near_corners(triangles[mixed], _DEPTH)
        same = ((sides < 0.5) & (sides + jump[mixed, None] > 0.5)) == separates[mixed, None]
        mixed, sides = mixed[~same.all(1)], sides[~same.all(1)]
        separates[mixed] = False
        outer = _join(outer, Surface(triangles[separates], jump[separates]))
        if len(mixed) == 0:
            break
        triangles, of = _cut_at_level(triangles[mixed], sides, jump[mixed])
        front, jump = winding.beyond(triangles, _DEPTH), jump[mixed][of]
    return outer


def _cut_at_level(
    triangles: Triangles, sides: NDArray[np.float64], jump: NDArray[np.float64]
) -> tuple[Triangles, NDArray[np.int64]]:
    """Cut triangles along the line where the winding number on one of their sides is 1/2; halve large ones.

    Args:
        triangles: (m, 3, 3).
        sides: winding numbers (m, 3) in front of their corners.
        jump: by how much the winding number grows from their front to their back (m,).

    Returns:
        The pieces, and the triangle that each is from.
    """
    mean = sides.mean(1)
    height = sides - np.where(np.abs(mean - 0.5) < np.abs(mean + jump - 0.5), 0.5, 0.5 - jump)[:, None]
    cut = (height.min(1) < 0) & (height.max(1) > 0) & (longest_edges(triangles) < _COARSE)
    pieces = np.concatenate([split_triangles(triangles[cut], height[cut]).reshape(-1, 3, 3), halve(triangles[~cut])])
    of = np.concatenate([np.repeat(np.flatnonzero(cut), 3), np.tile(np.flatnonzero(~cut), 2)])
    chosen = face_areas(pieces) > _NO_AREA
    return pieces[chosen], of[chosen]


def _unite(
    vertices: Vertices, faces: Faces, parts: Parts, crossings: Crossings
) -> tuple[list[tuple[Vertices, Faces]], NDArray[np.bool_]]:
    """Unite the groups of closed parts that cross each other and, but for one of them, not themselves.

    Returns:
        The vertices and faces of each union, and which faces (m,) are in no union.
    """
    links = parts.of_face[crossings.pairs]
    fit = _fit_parts(vertices, faces, parts, crossings)
    links = links[fit[links].all(1) & (links[:, 0] != links[:, 1])]
    count = len(parts.area)
    _, clusters = connected_components(coo_array((np.ones(len(links)), links.T), shape=(count, count)), directed=False)
    cluster, size = clusters[parts.of_face], np.bincount(clusters)
    shared = np.flatnonzero(size[cluster] > 1)
    shared = shared[np.lexsort((parts.of_face[shared], cluster[shared]))]
    pieces = np.split(faces[shared], np.flatnonzero(np.diff(parts.of_face[shared])) + 1)
    united, first, whole = [], 0, np.zeros(len(size), bool)
    for number in np.flatnonzero(size > 1):
        union = _unite_parts(vertices, pieces[first : first + size[number]])
        first += size[number]
        if union is not None:
            united.append(union)
            whole[number] = True
    return united, ~whole[cluster]


def _fit_parts(vertices: Vertices, faces: Faces, parts: Parts, crossings: Crossings) -> NDArray[np.bool_]:
    """Tell which parts (k,) Manifold can unite with others."""
    fit = ~parts.is_open & (parts.volume > 0)
    one, two = parts.of_face[crossings.pairs].T
    crossed = np.bincount(one[one == two], minlength=len(fit)) > 0
    if crossed.any():
        largest = int(np.argmax(np.bincount(parts.of_face) * crossed))
        own = crossings.select((one == two) & (one == largest))
        crossed[largest] = not _is_nearly_simple(vertices, faces, parts.of_face == largest, own)
    edges = find_edges(faces + parts.of_face[:, None] * len(vertices))  # as if no two parts had a vertex in common
    fit[parts.of_face[(edges.num_faces[edges.of_face] != 2).any(1)]] = False
    return fit & ~crossed


def _is_nearly_simple(vertices: Vertices, faces: Faces, part: NDArray[np.bool_], crossings: Crossings) -> bool:
    """Whether a part crosses itself at few places and is nowhere inside out, so that Manifold can unite it.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
        part: which faces (m,) are of the part.
        crossings: the pairs of its faces that cross.
    """
    if len(crossings.pairs) > _SELF_CROSSINGS * part.sum():
        return False
    pieces, _ = cut_faces(vertices, faces, crossings)
    # Where the winding number is negative, pieces of faces that cross end it, or the whole part does.
    tested = np.concatenate([vertices[faces[part][:_TESTED]], pieces])
    winding = WindingNumber(*drop_unused(vertices, faces[part]))
    return bool((winding.beyond(tested, _DEPTH) > -0.5).all())


def _unite_parts(vertices: Vertices, parts: list[Faces]) -> tuple[Vertices, Faces] | None:
    """Unite closed parts; None if Manifold cannot."""
    manifolds = []
    for faces in parts:
        corners, triples = drop_unused(vertices, faces)
        manifolds.append(manifold3d.Manifold(manifold3d.Mesh64(corners, triples.astype(np.uint64))))
    if any(manifold.status() != manifold3d.Error.NoError for manifold in manifolds):
        return None
    union = manifold3d.Manifold.batch_boolean(manifolds, manifold3d.OpType.Add)
    if union.status() != manifold3d.Error.NoError or union.is_empty():
        return None
    mesh = union.to_mesh64()
    return np.asarray(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts, np.int64)
