"""The content of the report of a run: metrics with their titles, pairs of shapes, and learning curves."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from training.report.charts import Curve
from training.report.html import Figure, Pair, Report
from training.report.samples import RunSamples
from weightgpt._programs import command_line
from weightgpt.formatting import format_number
from weightgpt.io import read_json
from weightgpt.metrics.memorization import NearestShapes
from weightgpt.shapes.shape import Shape
from weightgpt.visual.meshing import mesh_sdf
from weightgpt.visual.rendering import Picture, render

NUM_PAIRS = 24
"""Samples on the page."""
PAIR_RESOLUTION = 56
"""Grid points along each axis of the meshes on the page."""
HISTORY_LENGTH = 20
"""Losses that a plain fit records."""
RECONSTRUCTION = {
    "iou_plain_fit": "IoU of the plain fit",
    "iou": "IoU after tokens",
    "iou_ratio": "IoU after tokens ÷ plain fit",
    "iou_gain_last_quarter": "IoU gained in the last quarter of fitting",
}
GPT = {
    "gpt_parameters": "parameters",
    "gpt_bits_per_token": "bits per token",
    "uniform_bits_per_token": "bits per token of uniform codes",
    "gpt_bits_fraction": "bits ÷ uniform bits",
    "decode_rate": "share of samples that decode",
    "samples_equal_to_training": "samples equal to a training sequence",
}
SETS = {
    "count": "shapes",
    "compared": "shapes compared",
    "one_piece": "share in one piece",
    "empty": "share empty",
    "mmd": "MMD (lower is better)",
    "cov": "COV (higher is better)",
    "one_nna": "1-NNA (0.5 is ideal)",
    "frechet": "Fréchet distance",
    "memorized_share": "share memorized (0.05 is ideal)",
    "nearest_train_ratio": "distance to training ÷ held-out's",
}


def metric_tables(metrics: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, Mapping[str, Figure]]:
    """Return the tables of the page by title.

    Args:
        metrics: the content of `metrics.json`.
        seconds: time of each stage.
    """
    samples, reference = metrics["samples"], metrics["reference"]
    return {
        "Held-out shapes, reconstructed": {title: metrics[key] for key, title in RECONSTRUCTION.items()},
        "IoU by class: plain fit / after tokens": {
            label: _join(row["iou_plain_fit"], row["iou"]) for label, row in metrics["by_class"].items()
        },
        "GPT, on held-out shapes": {title: metrics[key] for key, title in GPT.items()},
        "Against held-out shapes: samples / training shapes": {
            title: _join(samples[key], reference[key]) for key, title in SETS.items()
        },
        "Seconds of each stage": seconds,
    }


def build_report(
    metrics: Mapping[str, Any],
    *,
    seconds: Mapping[str, float],
    pairs: Sequence[Pair],
    curves: Sequence[Curve],
    config: Mapping[str, Any],
    contact_sheet: bytes,
) -> Report:
    """Choose what the page shows.

    Args:
        metrics: the content of `metrics.json`.
        seconds: time of each stage.
        pairs: samples next to their nearest training shapes.
        curves: learning curves.
        config: settings of the run.
        contact_sheet: picture of the samples, PNG.
    """
    samples = metrics["samples"]
    return Report(
        title="weightgpt: new shapes",
        summary=(
            f"{format_number(metrics['shapes']['train'])} shapes became fields of"
            f" {format_number(metrics['parameters_per_field'])} weights and {metrics['tokens_per_field']} tokens each."
            f" A GPT-2 of {format_number(metrics['gpt_parameters'])} parameters generated {samples['count']} shapes."
        ),
        warnings=metrics["warnings"],
        headline={
            "tokens per field": metrics["tokens_per_field"],
            "IoU after tokens": metrics["iou"],
            "bits per token": metrics["gpt_bits_per_token"],
            "samples in one piece": samples["one_piece"],
            "1-NNA, 0.5 is ideal": samples["one_nna"],
        },
        tables=metric_tables(metrics, seconds),
        pairs=pairs,
        curves=curves,
        command=command_line("training.pipeline"),
        config=config,
        contact_sheet=contact_sheet,
    )


def _join(first: float | None, second: float | None) -> str:
    """Return two numbers as one text."""
    return f"{format_number(first)} / {format_number(second)}"


def pair_with_nearest(samples: RunSamples, nearest: NearestShapes | None, training: Sequence[Shape]) -> list[Pair]:
    """Put the first samples with a surface next to their nearest training shapes.

    Args:
        samples: the samples.
        nearest: the nearest training shape of each sample with a surface; None if there are no such samples.
        training: all training shapes.
    """
    pairs: list[Pair] = []
    if nearest is None:
        return pairs
    rows = zip(samples.shapes.with_surface, nearest.index, nearest.distance, strict=True)
    for sample_index, train_index, distance in list(rows)[:NUM_PAIRS]:
        shape, color = training[train_index], samples.colors[sample_index]
        sample_mesh, neighbor_mesh = (
            mesh_sdf(sdf, PAIR_RESOLUTION).mesh for sdf in (samples.shapes.sdfs[sample_index], shape.sdf)
        )
        if sample_mesh is None or neighbor_mesh is None:
            continue
        picture = samples.pictures[sample_index]
        neighbor_picture = render([shape.sdf], len(picture), colors=[color])[0]
        pairs.append(
            Pair(
                sample=sample_mesh,
                neighbor=neighbor_mesh,
                title=samples.generated.labels[sample_index],
                subtitle=f"nearest: {shape.name}, Chamfer distance {distance:.3f}",
                color=color,
                posters=(_encode_png(picture), _encode_png(neighbor_picture)),
            )
        )
    return pairs


def training_curves(output: Path, fit_history: Tensor, fit_steps: int, codebook_size: int) -> list[Curve]:
    """Return the learning curves of the plain fits, the quantizer and the GPT.

    Args:
        output: folder of the run.
        fit_history: (B, 20) losses of plain fits.
        fit_steps: steps of a plain fit.
        codebook_size: codes of each quantizer level.
    """
    losses = fit_history.mean(0).tolist()
    fits = [((i + 1) * fit_steps / HISTORY_LENGTH, loss) for i, loss in enumerate(losses)]
    quantizer = [(step, loss) for step, loss in read_json(output / "codebook" / "history.json")]
    log = read_json(output / "gpt" / "history.json")["log"]
    gpt = {
        "training": [(row["step"], row["loss"]) for row in log if "loss" in row],
        "validation": [(row["step"], row["eval_loss"]) for row in log if "eval_loss" in row],
    }
    uniform = ("uniform codes", math.log(codebook_size))
    return [
        Curve(title="Plain fits", x_label="step", y_label="loss", series={"held-out shapes": fits}, log=True),
        Curve(title="Quantizer", x_label="step", y_label="loss", series={"training": quantizer}, log=True),
        Curve(title="GPT", x_label="step", y_label="nats per token", series=gpt, line=uniform),
    ]


def _encode_png(picture: Picture) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
