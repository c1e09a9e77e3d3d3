"""The memorization check: whether generated shapes are copies of training shapes.

A held-out shape is as near to the training set as a new shape of the same kind is. Samples that are nearer were copied,
at least in part; samples that are as near are new. Zeng et al. 2026 find that most generators of weights copy.

Decisions:

- The nearest training shape is searched in two steps: the few nearest ones by truncated distances at probe points, and
  among these the nearest one by Chamfer distance. Samples and held-out shapes are searched in the same way.
- The Chamfer distance goes from points of each surface to the other surface, not to points of the other surface. Two
  clouds of one surface already differ by the distance between their points. If there are many similar training shapes,
  a new shape is no farther than that from the nearest cloud, so copies and new shapes would have equal distances.
- A sample counts as memorized if it is nearer to training than 95 % of held-out shapes are. By this definition 5 % of
  held-out shapes count as memorized, and so do 5 % of new shapes.

Dimensions: N training shapes, m probes, D dimension, B fields, P parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.optimization import DEFAULT_TRUNCATION
from weightgpt.shapes.sampling import near_surface_points, sdf_gradient
from weightgpt.shapes.shape import Sdf

NUM_SURFACE_POINTS = 256
"""Points on each surface."""
NUM_CANDIDATES = 4
"""Training shapes that are compared by Chamfer distance."""
NEWTON_STEPS = 3
"""Newton steps to the surface. After two steps the points of a field still lie off the surface, which would count as a
difference."""
EXPECTED_SHARE = 0.05
"""Share of held-out shapes that count as memorized, by definition."""
MIN_SLOPE = 0.3
"""Gradient norms are clamped to this minimum. A signed distance has norm 1 except on its medial axis."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the distances that are reported."""
_SHAPES_AT_ONCE = 4096


@dataclass(frozen=True)
class NearestShapes:
    """The nearest training shape of each query."""

    index: list[int]
    """Numbers of the training shapes."""
    distance: list[float]
    """Chamfer-L1 distances, in half-sides of the box."""


@dataclass(frozen=True, kw_only=True)
class MemorizationStats:
    """The result of the memorization check."""

    memorized_share: float
    """Share of samples nearer to training than 95 % of held-out shapes are; about 0.05 for new shapes."""
    nearest_train_ratio: float
    """Median distance to the nearest training shape, of samples divided by that of held-out shapes; 1 or more for new
    shapes."""
    nearest_train_quantiles: dict[str, tuple[float, ...]]
    """The `QUANTILES` of the distances, of "samples" and of "held_out"."""


class TrainingShapes:
    """All training shapes, prepared for the search of the nearest one."""

    def __init__(self, shapes: Sequence[Sdf], probes: Float[Tensor, "m D"], sdf: Tensor) -> None:
        """Prepare the search.

        Args:
            shapes: N signed distance functions.
            probes: (m, D) points.
            sdf: (N, m) signed distances of the shapes at the probes; half precision where there are many shapes.

        Raises:
            InputError: there is no shape, or not one row of distances for each.
        """
        if not len(shapes) or sdf.shape != (len(shapes), len(probes)):
            raise InputError(
                f"{len(shapes)} training shapes came with distances {tuple(sdf.shape)} at {len(probes)} probes; give"
                " one shape or more, and a row for each."
            )
        self.shapes, self.probes, self.sdf = shapes, probes, sdf
        self._clouds: dict[int, Tensor] = {}

    @torch.no_grad()
    def nearest(self, queries: Sequence[Sdf]) -> NearestShapes:
        """Find the nearest training shape of each query.

        Args:
            queries: signed distance functions of shapes that have a surface.
        """
        index: list[int] = []
        distance: list[float] = []
        if not len(queries):
            return NearestShapes(index, distance)
        at_probes = torch.stack([torch.tanh(DEFAULT_TRUNCATION * sdf(self.probes).float()) for sdf in queries])
        # The rows of many shapes are in half precision, so they are converted in parts.
        parts = (torch.tanh(DEFAULT_TRUNCATION * part.float()) for part in self.sdf.split(_SHAPES_AT_ONCE))
        gaps = torch.cat([torch.cdist(at_probes, part, p=1) for part in parts], 1)
        for sdf, gap in zip(queries, gaps, strict=True):
            cloud = surface_cloud(sdf, self.probes.shape[1])
            candidates = gap.topk(min(NUM_CANDIDATES, len(gap)), largest=False).indices.tolist()
            best = min((surface_distance(sdf, cloud, self.shapes[i], self._cloud(i)), i) for i in candidates)
            distance.append(best[0])
            index.append(best[1])
        return NearestShapes(index, distance)

    def _cloud(self, index: int) -> Tensor:
        """Return surface points (n, D) of a training shape; they are computed once."""
        if index not in self._clouds:
            self._clouds[index] = surface_cloud(self.shapes[index], self.probes.shape[1])
        return self._clouds[index]


def surface_cloud(sdf: Sdf, dimension: int) -> Float[Tensor, "n D"]:
    """Sample points on the zero level of a signed distance function.

    Args:
        sdf: points (n, D) to signed distances (n,).
        dimension: D.

    Returns:
        (256, D) points.
    """
    return near_surface_points(sdf, NUM_SURFACE_POINTS, dimension, 0.0, seed=0, steps=NEWTON_STEPS)


def surface_distance(a: Sdf, on_a: Float[Tensor, "n D"], b: Sdf, on_b: Float[Tensor, "m D"]) -> float:
    """Compute the Chamfer-L1 distance of two surfaces.

    1/2 (mean over x on A of d(x, B) + mean over y on B of d(y, A)), where d(x, B) is |b(x)| / |grad b(x)|, the distance
    to the zero level of `b` to first order (Taubin 1991), and |b(x)| of a true signed distance.

    Args:
        a: signed distance function of the first surface.
        on_a: points (n, D) on the first surface.
        b: signed distance function of the second surface.
        on_b: points (m, D) on the second surface.

    Returns:
        The distance in half-sides of the box.
    """
    return (_distance_to_surface(a, on_b).mean() + _distance_to_surface(b, on_a).mean()).item() / 2


def _distance_to_surface(sdf: Sdf, points: Tensor) -> Tensor:
    """Return first-order distances (n,) of points (n, D) to the zero level."""
    slope: Tensor = torch.linalg.vector_norm(sdf_gradient(sdf, points), dim=-1)
    return sdf(points).abs() / slope.clamp(min=MIN_SLOPE)


def memorization_stats(samples: Sequence[float], held_out: Sequence[float]) -> MemorizationStats:
    """Compare the distances of samples to their nearest training shapes with those of held-out shapes.

    Args:
        samples: distance of each sample to its nearest training shape.
        held_out: distance of each held-out shape to its nearest training shape.

    Raises:
        InputError: there are no samples or no held-out shapes.

    Examples:
        >>> stats = memorization_stats([0.5, 3.0], [1.0, 1.5, 2.0])
        >>> stats.memorized_share, round(stats.nearest_train_ratio, 3)
        (0.5, 1.167)
    """
    if not len(samples) or not len(held_out):
        raise InputError(f"{len(samples)} samples and {len(held_out)} held-out shapes were given; give one of each.")
    threshold = float(np.quantile(held_out, EXPECTED_SHARE))
    return MemorizationStats(
        memorized_share=float((np.asarray(samples) < threshold).mean()),
        nearest_train_ratio=median(samples) / max(median(held_out), 1e-12),
        nearest_train_quantiles={
            name: tuple(np.quantile(distances, QUANTILES).tolist())
            for name, distances in (("samples", samples), ("held_out", held_out))
        },
    )


def nearest_weights(flat: Float[Tensor, "B _"], train: Float[Tensor, "N _"]) -> Float[Tensor, " B"]:
    """Compute the relative distance of weights to the nearest training weights.

    Args:
        flat: (B, P) weights of fields.
        train: (N, P) weights of training fields of the same architecture.

    Returns:
        (B,) minima over training rows b of |a - b| / |b|.

    Raises:
        InputError: the fields have different numbers of parameters.
    """
    if flat.shape[1] != train.shape[1]:
        raise InputError(
            f"weights have {flat.shape[1]} and {train.shape[1]} parameters; compare fields of one architecture."
        )
    return torch.stack([((train - row).norm(dim=1) / train.norm(dim=1).clamp(min=1e-12)).min() for row in flat])
