"""What a transformer remembers of N fields: the sweep that regression and tokens share.

Decisions:
- The same small transformer, the same number of steps and the same batches for every N and every way to write a field;
  what that costs in floating-point operations stands beside the figures.
- Free-running, a model is given the start of a sequence, about a twentieth of it, and continues alone. Teacher-forced
  it sees the true sequence before each place. Errors are of the places after that start, in both.
- A decoded field is compared with the field to be remembered (agreement: 1 is remembered) and with the true shape.
- Beside them stands the mean of the N fields: what a model that cannot tell them apart would do best to say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from torch import Tensor

from studies.presentation.page import save_figure, save_small
from studies.presentation.subjects import Subjects
from training.baselines.budget import OptimizerConfig, count_flops
from weightgpt.fields.field import Fields
from weightgpt.visual.rendering import contact_sheet, render

REMEMBERED, LOST = 0.9, 0.5
"""Mean agreement from which, and below which, N fields count as remembered and as lost."""
SIZE = 128

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The settings of a sweep."""

    counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """N."""
    steps: int = 800
    layers: int = 2
    heads: int = 2
    width: int = 64
    """Of the blocks, which are GPT-2's."""
    descent: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(batch_size=8, learning_rate=3e-3))
    """Batches of at most so many fields."""

    @classmethod
    def of(cls, quick: bool) -> "Sweep":
        """The sweep of the page, or one that only shows that all runs."""
        return cls(counts=(1, 3), steps=20, width=32) if quick else cls()

    def budget(self, step: Callable[[], Any]) -> float:
        """Floating-point operations of all steps, one of which `step` does (forward and backward)."""
        return (self.steps + 0.5) * count_flops(step)

    def words(self) -> str:
        """The settings as a part of a sentence."""
        return (
            f"{self.layers} blocks of width {self.width}, {self.steps} steps for every N, batches of up to"
            f" {self.descent.batch_size} fields"
        )


def compare(subjects: Subjects, targets: Fields, found: dict[str, Fields]) -> Row:
    """Agreement with the fields to be remembered and IoU with the true shapes, means over N, by name of `found`."""
    row: Row = {"fit_iou": float(subjects.iou(targets).mean())}
    for name, fields in found.items():
        row[f"{name}_agreement"] = float(subjects.agreement(fields, targets).mean())
        row[f"{name}_iou"] = float(subjects.iou(fields).mean())
    return row


def remembered(rows: Sequence[Row], key: str = "free_agreement") -> int:
    """The largest N up to which every N was remembered; 0 for none."""
    last = 0
    for row in sorted(rows, key=lambda row: row["fields"]):
        if row[key] < REMEMBERED:
            break
        last = row["fields"]
    return last


def lost(rows: Sequence[Row], key: str = "free_agreement") -> int | None:
    """The smallest N that was lost, if any."""
    return min((row["fields"] for row in rows if row[key] < LOST), default=None)


def told(name: str, rows: Sequence[Row]) -> str:
    """A sentence about how far the memory of one way to write fields goes."""
    far, gone, most = remembered(rows), lost(rows), max(row["fields"] for row in rows)
    bar = f"by a mean agreement of {REMEMBERED} or more"
    start = f"{name}, fields are remembered up to N = {far}, {bar}" if far else f"{name}, no field is remembered, {bar}"
    if far == most:
        return f"{start}, the most that was tried."
    return f"{start}; " + (f"from N = {gone} on they are lost." if gone else "beyond that they blur but are not lost.")


def show(count: int) -> int:
    """Which of N fields is drawn: the second, for the first is where conditioned fits start from."""
    return min(1, count - 1)


def worst(subjects: Subjects, targets: Fields, found: Fields) -> int:
    """Which of N fields is remembered worst."""
    return int(subjects.agreement(found, targets).argmin())


def picture(subjects: Subjects, targets: Fields, fields: Fields, index: int) -> tuple[np.ndarray, str]:
    """The picture of one of N fields, and its caption: N and the agreement with the field to be remembered."""
    agreement = float(subjects.agreement(fields, targets)[index])
    return render([fields.sdf(index)], SIZE)[0], f"N={len(fields)}: {agreement:.2f}"


def draw_sheet(rows: dict[str, list[tuple[np.ndarray, str]]], path: Path) -> None:
    """A row of pictures for each way, its name in a picture of its own to the left."""
    blank = np.full((SIZE, SIZE, 3), 249, np.uint8)
    flat = [cell for name, cells in rows.items() for cell in [(blank, name), *cells]]
    columns = len(flat) // len(rows)
    save_small(contact_sheet([picture for picture, _ in flat], [caption for _, caption in flat], columns), path)


def draw_curves(curves: dict[str, tuple[list[int], list[float], str]], label: str, path: Path) -> None:
    """Agreement against N: (counts, values, style) by name."""
    figure, axes = pyplot.subplots(figsize=(6.5, 3.8), layout="constrained")
    for name, (counts, values, style) in curves.items():
        axes.plot(counts, values, style, label=name)
    counts = next(iter(curves.values()))[0]
    axes.set(xscale="log", xlabel="N fields to remember", ylabel=label, ylim=(-0.02, 1.02))
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save_figure(figure, path)
    pyplot.close(figure)


def distinct(starts: Tensor) -> int:
    """How many of N starts (N, k) are distinct; equal starts cannot be continued differently."""
    return len(starts.unique(dim=0))
