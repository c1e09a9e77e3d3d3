"""A digest of the geometry of a solid: equal for files of equal geometry, whatever their format and their order.

Decisions:

- The digest is a hash of the moments of the surface up to degree three, in unit coordinates. They do not depend on the
  order of vertices and faces, nor on how flat areas are cut into triangles.
- The moments are rounded to steps of `STEP`. Their error by single precision is a thousandth of that, so about one file
  in a hundred differs in a digit between single and double precision. Shapes whose surfaces differ by less than a step
  in the mean can have equal digests.
- The step is no round number, because coordinates often are.

Dimensions: m triangles.
"""

import hashlib
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

STEP = 0.0001 * np.pi / 3
"""Moments are rounded to multiples of this."""

_BARYCENTRIC = np.array([[1, 1, 1], [3, 1, 1], [1, 3, 1], [1, 1, 3]]) / np.array([[3], [5], [5], [5]])
_WEIGHTS = np.array([-27.0, 25.0, 25.0, 25.0]) / 48  # exact for polynomials of degree three on a triangle


def digest_surface(triangles: NDArray[np.float64], copies: NDArray[np.float64], thickness: float) -> str:
    """Hash the geometry of a surface.

    Args:
        triangles: positions of the corners (m, 3, 3) in unit coordinates.
        copies: how many coincident triangles each is one of (m,).
        thickness: thickness of open surfaces; 0 without them.

    Returns:
        16 hexadecimal digits.
    """
    edges = triangles[:, 1:] - triangles[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2 / copies
    points = np.einsum("qc,mcd->mqd", _BARYCENTRIC, triangles)
    moments = [areas.sum(), thickness]
    for degree in (1, 2, 3):
        for axes in combinations_with_replacement(range(3), degree):
            moments.append(np.einsum("mq,q,m->", points[..., list(axes)].prod(-1), _WEIGHTS, areas))
    steps = np.rint(np.array(moments) / STEP).astype(np.int64)
    return hashlib.sha256(steps.astype("<i8").tobytes()).hexdigest()[:16]
