"""The parts of a mesh, and how open each is.

Decisions:

- The volume of a part with holes is that of the part whose holes are closed by flat caps.
- A part is an open surface if these caps have more than `MAX_OPENING` of the area of part and caps. A flat sheet has
  0.5. Every other part is a solid, whose holes the winding number closes.

Dimensions: n vertices, m faces, k parts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices, label_solids
from weightgpt.shapes.solids.holes import cap_holes
from weightgpt.shapes.solids.triangles import Triangles, face_areas, halve, largest_of, tetrahedra

MAX_OPENING = 0.45
"""Largest share of the caps, in the area of a part and its caps, of a part that is read as a solid."""
_POINT = np.array([0.382, 0.345, 0.273])
"""Where a face is probed, as shares of its corners. The middle of a face often lies in the plane of another face."""
_FLAT = 1e-7  # a closed part of less volume than this, as a share of its area to the power 1.5, is flat


@dataclass(frozen=True)
class Parts:
    """What is known of each of the k parts of a mesh."""

    of_face: NDArray[np.int64]
    """Part of each face (m,)."""
    is_open: NDArray[np.bool_]
    """Whether the part has open edges (k,)."""
    area: NDArray[np.float64]
    """Area (k,)."""
    volume: NDArray[np.float64]
    """Signed volume, the holes closed by caps (k,); negative where the part is inside out."""
    opening: NDArray[np.float64]
    """Area of the caps (k,)."""


def measure_parts(vertices: Vertices, faces: Faces) -> Parts:
    """Find the parts of a mesh and measure each.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
    """
    of_face, is_open = label_solids(faces)
    count = len(is_open)
    corners = vertices[faces]
    caps = cap_holes(vertices, faces, of_face)
    total = np.stack([np.bincount(of_face, corners.mean(1)[:, i], count) for i in range(3)], 1)
    middle = (total / np.bincount(of_face, minlength=count)[:, None]).astype(np.float64)
    volume = np.bincount(of_face, tetrahedra(corners - middle[of_face, None]), count).astype(np.float64)
    of_cap = caps.part[caps.hole]
    volume += np.bincount(of_cap, tetrahedra(caps.triangles - middle[of_cap, None]), count)
    opening = np.bincount(caps.part, np.linalg.norm(caps.vectors, axis=1), count).astype(np.float64)
    area = np.bincount(of_face, face_areas(corners), count).astype(np.float64)
    return Parts(of_face, is_open, area, volume, opening)


def is_solid(parts: Parts) -> NDArray[np.bool_]:
    """Tell which parts (k,) surround a volume by themselves."""
    thick = np.abs(parts.volume) > _FLAT * parts.area**1.5
    return thick & (parts.opening <= MAX_OPENING * (parts.area + parts.opening))


@dataclass(frozen=True)
class Probes:
    """A point on each of a few faces of each part, which stand for it."""

    faces: NDArray[np.int64]
    """Numbers of the faces (p,)."""
    part: NDArray[np.int64]
    """Their parts (p,)."""
    weight: NDArray[np.float64]
    """Area that each stands for (p,); those of a part add up to its area."""

    def triangles(self, vertices: Vertices, faces: Faces, pieces: int = 1) -> Triangles:
        """Small triangles on the faces, whose middles are the points.

        Args:
            vertices: (n, 3).
            faces: (m, 3), those of the parts or some of them turned over.
            pieces: pieces of each face that have a point, a power of 2.

        Returns:
            The triangles (pieces p, 3, 3); those of probe i are i, p + i, 2 p + i and so on.
        """
        corners = vertices[faces[self.faces]]
        while len(corners) < pieces * len(self.faces):
            corners = halve(corners)
        points = np.einsum("i,pij->pj", _POINT, corners)
        small: Triangles = points[:, None] + 0.1 * (corners - corners.mean(1, keepdims=True))
        return small


def probe_parts(vertices: Vertices, faces: Faces, parts: Parts, most: int = 16) -> Probes:
    """Choose the largest faces of each part.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
        parts: the parts of the faces.
        most: faces of each part.
    """
    areas = face_areas(vertices[faces])
    chosen = largest_of(areas, parts.of_face, most)
    part = parts.of_face[chosen]
    chosen_area = np.maximum(np.bincount(part, areas[chosen], len(parts.area)), 1e-300)
    return Probes(chosen, part, areas[chosen] * (parts.area / chosen_area)[part])
