"""A part of a mesh file: the triangles of one of its nodes or groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MeshPart:
    """Triangles with positions in the units of the file."""

    vertices: NDArray[np.float64]
    """Positions (n, 3), the transforms of the file applied."""
    faces: NDArray[np.int64]
    """Indices of vertices (m, 3), counterclockwise where they are seen from outside."""
