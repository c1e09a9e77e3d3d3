"""Pictures of the rows of a comparison."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from weightgpt.io import atomic_write
from weightgpt.metrics.shape_set import ShapeSet
from weightgpt.visual.rendering import contact_sheet, render, save_png

NUM_SHOWN, TILE = 12, 112
"""Shapes of a strip, and pixels of each along a side."""


def draw_samples(path: Path, shapes: ShapeSet) -> None:
    """Draw a strip of the first shapes of a row.

    Args:
        path: the .png file.
        shapes: the shapes of the row.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(contact_sheet(render(shapes.sdfs[:NUM_SHOWN], TILE), columns=NUM_SHOWN), path)


def plot_losses(path: Path, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Plot the loss of each training of a baseline against its steps.

    Args:
        path: the .png file.
        curves: (step, loss) pairs, by name of the training.
    """
    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)
    for axes, (name, curve) in zip(panels[0], curves.items(), strict=True):
        axes.plot([step for step, _ in curve], [loss for _, loss in curve])
        axes.set(title=name, xlabel="steps", ylabel="loss")
        axes.grid(alpha=0.3)
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=100, format="png")
