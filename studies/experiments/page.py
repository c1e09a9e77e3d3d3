"""Tables and a plot of the trials that were measured: `experiments.md`, made from their rows and never by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from weightgpt.formatting import markdown_table
from weightgpt.io import atomic_write, write_text

PAGE, PLOT = "experiments.md", "scaling.png"
TITLES = {
    "shapes": "Shapes to learn from",
    "preset": "Size of the GPT",
    "levels": "Tokens of a field",
    "steps": "Steps of training",
    "learning_rate": "Learning rate",
    "batch": "Sequences of a step",
    "spread": "Embeddings at the start: spread of the code vectors, 0 for random ones",
    "dropout": "Dropout",
    "temperature": "Temperature",
    "top_p": "Nucleus sampling",
    "top_k": "Top-k sampling",
}
SCALING: dict[str, tuple[str, str]] = {
    "shapes": ("shapes to learn from", "shapes"),
    "preset": ("parameters of the GPT", "parameters"),
    "levels": ("tokens of a field", "tokens_per_field"),
}
"""Axes that are plotted: their titles, and what of a row goes along them."""
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "tokens_per_field": ("tokens", "{:,d}".format),
    "parameters": ("parameters", "{:,d}".format),
    "trained_steps": ("steps done", "{:,d}".format),
    "train_flops": ("FLOPs", "{:.1e}".format),
    "bits_fraction": ("bits / uniform", "{:.3f}".format),
    "mmd": ("MMD ×100", lambda value: f"{100 * value:.3f}"),
    "cov": ("COV", "{:.3f}".format),
    "one_nna": ("1-NNA", "{:.3f}".format),
    "frechet": ("Fréchet", "{:.2f}".format),
    "one_piece": ("one piece", "{:.3f}".format),
}
HEAD = """# Experiments

What was tried to make samples better, one change at a time against one base ({base}), and what it gave: {count} samples
of each trial against {count} true shapes that no GPT saw and that no other page judges by. *Limit*: other true shapes.
*Bits / uniform*: cross-entropy of the codes of held-out shapes, over that of codes taken as equally likely. FLOPs are
those of training the GPT. Early stopping may end a training before its steps are done. A GPT of few shapes may look
well by writing them again, since nothing here asks whether samples are copies; its *bits / uniform* tell.
"""

Row = dict[str, Any]


def write(output: Path, rows: list[Row], base: dict[str, Any]) -> None:
    """Write `experiments.md` and the plot to `output`, from the rows of the limit and of the trials."""
    limit = next(row for row in rows if row["axis"] == "limit")
    commands = dict.fromkeys(row["command"] for row in rows)
    told = ", ".join(f"{name.replace('_', ' ')} {'all' if value is None else value}" for name, value in base.items())
    text = [HEAD.format(base=told, count=limit["count"]), "Written by:", ""]
    text += [*(f"    {command}" for command in commands), ""]
    for axis, title in TITLES.items():
        found = [row for row in rows if row["axis"] == axis]
        if found:
            text += [f"## {title}", "", table(axis, [limit, *found]), ""]
    if plot(output / PLOT, rows, limit):
        text += ["## Scaling", "", f"![Quality against corpus size, size of the GPT and tokens of a field]({PLOT})", ""]
    write_text(output / PAGE, "\n".join(text))


def table(axis: str, rows: list[Row]) -> str:
    """The figures of the trials of one axis, and of the limit."""
    lines = []
    for row in rows:
        value = "limit" if row["axis"] == "limit" else row[axis]
        cells = ["–" if row.get(key) is None else show(row[key]) for key, (_, show) in COLUMNS.items()]
        lines.append(["all" if value is None else f"{value:,}" if isinstance(value, int) else str(value), *cells])
    return markdown_table([axis.replace("_", " "), *(title for title, _ in COLUMNS.values())], lines)


def plot(path: Path, rows: list[Row], limit: Row) -> bool:
    """1-NNA and COV along the axes of scaling, of trials that have them; whether there was anything to plot."""
    judged = [row for row in rows if row["one_nna"] is not None]
    found = {axis: [row for row in judged if row["axis"] == axis] for axis in SCALING}
    found = {axis: sorted(own, key=lambda row: row[SCALING[axis][1]]) for axis, own in found.items() if len(own) > 1}
    if not found:
        return False
    figure, axes = pyplot.subplots(2, len(found), figsize=(4.2 * len(found), 6), squeeze=False, sharey="row")
    for column, (axis, own) in enumerate(found.items()):
        title, key = SCALING[axis]
        for line, (name, shown) in enumerate((("one_nna", "1-NNA"), ("cov", "COV"))):
            ax, values = axes[line, column], [row[name] for row in own]
            low, high = (
                [max(0.0, sign * (row[f"{name}_interval"][end] - row[name])) for row in own]
                for end, sign in ((0, -1), (1, 1))
            )
            ax.errorbar([row[key] for row in own], values, (low, high), marker="o", capsize=3, color="#3b6fb6")
            ax.axhline(limit[name], color="#777", linestyle="--", linewidth=1)
            ax.set_xscale("log", base=2)
            ax.grid(alpha=0.3)
            if line == 1:
                ax.set_xlabel(title)
            if column == 0:
                ax.set_ylabel(f"{shown} (dashed: limit)")
    figure.tight_layout()
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
    pyplot.close(figure)
    return True
