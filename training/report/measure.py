"""The metrics of a run; docs/metrics.md lists the keys.

Decisions:
- The rows of samples and of training shapes come from `SetEvaluator`, as in `weightgpt evaluate` and in the comparison
  with baselines, so equal keys mean equal measurements.
- Reconstruction and GPT are measured on test shapes only.

Dimensions: N shapes, L tokens of a sequence.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import GPT2LMHeadModel

from training.pretrain import code_loss
from weightgpt.metrics.evaluation import evaluate_rows
from weightgpt.metrics.evaluator import SetEvaluator
from weightgpt.metrics.memorization import NearestShapes, TrainingShapes
from weightgpt.metrics.shape_set import ShapeSet, mesh_shapes
from weightgpt.shapes.shape import Sdf

HELD_OUT_SEED, REFERENCE_SEED = 1, 2
"""Seeds of the surface points; those of samples have seed 0 (`training.report.samples`)."""


@torch.no_grad()
def evaluate_samples(
    samples: ShapeSet, reference: Sequence[Sdf], held_out: Sequence[Sdf], training: TrainingShapes, resolution: int
) -> tuple[dict[str, Any], NearestShapes | None]:
    """Evaluate samples and training shapes against held-out shapes.

    Args:
        samples: the generated shapes, meshed on the same grid.
        reference: training shapes, as many as there are samples.
        held_out: test shapes.
        training: all training shapes, for the memorization check.
        resolution: grid points along each axis when shapes are meshed.

    Returns:
        The rows "reference" and "samples", and the nearest training shape of each sample with a surface.
    """
    evaluator = SetEvaluator.create(mesh_shapes(held_out, seed=HELD_OUT_SEED, resolution=resolution), training)
    reference_set = mesh_shapes(reference, seed=REFERENCE_SEED, resolution=resolution)
    rows, evaluation = evaluate_rows(samples, reference_set, evaluator)
    return rows, evaluation.nearest


def reconstruction_metrics(train: Dataset, test: Dataset) -> dict[str, Any]:
    """Summarize how much of the shapes the tokens preserve.

    Args:
        train: training rows of the corpus; IoU was measured for the first ones.
        test: test rows of the corpus.
    """
    iou, plain_fit, labels = np.array(test["iou"]), np.array(test["iou_plain_fit"]), np.array(test["label"])
    by_class = {}
    for label in sorted(set(labels.tolist())):
        of_class = labels == label
        by_class[label] = {"iou": float(iou[of_class].mean()), "iou_plain_fit": float(plain_fit[of_class].mean())}
    return {
        "iou": float(iou.mean()),
        "iou_plain_fit": float(plain_fit.mean()),
        "iou_ratio": float(iou.mean() / max(plain_fit.mean(), 1e-9)),
        "by_class": by_class,
        "train": {"iou": float(np.mean([value for value in train["iou"] if value is not None]))},
    }


def gpt_metrics(gpt: GPT2LMHeadModel, ids: Tensor, codebook_size: int) -> dict[str, Any]:
    """Measure how well a GPT predicts sequences, and compare with uniform codes.

    Args:
        gpt: the model.
        ids: (N, L) sequences of test shapes.
        codebook_size: codes of each quantizer level.
    """
    loss = code_loss(gpt, ids)
    return {
        "gpt_parameters": gpt.num_parameters(),
        "gpt_loss": loss,
        "gpt_bits_per_token": loss / math.log(2),
        "uniform_bits_per_token": math.log2(codebook_size),
        "gpt_bits_fraction": loss / math.log(codebook_size),
    }
