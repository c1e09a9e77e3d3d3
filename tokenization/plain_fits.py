"""Plain fits: the shared initial field that they start from, and how far they have converged.

Dimensions: N shapes, M points, P parameters.
"""

from pathlib import Path

from torch import Tensor

from weightgpt.fields.config import FieldConfig
from weightgpt.fields.fitting import FitConfig, Fits, fit_mean_initialization
from weightgpt.io import read_tensors, write_tensors
from weightgpt.metrics.pairwise import field_iou
from weightgpt.shapes.sampling import Samples

NUM_MEAN_SHAPES = 512
"""Training shapes whose mean distance the shared initial field is fitted to."""


def load_or_fit_shared_init(field_config: FieldConfig, samples: Samples, fit_config: FitConfig, path: Path) -> Tensor:
    """Fit the shared initial field to the mean of the first shapes, or read the field that an earlier call wrote.

    Args:
        field_config: the architecture of the fields.
        samples: N training shapes at M points.
        fit_config: how the field is fitted.
        path: the .safetensors file that the field is written to or read from.

    Returns:
        (P,) weights.
    """
    if not path.is_file():
        first = samples.select(slice(0, NUM_MEAN_SHAPES))
        write_tensors(path, {"flat": fit_mean_initialization(field_config, first, fit_config)})
    return read_tensors(path)["flat"]


def iou_gain_last_quarter(fits: Fits, samples: Samples) -> float:
    """Mean IoU that fits gained in the last quarter of their steps; near 0 if the fits have converged.

    Args:
        fits: N plain fits.
        samples: their N shapes at uniform points.
    """
    return float((field_iou(fits.fields, samples) - field_iou(fits.at_three_quarters, samples)).mean())
