"""The last three stages of a run: samples, metrics and the report.

This module measures every metric from the results of the earlier stages and writes `metrics.json`. The report, the
README and other pages only show these values. docs/metrics.md lists the keys.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import Tensor

from training.data.box_files import PARTNET_CREDIT
from training.data.corpus import column_tensor, split_rows
from training.data.extra_shapes import ExtraShapes, join_shapes
from training.data.sdf_samples import SampledSplit
from training.presets import PipelineConfig
from training.report.html import write_report
from training.report.measure import evaluate_samples, gpt_metrics, reconstruction_metrics
from training.report.page import build_report, pair_with_nearest, training_curves
from training.report.samples import RunSamples, decode_rate, generate_samples, write_samples
from training.report.warnings import run_warnings
from weightgpt import __version__
from weightgpt.card import write_card
from weightgpt.io import read_json, write_json
from weightgpt.metrics.memorization import NearestShapes
from weightgpt.model import WeightGPT
from weightgpt.quantizers.token_metrics import token_metrics
from weightgpt.shapes.meshes import Refusal
from weightgpt.shapes.splits import Split

Stage = Callable[[str], AbstractContextManager[None]]
"""Announces a stage of the run and measures its time."""


@dataclass(frozen=True, kw_only=True)
class LearnedRun:
    """The results of all stages up to the GPT."""

    output: Path
    """Folder of the run."""
    config: PipelineConfig
    """Settings of the run."""
    split: Split
    """Training, validation and test shapes."""
    refusals: list[Refusal]
    """Mesh files that were refused."""
    sdf_samples: SampledSplit
    """Signed distances of the shapes."""
    fit_history: Tensor
    """(B, 20) losses of the plain fits of the test shapes."""
    iou_gain: float
    """IoU that the plain fits of the test shapes gained in the last quarter of their steps."""
    corpus: Dataset
    """Tokens and IoU of all shapes."""
    extra_shapes: ExtraShapes
    """Shapes that only the GPT learned from."""
    model: WeightGPT
    """GPT and tokenizer."""


def report_run(run: LearnedRun, stage: Stage) -> dict[str, Any]:
    """Generate samples, measure them, and write the report of a run.

    Args:
        run: the results of the earlier stages.
        stage: announces a stage and measures its time.

    Returns:
        The content of `metrics.json`.
    """
    resolution = run.config.resolution
    with stage("samples"):
        samples = generate_samples(run.model, run.config.num_samples, run.config.seed, resolution)
        write_samples(run.output, samples, resolution)
    with stage("figures"):
        metrics, nearest = measure_run(run, samples)
    with stage("report"):
        write_page(run, samples, metrics, nearest)
    metrics |= read_json(run.output / "seconds.json")
    write_json(run.output / "metrics.json", metrics)
    write_card(run.output / "model", metrics, credit=PARTNET_CREDIT if run.config.partnet_classes else None)
    for warning in metrics["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    return metrics


def measure_run(run: LearnedRun, samples: RunSamples) -> tuple[dict[str, Any], NearestShapes | None]:
    """Measure a run.

    Args:
        run: the results of the earlier stages.
        samples: the generated shapes.

    Returns:
        The content of `metrics.json` without the cost, and the nearest training shape of each sample with a surface
        (None if there are no such samples).
    """
    train, test = split_rows(run.corpus, "train"), split_rows(run.corpus, "test")
    train_ids, test_ids = (column_tensor(rows, "input_ids").long() for rows in (train, test))
    tokenizer = run.model.tokenizer
    reference = run.split.train[: len(samples)]
    rows, nearest = evaluate_samples(
        samples.shapes,
        [shape.sdf for shape in reference],
        [shape.sdf for shape in run.split.test],
        run.extra_shapes.seen_by_gpt(run.split.train, run.sdf_samples.train),
        run.config.resolution,
    )
    training_sequences = set(map(tuple, train_ids.tolist()))
    metrics = {
        "version": __version__,
        "shapes": {"train": len(train), "validation": len(run.split.validation), "test": len(test)},
        "refused": len(run.refusals),
        **reconstruction_metrics(train, test),
        "iou_gain_last_quarter": run.iou_gain,
        **token_metrics(tokenizer.quantizer, tokenizer.vocabulary.parse(train_ids)[0]),
        **gpt_metrics(run.model.gpt, test_ids, tokenizer.quantizer.codebook_size),
        "decode_rate": decode_rate(tokenizer, samples.generated.ids),
        "samples_equal_to_training": sum(tuple(row) in training_sequences for row in samples.generated.ids.tolist()),
        "held_out": len(test),
        **rows,
    }
    return {**metrics, "warnings": run_warnings(metrics)}, nearest


def write_page(run: LearnedRun, samples: RunSamples, metrics: dict[str, Any], nearest: NearestShapes | None) -> None:
    """Write `report.html`.

    Args:
        run: the results of the earlier stages.
        samples: the generated shapes.
        metrics: the content of `metrics.json` without the cost.
        nearest: the nearest training shape of each sample with a surface.
    """
    report = build_report(
        metrics,
        seconds=read_json(run.output / "seconds.json")["seconds"],
        pairs=pair_with_nearest(samples, nearest, join_shapes(run.split.train, run.extra_shapes.shapes)),
        curves=training_curves(
            run.output, run.fit_history, run.config.tokenizer.fit.steps, run.model.tokenizer.quantizer.codebook_size
        ),
        config=run.config.to_dict(),
        contact_sheet=(run.output / "samples.png").read_bytes(),
    )
    write_report(run.output, report)
