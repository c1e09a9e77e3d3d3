"""What a measurement leaves to look at: rows, tables, plots and pictures.

Everything is made again from `tokenizers.json` and the strips of pictures, so that corpora and tokenizers may be
measured one after the other. `python -m tokenization.measure.page --output DIR` does only that, for figures that were added to
the rows since.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import torch
from matplotlib import pyplot
from PIL import Image

from tokenization.measure.benchmark import changed
from weightgpt._programs import cli_main
from weightgpt.formatting import markdown_table
from weightgpt.io import atomic_write, read_json, write_json, write_text
from weightgpt.shapes.shape import Sdf, Shape
from weightgpt.visual.rendering import contact_sheet, render, save_png

ROWS, PAGE = "tokenizers.json", "tokenizers.md"
SHOWN, SIZE = 6, 176

Row = dict[str, Any]

COLUMNS = {
    "corpus": "corpus",
    "tokenizer": "tokenizer",
    "train_shapes": "learned from",
    "held_out_shapes": "held out",
    "tokens_per_field": "tokens",
    "bits_per_field": "bits",
    "iou": "IoU",
    "iou_ratio": "IoU / plain fit",
    "chamfer": "Chamfer",
    "chamfer_ratio": "Chamfer / plain fit",
    "normal_consistency": "normals",
    "sdf_error": "SDF error",
    "weight_error": "weight error",
    "without_surface": "no surface",
    "seconds": "seconds",
    "gpt_bits_per_field": "GPT bits",
    "gpt_bits_fraction": "GPT bits / bits",
    "gpt_train_shapes": "GPT learned from",
}
"""Keys of a row and the heads of their columns."""


def identity(row: Row) -> tuple[str, str, str]:
    """What makes two rows measurements of the same: the settings that differ from the defaults."""
    looped = row.get("tokens_per_field") is not None  # rows of plain fits once told the settings of the loop too
    return row["corpus"], row["tokenizer"], repr(sorted(changed(row["settings"], looped).items()))


def add_rows(output: Path, command: str, rows: list[Row]) -> None:
    """Add rows to `tokenizers.json`; a row that measures the same as an old one replaces it.

    What a GPT needs for the same tokenizer stays.
    """
    old = read_json(output / ROWS)["rows"] if (output / ROWS).is_file() else []
    bits = {row.get("fingerprint"): {key: row[key] for key in row if key.startswith("gpt_")} for row in old}
    rows = [{**row, **(bits.get(row["fingerprint"], {}) if row.get("fingerprint") else {})} for row in rows]
    new = {identity(row) for row in rows}
    kept = [row for row in old if identity(row) not in new]
    write_json(output / ROWS, {"command": command, "rows": [*kept, *rows]})


def table(rows: Sequence[Row]) -> str:
    """The main figures as a Markdown table."""
    return markdown_table(list(COLUMNS.values()), [[cell(row.get(key)) for key in COLUMNS] for row in rows])


def write_strip(
    folder: Path, shapes: Sequence[Shape], file: str, name: str, sdfs: Sequence[Sdf], notes: list[str]
) -> None:
    """Write `pictures/FILE.png`: the name, then the same held-out shapes through one tokenizer with notes below."""
    chosen = shown(shapes)
    blank = render([lambda points: torch.ones(len(points))], SIZE)
    pictures = np.concatenate([blank, render([sdfs[i] for i in chosen], SIZE)])
    sheet = contact_sheet(pictures, [name, *(notes[i] for i in chosen)], columns=SHOWN + 1)
    save_png(sheet, folder / "pictures" / f"{file}.png")


def shown(shapes: Sequence[Shape]) -> list[int]:
    """Indices of six shapes, of the classes in turn."""
    labels = [shape.label for shape in shapes]
    seen: dict[str, int] = {}
    turns = []
    for index, label in enumerate(labels):
        turns.append((seen.get(label, 0), label, index))
        seen[label] = seen.get(label, 0) + 1
    return [index for _, _, index in sorted(turns)[:SHOWN]]


def write_page(output: Path) -> None:
    """Write the page, and a plot and a picture for each corpus, from the rows."""
    found = read_json(output / ROWS)
    parts = ["# Tokenizers", "", DEFINITIONS, "", table(found["rows"])]
    for corpus in dict.fromkeys(row["corpus"] for row in found["rows"]):
        own = [row for row in found["rows"] if row["corpus"] == corpus]
        commands = [f"    {command}" for command in dict.fromkeys(row["command"] for row in own)]
        rows = newest(own)
        _plot(rows, output / f"rate-distortion-{corpus}.png")
        _sheet(rows, output / corpus / "pictures", output / f"tokenizers-{corpus}.png")
        parts += ["", f"## {corpus}", "", "Written by:", "", *commands, "", *_corpus(corpus, rows)]
    write_text(output / PAGE, "\n".join(parts) + "\n")


def newest(rows: list[Row]) -> list[Row]:
    """The rows of the same shapes and fits as the last one; figures of others are not comparable with them."""
    last = changed(rows[-1]["settings"], loop=False)
    return [row for row in rows if changed(row["settings"], loop=False) == last]


def titles(rows: list[Row]) -> list[str]:
    """The tokenizers of the rows, with their tokens where there are several of one."""
    names = [row["tokenizer"] for row in rows]
    return [
        name if names.count(name) == 1 else f"{name}-{row['tokens_per_field']}"
        for name, row in zip(names, rows, strict=True)
    ]


DEFINITIONS = """All figures are of held-out shapes, against the true shape. *Plain fit* is the field fitted to the
shape from the shared initial field, before any quantization. Bits are tokens times the binary logarithm of the number
of codes. Chamfer is the Chamfer-L1 distance of points on the surfaces in half-sides of the box; normals is the
normal consistency. SDF error is the mean error of the distance where the true one is below 0.1. Weight error is the
distance from the plain fit, as a share of the fit's distance from the initial field; the codebook in the loop chooses
weights of its own, so there, and for the graph, it tells no error of the shape. The graph reads fields, not shapes:
each shape was fitted from a random start of its own for it, and that field is what was encoded, not the plain fit. GPT
bits are the fewest that a GPT needed for the codes of a held-out shape, after so many others
(`python -m studies.bits`). Each corpus names the commands that measured it."""


def _corpus(corpus: str, rows: list[Row]) -> list[str]:
    """The part of the page on one corpus."""
    rows = [{**row, "tokenizer": title} for row, title in zip(rows, titles(rows), strict=True)]
    coded = [row for row in rows if row.get("usage")]
    labels = sorted({label for row in rows for label in row["by_class"]})
    classes = [[row["tokenizer"], *(_of_class(row, label) for label in labels)] for row in rows]
    last = rows[-1]
    lines = [
        f"{last['train_shapes']} shapes to learn from, {last['held_out_shapes']} held out. The plain fits took"
        f" {last['plain_fit_steps']} steps and gained {last['plain_fit_gain_last_quarter']:.4f} IoU in the last quarter"
        " of them.",
        "",
        f"![IoU against bits](rate-distortion-{corpus}.png)",
        "",
        f"![The same shapes through every tokenizer](tokenizers-{corpus}.png)",
        "",
        "IoU, and its ratio to the plain fit, by class:",
        "",
        markdown_table(["tokenizer", *labels], classes),
    ]
    if not coded:
        return lines
    layers = len(coded[0]["weight_error_by_layer"])
    errors = [[row["tokenizer"], *map(cell, row["weight_error_by_layer"])] for row in coded]
    used = [
        [row["tokenizer"], cell(row["codes"]), *(_list(row["usage"][key]) for key in ("used", "dead", "perplexity"))]
        for row in coded
    ]
    levels = [[row["tokenizer"], _list([level["iou"] for level in row["by_levels"]])] for row in coded]
    return [
        *lines,
        *(
            "",
            "Weight error by layer:",
            "",
            markdown_table(["tokenizer", *(f"layer {i + 1}" for i in range(layers))], errors),
        ),
        *("", "Codes over the training shapes, level by level:", ""),
        markdown_table(["tokenizer", "codes", "used", "dead", "perplexity"], used),
        *("", "IoU of the first level alone, the first two, …:", "", markdown_table(["tokenizer", "IoU"], levels)),
    ]


def _of_class(row: Row, label: str) -> str:
    found = row["by_class"].get(label)
    return f"{found['iou']:.3f} ({found['iou_ratio']:.3f})" if found else "–"


def cell(value: Any) -> str:
    """A value as it stands in tables."""
    if isinstance(value, float) and abs(value) < 10:
        return f"{value:.4f}"
    if isinstance(value, int | float):
        return f"{value:.0f}"
    return "–" if value is None else str(value)


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" if isinstance(value, float) and value < 1 else f"{value:.0f}" for value in values)


def _plot(rows: list[Row], path: Path) -> None:
    """IoU against bits: a point for each tokenizer, a line through its first levels, the plain fit as a limit."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    named = list(zip(titles(rows), rows, strict=True))
    for index, (title, row) in enumerate((title, row) for title, row in named if row.get("by_levels")):
        color = f"C{index % 10}"
        bits, kept = ([level[key] for level in row["by_levels"]] for key in ("bits", "iou"))
        axes.plot(bits, kept, "-", color=color, linewidth=1, alpha=0.5)
        axes.plot(bits[-1], kept[-1], "o" if index < 10 else "s", color=color, label=title)
    for row in rows:
        if row["tokens_per_field"] is None:
            axes.axhline(row["iou"], color="0.4", linestyle="--", linewidth=1, label=row["tokenizer"])
    axes.set(xscale="log", xlabel="bits of a field", ylabel="IoU with held-out shapes", title=rows[0]["corpus"])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=150, format="png")
    pyplot.close(figure)


def _sheet(rows: list[Row], folder: Path, path: Path) -> None:
    """All strips of a corpus, one below the other, the true shapes first."""
    names = dict.fromkeys(["true shape", *(row.get("folder", row["tokenizer"]) for row in rows)])
    strips = [np.asarray(Image.open(folder / f"{name}.png")) for name in names if (folder / f"{name}.png").is_file()]
    if strips:
        save_png(Image.fromarray(np.concatenate(strips)), path)


@cli_main
def main() -> None:
    """Write the page again."""
    parser = argparse.ArgumentParser(
        prog="tokenization.measure.page", description="Write the page of a measurement again."
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of tokenization.measure")
    write_page(parser.parse_args().output)


if __name__ == "__main__":
    sys.exit(main())
