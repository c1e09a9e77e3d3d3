"""Whether generated shapes were only remembered: their nearest training shapes, beside those of held-out shapes.

A held-out shape is as near to the training set as a new shape of the same kind is. Samples that are nearer were copied,
at least in part (Zeng et al. 2026 find most generators of weights doing so); samples as near are new.

Decisions:
- The nearest training shape is found in two steps: the few nearest by truncated distances at probe points, and among
  these the nearest by Chamfer distance. Both sets are searched in the same way.
- That distance is from points of each surface to the other surface, not to points of it. Two clouds of one surface are
  as far apart as their points are, and a new shape of many alike is no farther from the nearest of them, so that copies
  would count as new.
- A sample counts as memorized if it is nearer to training than 95 % of held-out shapes are; of new shapes 5 % are.

Dimensions: N training shapes, m probes, D dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.sampling import gradient, near_surface
from weightgpt.shapes.shape import Sdf

CLOUD, CANDIDATES = 256, 4
STEPS = 3
"""Newton steps to the surface; after two, points of a field still lie off it, which would count as a difference."""
SHARE = 0.05
"""Share of held-out shapes that count as memorized, by definition."""
FLAT = 0.3
"""Least slope that counts; that of a signed distance is 1, but at the few places that are as near to two sides."""


@dataclass(frozen=True)
class NearestShapes:
    """For each query its nearest training shape."""

    index: list[int]
    distance: list[float]
    """Chamfer-L1 distances."""


@dataclass(frozen=True, kw_only=True)
class MemorizationStats:
    """The guard's answer."""

    nearest_train_ratio: float
    """Median distance to the nearest training shape, of samples over that of held-out shapes; 1 or more is new."""
    memorized_share: float
    """Share of samples nearer to training than 95 % of held-out shapes are; 0.05 is what new shapes have."""
    quantiles: dict[str, tuple[float, ...]]
    """5, 25, 50, 75 and 95 % quantiles of the distance, of "samples" and of "held_out"."""


class TrainingShapes:
    """Finds the nearest training shape of a signed distance function."""

    def __init__(self, shapes: Sequence[Sdf], probes: Tensor, probed: Tensor) -> None:
        """Shapes and their distances (N, m) at the probes (m, D).

        Raises:
            InputError: there is no shape, or not one row of distances for each.
        """
        if not len(shapes) or probed.shape != (len(shapes), len(probes)):
            raise InputError(
                f"{len(shapes)} training shapes came with distances {tuple(probed.shape)} at {len(probes)} probes; give"
                " one shape or more, and a row for each."
            )
        self.shapes, self.probes, self.probed = shapes, probes, probed
        self.clouds: dict[int, Tensor] = {}

    def cloud(self, index: int) -> Tensor:
        """Surface points (CLOUD, D) of a training shape."""
        if index not in self.clouds:
            self.clouds[index] = surface_cloud(self.shapes[index], self.probes.shape[1])
        return self.clouds[index]

    @torch.no_grad()
    def nearest(self, queries: Sequence[Sdf]) -> NearestShapes:
        """The nearest training shape of each query."""
        index: list[int] = []
        distance: list[float] = []
        seen = [torch.tanh(5 * sdf(self.probes).float()) for sdf in queries]
        if not seen:
            return NearestShapes(index, distance)
        # In parts: of many shapes the distances are kept in half precision.
        parts = (torch.tanh(5 * part.float()) for part in self.probed.split(4096))
        gaps = torch.cat([torch.cdist(torch.stack(seen), part, p=1) for part in parts], 1)
        for sdf, gap in zip(queries, gaps, strict=True):
            cloud = surface_cloud(sdf, self.probes.shape[1])
            best = gap.topk(min(CANDIDATES, len(gap)), largest=False).indices.tolist()
            found = min((surface_distance(sdf, cloud, self.shapes[i], self.cloud(i)), i) for i in best)
            index.append(found[1])
            distance.append(found[0])
        return NearestShapes(index, distance)


def surface_cloud(sdf: Sdf, dimension: int) -> Tensor:
    """(CLOUD, D) points on the zero level."""
    return near_surface(sdf, CLOUD, dimension, 0.0, seed=0, steps=STEPS)


def surface_distance(a: Sdf, on_a: Tensor, b: Sdf, on_b: Tensor) -> float:
    """Chamfer-L1 distance of two surfaces, in half-sides of the box.

    1/2 (mean over x on A of d(x, B) + mean over y on B of d(y, A)), where d(x, B) is |b(x)| / |grad b(x)|, the distance
    to the zero level of `b` to first order (Taubin 1991), and |b(x)| of a true signed distance.

    Args:
        a: the first surface, as its signed distance.
        on_a: points (n, D) on it.
        b: the second surface, likewise.
        on_b: points (m, D) on it.
    """
    return (_distance(a, on_b).mean() + _distance(b, on_a).mean()).item() / 2


def _distance(sdf: Sdf, points: Tensor) -> Tensor:
    slope: Tensor = torch.linalg.vector_norm(gradient(sdf, points), dim=-1)
    return sdf(points).abs() / slope.clamp(min=FLAT)


def memorization_stats(samples: Sequence[float], held_out: Sequence[float]) -> MemorizationStats:
    """Compare distances to the nearest training shape.

    Raises:
        InputError: there are no samples or no held-out shapes.
    """
    if not len(samples) or not len(held_out):
        raise InputError(f"{len(samples)} samples and {len(held_out)} held-out shapes were given; give one of each.")
    near = float(np.quantile(held_out, SHARE))
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    return MemorizationStats(
        nearest_train_ratio=median(samples) / max(median(held_out), 1e-12),
        memorized_share=float((np.asarray(samples) < near).mean()),
        quantiles={
            name: tuple(np.quantile(part, levels).tolist())
            for name, part in (("samples", samples), ("held_out", held_out))
        },
    )


def nearest_weights(flat: Tensor, train: Tensor) -> Tensor:
    """Relative distance of each row of weights (B, P) to the nearest of (N, P): (B,) of |a - b| / |b|.

    Raises:
        InputError: the two are of different architectures.
    """
    if flat.shape[1] != train.shape[1]:
        raise InputError(f"weights have {flat.shape[1]} and {train.shape[1]} parameters; compare fields of one kind.")
    return torch.stack([((train - row).norm(dim=1) / train.norm(dim=1).clamp(min=1e-12)).min() for row in flat])
