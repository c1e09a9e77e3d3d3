"""Thin parts of shapes: how much of a surface is thin, and how much of the thin surface a copy has too.

Volume IoU and mean distances hardly change when a shape loses a leg or a wing. These metrics measure the thin part of a
surface only.

Decisions:

- Thickness is measured from a surface point inwards, against the normal, to where the ray leaves the solid. We measure
  one direction, not the largest inscribed ball: a leg is thin from its sides, and the end of a leg is not thin.
- Points and normals come from a mesh (`weightgpt.metrics.pairwise.oriented_points`), so shares are shares of area.
  Those of `weightgpt.shapes.sampling.near_surface_points` crowd at convex edges, where gradients are oblique.
- Fields are not exact distances, so rays advance in equal small steps and use signs only; crossings are interpolated
  linearly. A part thinner than one step is not detected.
- Rays that do not enter within `_ENTRY_STEPS` steps are ignored: they count as not thin. Surface points lie only nearly
  on the surface, so a ray needs a few steps.
- Everything outside of [-1, 1]^3 is empty, and the field is never evaluated there.

Dimensions: n surface points, m thin points, k steps of a ray. Lengths are in half-sides of the box.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.metrics.pairwise import Array

MAX_THICKNESS = 0.1
"""A part thinner than this is thin: a twentieth of the side of the box. The built-in families have hardly any part that
thin; pass a larger value for them."""
TOLERANCE = 0.04
"""Largest distance from a thin point to the surface of a copy at which the copy still has that point."""
_STEP = 0.004
_ENTRY_STEPS = 5


@torch.no_grad()
def thickness(
    sdf: Callable[[Tensor], Tensor], points: Tensor, normals: Tensor, max_thickness: float
) -> Float[Tensor, " n"]:
    """Measure the local thickness of a solid at points of its surface.

    Args:
        sdf: points (m, 3) to signed distances (m,), negative inside; NaN counts as outside.
        points: (n, 3) on the surface, within [-1, 1]^3.
        normals: (n, 3) unit normals, outwards.
        max_thickness: rays are followed up to this length, and thicker places get this value.

    Returns:
        (n,) values in (0, max_thickness].

    Raises:
        InputError: there is not one normal for each point, or `max_thickness` is not positive.
    """
    if points.shape != normals.shape or points.ndim != 2 or points.shape[1] != 3:
        raise InputError(
            f"points {tuple(points.shape)} were given with normals {tuple(normals.shape)}; give one normal for each"
            " point, (n, 3) both."
        )
    if not 0 < max_thickness < math.inf:
        raise InputError(f"max_thickness is {max_thickness}; give a positive number, such as {MAX_THICKNESS}.")
    depths = torch.arange(math.ceil(max_thickness / _STEP) + _ENTRY_STEPS + 2) * _STEP
    rays = points - depths[:, None, None] * normals
    values = sdf(rays.clamp(-1, 1).flatten(0, 1)).view(rays.shape[:2]).nan_to_num(1.0)
    values = torch.where(rays.abs().amax(-1) > 1, values.abs().clamp(min=1e-6), values)
    entered = (values < 0).cummax(0).values
    left = entered & (values >= 0)
    width = _crossing_depth(values, left) - _crossing_depth(values, entered)
    measurable = entered[_ENTRY_STEPS] & left.any(0)
    return torch.where(measurable, width, max_thickness).clamp(max=max_thickness)


def thin_points(
    sdf: Callable[[Tensor], Tensor],
    points: Tensor,
    normals: Tensor,
    max_thickness: float = MAX_THICKNESS,
) -> Float[Array, "m 3"]:
    """Select the surface points where a solid is thin.

    Args:
        sdf: points (m, 3) to signed distances (m,), negative inside.
        points: (n, 3) on the surface.
        normals: (n, 3) unit normals, outwards.
        max_thickness: the solid is thin where it is thinner than this.

    Returns:
        (m, 3) points in double precision.

    Raises:
        InputError: as `thickness`.
    """
    is_thin = thickness(sdf, points, normals, max_thickness) < max_thickness
    return points[is_thin].double().numpy()


def thin_recall(thin: Array, cloud: Array, tolerance: float = TOLERANCE) -> float:
    """Measure which share of a true shape's thin surface a copy has too.

    The copy needs a dense cloud: n points sampled uniformly on an area S miss a share of about
    exp(-π tolerance² n / S) of a surface that is complete.

    Args:
        thin: (m, 3) the `thin_points` of the true shape, m >= 1.
        cloud: (n, 3) surface points of the copy; n = 0 for an empty copy, whose recall is 0.
        tolerance: largest distance at which the copy still has a thin point.

    Returns:
        A share in [0, 1]; higher is better.

    Raises:
        InputError: the true shape has no thin points, or a cloud is misshapen or non-finite.

    Examples:
        >>> thin_recall(np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[0.0, 0, 0.01]]))
        0.5
    """
    for points in (thin, cloud):
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"a point cloud has shape {points.shape}; give finite points, (n, 3).")
    if len(thin) == 0:
        raise InputError("the true shape has no thin points, so there is nothing to measure; leave it out.")
    if len(cloud) == 0:
        return 0.0
    return float(np.mean(cKDTree(cloud).query(thin)[0] <= tolerance))


def _crossing_depth(values: Tensor, is_after: Tensor) -> Tensor:
    """Return the depths (n,) at which rays (k, n) change sign, just before the first step that `is_after` marks."""
    first = is_after.int().argmax(0)[None]
    value, previous = values.gather(0, first)[0], values.gather(0, (first - 1).clamp(min=0))[0]
    fraction = torch.where(first[0] > 0, value / (value - previous), 0.0)
    return (first[0] - fraction) * _STEP
