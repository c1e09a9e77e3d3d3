"""Features of point clouds, and the Fréchet distance of two sets of features.

Decisions:

- The encoder is a small PointNet (Qi et al. 2017): one perceptron for every point, a maximum over the points, and one
  more layer. `training.point_features` trains it to classify the six built-in families. Its weights ship with the
  package.
- The features describe differences between those families and little else. For other shapes, or to compare with
  published values, pass the features of another extractor to `frechet_distance`.
- A maximum grows with the number of points, so compare only clouds of equal size. The encoder was trained on clouds of
  `FEATURE_POINTS` points.
- We compute the Fréchet distance without a matrix square root. With centered rows A, B over √(N - 1), √(M - 1), the
  trace of (AᵀA BᵀB)^½ is the sum of the singular values of A Bᵀ, which is stable for few rows and constant columns.

Dimensions: N, M clouds; n points; d features.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from weightgpt.errors import InputError
from weightgpt.io import read_tensors
from weightgpt.metrics.pairwise import Array

WEIGHTS = Path(__file__).with_name("point_features.safetensors")
"""The weights that ship with the package."""
WIDTH = 64
"""d of `PointFeatures`."""
FEATURE_POINTS = 512
"""Number of points of the clouds that the shipped encoder was trained on."""


class PointFeatures(nn.Module):
    """A PointNet from clouds (N, n, 3) in [-1, 1]^3 to features (N, 64), independent of the order of the points."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128)
        layers = [(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in pairwise(widths)]
        # The names of these two modules are keys of the shipped file.
        self.points = nn.Sequential(*(module for layer in layers for module in layer))
        self.whole = nn.Linear(widths[-1], WIDTH)

    def forward(self, clouds: Tensor) -> Float[Tensor, "N d"]:
        """Compute the features of clouds.

        Args:
            clouds: (N, n, 3) points, n >= 1.

        Returns:
            (N, 64) features.

        Raises:
            InputError: the clouds have another shape.
        """
        if clouds.ndim != 3 or clouds.shape[2] != 3 or clouds.shape[1] == 0:
            raise InputError(f"clouds of shape {tuple(clouds.shape)} were given; give N clouds of n points, (N, n, 3).")
        features: Tensor = self.whole(self.points(clouds).amax(1))
        return features


def load_point_features(path: Path | str = WEIGHTS) -> PointFeatures:
    """Load an encoder that `training.point_features` wrote.

    Args:
        path: a .safetensors file; the file that ships with the package by default.

    Returns:
        The encoder, frozen, in evaluation mode.

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
def extract_features(model: nn.Module, clouds: Tensor, batch_size: int = 64) -> Float[Array, "N d"]:
    """Compute features of many clouds in batches.

    Args:
        model: an encoder from clouds (N, n, 3) to features (N, d).
        clouds: (N, n, 3) points.
        batch_size: number of clouds that are encoded at once.

    Returns:
        (N, d) features in double precision.

    Raises:
        InputError: as `PointFeatures.forward`.
    """
    batches = [model(batch) for batch in clouds.float().split(batch_size)]
    return torch.cat(batches).double().numpy()


def frechet_distance(a: Array, b: Array) -> float:
    """Compute the Fréchet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017, equation 6).

    |μ_a - μ_b|² + Tr(C_a + C_b - 2 (C_a C_b)^½), with unbiased covariances. The value is squared, as the FID is. It is
    biased upwards for small sets, so compare only values of sets of equal size.

    Args:
        a: (N, d) finite features, N >= 2.
        b: (M, d) finite features, M >= 2.

    Returns:
        The distance; 0 for equal sets, lower is better.

    Raises:
        InputError: a set has fewer than 2 rows, is misshapen or non-finite, or the widths differ.

    Examples:
        >>> frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [5.0]]))
        9.0
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(
            f"features of shapes {a.shape} and {b.shape} were given; give (N, d) and (M, d), two rows or more each."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("some features are not finite; leave out the shapes that have none.")
    (mean_a, root_a), (mean_b, root_b) = _fit_gaussian(a), _fit_gaussian(b)
    root_trace = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    covariance_term = np.square(root_a).sum() + np.square(root_b).sum() - 2 * root_trace
    return float(np.square(mean_a - mean_b).sum() + max(covariance_term, 0.0))


def _fit_gaussian(rows: Array) -> tuple[Array, Array]:
    """Return the mean (d,) and a root R of the covariance, RᵀR = C, of at most d rows."""
    rows = rows.astype(np.float64)
    mean = rows.mean(0)
    return mean, np.linalg.qr((rows - mean) / np.sqrt(len(rows) - 1)).R
