"""Shapes that are known at samples alone: points and their signed distances, without a function and without a mesh.

Decisions:

- The distance at any point is interpolated: a plane through the nearest samples by weighted least squares. No distance
  changes faster than its point moves, so the result is limited to what each of these samples allows. The error is thus
  at most the distance to the nearest sample, and the interpolated value of a sample is its own.
- A share of the samples is held out: the interpolation never sees them. Fits and codes are measured there, so that the
  error of the interpolation cannot flatter them.
- A shape is centered and scaled as mesh files are, by the box of its inside: every inner sample is the middle of a ball
  that lies inside, and the box is that of all these balls.
- The interpolated distance has no gradient by autograd.

Dimensions: N samples, n points, k nearest samples.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.sampling import Samples
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.solids.extent import fit_frame

Array = NDArray[np.float64]

NUM_SAMPLES = 32_768
"""Most samples of a shape that are interpolated."""
NUM_HELD_OUT = 4_096
"""Most samples of a shape that are held out."""
MIN_SAMPLES = 256
"""Fewest samples of a shape."""
HELD_OUT_SHARE = 0.1
"""Share of the samples that is held out."""
NEIGHBORS = 8
"""k."""
MAX_SLOPE = 1.1
"""Between a sample and the nearest one, a distance may change by this times the distance of the two."""
STEEP_SHARE = 0.05
"""Share of the samples that may be steeper, because published distances are rounded."""

_BLOCK = 16_384  # points that are interpolated at once
_RIDGE = 1e-4  # keeps planes through samples in a line or a plane flat across it


class SampledSdf:
    """Interpolated signed distances: call it with points (n, 3) for distances (n,).

    Args:
        points: (N, 3) samples in unit coordinates.
        sdf: (N,) their signed distances.
        held_out: points (m, 3) and distances (m,) of samples that are not interpolated.
    """

    def __init__(self, points: Array, sdf: Array, held_out: tuple[Tensor, Tensor]) -> None:
        self.tree, self.sdf, self.held_out = cKDTree(points), sdf, held_out

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        blocks = [self._interpolate(block) for block in torch.split(points.detach(), _BLOCK)]
        return torch.cat(blocks).to(points)

    def _interpolate(self, points: Tensor) -> Tensor:
        places = points.double().numpy()
        gaps, nearest = map(np.asarray, self.tree.query(places, k=NEIGHBORS))
        values = self.sdf[nearest]
        reach = np.maximum(gaps[:, -1:], 1e-12)
        offsets = (self.tree.data[nearest] - places[:, None]) / reach[..., None]
        weights = 1.0 / ((gaps / reach) ** 2 + 1e-9)
        rows = np.concatenate([np.ones_like(offsets[..., :1]), offsets], axis=2)
        weighted = rows * weights[..., None]
        matrix = np.einsum("nki,nkj->nij", weighted, rows)
        matrix[:, [1, 2, 3], [1, 2, 3]] += _RIDGE * weights.sum(axis=1, keepdims=True)
        plane = np.linalg.solve(matrix, np.einsum("nki,nk->ni", weighted, values)[..., None])[:, 0, 0]
        return torch.from_numpy(np.clip(plane, (values - gaps).max(axis=1), (values + gaps).min(axis=1)))


def shape_from_samples(points: Array, sdf: Array, name: str, label: str = "none", seed: int = 0) -> Shape:
    """Turn samples into a shape, centered and scaled as mesh files are.

    Args:
        points: (N, 3) in any units, inside and outside of the shape.
        sdf: (N,) signed distances in the same units, positive outside.
        name: name of the shape.
        label: name of its class.
        seed: seed of the choice of the held-out samples.

    Returns:
        The shape; its `sdf` is a `SampledSdf`.

    Raises:
        InputError: the samples are too few, not finite, all on one side, or no distances.
    """
    points, sdf = np.asarray(points, dtype=np.float64), np.asarray(sdf, dtype=np.float64)
    check_samples(points, sdf, name)
    inner = sdf < 0
    depth = -sdf[inner, None]
    frame = fit_frame(np.concatenate([points[inner] - depth, points[inner] + depth]))
    if frame is None:
        raise InputError(f"the inside of shape {name!r} has a size beyond the range of numbers; scale the samples.")
    order = np.random.default_rng(seed).permutation(len(points))
    unit, distances = frame.to_unit(points)[order], sdf[order] / frame.scale
    count = min(NUM_HELD_OUT, int(HELD_OUT_SHARE * len(points)))
    held_out = torch.from_numpy(unit[:count]).float(), torch.from_numpy(distances[:count]).float()
    part = slice(count, count + NUM_SAMPLES)
    low, high = (points[inner] - depth).min(axis=0), (points[inner] + depth).max(axis=0)
    digest = hashlib.sha256(np.column_stack([points, sdf]).astype("<f4").tobytes()).hexdigest()[:16]
    return Shape(
        name=name,
        label=label,
        sdf=SampledSdf(unit[part], distances[part], held_out),
        center=tuple(frame.center.tolist()),
        scale=frame.scale,
        sides=tuple(((high - low) / frame.scale).tolist()),
        digest=digest,
    )


def check_samples(points: Array, sdf: Array, name: str) -> None:
    """Refuse samples that no shape has.

    Args:
        points: (N, 3).
        sdf: (N,).
        name: name of the shape, for the errors.

    Raises:
        InputError: as `shape_from_samples`.
    """
    if points.shape != (len(sdf), 3) or sdf.ndim != 1 or len(sdf) < MIN_SAMPLES:
        raise InputError(
            f"shape {name!r} has points {points.shape} and distances {sdf.shape}; give (N, 3) points and N distances,"
            f" {MIN_SAMPLES} or more."
        )
    if not (np.isfinite(points).all() and np.isfinite(sdf).all()):
        raise InputError(f"shape {name!r} has NaN or infinite values; leave those samples out.")
    if not (sdf < 0).any() or not (sdf > 0).any():
        side = "outside" if (sdf >= 0).all() else "inside"
        raise InputError(f"all samples of shape {name!r} are {side}; give signed distances, negative inside.")
    outermost = np.concatenate([points.argmin(axis=0), points.argmax(axis=0)])
    if (sdf[outermost] < 0).all():
        raise InputError(
            f"the outermost samples of shape {name!r} are inside; give distances that are positive outside."
        )
    gaps, nearest = map(np.asarray, cKDTree(points).query(points[:4096], k=2))
    change = np.abs(sdf[:4096] - sdf[nearest[:, 1]])
    if (change > MAX_SLOPE * gaps[:, 1] + 1e-3 * np.ptp(points)).mean() > STEEP_SHARE:
        raise InputError(
            f"the values of shape {name!r} change faster than its points move apart; give distances in the units of"
            " the points."
        )


def held_out_samples(shapes: Sequence[Shape]) -> Samples | None:
    """The held-out samples of shapes, equally many of each.

    Args:
        shapes: any shapes; those that are known by a function, such as copies, are left out.

    Returns:
        Points (N, m, 3) and distances (N, m); None if no shape has such samples.
    """
    pairs = [shape.sdf.held_out for shape in shapes if isinstance(shape.sdf, SampledSdf)]
    if not pairs:
        return None
    count = min(len(sdf) for _, sdf in pairs)
    return Samples(torch.stack([points[:count] for points, _ in pairs]), torch.stack([sdf[:count] for _, sdf in pairs]))
