"""One shared schedule of coordinates for a whole corpus.

Decisions:
- Every shape is sampled at the same points in the same order: fits that see equal coordinates differ by their shape
  only, which takes much noise out of the weights, and a batch of fields then shares one encoding of the points.
- Half of the points lie near the surfaces of shapes of the corpus, half are uniform in [-1, 1]^D. They are shuffled, so
  that any contiguous slice is a fair batch.
- Of the shared points few lie near the surface of any one shape, and hardly one inside a thin part. Where that matters,
  points are drawn from the schedule for each shape by itself.

Dimensions: N shapes, M points of the schedule, D dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from weightgpt.errors import InputError
from weightgpt.shapes.shape import Shape


@dataclass(frozen=True)
class Samples:
    """Signed distances of N shapes at M shared points."""

    points: Tensor
    """(M, D) coordinates in [-1, 1]^D."""
    sdf: Tensor
    """(N, M) signed distances, positive outside; half precision where there are many."""

    def select(self, index: Tensor | Sequence[int] | slice) -> "Samples":
        """The same points, the shapes at `index` only, in single precision."""
        return Samples(self.points, self.sdf[index].float())


def uniform_points(n: int, dimension: int, seed: int) -> Tensor:
    """(n, D) points uniform in [-1, 1]^D."""
    return torch.rand(n, dimension, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def near_surface(
    sdf: Callable[[Tensor], Tensor], n: int, dimension: int, std: float, seed: int, steps: int = 2
) -> Tensor:
    """(n, D) points near the zero level of `sdf`, with Gaussian noise of deviation `std`, clamped to the box.

    Uniform points are pulled to the surface by Newton steps with a central-difference gradient.

    Args:
        sdf: points (m, D) to signed distances (m,), positive outside.
        n: how many points.
        dimension: D.
        std: in half-sides of the box.
        seed: equal seeds give equal points.
        steps: Newton steps; two bring a true signed distance to its surface, a field wants more.
    """
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(8 * n, dimension, generator=generator) * 2 - 1
    values = sdf(points)
    nearest = values.abs().argsort()[: 2 * n]
    nearest = nearest[torch.randperm(len(nearest), generator=generator)[:n]]
    points, values = points[nearest], values[nearest]
    for _ in range(steps):
        slope = gradient(sdf, points)
        points = points - values[:, None] * slope / slope.square().sum(-1, keepdim=True).clamp(min=0.1)
        values = sdf(points)
    return (points + torch.randn(points.shape, generator=generator) * std).clamp(-1, 1)


def gradient(sdf: Callable[[Tensor], Tensor], points: Tensor, step: float = 1e-3) -> Tensor:
    """(n, D) gradient of `sdf` at points (n, D), by central differences."""
    n, dimension = points.shape
    shifts = torch.eye(dimension) * step
    shifted = torch.cat([points[None] + shifts[:, None], points[None] - shifts[:, None]]).flatten(0, 1)
    values = sdf(shifted).reshape(2, dimension, n)
    return ((values[0] - values[1]) / (2 * step)).T


def shared_schedule(shapes: Sequence[Shape], n: int, seed: int, surface: float = 0.5, std: float = 0.04) -> Tensor:
    """(n, D) points for a whole corpus: a share `surface` near surfaces of up to 64 of the shapes, the rest uniform.

    Raises:
        InputError: there are no shapes, or their dimensions differ.
    """
    if not shapes or any(shape.dimension != shapes[0].dimension for shape in shapes):
        raise InputError("the corpus is empty or mixes 2D and 3D shapes; pass shapes, all of one dimension.")
    dimension = shapes[0].dimension
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(shapes), generator=generator)[:64].tolist()
    each = -(-int(n * surface) // len(chosen))
    close = torch.cat([near_surface(shapes[i].sdf, each, dimension, std, seed + 1 + i) for i in chosen])
    close = close[torch.randperm(len(close), generator=generator)[: int(n * surface)]]
    points = torch.cat([close, uniform_points(n - len(close), dimension, seed)])
    return points[torch.randperm(n, generator=generator)]


def sample(shapes: Sequence[Shape], points: Tensor, progress: bool = False) -> Samples:
    """Evaluate every shape at the shared `points` (M, D)."""
    rows = [shape.sdf(points).float() for shape in tqdm(shapes, "sampling shapes", disable=not progress)]
    return Samples(points, torch.stack(rows))


def draw_points(
    sdf: Tensor, points: int, surface: float, width: float, generator: torch.Generator, balanced: bool = False
) -> Tensor:
    """(N, n) indices into the schedule, drawn for each shape (N, M): a share near its own surface, the rest uniform.

    Args:
        points: n.
        surface: that share.
        width: how near; chances fall with the distance as exp(-|sdf| / width).
        balanced: draw as many of those inside as outside: of a thin part, points outside tell next to nothing.
    """
    close = round(surface * points)
    chances = torch.exp(-sdf.abs() / width) + 1e-4  # a shape may have no point near it
    if balanced:
        sides = torch.stack([chances * (sdf < 0), chances * (sdf >= 0)])
        chances = (sides / sides.sum(2, keepdim=True).clamp(min=1e-4)).sum(0)
    near = torch.multinomial(chances, max(close, 1), replacement=True, generator=generator)[:, :close]
    return torch.cat([near, torch.randint(0, sdf.shape[1], (len(sdf), points - close), generator=generator)], 1)
