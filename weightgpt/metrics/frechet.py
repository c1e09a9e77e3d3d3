"""Features of point clouds, and the Fréchet distance of two sets of them.

Decisions:

- The encoder is a small PointNet (Qi et al. 2017): one perceptron for every point, a maximum over the points, one more
  layer. It is learned by `training.point_features` to tell the six built-in families apart, and ships with its weights.
- Its features say what tells those families apart, and little else: for other shapes, or to compare with published
  figures, give `frechet_distance` the features of another extractor; it takes any.
- A maximum grows with the number of points: compare clouds of equal size only. It was learned on `POINTS` points.
- The Fréchet distance needs no root of a matrix: with centered rows A, B over √(N - 1), √(M - 1), the trace of
  (AᵀA BᵀB)^½ is the sum of the singular values of A Bᵀ, which few rows or constant columns do not upset.

Dimensions: N, M clouds; n points; d features.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from weightgpt.errors import InputError
from weightgpt.io import read_tensors
from weightgpt.metrics.pairwise import Array

WEIGHTS = Path(__file__).with_name("point_features.safetensors")
"""The weights that ship with the package."""
WIDTH = 64
"""d of `PointFeatures`."""
POINTS = 512
"""Points of the clouds that the shipped encoder has learned from."""


class PointFeatures(nn.Module):
    """Clouds (N, n, 3) in the unit cube to features (N, 64), whatever the order of the points."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128)
        layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)]
        self.points = nn.Sequential(*(part for layer in layers for part in layer))
        self.whole = nn.Linear(widths[-1], WIDTH)

    def forward(self, clouds: Tensor) -> Tensor:
        """Features (N, 64) of clouds (N, n, 3), n >= 1.

        Raises:
            InputError: the clouds have another shape.
        """
        if clouds.ndim != 3 or clouds.shape[2] != 3 or clouds.shape[1] == 0:
            raise InputError(f"clouds of shape {tuple(clouds.shape)} were given; give N clouds of n points, (N, n, 3).")
        features: Tensor = self.whole(self.points(clouds).amax(1))
        return features


def load_features(path: Path | str = WEIGHTS) -> PointFeatures:
    """The encoder of a file that `training.point_features` wrote, by default the one that ships, ready to use.

    Raises:
        InputError: the file is missing, cut short, or holds no such encoder.
    """
    model = PointFeatures()
    try:
        model.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise InputError(
            f"{path} holds no point features; write one with `python -m training.point_features`."
        ) from error
    return model.eval().requires_grad_(False)


@torch.no_grad()
def features(model: nn.Module, clouds: Tensor, batch: int = 64) -> Array:
    """Features (N, d) in double precision of clouds (N, n, 3), `batch` clouds at a time.

    Raises:
        InputError: as `PointFeatures.forward`.
    """
    parts = [model(part) for part in clouds.float().split(batch)]
    return torch.cat(parts).double().numpy()


def frechet_distance(a: Array, b: Array) -> float:
    """Fréchet distance of the Gaussians through two sets of features (Heusel et al. 2017, equation 6).

    |μ_a - μ_b|² + Tr(C_a + C_b - 2 (C_a C_b)^½), with unbiased covariances; 0 for equal sets, lower is better. It is
    squared, as the FID is, and biased upwards for small sets: compare only figures of equally many rows.

    Args:
        a: (N, d) finite features, N >= 2.
        b: (M, d) finite features, M >= 2.

    Raises:
        InputError: a set has fewer than 2 rows, is misshapen or non-finite, or the widths differ.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(
            f"features of shapes {a.shape} and {b.shape} were given; give (N, d) and (M, d), two rows or more each."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("some features are not finite; leave out the shapes that have none.")
    (mean_a, root_a), (mean_b, root_b) = _gaussian(a), _gaussian(b)
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum() - 2 * shared
    return float(np.square(mean_a - mean_b).sum() + max(spread, 0.0))


def _gaussian(rows: Array) -> tuple[Array, Array]:
    """The mean (d,) and a root R of the covariance, RᵀR = C, of at most d rows."""
    rows = rows.astype(np.float64)
    mean = rows.mean(0)
    return mean, np.linalg.qr((rows - mean) / np.sqrt(len(rows) - 1)).R
