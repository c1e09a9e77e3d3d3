"""Signed distances of compositions: all parts of a kind at all points at once.

Decisions:

- The sign is exact everywhere. The distance of a part is exact, except for ellipsoids: their value is the first-order
  distance g / |grad g| of the convex function g(p) = |p / axes| - 1 outside, and g times the shortest half axis inside.
  Both are lower bounds of the distance.
- A union takes the minimum, which is exact outside, and a cut takes the maximum of the part and the negative cut. Both
  keep the sign exact and the value a lower bound of the distance.
- Rows are sorted by kind, so that each kind is a slice. One matrix product moves all points into the frames of all
  parts.

Source of the formulas: Inigo Quilez, distance functions, https://iquilezles.org/articles/distfunctions/.

Dimensions: P parts, K corners of a polygon, n points.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightgpt.shapes.compositions.parts import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    EXTRUDED,
    REVOLVED,
    TORUS,
    Parts,
)

_BLOCK = 4096  # points evaluated at once, so that the arrays stay in the processor's cache
_TINY = 1e-30  # roots of less would have an infinite gradient


class Composition:
    """A union of parts less their cuts: call it with points (n, 3) for signed distances (n,).

    Args:
        parts: P parts, at least one without a host.
    """

    def __init__(self, parts: Parts) -> None:
        order = np.argsort(parts["kind"], kind="stable")
        rows, place = parts[order], np.argsort(order)
        axes = rows["axes"]
        self.axes = torch.from_numpy(axes.reshape(-1, 3)).float()
        self.offsets = torch.from_numpy(np.einsum("pij,pj->pi", axes, rows["center"]).reshape(-1, 1)).float()
        self.cuts = [(int(place[host]), row) for row, host in enumerate(rows["host"].tolist()) if host >= 0]
        starts = np.searchsorted(rows["kind"], range(len(_DISTANCES) + 1)).tolist()
        self.kinds = [
            (slice(first, last), kind, _shape_tensor(kind, rows[first:last]))
            for kind, (first, last) in enumerate(pairwise(starts))
            if last > first
        ]

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return torch.cat([self._distances(block) for block in torch.split(points, _BLOCK)])

    def _distances(self, points: Tensor) -> Tensor:
        local = torch.addmm(self.offsets, self.axes, points.T, beta=-1.0).view(-1, 3, len(points))
        values = torch.cat([_DISTANCES[kind](local[rows], shape) for rows, kind, shape in self.kinds])
        if not self.cuts:
            return values.amin(dim=0)
        solid = list(values.unbind(0))
        for host, cut in self.cuts:
            solid[host] = torch.maximum(solid[host], -values[cut])
        cuts = {cut for _, cut in self.cuts}
        return torch.stack([value for row, value in enumerate(solid) if row not in cuts]).amin(dim=0)


def _shape_tensor(kind: int, rows: Parts) -> Tensor:
    """What the distance function of a kind needs: sizes (P, 4, 1), or edges (P, 5, K, 1) of polygons."""
    if kind not in (EXTRUDED, REVOLVED):
        return torch.from_numpy(rows["size"][..., None].copy()).float()
    repeated = (rows["outline"] == rows["outline"][:, -1:]).all(axis=(0, 2))
    starts = rows["outline"][:, : int(repeated.argmax()) + 1]
    ends = np.roll(starts, -1, axis=1)
    if kind == REVOLVED:  # an edge on the axis is no surface; it becomes its first corner, where another edge ends
        on_axis = (starts[..., 0] == 0.0) & (ends[..., 0] == 0.0)
        ends = np.where(on_axis[..., None], starts, ends)
    edges = ends - starts
    squares = (edges**2).sum(axis=2)
    thickness = np.broadcast_to(rows["size"][:, :1], squares.shape)
    stacked = [starts[..., 0], starts[..., 1], edges[..., 0], edges[..., 1], squares, thickness]
    return torch.from_numpy(np.stack(stacked, axis=1)[..., None]).float()


def _length(*columns: Tensor) -> Tensor:
    total = columns[0].square()
    for column in columns[1:]:
        total = torch.addcmul(total, column, column)
    return total.clamp_min(_TINY).sqrt()


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    """Distance to where two distances along perpendicular directions are both negative."""
    return _length(a.relu(), b.relu()) + torch.maximum(a, b).clamp_max(0.0)


def _box(local: Tensor, size: Tensor) -> Tensor:
    radius = size[:, 3]
    gaps = local.abs() - (size[:, :3] - size[:, 3:])
    outside = gaps.relu().square().sum(dim=1).clamp_min(_TINY).sqrt()
    return outside + gaps.amax(dim=1).clamp_max(0.0) - radius


def _cylinder(local: Tensor, size: Tensor) -> Tensor:
    radius, height, edge = size[:, 0], size[:, 1], size[:, 2]
    around = _length(local[:, 0], local[:, 2]) - (radius - edge)
    return _intersection(around, local[:, 1].abs() - (height - edge)) - edge


def _ellipsoid(local: Tensor, size: Tensor) -> Tensor:
    axes = size[:, :3]
    scaled = local / axes
    norm = scaled.square().sum(dim=1).clamp_min(_TINY).sqrt()
    slope = (scaled / axes).square().sum(dim=1).clamp_min(_TINY).sqrt()
    value = norm - 1.0
    return torch.where(value > 0, value * norm / slope, value * axes.amin(dim=1))


def _torus(local: Tensor, size: Tensor) -> Tensor:
    ring, tube, angle = size[:, 0], size[:, 1], size[:, 2]
    x, y, z = local[:, 0], local[:, 1], local[:, 2].abs()
    around = x.square() + z.square()
    cos, sin = angle.cos(), angle.sin()
    along = torch.where(x * sin >= z * cos, around.clamp_min(_TINY).sqrt(), x * cos + z * sin)
    return (around + y.square() + ring * (ring - 2.0 * along)).clamp_min(_TINY).sqrt() - tube


def _extruded(local: Tensor, edges: Tensor) -> Tensor:
    return _intersection(_polygon(local[:, 0], local[:, 1], edges), local[:, 2].abs() - edges[:, 5, 0])


def _revolved(local: Tensor, edges: Tensor) -> Tensor:
    return _polygon(_length(local[:, 0], local[:, 2]), local[:, 1], edges)


def _polygon(x: Tensor, y: Tensor, edges: Tensor) -> Tensor:
    """Signed distances (P, n) of points, whose coordinates are (P, n) each, from polygons."""
    left, low, run, rise, square, _ = edges.unbind(dim=1)
    x, y = x[:, None] - left, y[:, None] - low
    along = ((x * run + y * rise) / square.clamp_min(_TINY)).clamp(0.0, 1.0)
    gap = torch.addcmul(x, along, run, value=-1.0).square() + torch.addcmul(y, along, rise, value=-1.0).square()
    distance = gap.amin(dim=1).clamp_min(_TINY).sqrt()
    with torch.no_grad():
        above = y >= 0  # the start of an edge lies at or below the point
        crosses = (above ^ (y >= rise)) & ((x * rise < y * run) == (rise > 0))
        inside = crosses.sum(dim=1, dtype=torch.uint8) % 2 == 1
    return torch.where(inside, -distance, distance)


_DISTANCES: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    BOX: _box,
    CYLINDER: _cylinder,
    ELLIPSOID: _ellipsoid,
    TORUS: _torus,
    EXTRUDED: _extruded,
    REVOLVED: _revolved,
}
