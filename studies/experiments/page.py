"""The page of the experiments: a table for each axis and a plot, built from the rows of `experiments.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from studies.pages import format_cell, measured_by, save_figure
from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import read_json, write_text

ROWS_FILE, PAGE_FILE, PLOT_FILE = "experiments.json", "experiments.md", "scaling.png"
REFERENCE = "reference"
"""Axis of the row of other true shapes."""

Row = dict[str, Any]

TITLES = {
    "num_shapes": "Training shapes",
    "model_size": "Size of the GPT",
    "num_quantizers": "Quantizer levels",
    "max_steps": "Training steps",
    "learning_rate": "Learning rate",
    "batch_size": "Sequences of a step",
    "embedding_init_scale": "Size of the initial embeddings",
    "dropout": "Dropout",
    "temperature": "Sampling temperature",
    "top_p": "Nucleus sampling",
    "top_k": "Top-k sampling",
}
"""Headings of the axes."""
SCALING = {
    "num_shapes": ("training shapes", "num_shapes"),
    "model_size": ("parameters of the GPT", "gpt_parameters"),
    "num_quantizers": ("tokens of a field", "tokens_per_field"),
}
"""Axes of the plot: their titles, and the key of a row that gives the position."""
PLOTTED = {"one_nna": "1-NNA", "cov": "COV"}
"""Metrics of the plot and their titles."""
COLUMNS = {
    "tokens_per_field": ("tokens", ",d"),
    "gpt_parameters": ("parameters", ",d"),
    "steps": ("steps", ",d"),
    "train_flops": ("training FLOPs", ".1e"),
    "gpt_bits_fraction": ("GPT bits / uniform", ".3f"),
    "mmd": ("MMD", ".5f"),
    "cov": ("COV", ".3f"),
    "one_nna": ("1-NNA", ".3f"),
    "frechet": ("Fréchet", ".2f"),
    "one_piece": ("one piece", ".3f"),
}
"""Keys of a row, the headers of their columns and their formats."""

INTRODUCTION = """Each trial changes one setting of a base, trains a GPT and draws {count} samples. We compare the
samples with {count} true shapes. No GPT was trained on these shapes, and no other page uses them. The base is {base}.

- *Reference*: {count} other true shapes instead of samples.
- *Steps*: the training steps until early stopping. *Training FLOPs* are those of these steps.
- *GPT bits / uniform*: the cross-entropy of the codes of held-out shapes, divided by the bits of equally likely codes.

This page has no memorization check. A GPT that copies its few training shapes may have good set metrics, but it needs
many bits for held-out shapes."""


def write_page(output: Path) -> None:
    """Write `experiments.md` and the plot.

    Args:
        output: folder of `experiments.json`.
    """
    content = read_json(output / ROWS_FILE)
    figure = plot_scaling(content["rows"])
    if figure is not None:
        save_figure(figure, output / PLOT_FILE)
    write_text(output / PAGE_FILE, render_page(content["base"], content["rows"], has_plot=figure is not None))


def render_page(base: Mapping[str, Any], rows: list[Row], *, has_plot: bool) -> str:
    """The rows as a page.

    Args:
        base: the settings that do not change.
        rows: the rows of `experiments.json`.
        has_plot: whether the page shows the plot.
    """
    reference = reference_row(rows)
    settings = ", ".join(f"`{name}` {_value_text(value)}" for name, value in base.items())
    commands = dict.fromkeys(row["command"] for row in rows)
    parts = ["# Experiments", measured_by(rows, *commands)]
    parts.append(INTRODUCTION.format(base=settings, count=reference["count"]))
    for axis, title in TITLES.items():
        trials = [row for row in rows if row["axis"] == axis]
        if trials:
            parts += [f"## {title}", markdown_rows(axis, [reference, *trials])]
    if has_plot:
        parts += ["## Scaling", f"![1-NNA and COV against training shapes, size of the GPT and tokens]({PLOT_FILE})"]
    return "\n\n".join(parts) + "\n"


def reference_row(rows: list[Row]) -> Row:
    """The row of other true shapes.

    Args:
        rows: the rows of `experiments.json`.
    """
    return next(row for row in rows if row["axis"] == REFERENCE)


def markdown_rows(axis: str, rows: list[Row]) -> str:
    """The reference and the trials of one axis as a Markdown table.

    Args:
        axis: name of the setting that changes.
        rows: the rows.
    """
    cells = [
        [
            REFERENCE if row["axis"] == REFERENCE else _value_text(row[axis]),
            *(format_cell(row.get(key), style) for key, (_, style) in COLUMNS.items()),
        ]
        for row in rows
    ]
    return markdown_table([axis, *(title for title, _ in COLUMNS.values())], cells)


def _value_text(value: Any) -> str:
    return "all" if value is None else format_number(value)


def plot_scaling(rows: list[Row]) -> Figure | None:
    """1-NNA and COV with their intervals along the axes of scaling; None if no axis has two trials.

    Trials without set metrics are left out.

    Args:
        rows: the rows of `experiments.json`.
    """
    measured = [row for row in rows if row["one_nna"] is not None]
    groups = {axis: [row for row in measured if row["axis"] == axis] for axis in SCALING}
    groups = {axis: trials for axis, trials in groups.items() if len(trials) > 1}
    if not groups:
        return None
    figure = Figure(figsize=(4.2 * len(groups), 6), layout="constrained")
    charts = figure.subplots(len(PLOTTED), len(groups), squeeze=False, sharey="row")
    for column, (axis, trials) in enumerate(groups.items()):
        title, key = SCALING[axis]
        trials = sorted(trials, key=lambda row: row[key])
        for line, (name, label) in enumerate(PLOTTED.items()):
            chart = charts[line, column]
            values = [row[name] for row in trials]
            lower = [max(0.0, row[name] - row[f"{name}_interval"][0]) for row in trials]
            upper = [max(0.0, row[f"{name}_interval"][1] - row[name]) for row in trials]
            positions = [row[key] for row in trials]
            chart.errorbar(positions, values, (lower, upper), marker="o", capsize=3, color="#3b6fb6")
            chart.axhline(reference_row(rows)[name], color="#777", linestyle="--", linewidth=1)
            chart.set_xscale("log", base=2)
            chart.grid(alpha=0.3)
            chart.set_xlabel(title)
            chart.set_ylabel(f"{label} (dashed: reference)")
            chart.label_outer()
    return figure
