"""The number of fields that a transformer memorizes: the sweep over N of the parts "regression" and "tokens".

Decisions:
- We use the same small transformer, number of steps and batches for every N, for weights and for tokens. The tables
  also give the floating-point operations of the training.
- A free-running model gets the start of a sequence, about a twentieth of it, and continues from its outputs. A
  teacher-forced model sees the true sequence before each position. Both errors count the positions after the start.
- Agreement is the IoU of a decoded field with the field to memorize; it is 1 if the field is memorized. We also compute
  the IoU with the true shape.
- The mean of the N fields is the baseline, because a model that cannot distinguish the fields can only learn their
  mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from studies.pages import save_figure
from studies.presentation.page import save_with_palette
from studies.presentation.shapes import StudyShapes
from training.baselines.budget import OptimizerConfig, count_flops
from weightgpt.fields.field import Fields
from weightgpt.visual.rendering import contact_sheet, render

SIZE = 128
"""Pixels along each side of a picture."""
METHODS = {"teacher_forced": "teacher-forced", "free_running": "free-running", "mean_field": "mean field"}
"""The ways to decode fields: the keys of the figures, and the words of the page."""

Row = dict[str, Any]
Cell = tuple[np.ndarray, str]
"""A picture and its caption."""


@dataclass(frozen=True, kw_only=True)
class MemorizationConfig:
    """The transformers of a sweep over the number of fields."""

    counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """The numbers N of fields."""
    steps: int = 800
    """Training steps for each N."""
    num_layers: int = 2
    """Blocks of the transformer, which are those of GPT-2."""
    num_heads: int = 2
    """Attention heads of a block."""
    width: int = 64
    """Width of a block."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(batch_size=8, learning_rate=3e-3))
    """How the transformers are trained; a batch has at most N fields."""

    def flop_budget(self, step: Callable[[], Any]) -> float:
        """Floating-point operations of all steps.

        Args:
            step: runs one step forward and backward.
        """
        return (self.steps + 0.5) * count_flops(step)

    def describe(self) -> str:
        """The settings as a part of a sentence."""
        return (
            f"{self.num_layers} blocks of width {self.width}, {self.steps} steps for every N, and batches of up to"
            f" {self.optimizer.batch_size} fields"
        )


FULL = MemorizationConfig()
QUICK = MemorizationConfig(counts=(1, 3), steps=20, width=32)
"""The sweep of a quick run; its figures mean nothing."""


def compare(shapes: StudyShapes, targets: Fields, decoded: Mapping[str, Fields]) -> Row:
    """Compare decoded fields with the fields to memorize and with the true shapes.

    Args:
        shapes: the true shapes.
        targets: N fields to memorize.
        decoded: N fields by the name of the method that decoded them.

    Returns:
        `iou_plain_fit` of the targets, and for each method the means `METHOD_agreement` and `METHOD_iou` over N.
    """
    row: Row = {"iou_plain_fit": float(shapes.iou(targets).mean())}
    for name, fields in decoded.items():
        row[f"{name}_agreement"] = float(shapes.agreement(fields, targets).mean())
        row[f"{name}_iou"] = float(shapes.iou(fields).mean())
    return row


def shown_index(count: int) -> int:
    """The index of the field to draw: the second one of `count`, because conditioned fits start from the first."""
    return min(1, count - 1)


def worst_index(shapes: StudyShapes, targets: Fields, decoded: Fields) -> int:
    """The index of the field with the lowest agreement.

    Args:
        shapes: the true shapes.
        targets: N fields to memorize.
        decoded: N decoded fields.
    """
    return int(shapes.agreement(decoded, targets).argmin())


def captioned_picture(shapes: StudyShapes, targets: Fields, decoded: Fields, index: int) -> Cell:
    """Draw one decoded field; the caption has N and the agreement.

    Args:
        shapes: the true shapes.
        targets: N fields to memorize.
        decoded: N decoded fields.
        index: the field to draw.
    """
    agreement = float(shapes.agreement(decoded, targets)[index])
    return render([decoded.sdf(index)], SIZE)[0], f"N={len(decoded)}: {agreement:.2f}"


def draw_sheet(rows: Mapping[str, list[Cell]], path: Path) -> None:
    """Write one row of pictures for each entry, with its name in a blank picture on the left.

    Args:
        rows: cells by name, the same number in each row.
        path: the PNG to write.
    """
    blank = np.full((SIZE, SIZE, 3), 249, np.uint8)
    cells = [cell for name, row in rows.items() for cell in [(blank, name), *row]]
    columns = len(cells) // len(rows)
    sheet = contact_sheet([picture for picture, _ in cells], [caption for _, caption in cells], columns)
    save_with_palette(sheet, path)


def draw_agreement(curves: Mapping[str, tuple[list[int], list[float], str]], path: Path) -> None:
    """Draw agreement against N.

    Args:
        curves: the numbers N, the agreements and the line style of each curve, by name.
        path: the PNG to write.
    """
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.subplots()
    for name, (counts, agreements, style) in curves.items():
        axes.plot(counts, agreements, style, label=name)
    counts = next(iter(curves.values()))[0]
    axes.set(xscale="log", xlabel="N fields to memorize", ylim=(-0.02, 1.02))
    axes.set_ylabel("IoU with the field to memorize")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save_figure(figure, path)


def count_distinct(starts: Tensor) -> int:
    """The number of distinct rows of starts (N, k); a model cannot continue equal starts differently."""
    return len(starts.unique(dim=0))
