"""The page of a measurement, from the rows of `tokenizers.json`: `python -m tokenization.measure.page --output DIR`.

The page shows all rows, and for each corpus the details of the rows that can be compared. Run this program after
`studies.bits` has added values to the rows.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenization.measure.pictures import plot_iou_against_bits, write_sheet
from tokenization.measure.rows import Row, comparable_rows, preset_name, read_rows, settings_changes, unique_titles
from weightgpt._programs import cli_main, parse
from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import write_text

PAGE_FILE = "tokenizers.md"

COLUMNS = {
    "corpus": "corpus",
    "tokenizer": "tokenizer",
    "version": "version",
    "train_shapes": "training shapes",
    "held_out": "held-out shapes",
    "tokens_per_field": "tokens",
    "bits_per_field": "bits",
    "iou": "IoU",
    "iou_ratio": "IoU / plain fit",
    "chamfer": "Chamfer",
    "chamfer_ratio": "Chamfer / plain fit",
    "normal_consistency": "normal consistency",
    "sdf_error": "SDF error",
    "weight_error": "weight error",
    "without_surface": "without surface",
    "seconds": "seconds",
    "gpt_bits_per_field": "GPT bits",
    "gpt_bits_fraction": "GPT bits / bits",
    "gpt_train_shapes": "GPT training shapes",
}
"""Keys of a row and the headers of their columns."""

DEFINITIONS = """All numbers compare held-out shapes with their reconstructions. *Plain fit* is a field that is fitted
to the shape from the shared initialization, without quantization. Ratios divide the mean of a tokenizer by the mean of
the plain fits.

- *Bits* are tokens times the binary logarithm of the codebook size; a plain fit has 32 bits for each weight.
- *Chamfer* is the Chamfer-L1 distance of points on the surfaces, in half-sides of the box.
- *SDF error* is the mean absolute error of the signed distance where the true distance is below 0.1.
- *Weight error* is the distance of the decoded weights to the plain fit, divided by the distance of the plain fit to
  the shared initialization. The RVQ autoencoder and the graph encoder choose other weights for the same shape, so
  their weight error does not measure the error of the shape.
- *GPT bits* are the fewest bits that a GPT needed for the codes of a held-out shape, in the experiments of
  `python -m studies.bits`.

The graph encoder reads fields, not shapes. It encodes fits that start from random weights instead of the plain fits.

*Version* is the version of weightgpt that measured a row. The presets of later versions may differ. For each corpus a
table shows which settings of a row differ from today's preset, and the commands of older rows give these settings as
options."""


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """Write the page of a measurement from its rows."""

    output: Path = Path("runs/tokenizers")
    """Folder of `tokenization.measure`."""


def main_table(rows: Sequence[Row]) -> str:
    """The main metrics of the rows as a Markdown table."""
    return markdown_table(list(COLUMNS.values()), [[format_number(row.get(key)) for key in COLUMNS] for row in rows])


def write_page(output: Path) -> None:
    """Write the page, and for each corpus a plot and a picture.

    Args:
        output: the folder of the measurements.
    """
    rows = read_rows(output)
    parts = ["# Tokenizers", DEFINITIONS, main_table(rows)]
    for corpus in dict.fromkeys(row["corpus"] for row in rows):
        of_corpus = [row for row in rows if row["corpus"] == corpus]
        comparable = comparable_rows(of_corpus)
        plot_iou_against_bits(comparable, output / f"rate-distortion-{corpus}.png")
        write_sheet(comparable, output / corpus / "pictures", output / f"tokenizers-{corpus}.png")
        parts += [f"## {corpus}", *_commands(of_corpus), *_settings(of_corpus), *_corpus(corpus, comparable)]
    write_text(output / PAGE_FILE, "\n\n".join(parts) + "\n")


def _commands(rows: list[Row]) -> list[str]:
    """The commands that measure a corpus."""
    commands = dict.fromkeys(row["command"] for row in rows)
    return ["Measured by:", "\n".join(f"    {command}" for command in commands)]


def _settings(rows: list[Row]) -> list[str]:
    """How the settings of the rows differ from today's preset."""
    cells = [
        [row["tokenizer"], format_number(row["tokens_per_field"]), row["version"], settings_changes(row) or "none"]
        for row in rows
    ]
    return [
        f"Settings that differ from today's preset `{preset_name(rows[0])}`:",
        markdown_table(["tokenizer", "tokens", "version", "settings"], cells),
    ]


def _corpus(corpus: str, rows: list[Row]) -> list[str]:
    """The details of the comparable rows of a corpus."""
    rows = [{**row, "tokenizer": title} for row, title in zip(rows, unique_titles(rows), strict=True)]
    last = rows[-1]
    labels = sorted({label for row in rows for label in row["by_class"]})
    classes = [[row["tokenizer"], *(_class_cell(row, label) for label in labels)] for row in rows]
    return [
        f"The pictures and tables below show {format_number(last['train_shapes'])} training shapes and"
        f" {format_number(last['held_out'])} held-out shapes. The plain fits took"
        f" {format_number(last['plain_fit_steps'])} steps and gained {format_number(last['iou_gain_last_quarter'])} IoU"
        " in the last quarter of them.",
        f"![IoU against bits](rate-distortion-{corpus}.png)",
        f"![The same shapes through every tokenizer](tokenizers-{corpus}.png)",
        "IoU by class, with its ratio to the plain fit in parentheses:",
        markdown_table(["tokenizer", *labels], classes),
        *_code_tables([row for row in rows if row.get("codes_used")]),
    ]


def _code_tables(rows: list[Row]) -> list[str]:
    """Tables of the tokenizers alone: weight error, use of the codes, IoU of the first levels."""
    if not rows:
        return []
    layers = range(1, 1 + len(rows[0]["weight_error_by_layer"]))
    errors = [[row["tokenizer"], *map(format_number, row["weight_error_by_layer"])] for row in rows]
    keys = ("codes_used", "dead_codes", "perplexity")
    codes = [
        [row["tokenizer"], format_number(row["codebook_size"]), *(_list(row[key], ".0f") for key in keys)]
        for row in rows
    ]
    levels = [[row["tokenizer"], _list([level["iou"] for level in row["by_num_quantizers"]], ".3f")] for row in rows]
    return [
        "Weight error by layer:",
        markdown_table(["tokenizer", *(f"layer {layer}" for layer in layers)], errors),
        "Codes that training shapes use, level by level:",
        markdown_table(["tokenizer", "codebook size", "codes used", "dead codes", "perplexity"], codes),
        "IoU of the first quantizer level alone, of the first two levels, and so on:",
        markdown_table(["tokenizer", "IoU"], levels),
    ]


def _class_cell(row: Row, label: str) -> str:
    values: dict[str, Any] | None = row["by_class"].get(label)
    return f"{values['iou']:.3f} ({values['iou_ratio']:.3f})" if values else format_number(None)


def _list(values: Sequence[float], style: str) -> str:
    return ", ".join(format(value, style) for value in values)


@cli_main
def main() -> None:
    """Read the options and write the page."""
    write_page(parse(PageConfig, "tokenization.measure.page").output)


if __name__ == "__main__":
    sys.exit(main())
