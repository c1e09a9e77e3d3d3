"""Reconstruction metrics: how close decoded fields are to the shapes, compared with the plain fits that they replace.

Decisions:
- All metrics compare held-out fields with the true shapes. The plain fits are measured in the same way, and a ratio is
  the mean over the decoded fields divided by the mean over the plain fits.
- Surfaces are compared at points on meshes, which have the same resolution for true shapes and for fields. A field
  without a surface has no distance: such fields are counted, and both means of a ratio leave them out.
- The weight error is the distance of decoded weights to the plain fit, divided by the distance of the plain fit to the
  shared initialization. An error of 1 is the error of a decoder that always returns the shared initialization.

Dimensions: H held-out shapes, N training shapes, P parameters, C chunks, Q quantizer levels.
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
from weightgpt.shapes.shape import Sdf
from weightgpt.visual.meshing import mesh_sdf

Array = NDArray[np.float64]
Surface = tuple[Array, Array]
"""Points (n, 3) on a surface, and the normals (n, 3) there."""

SURFACE_POINTS = 2048
"""Points drawn on each surface."""
NEAR = 0.1
"""Distance from the true surface within which signed distances are compared, in half-sides of the box."""


@dataclass(frozen=True)
class ReconstructionMetrics:
    """Metrics of H fields; NaN where there is no surface to compare."""

    iou: Array
    """(H,) volume IoU at uniform points."""
    sdf_error: Array
    """(H,) mean absolute error of the signed distance near the true surface."""
    chamfer: Array
    """(H,) Chamfer-L1 distance of the surfaces."""
    normal_consistency: Array
    """(H,) normal consistency of the surfaces."""

    def select(self, mask: NDArray[np.bool_]) -> "ReconstructionMetrics":
        """The metrics of the fields where `mask` (H,) is true."""
        return ReconstructionMetrics(
            self.iou[mask], self.sdf_error[mask], self.chamfer[mask], self.normal_consistency[mask]
        )


def sample_surface(sdf: Sdf, resolution: int) -> Surface | None:
    """Points and normals on the surface of a shape; None if it has no surface.

    Args:
        sdf: the signed distance of the shape.
        resolution: grid points along each side of the mesh.
    """
    mesh = mesh_sdf(sdf, resolution).mesh
    return None if mesh is None else oriented_points(mesh, SURFACE_POINTS, seed=0)


def true_surfaces(benchmark: Benchmark) -> list[Surface | None]:
    """The surfaces of the held-out shapes."""
    return [sample_surface(shape.sdf, benchmark.config.resolution) for shape in benchmark.held_out]


@torch.no_grad()
def reconstruction_metrics(
    benchmark: Benchmark, surfaces: Sequence[Surface | None], fields: Fields, title: str
) -> ReconstructionMetrics:
    """Compare fields with the held-out shapes.

    Args:
        benchmark: the held-out shapes.
        surfaces: their surfaces, from `true_surfaces`.
        fields: one field for each held-out shape, in their order.
        title: what the progress bar calls the fields.
    """
    points, near = benchmark.samples.points, benchmark.samples.sdf.abs() < NEAR
    distances = np.full((len(fields), 2), np.nan)
    error = torch.zeros(len(fields))
    for i in tqdm(range(len(fields)), f"measuring {title}", unit="shape"):
        sdf = fields.sdf(i)
        difference = (sdf(points) - benchmark.samples.sdf[i]).abs()
        error[i] = (difference * near[i]).sum() / near[i].sum().clamp(min=1)
        surface, true_surface = sample_surface(sdf, benchmark.config.resolution), surfaces[i]
        if surface is not None and true_surface is not None:
            distances[i] = chamfer(surface[0], true_surface[0]), normal_consistency(surface, true_surface)
    iou = field_iou(fields, benchmark.eval_samples)
    return ReconstructionMetrics(iou.double().numpy(), error.double().numpy(), distances[:, 0], distances[:, 1])


def summarize(metrics: ReconstructionMetrics, plain: ReconstructionMetrics) -> dict[str, Any]:
    """Means of a tokenizer's metrics, those of the plain fits, and their ratios.

    Args:
        metrics: of the decoded fields.
        plain: of the plain fits of the same shapes.
    """
    both = np.isfinite(metrics.chamfer) & np.isfinite(plain.chamfer)
    return {
        "iou": _mean(metrics.iou),
        "iou_plain_fit": _mean(plain.iou),
        "iou_ratio": _ratio(metrics.iou, plain.iou),
        "sdf_error": _mean(metrics.sdf_error),
        "sdf_error_plain_fit": _mean(plain.sdf_error),
        "chamfer": _mean(metrics.chamfer[both]),
        "chamfer_plain_fit": _mean(plain.chamfer[both]),
        "chamfer_ratio": _ratio(metrics.chamfer[both], plain.chamfer[both]),
        "normal_consistency": _mean(metrics.normal_consistency[both]),
        "normal_consistency_plain_fit": _mean(plain.normal_consistency[both]),
        "without_surface": int((~np.isfinite(metrics.chamfer)).sum()),
    }


def summarize_by_class(
    benchmark: Benchmark, metrics: ReconstructionMetrics, plain: ReconstructionMetrics
) -> dict[str, dict[str, Any]]:
    """The summary of each class of held-out shapes.

    Args:
        benchmark: the held-out shapes.
        metrics: of the decoded fields.
        plain: of the plain fits.
    """
    labels = np.array(benchmark.labels)
    masks = {label: labels == label for label in sorted(set(benchmark.labels))}
    return {label: summarize(metrics.select(mask), plain.select(mask)) for label, mask in masks.items()}


def weight_errors(benchmark: Benchmark, fields: Fields) -> dict[str, Any]:
    """Relative error of all weights, and of the weights of each layer.

    Args:
        benchmark: the plain fits and their shared initialization.
        fields: the decoded fields.
    """
    config = benchmark.plain_fits.config
    error = fields.flat - benchmark.plain_fits.flat
    change = benchmark.plain_fits.flat - benchmark.corpus.shared_init
    layers = zip(layer_matrices(config, error), layer_matrices(config, change), strict=True)
    return {
        "weight_error": float(_relative_error(error, change)),
        "weight_error_by_layer": [float(_relative_error(*layer)) for layer in layers],
    }


def iou_by_num_quantizers(benchmark: Benchmark, quantizer: Quantizer, codes: Tensor) -> list[dict[str, Any]]:
    """IoU of the first quantizer levels alone, for every number of levels.

    Args:
        benchmark: the held-out shapes.
        quantizer: decodes the codes.
        codes: (H, C, Q) codes of the held-out shapes.
    """
    rows = []
    for num_quantizers in range(1, quantizer.num_quantizers + 1):
        tokens = quantizer.num_chunks * num_quantizers
        iou = field_iou(quantizer.decode(codes, num_quantizers), benchmark.eval_samples).mean()
        rows.append(
            {
                "num_quantizers": num_quantizers,
                "tokens_per_field": tokens,
                "bits_per_field": tokens * math.log2(quantizer.codebook_size),
                "iou": float(iou),
            }
        )
    return rows


def _relative_error(error: Tensor, change: Tensor) -> Tensor:
    return (error.square().sum() / change.square().sum().clamp(min=1e-12)).sqrt()


def _mean(values: Array) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(values: Array, plain: Array) -> float | None:
    return float(values.mean() / max(plain.mean(), 1e-12)) if len(values) else None
