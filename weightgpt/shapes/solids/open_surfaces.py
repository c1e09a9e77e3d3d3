"""The open surfaces of a mesh: which of them help to surround a volume, and which do not.

Decisions:

- Open surfaces can surround a volume together, such as six squares that do not quite meet. There the mean of the
  winding number on both sides of a surface is about 1/2. It is about 0 at a surface in free space, which bounds nothing
  and is dropped, and about 1 at a wall inside a solid, which is dropped as well.
- Open surfaces that surround a volume are turned as ray casting suggests (Takayama et al. 2014), if the winding numbers
  on their two sides are then nearer to 0 and 1.

Dimensions: n vertices, m faces, k parts.
"""

from dataclasses import dataclass

import igl.embree
import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices
from weightgpt.shapes.solids.orientation import turn_over
from weightgpt.shapes.solids.parts import Parts, Probes, probe_parts
from weightgpt.shapes.solids.winding import WindingNumber

MAX_SURFACES = 2000
"""More open surfaces than these are not turned by ray casting, which takes long."""
PIECES = 8
"""Pieces of each face that are tested, because other solids can cover the middle of a large face."""
_DEPTH = 1e-4  # distance from a surface at which its two sides are tested, in unit coordinates
_FREE = 0.25  # a surface is in free space where the mean of the winding number on its sides is smaller than this
_BURIED = 0.85  # it is inside a solid where the mean is larger; other holes can lift the mean of one that bounds
_BOUNDING = 0.3  # share of the area of a surface that must bound a volume
_RAYS = 20_000  # of ray casting, over all faces
_RAY_HITS = 1_000_000  # fewer rays are cast where they could hit more open surfaces than this
_GAIN = 0.01  # faces are turned over if this makes the mean error of the winding number smaller by more
_ROUNDS = 3  # times that surfaces are dropped, as fewer surfaces surround less


@dataclass(frozen=True)
class OpenSurfaces:
    """What became of the open surfaces of a mesh."""

    faces: Faces
    """The faces (m, 3), some turned over."""
    bounding: NDArray[np.bool_]
    """Which faces (m,) are of parts that help to surround a volume."""
    free: NDArray[np.bool_]
    """Which faces (m,) are of parts in free space, which bound nothing."""


def sort_open_surfaces(vertices: Vertices, faces: Faces, parts: Parts, solid: NDArray[np.bool_]) -> OpenSurfaces:
    """Find the open surfaces that help to surround a volume, and turn them outward.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3); those of solid parts face outward.
        parts: the parts of the faces.
        solid: which parts surround a volume by themselves, (k,).
    """
    sheet, probes = ~solid, probe_parts(vertices, faces, parts)
    best = _sort(vertices, faces, parts, sheet, probes)
    count = int(sheet.sum())
    if best.error > _GAIN and count <= MAX_SURFACES:
        rays = min(_RAYS, _RAY_HITS // count)
        turned, _ = igl.embree.reorient_facets_raycast(vertices, faces, rays, 1)
        other = _sort(vertices, turn_over(faces, turned & sheet[parts.of_face]), parts, sheet, probes)
        best = other if other.error < best.error - _GAIN else best
    return OpenSurfaces(best.faces, best.bounding[parts.of_face], best.free[parts.of_face])


@dataclass(frozen=True)
class _Sorted:
    """Faces of some orientation, which parts (k,) bound a volume or nothing, and how wrong the winding numbers are."""

    faces: Faces
    bounding: NDArray[np.bool_]
    free: NDArray[np.bool_]
    error: float


def _sort(vertices: Vertices, faces: Faces, parts: Parts, sheet: NDArray[np.bool_], probes: Probes) -> _Sorted:
    """Find the open surfaces that bound a volume, for one orientation of them."""
    bounding, free = np.ones(len(sheet), bool), np.zeros(len(sheet), bool)
    triangles = probes.triangles(vertices, faces, PIECES)
    probed, share_of = np.tile(probes.part, PIECES), np.tile(probes.weight / PIECES, PIECES)
    for _ in range(_ROUNDS):
        tested = (bounding & sheet)[probed]
        if not tested.any():
            break
        winding = WindingNumber(vertices, faces[bounding[parts.of_face]])
        front, back = winding.beside(triangles[tested], _DEPTH)
        level, part, weight = (front + back) / 2, probed[tested], share_of[tested]
        share = np.bincount(part, weight * ((level > _FREE) & (level < _BURIED)), len(sheet))
        buried = np.bincount(part, weight * (level > 0.5), len(sheet))
        gone = bounding & sheet & (share < _BOUNDING * parts.area)
        if not gone.any():
            break
        bounding &= ~gone
        free |= gone & (buried <= 0.5 * parts.area)
    return _Sorted(faces, bounding, free, _error(vertices, faces, parts, bounding, sheet, probes))


def _error(
    vertices: Vertices,
    faces: Faces,
    parts: Parts,
    bounding: NDArray[np.bool_],
    sheet: NDArray[np.bool_],
    probes: Probes,
) -> float:
    """How far the winding numbers are from 1 behind and 0 in front of open surfaces, on average; 1 for dropped ones."""
    tested = (bounding & sheet)[probes.part]
    wrong = parts.area[sheet & ~bounding].sum()
    if tested.any():
        winding = WindingNumber(vertices, faces[bounding[parts.of_face]])
        front, back = winding.beside(probes.triangles(vertices, faces)[tested], _DEPTH)
        wrong += ((np.abs(front) + np.abs(back - 1)) * probes.weight[tested]).sum()
    return float(wrong / parts.area.sum())
