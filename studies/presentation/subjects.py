"""The shapes of the study and their two kinds of fits.

Dimensions: N shapes, P parameters, n points.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.metrics.pairwise import field_iou, iou
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.shape import Shape

CONDITIONS = ("unconditioned", "conditioned")
DRAWN = 1000
"""Added to the seed of the shapes, which are then not those of the demo."""


@dataclass(frozen=True)
class Subjects:
    """N shapes of six families in turn, sampled."""

    shapes: list[Shape]
    samples: Samples
    judged: Samples
    """The same shapes at uniform points."""

    @classmethod
    def draw(cls, count: int, seed: int, points: int = 8192) -> "Subjects":
        """Draw `count` shapes; the first ones are the same for every count."""
        shapes = draw_shapes(count, DRAWN + seed)
        uniform = uniform_points(points, 3, seed + 1)
        return cls(shapes, sample_sdf(shapes, shared_points(shapes, points, seed)), sample_sdf(shapes, uniform))

    def fits(self, config: FieldConfig, options: FitConfig) -> dict[str, Fields]:
        """Fields (N, P) of both conditions.

        The first shape is fitted once, from a random start; both conditions have its field. In the one condition the
        others start from random weights of their own, in the other from the weights of the first.
        """
        first = fit(config, self.samples.select(slice(0, 1)), options).fields.flat
        if len(self.shapes) == 1:
            return dict.fromkeys(CONDITIONS, Fields(config, first))
        rest = self.samples.select(slice(1, None))
        apart = fit(config, rest, replace(options, seed=options.seed + 1)).fields.flat
        joined = fit(config, rest, options, shared_init=first[0]).fields.flat
        both = zip(CONDITIONS, (apart, joined), strict=True)
        return {name: Fields(config, torch.cat([first, flat])) for name, flat in both}

    def iou(self, fields: Fields) -> Tensor:
        """(B,) volume IoU of fields with the first B shapes."""
        return field_iou(fields, self.judged.select(slice(0, len(fields))))

    def agreement(self, fields: Fields, others: Fields) -> Tensor:
        """(B,) volume IoU of fields with others, at the points that the shapes are judged at."""
        with torch.no_grad():
            return iou(fields(self.judged.points)[..., 0], others(self.judged.points)[..., 0])


def spread(flat: Tensor) -> float:
    """Mean distance between two of N fields, as a share of their mean norm: 0 for equal ones, √2 for unrelated ones."""
    pairs = torch.pdist(flat)
    return float(pairs.mean() / flat.norm(dim=1).mean()) if len(pairs) else 0.0


def explained(flat: Tensor) -> list[float]:
    """Share of the variance of N fields about their mean that the first 1, 2, …, N - 1 principal components explain."""
    centered = (flat - flat.mean(0)).double()
    variance = torch.linalg.svdvals(centered).square()[: len(flat) - 1]
    return [float(share) for share in variance.cumsum(0) / variance.sum().clamp(min=1e-300)]
