"""The box of a mesh: what of it has an area, and the transform to unit coordinates.

Dimensions: n vertices, m faces.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices, find_edges, label_parts

SIDE = 1.8
"""Longest side of a mesh in unit coordinates."""

_THIN = 1e-7  # parts of less area than this, as a share of their squared size, are points or lines
_TINY = 1e-5  # parts of less area than that of a square whose side is this share of the largest part


@dataclass(frozen=True)
class Frame:
    """A transform: file units = unit coordinates * scale + center."""

    center: NDArray[np.float64]
    """(3,)."""
    scale: float
    """Length of one unit in the units of the file."""

    def to_unit(self, vertices: Vertices) -> Vertices:
        """Transform vertices (n, 3) of the file to unit coordinates."""
        return np.ascontiguousarray((vertices - self.center) / self.scale)

    def inside(self, inner: "Frame") -> "Frame":
        """Combine with a transform from other unit coordinates to these."""
        return Frame(self.center + inner.center * self.scale, self.scale * inner.scale)


def fit_frame(vertices: Vertices, side: float = SIDE) -> Frame | None:
    """Center a box and scale its longest side.

    Args:
        vertices: (n, 3).
        side: longest side in unit coordinates.

    Returns:
        The transform, or None if there is no extent or one beyond the range of numbers.
    """
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = float((high / side - low / side).max())
    return Frame(low / 2 + high / 2, scale) if np.finfo(np.float64).tiny < scale < np.finfo(np.float64).max else None


def with_area(vertices: Vertices, faces: Faces) -> Faces:
    """Drop the parts of a mesh that have no area: points, lines, and specks.

    Sizes are compared with those of the part itself, because such a part can be very far from the others.

    Args:
        vertices: (n, 3), in any units.
        faces: (m, 3).
    """
    if len(faces) == 0:
        return faces
    corners = vertices[faces]
    with np.errstate(all="ignore"):
        low, high = corners.min((0, 1)) / 2, corners.max((0, 1)) / 2
        corners = corners / 2 / max(float((high - low).max()), np.finfo(np.float64).tiny)  # halves cannot overflow
        sides = corners - np.roll(corners, 1, axis=1)
        longest = np.linalg.norm(sides, axis=2).max(1)
        thinness = np.linalg.norm(np.cross(sides[:, 0] / longest[:, None], sides[:, 1] / longest[:, None]), axis=1)
    parts = label_parts(find_edges(faces).of_face)
    count = int(parts.max()) + 1
    size = _sizes(corners, parts, count)
    with np.errstate(all="ignore"):
        share = np.bincount(parts, np.nan_to_num((longest / size[parts]) ** 2 * thinness / 2), count)
    length = np.where(share > _THIN, size * np.sqrt(share), 0.0)  # side of a square of the same area
    return np.ascontiguousarray(faces[(length > _TINY * float(length.max()))[parts]])


def _sizes(corners: NDArray[np.float64], parts: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Longest side (k,) of the box of each part."""
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, parts, corners.min(1))
    np.maximum.at(high, parts, corners.max(1))
    sizes: NDArray[np.float64] = (high - low).max(1)
    return sizes
