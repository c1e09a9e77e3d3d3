"""Sphere tracing (Hart 1996) and shading of batches of signed distance fields, ray by ray.

Decisions:

- Fields are evaluated only in [-1, 1]^3: rays start and end where they meet the box.
- Learned fields are not exact distances. A ray therefore steps by 0.8 of each value, and at least by a small step. A
  hit is a change of sign, which bisection locates; a ray without a change of sign meets no surface.
- All rays of all fields are evaluated by `_evaluate`, which passes to the field only the rays that need a value.
- The light: a warm key light with soft shadows, a cool sky, occlusion along the normal, and a shadow on a floor.

Dimensions: B fields, n rays of each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BatchSdf = Callable[[Tensor], Tensor]
"""(n, 3) shared points or (B, n, 3) points of each field -> (B, n) signed distances."""

BACKGROUND = 0.975
"""Gray value of the background, in [0, 1]."""
_STEPS = 48
_LEAST_STEP = 0.012
_BISECTIONS = 4
_CHUNK = 65_536  # points evaluated at once
_KEY = torch.tensor([0.45, 0.80, 0.40]) / math.hypot(0.45, 0.80, 0.40)


@dataclass(frozen=True)
class Rays:
    """The rays of one camera."""

    eye: Float[Tensor, "3"]
    """(3,) position of the camera."""
    towards: Float[Tensor, "n 3"]
    """(n, 3) unit directions."""
    near: Float[Tensor, " n"]
    """(n,) depth at which each ray enters the box."""
    far: Float[Tensor, " n"]
    """(n,) depth at which each ray leaves the box."""

    def at(self, t: Float[Tensor, "B n"]) -> Float[Tensor, "B n 3"]:
        """Compute points on the rays.

        Args:
            t: (B, n) depths.

        Returns:
            (B, n, 3).
        """
        return self.eye + t[..., None] * self.towards


def _evaluate(field: BatchSdf, points: Tensor, mask: Tensor) -> Tensor:
    """Values (B, n) of the fields at the masked points (B, n, 3), clamped to the box; 1 elsewhere and for NaN."""
    values = torch.ones(mask.shape)
    which, where = mask.nonzero(as_tuple=True)
    if len(which) == 0:
        return values
    column = mask.cumsum(1)[which, where] - 1
    packed = torch.zeros(len(mask), int(column.max()) + 1, 3)
    packed[which, column] = points[which, where].clamp(-1, 1)
    parts = torch.chunk(packed, math.ceil(packed[..., 0].numel() / _CHUNK), dim=1)
    packed_values = torch.cat([field(part) for part in parts], dim=1)
    values[which, where] = packed_values[which, column].to(values).nan_to_num(1.0, 1.0, 1.0)
    return values


def march_rays(
    field: BatchSdf, rays: Rays, mask: Bool[Tensor, "B n"], start: Float[Tensor, "B n"]
) -> tuple[Float[Tensor, "B n"], Bool[Tensor, "B n"]]:
    """Find the first surface along rays.

    Args:
        field: B fields.
        rays: n rays.
        mask: (B, n) which rays to follow.
        start: (B, n) depths to start from.

    Returns:
        The depths (B, n), and whether there is a surface (B, n).
    """
    t, before = start, start
    active = mask & (t < rays.far)
    hit = torch.zeros_like(active)
    for _ in range(_STEPS):
        if not bool(active.any()):
            break
        value = _evaluate(field, rays.at(t), active)
        hit |= active & (value <= 0)
        active &= value > 0
        before = torch.where(active, t, before)
        t = torch.where(active, t + (0.8 * value).clamp(min=_LEAST_STEP), t)
        active &= t < rays.far
    for _ in range(_BISECTIONS):
        middle = (before + t) / 2
        outside = _evaluate(field, rays.at(middle), hit) > 0
        before, t = torch.where(outside, middle, before), torch.where(outside, t, middle)
    return (before + t) / 2, hit


def shade_rays(
    field: BatchSdf,
    rays: Rays,
    depth: Float[Tensor, "B n"],
    hit: Bool[Tensor, "B n"],
    mask: Bool[Tensor, "B n"],
    paint: Float[Tensor, "B 3"],
    floor: Float[Tensor, "B 1"],
) -> Float[Tensor, "B n 3"]:
    """Compute the colors that rays see: the surface where they hit, the floor elsewhere.

    Args:
        field: B fields.
        rays: n rays.
        depth: (B, n) depths of the surfaces.
        hit: (B, n) whether a ray meets a surface.
        mask: (B, n) which rays to color.
        paint: (B, 3) colors of the surfaces.
        floor: (B, 1) heights of the floors.

    Returns:
        (B, n, 3) RGB in [0, 1].
    """
    shade = _shade_surface(field, rays.at(depth), rays.towards, hit, paint[:, None])
    return torch.where(hit[..., None], shade, _shade_floor(field, rays, mask & ~hit, floor))


def _shade_surface(field: BatchSdf, points: Tensor, towards: Tensor, hit: Tensor, paint: Tensor) -> Tensor:
    """Colors (B, n, 3) of surface points."""
    corners = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    slope = sum(
        (corner * _evaluate(field, points + 0.004 * corner, hit)[..., None] for corner in corners), torch.zeros(3)
    )
    face = points.round() * (points.abs() > 1 - 1e-4)  # the cut where a solid leaves the box
    normal = torch.nn.functional.normalize(torch.where(face.any(-1, keepdim=True), face, slope), dim=-1)
    open_air = _openness(field, points, normal, hit)
    key = (normal @ _KEY).clamp(min=0)
    key = key * _light_share(field, points + 0.02 * normal, hit & (key > 0))
    sky = 0.5 + 0.5 * normal[..., 1]
    half = torch.nn.functional.normalize(_KEY - towards, dim=-1)
    gloss = 0.16 * (normal * half).sum(-1).clamp(min=0) ** 40 * key
    rim = (1 + (normal * towards).sum(-1)).clamp(0, 1) ** 3 * 0.18 * sky
    warm, cool, bounce = torch.tensor([[0.80, 0.755, 0.69], [0.40, 0.44, 0.50], [0.20, 0.18, 0.165]])
    light = key[..., None] * warm + open_air[..., None] * (sky[..., None] * cool + (1 - sky[..., None]) * bounce)
    linear = paint**2.2 * light * 1.12 + (gloss + rim * open_air * 0.5)[..., None]
    return torch.pow(linear.clamp(min=0, max=1), 1 / 2.2)


def _openness(field: BatchSdf, points: Tensor, normal: Tensor, mask: Tensor) -> Tensor:
    """Ambient light (B, n) in [0.25, 1], less where another surface is near along the normal."""
    closed = torch.zeros(mask.shape)
    for reach, weight in ((0.06, 1.3), (0.18, 1.1)):
        closed += weight * (1 - _evaluate(field, points + reach * normal, mask) / reach).clamp(0, 1) * 0.5
    return (1 - closed).clamp(min=0.25)


def _light_share(field: BatchSdf, points: Tensor, mask: Tensor, softness: float = 9.0) -> Tensor:
    """Share (B, n) of the key light that reaches points, with soft shadows by the closest pass of a ray (Quilez)."""
    light = torch.ones(mask.shape)
    t = torch.full(mask.shape, 0.03)
    active = mask.clone()
    for _ in range(12):
        ahead = points + t[..., None] * _KEY
        active = active & (light > 0.02) & (ahead.abs().amax(-1) <= 1)
        if not bool(active.any()):
            break
        value = _evaluate(field, ahead, active)
        light = torch.where(active, torch.minimum(light, softness * value / t), light)
        t = t + torch.maximum(value.clamp(max=0.25), 0.04 + 0.12 * t)
    light = light.clamp(0, 1)
    return light * light * (3 - 2 * light)


def _shade_floor(field: BatchSdf, rays: Rays, free: Tensor, floor: Tensor) -> Tensor:
    """Colors (B, n, 3) of the background along the rays `free` (B, n), with shadows on floors at the heights (B, 1)."""
    t = (floor - rays.eye[1]) / rays.towards[:, 1]
    points = rays.at(t.nan_to_num(0, 0, 0))
    visible = free & floor.isfinite() & (t > 0) & (points.abs().amax(-1) <= 1)
    points[..., 1] += 0.01
    contact = (_evaluate(field, points, visible) / 0.22).clamp(0, 1)
    dark = 1 - (0.62 + 0.38 * contact) * (0.70 + 0.30 * _light_share(field, points, visible, softness=5.0))
    fade = ((1 - points[..., [0, 2]].abs().amax(-1)) / 0.25).clamp(0, 1)
    level = BACKGROUND * (1 - dark * fade * visible)
    return level[..., None] * torch.ones(3)
