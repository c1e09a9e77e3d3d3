"""Orientation: the faces of each part of a mesh turned outward.

Decisions:

- Neighboring faces are made to face the same way first; most of the area of a part decides which way.
- A part that surrounds a volume is turned outward. A closed part that lies inside another part keeps its orientation
  relative to that part: if it faces the other way it is a cavity, and a cavity stays one.
- A mesh with open parts is turned over as a whole if more of it is inside out than not. After that, an open part is
  turned over if the winding number in front of it is about -1. It is about 0 in front of a surface that faces inward as
  it should, such as the wall of a hole through a plate.

Dimensions: n vertices, m faces, k parts.
"""

import igl
import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices, find_edges
from weightgpt.shapes.solids.nesting import find_nesting
from weightgpt.shapes.solids.parts import Parts, Probes, probe_parts
from weightgpt.shapes.solids.triangles import face_areas
from weightgpt.shapes.solids.winding import WindingNumber

_DEPTH = 1e-3  # distance from a face at which the winding number is taken, in unit coordinates
_ROUNDS = 3  # times that open parts are turned over, as each depends on the others


def align_neighbors(vertices: Vertices, faces: Faces) -> Faces:
    """Turn faces over so that neighbors face the same way, wherever exactly two faces share an edge.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
    """
    edges = find_edges(faces)
    if not ((edges.num_faces == 2) & (edges.balance != 0)).any():
        return faces
    aligned, patches = igl.bfs_orient(faces)
    turned = (aligned != faces).any(1)
    areas = face_areas(vertices[faces])
    wrong = np.bincount(patches, areas * turned) > np.bincount(patches, areas) / 2
    turned ^= wrong[patches]
    return turn_over(faces, turned)


def is_one_sided(faces: Faces, of_face: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which parts (k,) have one side only, such as a Möbius strip: no orientation is right.

    Args:
        faces: (m, 3), aligned with their neighbors.
        of_face: part of each face (m,).
    """
    edges = find_edges(faces)
    twisted = (edges.num_faces == 2) & (edges.balance != 0)
    one_sided = np.zeros(int(of_face.max(initial=-1)) + 1, bool)
    one_sided[of_face[twisted[edges.of_face].any(1)]] = True
    return one_sided


def has_border(faces: Faces, of_face: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which parts (k,) have an edge of an odd number of faces.

    Args:
        faces: (m, 3).
        of_face: part of each face (m,).
    """
    edges = find_edges(faces)
    border = np.zeros(int(of_face.max(initial=-1)) + 1, bool)
    border[of_face[(edges.num_faces % 2 == 1)[edges.of_face].any(1)]] = True
    return border


def turn_over(faces: Faces, turned: NDArray[np.bool_]) -> Faces:
    """Reverse some faces.

    Args:
        faces: (m, 3).
        turned: which, (m,).
    """
    return np.ascontiguousarray(np.where(turned[:, None], faces[:, ::-1], faces))


def turn_outward(vertices: Vertices, faces: Faces, parts: Parts, solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which solid parts have to be turned over to face outward.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3).
        parts: the parts of the faces.
        solid: which parts surround a volume, (k,).

    Returns:
        Whether the part is inside out, (k,).
    """
    turned = np.zeros(len(solid), bool)
    if (parts.is_open & solid).any() or not solid.any():
        probes = probe_parts(vertices, faces, parts)
        turned |= _is_inside_out(vertices, faces, probes)
        for _ in range(_ROUNDS if (parts.is_open & solid).any() else 0):
            wrong = _open_inside_out(vertices, turn_over(faces, turned[parts.of_face]), parts, probes)
            wrong &= parts.is_open & solid & ((parts.volume < 0) != turned)
            if not wrong.any():
                break
            turned ^= wrong
    return turned ^ _closed_inside_out(vertices, faces, parts, solid, turned)


def _is_inside_out(vertices: Vertices, faces: Faces, probes: Probes) -> bool:
    """Whether more of a mesh is inside out than not."""
    front, back = WindingNumber(vertices, faces).beside(probes.triangles(vertices, faces), _DEPTH)
    inside = probes.weight[(back > 0.5) & (front < 0.5)].sum()
    return bool(probes.weight[(front < -0.5) & (back > -0.5)].sum() > inside)


def _open_inside_out(vertices: Vertices, faces: Faces, parts: Parts, probes: Probes) -> NDArray[np.bool_]:
    """Which parts (k,) have a winding number of about -1 in front of them."""
    front = WindingNumber(vertices, faces).beyond(probes.triangles(vertices, faces), _DEPTH)
    wrong: NDArray[np.bool_] = np.bincount(probes.part, probes.weight * front, len(parts.area)) < -0.5 * parts.area
    return wrong


def _closed_inside_out(
    vertices: Vertices, faces: Faces, parts: Parts, solid: NDArray[np.bool_], turned: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which closed parts (k,) still have to be turned over, after some parts were turned."""
    before = np.where((parts.volume < 0) != turned, -1, 1)
    fixed = parts.is_open | ~solid
    after = np.where(fixed, before, 1)
    if not (~fixed & (before < 0)).any():
        return np.zeros(len(before), bool)
    nesting = find_nesting(vertices, faces, parts, solid, ~fixed)
    around = np.zeros(len(before), np.int64)  # sum of the directions of all parts around each part
    for i in np.argsort(-np.abs(parts.volume)):
        j = nesting.parent[i]
        if j >= 0:
            relative = before[i] * before[j] * after[j]
            after[i] = relative if around[i] + relative >= 0 else 1
        around[nesting.contents.get(int(i), [])] += after[i]
    wrong: NDArray[np.bool_] = after != before
    return wrong
