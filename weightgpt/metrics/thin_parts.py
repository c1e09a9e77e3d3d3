"""Thin parts of shapes: how much of a surface is thin, and how much of that a copy keeps.

A volume IoU or a mean distance hardly notices a lost leg or wing. Here only the thin part of a surface counts.

Decisions:

- Thickness is measured inwards from a surface point, against its normal, to where the ray leaves the solid: one
  direction, not the largest ball inside; a leg is thin from its sides, and the end of a leg is not.
- Points and normals come from a mesh, `metrics.oriented_points`, so that shares are shares of area. The points of
  `sampling.near_surface` crowd at convex edges, where a gradient points askew.
- Fields are not exact distances, so rays walk in even small steps and only signs count, the ends placed linearly. A
  part thinner than a step is not seen.
- A surface point lies on the surface only nearly: a ray may take a few steps to enter. One that does not enter says
  nothing about thickness and gets the bound, so that it never counts as thin.
- Outside of [-1, 1]^3 all is empty, and a field is not asked there.

Dimensions: n points; units of the box's half-side throughout.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.metrics.pairwise import Array

BOUND = 0.1
"""Below this a part is thin: a twentieth of the side of the box. The built-in families have hardly a part so
thin; give a larger bound for those."""
TOLERANCE = 0.04
"""Largest distance at which a thin part counts as kept."""
_STEP = 0.004
_SKIN = 5
"""Steps that a ray may take to enter."""


@torch.no_grad()
def thickness(sdf: Callable[[Tensor], Tensor], points: Tensor, normals: Tensor, most: float) -> Tensor:
    """Local thickness (n,) of a solid at points of its surface, in (0, most].

    Args:
        sdf: points (m, 3) to signed distances (m,), negative inside; NaN counts as outside.
        points: (n, 3) on the surface, within [-1, 1]^3.
        normals: (n, 3) unit normals, outwards.
        most: the bound; the ray of a thicker place is not followed further.

    Raises:
        InputError: there is not one normal for each point, or `most` is not positive.
    """
    if points.shape != normals.shape or points.ndim != 2 or points.shape[1] != 3:
        raise InputError(
            f"points {tuple(points.shape)} were given with normals {tuple(normals.shape)}; give one normal for each"
            " point, (n, 3) both."
        )
    if not 0 < most < math.inf:
        raise InputError(f"a bound of {most} was given for the thickness; give a positive one, such as {BOUND}.")
    depths = torch.arange(math.ceil(most / _STEP) + _SKIN + 2) * _STEP
    along = points - depths[:, None, None] * normals
    values = sdf(along.clamp(-1, 1).flatten(0, 1)).view(along.shape[:2]).nan_to_num(1.0)
    values = torch.where(along.abs().amax(-1) > 1, values.abs().clamp(min=1e-6), values)
    been = (values < 0).cummax(0).values
    left = been & (values >= 0)
    width = _crossing(values, left) - _crossing(values, been)
    measured = been[_SKIN] & left.any(0)
    return torch.where(measured, width, most).clamp(max=most)


def thin_points(sdf: Callable[[Tensor], Tensor], points: Tensor, normals: Tensor, bound: float = BOUND) -> Array:
    """Those (m, 3) of the surface points (n, 3) where the solid is thinner than `bound`.

    Raises:
        InputError: as `thickness`.
    """
    thin = thickness(sdf, points, normals, bound) < bound
    return points[thin].double().numpy()


def thin_recall(thin: Array, cloud: Array, tolerance: float = TOLERANCE) -> float:
    """Share of a reference's thin surface that a sample has as well, in [0, 1]: 1 - the share of it that is lost.

    Dense clouds are needed: n points drawn evenly on an area S miss a share of about exp(-π tolerance² n / S) of a
    surface that is all there.

    Args:
        thin: (m, 3) the reference's `thin_points`, m >= 1.
        cloud: (n, 3) surface points of the sample; none for an empty sample, whose recall is 0.
        tolerance: largest distance at which a thin point counts as kept.

    Raises:
        InputError: the reference has no thin points, or the clouds are misshapen or non-finite.
    """
    for points in (thin, cloud):
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"a point cloud has shape {points.shape}; give finite points, (n, 3).")
    if len(thin) == 0:
        raise InputError("the reference has no thin points, so there is nothing to keep; leave it out.")
    if len(cloud) == 0:
        return 0.0
    return float(np.mean(cKDTree(cloud).query(thin)[0] <= tolerance))


def _crossing(values: Tensor, after: Tensor) -> Tensor:
    """Depth (n,) at which rays with `values` (k, n) change sign before the first step that is `after` (k, n)."""
    first = after.int().argmax(0)[None]
    here, before = values.gather(0, first)[0], values.gather(0, (first - 1).clamp(min=0))[0]
    share = torch.where(first[0] > 0, here / (here - before), 0.0)
    return (first[0] - share) * _STEP
