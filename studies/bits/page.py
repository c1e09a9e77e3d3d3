"""The rows of the study of bits, and the page, the tables and the plot that show them.

Decisions:
- The page shows all rows of `predictability.json`, so tokenizers can be measured one after another.
- Each row of `tokenizers.json` gets the fewest bits that any GPT needed for its tokenizer, and the number of training
  shapes of that GPT.
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from studies.pages import findings, format_cell, measured_by, save_figure
from weightgpt.formatting import markdown_table
from weightgpt.io import read_json, write_json, write_text

ROWS_FILE, PAGE_FILE, PLOT_FILE = "predictability.json", "predictability.md", "predictability.png"
CORPUS, BUILT_IN_SHAPES = "corpus", "drawn"
"""Values of `training_set`: the shapes that the tokenizer was learned from, or new built-in shapes."""

Row = dict[str, Any]

COLUMNS = {
    "tokenizer": ("tokenizer", "s"),
    "version": ("version", "s"),
    "iou_ratio": ("IoU / plain fit", ".3f"),
    "tokens_per_field": ("tokens", ",d"),
    "model_size": ("GPT", "s"),
    "gpt_parameters": ("parameters", ",d"),
    "train_shapes": ("training shapes", ",d"),
    "held_out": ("held-out shapes", ",d"),
    "steps": ("steps", ",d"),
    "epochs": ("epochs", ".1f"),
    "tokens_seen": ("tokens seen", ",d"),
    "train_flops": ("training FLOPs", ".1e"),
    "bits_per_field": ("uniform bits", ",.0f"),
    "independent_bits_per_field": ("independent bits", ",.0f"),
    "gpt_bits_per_token": ("GPT bits per token", ".2f"),
    "gpt_bits_per_field": ("GPT bits", ",.0f"),
    "independent_bits_fraction": ("independent / uniform", ".3f"),
    "gpt_bits_fraction": ("GPT / uniform", ".3f"),
}
"""Keys of a row, the headers of their columns and their formats."""

DEFINITIONS = """All bits are those of the code tokens of a held-out shape. The GPT reads the class of the shape first;
the class does not count.

- *Uniform bits*: all codes are equally likely.
- *Independent bits*: the cross-entropy under the frequencies of the codes at each position of the training sequences.
  Entropy coding without a model needs this number of bits.
- *GPT bits*: the cross-entropy of a GPT-2 that was trained on the same sequences. Early stopping uses shapes
  that are neither training shapes nor held-out shapes.
- *Training FLOPs*: the floating-point operations of the training steps, forward and backward, by torch's counter.
- *IoU / plain fit*: the mean IoU of decoded fields divided by the mean IoU of plain fits, on held-out shapes."""

FINDINGS = (
    """The GPT of rvq-ae needs 115 bits at an IoU ratio of 1.002, after 16,384 training shapes. For each other tokenizer
    we take the bits of its GPT or of independent codes, whichever are fewer. The fewest of these are 5,863 bits (fsq,
    IoU ratio 0.850). The one with the highest IoU ratio needs 18,192 bits (delta-lloyd-max, IoU ratio 0.999).""",
    """A GPT of long sequences has few steps for the same budget. Some of these GPTs need more bits than independent
    codes. They have not learned enough for a comparison.""",
    """The lowest share of uniform bits is 0.449: rvq-ae, a GPT of 2,181,888 parameters, 16,384 training shapes, 512
    held-out shapes.""",
    """Version 0.1.0 counted the budget by a formula that leaves out embeddings (Kaplan et al. 2020, section 2.1). The
    column of FLOPs counts the same steps by torch's counter, so its values differ between tokenizers and exceed the
    budget of the command.""",
)
"""What we concluded from the figures of version 0.1.0."""


def identity(row: Row) -> str:
    """Text that is equal for two rows of the same measurement.

    Args:
        row: a row of `predictability.json`.
    """
    keys = ("training_set", "corpus", "tokenizer", "fingerprint", "train_shapes", "settings")
    return repr([row[key] for key in keys])


def add_rows(output: Path, rows: list[Row], measurements: Path | None) -> None:
    """Add rows to `predictability.json`; a row replaces the old row of the same measurement.

    Args:
        output: folder of `predictability.json`.
        rows: the new rows.
        measurements: folder of `tokenization.measure`; its rows get the fewest bits of their tokenizers. None for no
            folder.
    """
    old = read_json(output / ROWS_FILE)["rows"] if (output / ROWS_FILE).is_file() else []
    new_identities = {identity(row) for row in rows}
    rows = [*(row for row in old if identity(row) not in new_identities), *rows]
    write_json(output / ROWS_FILE, {"rows": rows})
    if measurements and (measurements / "tokenizers.json").is_file():
        content = read_json(measurements / "tokenizers.json")
        content["rows"] = [{**row, **fewest_bits(rows, row.get("fingerprint"))} for row in content["rows"]]
        write_json(measurements / "tokenizers.json", content)


def fewest_bits(rows: list[Row], fingerprint: str | None) -> Row:
    """The fewest bits of a tokenizer, with the keys of `tokenizers.json`; empty if none were measured.

    Args:
        rows: the rows of `predictability.json`.
        fingerprint: the fingerprint of the tokenizer's quantizer.
    """
    of_tokenizer = [row for row in rows if row["fingerprint"] == fingerprint]
    if not of_tokenizer:
        return {}
    best = min(of_tokenizer, key=lambda row: row["gpt_bits_per_field"])
    return {
        "gpt_bits_per_field": best["gpt_bits_per_field"],
        "gpt_bits_fraction": best["gpt_bits_fraction"],
        "gpt_train_shapes": best["train_shapes"],
    }


def markdown_rows(rows: list[Row]) -> str:
    """Rows as a Markdown table.

    Args:
        rows: rows of `predictability.json`.
    """
    cells = [[format_cell(row[key], style) for key, (_, style) in COLUMNS.items()] for row in rows]
    return markdown_table([title for title, _ in COLUMNS.values()], cells)


def write_page(output: Path) -> None:
    """Write the page, and the plot if new shapes were drawn.

    Args:
        output: folder of `predictability.json`.
    """
    rows = read_json(output / ROWS_FILE)["rows"]
    built_in_rows = sorted(
        (row for row in rows if row["training_set"] == BUILT_IN_SHAPES), key=lambda row: row["train_shapes"]
    )
    if built_in_rows:
        save_figure(plot_bits(built_in_rows), output / PLOT_FILE)
    write_text(output / PAGE_FILE, render_page(rows))


def render_page(rows: list[Row]) -> str:
    """The rows as a page.

    Args:
        rows: the rows of `predictability.json`.
    """
    parts = ["# Bits of a field", DEFINITIONS, findings("0.1.0", *FINDINGS)]
    same = sorted((row for row in rows if row["training_set"] == CORPUS), key=lambda row: row["gpt_bits_per_field"])
    for corpus in dict.fromkeys(row["corpus"] for row in same):
        part = [row for row in same if row["corpus"] == corpus]
        parts += [f"## {corpus}: the same training shapes for every tokenizer", *_section(part)]
    built_in_rows = sorted(
        (row for row in rows if row["training_set"] == BUILT_IN_SHAPES), key=lambda row: row["train_shapes"]
    )
    for corpus in dict.fromkeys(row["corpus"] for row in built_in_rows):
        part = [row for row in built_in_rows if row["corpus"] == corpus]
        parts += [f"## {corpus}: more training shapes", *_section(part)]
    if built_in_rows:
        parts.append(f"![Bits of a field against training shapes]({PLOT_FILE})")
    return "\n\n".join(parts) + "\n"


def _section(rows: list[Row]) -> list[str]:
    """Version, commands and table of rows."""
    return [measured_by(rows, *dict.fromkeys(row["command"] for row in rows)), markdown_rows(rows)]


def plot_bits(rows: list[Row]) -> Figure:
    """A chart of bits against training shapes: a line for each GPT, and a dashed line for independent codes.

    Args:
        rows: rows of drawn shapes, in the order of their training shapes.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    chart = figure.subplots()
    lines: dict[str, list[Row]] = {}
    for row in rows:
        label = f"{row['tokenizer']}, {row['model_size']} GPT, budget {row['settings']['max_train_flops']:.1e} FLOPs"
        lines.setdefault(label, []).append(row)
    for index, (label, points) in enumerate(lines.items()):
        sizes, color = [row["train_shapes"] for row in points], f"C{index}"
        chart.plot(sizes, [row["gpt_bits_per_field"] for row in points], "o-", color=color, label=label)
        independent = [row["independent_bits_per_field"] for row in points]
        chart.plot(sizes, independent, "--", color=color, linewidth=1, label="independent codes")
    for bits in dict.fromkeys(row["bits_per_field"] for row in rows):
        chart.axhline(bits, color="0.4", linestyle=":", linewidth=1, label="uniform codes")
    chart.set(xlabel="training shapes", ylabel="bits of a held-out field")
    chart.set_xscale("log", base=2)
    chart.grid(alpha=0.3)
    chart.legend(fontsize="small")
    return figure
