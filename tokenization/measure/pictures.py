"""Plots and pictures of measured tokenizers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from tokenization.measure.rows import Row, unique_titles
from weightgpt.io import atomic_write
from weightgpt.shapes.shape import Sdf, Shape
from weightgpt.visual.rendering import contact_sheet, render, save_png

SHOWN_SHAPES = 6
"""Held-out shapes of a picture."""
TILE_SIZE = 176
"""Pixels along each side of a shape in a picture."""
TRUE_SHAPES = "true-shapes.png"
"""The file of the held-out shapes themselves."""


def write_strip(path: Path, shapes: Sequence[Shape], name: str, sdfs: Sequence[Sdf], captions: Sequence[str]) -> None:
    """Write a picture of one row: a name, then some held-out shapes through one tokenizer, with captions below.

    Args:
        path: the PNG file.
        shapes: the held-out shapes, whose classes decide which are shown.
        name: the name of the tokenizer.
        sdfs: the signed distance of each shape after the tokenizer.
        captions: a caption of each shape.
    """
    index = shown_shapes(shapes)
    blank = render([lambda points: torch.ones(len(points))], TILE_SIZE)
    tiles = np.concatenate([blank, render([sdfs[i] for i in index], TILE_SIZE)])
    save_png(contact_sheet(tiles, [name, *(captions[i] for i in index)], columns=SHOWN_SHAPES + 1), path)


def shown_shapes(shapes: Sequence[Shape]) -> list[int]:
    """Indices of six shapes, from all classes in turn."""
    counts: dict[str, int] = {}
    order = []
    for index, shape in enumerate(shapes):
        order.append((counts.get(shape.label, 0), shape.label, index))
        counts[shape.label] = counts.get(shape.label, 0) + 1
    return [index for _, _, index in sorted(order)[:SHOWN_SHAPES]]


def write_sheet(rows: Sequence[Row], folder: Path, path: Path) -> None:
    """Stack the pictures of the rows below the picture of the true shapes; write nothing if there are no pictures.

    Args:
        rows: rows of one corpus.
        folder: the folder of their pictures.
        path: the PNG file.
    """
    files = dict.fromkeys([TRUE_SHAPES, *(row["picture"] for row in rows if row["picture"])])
    strips = []
    for file in files:
        if (folder / file).is_file():
            with Image.open(folder / file) as picture:
                strips.append(np.asarray(picture))
    if strips:
        save_png(Image.fromarray(np.concatenate(strips)), path)


def plot_iou_against_bits(rows: Sequence[Row], path: Path) -> None:
    """Plot IoU against bits: a point for each tokenizer, a line through its first levels, and a line for plain fits.

    Args:
        rows: comparable rows of one corpus.
        path: the PNG file.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    tokenizer_rows = [pair for pair in zip(unique_titles(rows), rows, strict=True) if pair[1].get("by_num_quantizers")]
    for number, (title, row) in enumerate(tokenizer_rows):
        color, marker = f"C{number % 10}", "o" if number < 10 else "s"
        bits, iou = ([level[key] for level in row["by_num_quantizers"]] for key in ("bits_per_field", "iou"))
        axes.plot(bits, iou, "-", color=color, linewidth=1, alpha=0.5)
        axes.plot(bits[-1], iou[-1], marker, color=color, label=title)
    for row in rows:
        if row["tokens_per_field"] is None:
            axes.axhline(row["iou"], color="0.4", linestyle="--", linewidth=1, label=row["tokenizer"])
    axes.set(xscale="log", xlabel="bits of a field", ylabel="IoU with held-out shapes", title=rows[0]["corpus"])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=150, format="png")
