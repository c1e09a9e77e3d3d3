"""Exact signed distances of simple solids, and the operations that combine them.

Decisions:

- A `Solid` is a distance function and the corners of a convex hull around it. So a shape can be designed at any size,
  and its hull is enough to scale it to the unit cube.
- Solids of revolution, extrusions and tubes are exact for a whole polyline at once.
- Distance functions take the coordinates as three separate columns, because arithmetic on contiguous columns, and on
  (segments, n) arrays of them, is several times faster than on (n, 3) rows.
- Solids are joined by `union` (the minimum), which is exact outside and has the exact sign everywhere. There is no
  smooth union, because its value is not a distance.

Source of the formulas: Inigo Quilez, distance functions, https://iquilezles.org/articles/distfunctions/ and
https://iquilezles.org/articles/distfunctions2d/.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vector = tuple[float, float, float]
Outline = Sequence[tuple[float, float]]
Array = NDArray[np.float64]
_BLOCK = 8192  # points evaluated at once, so that the arrays of a polyline stay in the processor's cache


@dataclass(frozen=True)
class Solid:
    """A solid: call it with points (n, 3) for signed distances (n,), positive outside and negative inside.

    The methods return copies, whose distances stay exact.

    Examples:
        >>> ball = sphere(0.5).translate(x=0.2)
        >>> ball(torch.tensor([[0.2, 0.0, 0.0]]))
        tensor([-0.5000])
    """

    distance: Callable[[Tensor, Tensor, Tensor], Tensor]
    """x, y and z, three tensors (n,), to signed distances (n,)."""
    hull: Array
    """(k, 3) points whose convex hull contains the solid. Its bounding box is that of the solid, unless a round part
    was rotated."""

    def __call__(self, points: Tensor) -> Tensor:
        return torch.cat([self.distance(*block.T.contiguous()) for block in torch.split(points, _BLOCK)])

    def translate(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Solid":
        """Move the solid.

        Args:
            x: distance along the x axis.
            y: distance along the y axis.
            z: distance along the z axis.
        """
        return Solid(lambda px, py, pz: self.distance(px - x, py - y, pz - z), self.hull + np.array([x, y, z]))

    def rotate(self, axis: str, degrees: float) -> "Solid":
        """Rotate the solid about an axis through the origin, counter-clockwise as seen from the tip of the axis.

        Args:
            axis: 'x', 'y' or 'z'.
            degrees: the angle.
        """
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        cos, sin = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))

        def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            columns = [x, y, z]
            columns[i], columns[j] = cos * columns[i] + sin * columns[j], cos * columns[j] - sin * columns[i]
            return self.distance(*columns)

        hull = self.hull.copy()
        hull[:, i] = cos * self.hull[:, i] - sin * self.hull[:, j]
        hull[:, j] = sin * self.hull[:, i] + cos * self.hull[:, j]
        return Solid(distance, hull)

    def mirror(self, axes: str) -> "Solid":
        """Add mirror images of the solid across the planes x = 0, y = 0 or z = 0.

        The distance is exact when the solid lies on the positive side of each of these planes.

        Args:
            axes: the axes to mirror, such as 'x' or 'xz'.
        """

        def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            return self.distance(*(c.abs() if axis in axes else c for c, axis in zip((x, y, z), "xyz", strict=True)))

        hull = self.hull
        for axis in axes:
            hull = np.concatenate([hull, hull * np.where(np.array(list("xyz")) == axis, -1.0, 1.0)])
        return Solid(distance, hull)

    def scale_to(self, size: float) -> "Solid":
        """Scale the solid and center its bounding box on the origin.

        Args:
            size: longest side of the bounding box afterwards.
        """
        low, high = self.hull.min(axis=0), self.hull.max(axis=0)
        (a, b, c), scale = ((low + high) / 2).tolist(), size / float((high - low).max())

        def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            return self.distance(x / scale + a, y / scale + b, z / scale + c) * scale

        return Solid(distance, (self.hull - (low + high) / 2) * scale)


def union(*solids: Solid) -> Solid:
    """Join solids; the distance is exact outside, and inside it is a lower bound of the depth.

    Args:
        solids: one or more solids.
    """
    hull = np.concatenate([solid.hull for solid in solids])
    return Solid(lambda x, y, z: reduce(torch.minimum, (solid.distance(x, y, z) for solid in solids)), hull)


def box(width: float, height: float, depth: float, radius: float = 0.0) -> Solid:
    """Create a box about the origin.

    Args:
        width: full side along x.
        height: full side along y.
        depth: full side along z.
        radius: radius of the rounded edges.
    """
    half = np.array([width, height, depth]) / 2
    a, b, c = (half - radius).tolist()
    return Solid(lambda x, y, z: _intersect(x.abs() - a, y.abs() - b, z.abs() - c) - radius, _corners(-half, half))


def sphere(radius: float) -> Solid:
    """Create a ball about the origin.

    Args:
        radius: radius of the ball.
    """
    return Solid(lambda x, y, z: _length(x, y, z) - radius, _corners(*np.array([[-radius] * 3, [radius] * 3])))


def cylinder(radius: float, height: float) -> Solid:
    """Create a cylinder about the y axis.

    Args:
        radius: radius of the cylinder.
        height: full height, from -height / 2 to height / 2.
    """
    hull = _rings([(radius, -height / 2), (radius, height / 2)])
    return Solid(lambda x, y, z: _intersect(_length(x, z) - radius, y.abs() - height / 2), hull)


def cone(bottom: float, top: float, height: float) -> Solid:
    """Create a capped cone about the y axis.

    Args:
        bottom: radius at y = 0.
        top: radius at y = height.
        height: full height.
    """
    return revolve([(0.0, 0.0), (bottom, 0.0), (top, height), (0.0, height)])


def round_cone(start: Vector, end: Vector, first: float, last: float) -> Solid:
    """Create the convex hull of two balls, neither of which contains the other.

    Args:
        start: center of the first ball.
        end: center of the last ball.
        first: radius of the first ball.
        last: radius of the last ball.
    """
    a, b = np.array(start), np.array(end)
    length = float(np.linalg.norm(b - a))
    slope = (first - last) / length
    lean = float(slope / np.sqrt(1.0 - slope**2))
    (ax, ay, az), (ux, uy, uz) = start, (float(u) for u in (b - a) / length)

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        x, y, z = x - ax, y - ay, z - az
        along = x * ux + y * uy + z * uz
        across = _length(x - along * ux, y - along * uy, z - along * uz)
        foot = (along - across * lean).clamp(0.0, length)  # center of the nearest ball of the hull
        return _length(across, along - foot) - (first - foot * slope)

    return Solid(distance, np.concatenate([_corners(a - first, a + first), _corners(b - last, b + last)]))


def tube(path: Sequence[Vector], radius: float) -> Solid:
    """Create a tube about a polyline; two points give a capsule.

    Args:
        path: two or more points.
        radius: radius of the tube.
    """
    nodes = np.array(path, dtype=np.float64)
    hull = np.concatenate([_corners(node - radius, node + radius) for node in nodes])
    return Solid(lambda x, y, z: _distance_to_segments((x, y, z), nodes[:-1], nodes[1:]) - radius, hull)


def revolve(profile: Outline, radius: float = 0.0) -> Solid:
    """Revolve a simple polygon about the y axis.

    Edges on the axis are no surface. The distance is exact, except for the depth inside where `radius` is positive.

    Args:
        profile: corners (r, y) of the polygon, with r >= 0.
        radius: the solid grows by this much on all sides.
    """
    hull = _rings([(r + radius, y + s) for r, y in profile for s in (-radius, radius)])
    edges = _polygon_edges(profile)
    return Solid(lambda x, y, z: _distance_to_polygon(_length(x, z), y, *edges) - radius, hull)


def extrude(outline: Outline, thickness: float) -> Solid:
    """Extrude a simple polygon along z.

    Args:
        outline: corners (x, y) of the polygon.
        thickness: full extent along z, centered on z = 0.
    """
    hull = np.array([(x, y, z) for x, y in outline for z in (-thickness / 2, thickness / 2)])
    edges = _polygon_edges(outline, axis=False)
    return Solid(lambda x, y, z: _intersect(_distance_to_polygon(x, y, *edges), z.abs() - thickness / 2), hull)


def arc(first: float, last: float, count: int, radius: float = 1.0) -> list[tuple[float, float]]:
    """Compute points on a circle about the origin.

    Args:
        first: first angle, in radians.
        last: last angle, in radians.
        count: number of points.
        radius: radius of the circle.
    """
    return [(radius * float(np.cos(a)), radius * float(np.sin(a))) for a in np.linspace(first, last, count)]


def _length(*columns: Tensor) -> Tensor:
    """Euclidean length; unlike torch.hypot, its gradient is 0, not NaN, at 0."""
    return _sum([column * column for column in columns]).clamp_min(1e-30).sqrt()


def _intersect(*gaps: Tensor) -> Tensor:
    """Distance to the region where all `gaps` are negative, which are distances along perpendicular directions."""
    return _length(*(gap.relu() for gap in gaps)) + reduce(torch.maximum, gaps).clamp_max(0.0)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    """Sum of tensors, one after the other."""
    return reduce(torch.add, terms)


def _distance_to_segments(columns: Sequence[Tensor], starts: Array, ends: Array) -> Tensor:
    """Distances (n,) of points, which are d columns (n,), from the nearest of k segments, whose ends are (k, d)."""
    edges = ends - starts
    rows = np.stack([starts, edges, edges / (edges**2).sum(axis=1, keepdims=True)]).transpose(0, 2, 1)[..., None]
    start, edge, step = columns[0].new_tensor(rows)  # each (d, k, 1)
    offsets = [column - a for column, a in zip(columns, start, strict=True)]
    along = _sum([offset * s for offset, s in zip(offsets, step, strict=True)]).clamp(0.0, 1.0)
    gaps = [torch.addcmul(offset, along, e, value=-1.0) for offset, e in zip(offsets, edge, strict=True)]
    return _sum([gap * gap for gap in gaps]).amin(dim=0).clamp_min(1e-30).sqrt()


def _distance_to_polygon(x: Tensor, y: Tensor, starts: Array, ends: Array, turn: float) -> Tensor:
    """Signed distances (n,) from a polygon of k edges; `turn` is 1 or -1 for a convex one, 0 for any other."""
    with torch.no_grad():
        side = _side_of_convex(x, y, starts, turn * (ends - starts)) if turn else _side(x, y, starts, ends)
    return _distance_to_segments((x, y), starts, ends) * side


def _side_of_convex(x: Tensor, y: Tensor, starts: Array, edges: Array) -> Tensor:
    """-1 inside a convex polygon, whose `edges` run counter-clockwise, and +1 outside: to the right of some edge."""
    left, low, run, rise = x.new_tensor(np.concatenate([starts, edges], axis=1).T)[..., None]
    return torch.copysign(torch.ones_like(x), ((x - left) * rise - (y - low) * run).amax(dim=0))


def _side(x: Tensor, y: Tensor, starts: Array, ends: Array) -> Tensor:
    """-1 inside any polygon, where an odd number of edges lies to the right, and +1 outside."""
    run, rise = (ends - starts).T
    slope = x.new_tensor(run / np.where(rise == 0.0, 1.0, rise))[:, None]
    left, low, high = (x.new_tensor(array)[:, None] for array in (starts[:, 0], starts[:, 1], ends[:, 1]))
    crossed = ((low > y) ^ (high > y)) & (x - left < (y - low) * slope)
    return 1.0 - 2.0 * (crossed.sum(dim=0, dtype=torch.uint8) % 2)


def _polygon_edges(outline: Outline, axis: bool = True) -> tuple[Array, Array, float]:
    """Start and end points, each (k, 2), of the edges of a polygon, without those on the `axis` x = 0, and its turn.

    The turn is 1 if all corners turn left, -1 if all turn right, 0 if the polygon is not convex.
    """
    starts = np.array(outline, dtype=np.float64)
    ends = np.roll(starts, -1, axis=0)
    (x, y), (after_x, after_y) = (ends - starts).T, (np.roll(ends, -1, axis=0) - ends).T
    turns = np.sign(x * after_y - y * after_x)
    convex = abs(turns.sum()) == abs(turns).sum()
    surface = (not axis) | (starts[:, 0] != 0.0) | (ends[:, 0] != 0.0)
    return starts[surface], ends[surface], float(np.sign(turns.sum())) if convex else 0.0


def _corners(low: Array, high: Array) -> Array:
    """The 8 corners (8, 3) of a box."""
    return np.array(list(product(*zip(low, high, strict=True))))


def _rings(profile: Outline) -> Array:
    """Corners (8 k, 3) of the octagons around the circles of radius r at height y, for (r, y) in `profile`."""
    angles = np.radians(22.5 + 45.0 * np.arange(8))
    ring = np.stack([np.cos(angles), np.zeros(8), np.sin(angles)], axis=1) / np.cos(np.radians(22.5))
    return np.concatenate([ring * r + np.array([0.0, y, 0.0]) for r, y in profile])
