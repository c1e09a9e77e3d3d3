"""How near the fields that a tokenizer gives back are to the shapes, beside the plain fits they replace.

Decisions:
- Every figure is of held-out shapes, against the true shape, and the same is measured of the plain fits. A ratio is the
  mean of the one over the mean of the other.
- Surfaces are compared as points on meshes of one resolution, the true shape's too. A field without a surface has no
  distance; such fields are counted, and left out of both means of a ratio.
- The error of weights is the distance from the plain fit, as a share of the fit's own distance from the shared initial
  field: 1 is as far as knowing nothing of the shape. Of a quantizer that chooses weights of its own it says only how
  far those lie from the fit's; many weights have one function.

Dimensions: H shapes, P parameters, C chunks, Q levels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from tokenization.measure.benchmark import Benchmark
from weightgpt.fields.field import Fields
from weightgpt.fields.functional import layer_matrices
from weightgpt.metrics.pairwise import chamfer, field_iou, normal_consistency, oriented_points
from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.codes import measure_usage
from weightgpt.shapes.shape import Sdf
from weightgpt.visual.meshing import mesh_sdf

Array = NDArray[np.float64]
Cloud = tuple[Array, Array]

CLOUD = 2048
"""Points drawn on each surface."""
NEAR = 0.1
"""Distance from the true surface within which signed distances are compared."""


@dataclass(frozen=True)
class Figures:
    """How near H fields are to their shapes; NaN where there is no surface to compare."""

    iou: Array
    """(H,) volume IoU at uniform points."""
    sdf_error: Array
    """(H,) mean error of the signed distance near the true surface."""
    chamfer: Array
    """(H,) Chamfer distance of the surfaces."""
    normals: Array
    """(H,) normal consistency of the surfaces."""


def cloud(sdf: Sdf, resolution: int) -> Cloud | None:
    """Points (n, 3) and normals (n, 3) on the surface of a shape, None where it has none."""
    mesh = mesh_sdf(sdf, resolution).mesh
    return None if mesh is None else oriented_points(mesh, CLOUD, seed=0)


def true_clouds(benchmark: Benchmark) -> list[Cloud | None]:
    """The surfaces of the held-out shapes."""
    return [cloud(shape.sdf, benchmark.config.resolution) for shape in benchmark.held]


@torch.no_grad()
def judge(benchmark: Benchmark, truth: Sequence[Cloud | None], fields: Fields, title: str) -> Figures:
    """Compare fields, one for each held-out shape in order, with the shapes."""
    points, near = benchmark.samples.points, benchmark.samples.sdf.abs() < NEAR
    surface = np.full((len(fields), 2), np.nan)
    error = torch.zeros(len(fields))
    for i in tqdm(range(len(fields)), f"judging {title}", unit="shape"):
        sdf = fields.sdf(i)
        difference = (sdf(points) - benchmark.samples.sdf[i]).abs()
        error[i] = (difference * near[i]).sum() / near[i].sum().clamp(min=1)
        made, true = cloud(sdf, benchmark.config.resolution), truth[i]
        if made is not None and true is not None:
            surface[i] = chamfer(made[0], true[0]), normal_consistency(made, true)
    iou = field_iou(fields, benchmark.judged)
    return Figures(_array(iou), _array(error), surface[:, 0], surface[:, 1])


def summary(figures: Figures, plain: Figures) -> dict[str, Any]:
    """Means of a tokenizer's figures beside those of the plain fits."""
    both = np.isfinite(figures.chamfer) & np.isfinite(plain.chamfer)
    return {
        "iou": _mean(figures.iou),
        "iou_plain_fit": _mean(plain.iou),
        "iou_ratio": _ratio(figures.iou, plain.iou),
        "sdf_error": _mean(figures.sdf_error),
        "sdf_error_plain_fit": _mean(plain.sdf_error),
        "chamfer": _mean(figures.chamfer[both]),
        "chamfer_plain_fit": _mean(plain.chamfer[both]),
        "chamfer_ratio": _ratio(figures.chamfer[both], plain.chamfer[both]),
        "normal_consistency": _mean(figures.normals[both]),
        "normal_consistency_plain_fit": _mean(plain.normals[both]),
        "without_surface": int((~np.isfinite(figures.chamfer)).sum()),
    }


def by_class(benchmark: Benchmark, figures: Figures, plain: Figures) -> dict[str, dict[str, Any]]:
    """The summary of each class."""
    labels = np.array(benchmark.labels)
    found = {}
    for label in sorted(set(benchmark.labels)):
        chosen = labels == label
        parts = (
            Figures(part.iou[chosen], part.sdf_error[chosen], part.chamfer[chosen], part.normals[chosen])
            for part in (figures, plain)
        )
        found[label] = summary(*parts)
    return found


def weight_error(benchmark: Benchmark, fields: Fields) -> dict[str, Any]:
    """Relative error of all weights, and of those of each layer."""
    config, start = benchmark.plain.config, benchmark.corpus.shared_init
    wrong = layer_matrices(config, fields.flat - benchmark.plain.flat)
    own = layer_matrices(config, benchmark.plain.flat - start)
    layers = [
        float((a.square().sum() / b.square().sum().clamp(min=1e-12)).sqrt()) for a, b in zip(wrong, own, strict=True)
    ]
    total = (fields.flat - benchmark.plain.flat).square().sum() / (benchmark.plain.flat - start).square().sum().clamp(
        min=1e-12
    )
    return {"weight_error": float(total.sqrt()), "weight_error_by_layer": layers}


def by_levels(benchmark: Benchmark, quantizer: Quantizer, codes: Tensor) -> list[dict[str, Any]]:
    """IoU of the first levels of codes (H, C, Q) alone, for every number of levels."""
    rows = []
    for levels in range(1, quantizer.num_quantizers + 1):
        kept = quantizer.num_chunks * levels
        found = float(field_iou(quantizer.decode(codes, levels), benchmark.judged).mean())
        rows.append(
            {"num_quantizers": levels, "tokens": kept, "bits": kept * math.log2(quantizer.codebook_size), "iou": found}
        )
    return rows


def rate(quantizer: Quantizer, codes: Tensor) -> dict[str, Any]:
    """Tokens and bits of a field, and how the codes (N, C, Q) of the training shapes use the alphabet."""
    found = measure_usage(codes, quantizer.codebook_size)
    return {
        "tokens_per_field": quantizer.tokens_per_field,
        "codes": quantizer.codebook_size,
        "bits_per_field": quantizer.tokens_per_field * math.log2(quantizer.codebook_size),
        "usage": {"used": list(found.codes_used), "dead": list(found.dead_codes), "perplexity": list(found.perplexity)},
    }


def _array(values: Tensor) -> Array:
    return values.double().numpy()


def _mean(values: Array) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(values: Array, plain: Array) -> float | None:
    return float(values.mean() / max(plain.mean(), 1e-12)) if len(values) else None
