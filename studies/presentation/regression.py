"""The regression transformer of the presentation on N = 1 … 64 fields, conditioned and unconditioned.

Decisions:
- Fields have a few hundred weights, as in the presentation. One can still recognize the shapes of their plain fits.
- The start of a free-running sequence is a whole neuron of the first layer, because a single number hardly
  distinguishes 64 fields.
- With N = 1 both conditions have the same field.

Dimensions: N fields, P parameters.
"""

from pathlib import Path

import torch
from torch import Tensor

from studies.pages import findings
from studies.presentation import memorization
from studies.presentation.memorization import FULL, METHODS, QUICK, Cell, MemorizationConfig, Row
from studies.presentation.page import write_part
from studies.presentation.shapes import CONDITIONS, StudyShapes, mean_distance
from training.baselines.field_sets import FieldSets
from training.baselines.regression import (
    RegressionConfig,
    RegressionTransformer,
    fit_regression,
    free_running,
    teacher_forced,
)
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.formatting import markdown_table

NAME = "regression"
CONFIG = FieldConfig(hidden=(12, 12), num_frequencies=2)
START = CONFIG.layers[0][0] + 1
"""Weights of the start: the inputs and the bias of the first neuron."""
CAPTIONS = dict(zip(CONDITIONS, ("uncond.", "cond."), strict=True))
"""Short names of the conditions, for the captions of the pictures."""

FINDINGS = (
    """*The transformer fails for larger N when unconditioned*: confirmed. Unconditioned, a free run has an agreement of
0.9 or more for N = 1 only; from N = 2 on the agreement is below 0.5.""",
    """*Conditioned fields make it better*: confirmed. Conditioned, a free run has an agreement of 0.9 or more up to
N = 2; from N = 4 on the agreement is below 0.5. For every N from 2 to 64 the error of a free run is smaller than
unconditioned and the agreement is larger. At N = 64 the error is 0.52 instead of 0.99 and the agreement 0.23 instead
of 0.07.""",
    """A small error does not prove memorization: the mean of 64 conditioned fields already has an error of 0.53 (0.99
unconditioned). Conditioned, a free run agrees with its field better than that mean does for N = 2, 4, 8, 32.""",
    """No two fields have the same start. All transformers had the same small number of steps; the figures do not show
the effect of more steps.""",
)


def run_part(output: Path, quick: bool, seed: int) -> None:
    """Fit the fields, sweep over N and both conditions, and write the section.

    Args:
        output: folder of the parts.
        quick: use few shapes and steps.
        seed: seed of the shapes, the fits and the transformers.
    """
    config = QUICK if quick else FULL
    shapes = StudyShapes.draw(max(config.counts), seed, 2048 if quick else 8192)
    fit_config = FitConfig(steps=60 if quick else 800, learning_rate=1e-2, batch_size=64, seed=seed)
    fits = shapes.fit_conditions(CONFIG, fit_config)
    rows: list[Row] = []
    cells: dict[str, list[Cell]] = {"the field": []}
    for condition, fields in fits.items():
        for count in config.counts:
            targets, index = fields.select(slice(0, count)), memorization.shown_index(count)
            row, decoded = train_and_decode(shapes, targets, config, seed)
            rows.append({"condition": condition, **row})
            agreement = row["free_running_agreement"]
            print(f"regression: {condition}, N = {count}: free-running agreement {agreement:.3f}", flush=True)
            short = CAPTIONS[condition]
            pictures = {f"{short}, {METHODS[key]}": decoded[key] for key in ("teacher_forced", "free_running")}
            if condition == CONDITIONS[1]:
                pictures["the field"] = targets
            for name, part in pictures.items():
                cells.setdefault(name, []).append(memorization.captioned_picture(shapes, targets, part, index))
    memorization.draw_sheet(cells, output / "regression-shapes.png")
    draw_agreement(rows, output / "regression.png")
    figures = {
        "parameters_per_field": CONFIG.parameters,
        "start": START,
        "fit_steps": fit_config.steps,
        "model_steps": config.steps,
        "iou_plain_fit": {name: float(shapes.iou(fields).mean()) for name, fields in fits.items()},
        "distance_between": {name: mean_distance(fields.flat) for name, fields in fits.items()},
        "rows": rows,
    }
    write_part(output, NAME, "The regression transformer", paragraphs(figures, config), figures)


def train_and_decode(
    shapes: StudyShapes, targets: Fields, config: MemorizationConfig, seed: int
) -> tuple[Row, dict[str, Fields]]:
    """Train a regression transformer on N fields, and generate the fields again.

    Args:
        shapes: the true shapes.
        targets: N fields to memorize.
        config: the transformer and its training.
        seed: seed of the transformer.

    Returns:
        The figures, and the decoded fields by method of `METHODS`.
    """
    weights = targets.flat
    sets = FieldSets(CONFIG, weights, weights[:1], ("none",) * len(weights), weights[0])
    model_config = RegressionConfig(
        layers=config.num_layers, heads=config.num_heads, width=config.width, optimizer=config.optimizer
    )
    batch = weights[: config.optimizer.batch_size]
    budget = config.flop_budget(lambda: training_step(RegressionTransformer(CONFIG.parameters, model_config), batch))
    model, cost = fit_regression(sets, budget, seed, False, model_config)
    start = weights[:, :START]
    with torch.no_grad():
        predicted = teacher_forced(model, weights)[:, START - 1 :]
    flats = {
        "teacher_forced": torch.cat([start, predicted], 1),
        "free_running": free_running(model, start, CONFIG.parameters),
        "mean_field": torch.cat([start, weights[:, START:].mean(0).expand(len(weights), -1)], 1),
    }
    decoded = {name: Fields(CONFIG, flat) for name, flat in flats.items()}
    row = {
        "fields": len(weights),
        **{f"{name}_error": relative_error(flat, weights) for name, flat in flats.items()},
        **memorization.compare(shapes, targets, decoded),
        "distinct_starts": memorization.count_distinct(start),
        "steps": cost.steps,
        "train_flops": cost.flops,
        "seconds": cost.seconds,
    }
    return row, decoded


def training_step(model: RegressionTransformer, weights: Tensor) -> None:
    """One step of training on weights (B, P), to count its floating-point operations."""
    (teacher_forced(model, weights) - weights[:, 1:]).abs().mean().backward()


def relative_error(predicted: Tensor, weights: Tensor) -> float:
    """Mean error of the weights after the start, divided by the mean deviation of those weights from their mean.

    Args:
        predicted: (N, P) weights.
        weights: (N, P) true weights.
    """
    rest = weights[:, START:]
    return float((predicted[:, START:] - rest).abs().mean() / (rest - rest.mean()).abs().mean())


def paragraphs(figures: Row, config: MemorizationConfig) -> list[str]:
    """The section as Markdown.

    Args:
        figures: the figures of the part.
        config: the transformers and their training.
    """
    rows = sorted(figures["rows"], key=lambda row: (row["fields"], CONDITIONS.index(row["condition"])))
    lines = [
        [
            str(row["fields"]),
            row["condition"],
            *(f"{row[f'{method}_error']:.3f}" for method in METHODS),
            *(f"{row[f'{method}_agreement']:.3f}" for method in METHODS),
            f"{row['free_running_iou']:.3f} ({row['iou_plain_fit']:.3f})",
            f"{row['train_flops']:.1e}",
        ]
        for row in rows
    ]
    headers = ["N", "fields"]
    headers += [f"{figure}, {words}" for figure in ("error", "agreement") for words in METHODS.values()]
    headers += ["IoU, free-running (plain fit)", "FLOPs"]
    fits = [
        (name, f"{figures['iou_plain_fit'][name]:.3f}", f"{figures['distance_between'][name]:.2f}")
        for name in CONDITIONS
    ]
    return [
        f"Fields of {figures['parameters_per_field']} weights were fitted in {figures['fit_steps']} steps. The"
        f" transformer has {config.describe()}.",
        markdown_table(("fields", "IoU of the plain fits", "norms between two fields"), fits),
        "*Error* is the mean error of a weight divided by the mean deviation of the weights. *Agreement* is the IoU of"
        f" the decoded field with the field to memorize. A *free-running* model starts from the first"
        f" {figures['start']} weights, one neuron. The *mean field* is the mean of the N fields after that start.",
        markdown_table(headers, lines),
        findings("0.1.0", *FINDINGS),
        "![Agreement against N](regression.png)",
        "The pictures show the second of the N shapes (for N = 1 the first) and its agreement with the field above.",
        "![Decoded fields](regression-shapes.png)",
    ]


def draw_agreement(rows: list[Row], path: Path) -> None:
    """Draw agreement against N, by condition and method.

    Args:
        rows: the figures of the sweep.
        path: the PNG to write.
    """
    styles = {"teacher_forced": "--", "free_running": "o-", "mean_field": ":"}
    curves = {}
    for color, condition in zip(("C3", "C0"), CONDITIONS, strict=True):
        selected = [row for row in rows if row["condition"] == condition]
        counts = [row["fields"] for row in selected]
        for method, words in METHODS.items():
            agreements = [row[f"{method}_agreement"] for row in selected]
            curves[f"{condition}, {words}"] = (counts, agreements, color + styles[method])
    memorization.draw_agreement(curves, path)
