"""The surface of a solid: the faces of its mesh without those inside it.

Decisions:

- A point is inside where the winding number exceeds 1/2. A piece of a face belongs to the surface if one of its sides
  is inside and the other is not.
- Closed parts that cross each other are united by Manifold, which is exact. Where parts are open or cross themselves,
  faces are cut where others cross them, and the pieces inside are dropped.
- Faces that no other face crosses are inside or not together with all that hang together with them, so a few of them
  are tested.

Dimensions: n vertices, m faces, k parts, q pairs of faces.
"""

from dataclasses import dataclass

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from weightgpt.shapes.solids.arrangement import Crossings, cut_faces, find_crossings
from weightgpt.shapes.solids.connectivity import Faces, Vertices, find_edges, label_patches
from weightgpt.shapes.solids.parts import Parts, measure_parts
from weightgpt.shapes.solids.triangles import Triangles, face_areas, largest_of, tetrahedra
from weightgpt.shapes.solids.winding import WindingNumber

_DEPTH = 2e-6  # distance from a face at which its two sides are tested, in unit coordinates
_TESTED = 3  # faces of a group that are tested


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
    """
    if len(faces) == 0:
        return Surface(np.zeros((0, 3, 3)), np.zeros(0))
    crossings = find_crossings(vertices, faces)
    parts = measure_parts(vertices, faces)
    if len(crossings.pairs) == 0 and len(parts.area) == 1:
        return Surface(vertices[faces], np.ones(len(faces)))
    united, left, remaining = _unite(vertices, faces, parts, crossings)
    crossings = crossings.select(remaining)
    crossed = np.zeros(len(faces), bool)
    crossed[crossings.pairs] = True
    pieces, _ = cut_faces(vertices, faces, crossings)
    whole = left & ~crossed
    groups = [label_patches(faces, whole)]
    triangles = [vertices[faces[whole]]]
    for corners, connected in united:
        triangles.append(corners)
        groups.append(connected + sum(int(group.max(initial=-1)) + 1 for group in groups))
    return _join(
        _outer(np.concatenate(triangles), np.concatenate(groups), winding),
        _outer(pieces, np.arange(len(pieces)), winding),
    )


def enclosed_volume(surface: Surface, caps: Triangles) -> float:
    """Compute the volume inside a surface whose holes are closed by flat caps.

    Args:
        surface: the surface.
        caps: the triangles (c, 3, 3) of the caps.
    """
    return float((tetrahedra(surface.triangles) / surface.copies).sum() + tetrahedra(caps).sum())


def _join(first: Surface, second: Surface) -> Surface:
    return Surface(np.concatenate([first.triangles, second.triangles]), np.concatenate([first.copies, second.copies]))


def _outer(triangles: Triangles, groups: NDArray[np.int64], winding: WindingNumber) -> Surface:
    """Drop the groups of triangles whose two sides are both inside or both outside.

    The largest triangles of a group are tested.
    """
    if len(triangles) == 0:
        return Surface(triangles, np.zeros(0))
    areas = face_areas(triangles)
    tested = largest_of(areas, groups, _TESTED)
    tested = tested[areas[tested] > 0]
    count = int(groups.max()) + 1
    number = np.maximum(np.bincount(groups[tested], minlength=count), 1)
    front = np.bincount(groups[tested], winding.beyond(triangles[tested], _DEPTH), count) / number
    tested = tested[front[groups[tested]] < 0.5]
    back = np.bincount(groups[tested], winding.beyond(triangles[tested], -_DEPTH), count) / number
    outer = (back > 0.5) & (front < 0.5)
    copies = np.maximum(np.rint(back - front), 1)
    return Surface(triangles[outer[groups]], copies[groups][outer[groups]])


def _unite(
    vertices: Vertices, faces: Faces, parts: Parts, crossings: Crossings
) -> tuple[list[tuple[Triangles, NDArray[np.int64]]], NDArray[np.bool_], NDArray[np.bool_]]:
    """Unite the groups of closed parts that cross each other and do not cross themselves.

    Returns:
        The triangles of each union and their connected groups, which faces (m,) are in no union, and which pairs (q,)
        are not.
    """
    left, remaining = np.ones(len(faces), bool), np.ones(len(crossings.pairs), bool)
    links = parts.of_face[crossings.pairs]
    if len(links) == 0:
        return [], left, remaining
    count = len(parts.area)
    _, clusters = connected_components(coo_array((np.ones(len(links)), links.T), shape=(count, count)), directed=False)
    unfit = parts.is_open | (parts.volume <= 0)
    unfit[links[links[:, 0] == links[:, 1], 0]] = True
    edges = find_edges(faces)
    unfit[parts.of_face[(edges.num_faces[edges.of_face] != 2).any(1)]] = True
    fit = np.bincount(clusters, unfit) == 0
    united = []
    for cluster in np.unique(clusters[links.ravel()]):
        if not fit[cluster]:
            continue
        members = np.flatnonzero(clusters == cluster)
        union = _unite_parts(vertices, [faces[parts.of_face == part] for part in members])
        if union is not None:
            united.append(union)
            left &= clusters[parts.of_face] != cluster
            remaining &= clusters[links[:, 0]] != cluster
    return united, left, remaining


def _unite_parts(vertices: Vertices, parts: list[Faces]) -> tuple[Triangles, NDArray[np.int64]] | None:
    """Unite closed parts; None if Manifold cannot."""
    manifolds = []
    for faces in parts:
        used, inverse = np.unique(faces, return_inverse=True)
        mesh = manifold3d.Mesh64(vertices[used], inverse.reshape(-1, 3).astype(np.uint64))
        manifolds.append(manifold3d.Manifold(mesh))
    if any(manifold.status() != manifold3d.Error.NoError for manifold in manifolds):
        return None
    union = manifold3d.Manifold.batch_boolean(manifolds, manifold3d.OpType.Add)
    if union.status() != manifold3d.Error.NoError or union.is_empty():
        return None
    mesh = union.to_mesh64()
    faces = np.asarray(mesh.tri_verts, np.int64)
    return np.asarray(mesh.vert_properties)[:, :3][faces], label_patches(faces)
