"""The shapes of the presentation study, and their fits under both conditions.

Dimensions: N shapes, P parameters, B fields, n points.
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
"""The presentation's words: fits from random weights, and fits from the weights of the first shape."""
SEED_OFFSET = 1000
"""We add this number to the seed of the shapes, so that they are not the shapes of the demo."""


@dataclass(frozen=True)
class StudyShapes:
    """N shapes of the six built-in families in turn, with their signed distances."""

    shapes: list[Shape]
    training: Samples
    """The shapes at the points that fits learn from."""
    evaluation: Samples
    """The shapes at uniform points, where IoU is measured."""

    @classmethod
    def draw(cls, count: int, seed: int, num_points: int = 8192) -> "StudyShapes":
        """Draw shapes; the first shapes are the same for every count.

        Args:
            count: N.
            seed: equal seeds give equal shapes and points.
            num_points: n, of training and of evaluation.
        """
        shapes = draw_shapes(count, SEED_OFFSET + seed)
        uniform = uniform_points(num_points, 3, seed + 1)
        return cls(shapes, sample_sdf(shapes, shared_points(shapes, num_points, seed)), sample_sdf(shapes, uniform))

    def fit_conditions(self, config: FieldConfig, fit_config: FitConfig) -> dict[str, Fields]:
        """Fit all shapes under both conditions.

        The first shape is fitted once, from random weights, and both conditions share its field. The other shapes
        start from random weights in one condition and from the weights of the first field in the other.

        Args:
            config: the architecture.
            fit_config: how fields are fitted.

        Returns:
            Fields (N, P) by condition.
        """
        first = fit(config, self.training.select(slice(0, 1)), fit_config).fields.flat
        if len(self.shapes) == 1:
            return dict.fromkeys(CONDITIONS, Fields(config, first))
        others = self.training.select(slice(1, None))
        unconditioned = fit(config, others, replace(fit_config, seed=fit_config.seed + 1)).fields.flat
        conditioned = fit(config, others, fit_config, shared_init=first[0]).fields.flat
        pairs = zip(CONDITIONS, (unconditioned, conditioned), strict=True)
        return {name: Fields(config, torch.cat([first, flat])) for name, flat in pairs}

    def iou(self, fields: Fields) -> Tensor:
        """(B,) volume IoU of B fields with the first B shapes."""
        return field_iou(fields, self.evaluation.select(slice(0, len(fields))))

    def agreement(self, fields: Fields, targets: Fields) -> Tensor:
        """(B,) volume IoU of B fields with B target fields, at the evaluation points."""
        points = self.evaluation.points
        with torch.no_grad():
            return iou(fields(points)[..., 0], targets(points)[..., 0])


def mean_distance(flat: Tensor) -> float:
    """Mean distance between two of N fields, as a share of their mean norm.

    Equal fields have 0, unrelated fields √2.

    Args:
        flat: (N, P) weights.
    """
    pairs = torch.pdist(flat)
    return float(pairs.mean() / flat.norm(dim=1).mean()) if len(pairs) else 0.0


def explained_variance(flat: Tensor) -> list[float]:
    """Share of the variance of N fields that the first 1, 2, …, N - 1 principal components explain.

    Args:
        flat: (N, P) weights.
    """
    centered = (flat - flat.mean(0)).double()
    variance = torch.linalg.svdvals(centered).square()[: len(flat) - 1]
    return [float(share) for share in variance.cumsum(0) / variance.sum().clamp(min=1e-300)]
