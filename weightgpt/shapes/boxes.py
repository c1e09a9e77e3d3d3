"""Shapes that are unions of oriented boxes, with exact signed distances and no mesh.

Decisions:

- The distance of one box is exact. The distance of a union is the least of its boxes: it is exact outside and has the
  exact sign everywhere. Inside, where boxes overlap, the depth below the surface of the union can be larger than this
  value, so the value is a lower bound of the depth.
- A union is stored as arrays, and all boxes are evaluated at all points at once. Roots are taken after the minimum.
- Shapes are centered and scaled by the code that mesh files use.
- The digest of a union is that of the centers and sizes of its boxes, rounded to a tenth of the size of the shape. So
  near-duplicates have equal digests too, and stay on one side of a split.

Dimensions: B boxes, n points.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.solids.extent import fit_frame

Array = NDArray[np.float64]

RIGHT_ANGLE = 1e-3
"""Largest cosine of the angle between two edges of a box."""
CLOSED = 1e-4
"""Largest gap between a corner and the place where the edges put it, as a share of the size of the box."""
STEP = 0.1
"""Digests round to this share of the longest side of a shape."""

_NEIGHBORS = (1, 2, 4)  # the corners that share an edge with corner 0
_FACTORS = np.array([[number >> axis & 1 for axis in range(3)] for number in range(8)])  # edges on the way to a corner
_BLOCK = 8192  # points evaluated at once, so that the arrays stay small


@dataclass(frozen=True)
class BoxUnion:
    """A union of B oriented boxes: call it with points (n, 3) for signed distances (n,).

    The distance is exact outside, the sign is exact everywhere, and inside the value is a lower bound of the depth.

    Examples:
        >>> cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2.0
        >>> BoxUnion.from_corners(cube[None])(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        tensor([ 0.5000, -0.5000])
    """

    axes: Float[Tensor, "_ 3"]
    """(3 B, 3) unit vectors along the edges of the boxes."""
    offsets: Float[Tensor, "_ 1"]
    """(3 B, 1) centers of the boxes along these vectors."""
    halves: Float[Tensor, "B 3 1"]
    """(B, 3, 1) half of the sides of the boxes."""

    @classmethod
    def from_corners(cls, corners: Float[Array, "B 8 3"]) -> "BoxUnion":
        """Build a union from the corners of its boxes.

        Args:
            corners: (B, 8, 3) as `check_boxes` accepts them.
        """
        edges = corners[:, _NEIGHBORS] - corners[:, :1]
        sides = np.linalg.norm(edges, axis=2)
        axes = edges / sides[..., None]
        offsets = np.einsum("bij,bj->bi", axes, corners.mean(axis=1))
        arrays = axes.reshape(-1, 3), offsets.reshape(-1, 1), sides[..., None] / 2
        return cls(*(torch.from_numpy(array).float() for array in arrays))

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return torch.cat([self._distances(block) for block in torch.split(points, _BLOCK)])

    def _distances(self, points: Tensor) -> Tensor:
        across = torch.addmm(self.offsets, self.axes, points.T, beta=-1.0)
        gaps = across.abs_().view(len(self.halves), 3, -1) - self.halves
        inside = gaps.amax(dim=1).amin(dim=0).clamp_max(0.0)
        outside = gaps.relu().square().sum(dim=1).amin(dim=0)
        return outside.clamp_min(1e-30).sqrt() + inside


def check_boxes(corners: Array, name: str) -> None:
    """Refuse corners that are not those of boxes.

    Args:
        corners: (B, 8, 3). Corners 1, 2 and 4 of a box are the neighbors of corner 0, and corner 7 is opposite.
        name: name of the shape, for the errors.

    Raises:
        InputError: there is no box, a corner is not finite, a box has no volume, or its edges are not at right angles.
    """
    if corners.ndim != 3 or corners.shape[1:] != (8, 3) or len(corners) == 0:
        raise InputError(
            f"the boxes of shape {name!r} have corners of shape {corners.shape}; give 8 for each box, (B, 8, 3)."
        )
    finite = np.asarray(np.isfinite(corners).all((1, 2)))
    if not finite.all():
        raise _fault(name, finite, "has a corner that is NaN or infinite; leave that box out")
    edges = corners[:, _NEIGHBORS] - corners[:, :1]
    sides = np.linalg.norm(edges, axis=2)
    solid = (sides > 0).all(1)
    if not solid.all():
        raise _fault(name, solid, "has a side of length 0; leave that box out")
    axes = edges / sides[..., None]
    cosines = np.abs(np.einsum("bij,bkj->bik", axes, axes) - np.eye(3)).max((1, 2))
    gaps = np.abs(corners[:, :1] + np.einsum("ka,bad->bkd", _FACTORS, edges) - corners).max((1, 2)) / sides.max(1)
    right = (cosines < RIGHT_ANGLE) & (gaps < CLOSED)
    if not right.all():
        raise _fault(name, right, "has no right angles; give corners 1, 2 and 4 as the neighbors of corner 0")


def _fault(name: str, right: NDArray[np.bool_], text: str) -> InputError:
    """The error about the first box that is not right."""
    return InputError(f"box {int(right.argmin())} of shape {name!r} {text}.")


def shape_from_boxes(corners: Array, name: str, label: str = "none") -> Shape:
    """Turn boxes into a shape: their union, centered and scaled as mesh files are.

    Args:
        corners: (B, 8, 3) as `check_boxes` accepts them, in any units.
        name: name of the shape.
        label: name of its class.

    Raises:
        InputError: as `check_boxes`; or the boxes are too large or too small for numbers.
    """
    corners = np.asarray(corners, dtype=np.float64)
    check_boxes(corners, name)
    points = corners.reshape(-1, 3)
    frame = fit_frame(points)
    if frame is None:
        raise InputError(f"the boxes of shape {name!r} have a size beyond the range of numbers; scale them.")
    unit = frame.to_unit(points)
    return Shape(
        name=name,
        label=label,
        sdf=BoxUnion.from_corners(unit.reshape(-1, 8, 3)),
        center=tuple(frame.center.tolist()),
        scale=frame.scale,
        sides=tuple(np.ptp(unit, axis=0).tolist()),
        digest=digest_boxes(corners),
    )


def digest_boxes(corners: Float[Array, "B 8 3"]) -> str:
    """Hash the centers and the sizes of boxes, rounded to a tenth of the longest side of their union.

    Args:
        corners: (B, 8, 3) in any units.

    Returns:
        16 hexadecimal digits; they depend neither on the order of the boxes, nor on their common place and size.
    """
    low, high = corners.min((0, 1)), corners.max((0, 1))
    sizes = np.abs(corners[:, _NEIGHBORS] - corners[:, :1]).sum(axis=1)
    values = np.concatenate([corners.mean(axis=1) - (low + high) / 2, sizes], axis=1)
    rounded = np.rint(values / (high - low).max() / STEP).astype("<i8")
    return hashlib.sha256(rounded[np.lexsort(rounded.T)].tobytes()).hexdigest()[:16]
