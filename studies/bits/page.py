"""The page on the bits of a field: rows that come together, two tables and a plot.

Decisions: everything is made again from the rows of `predictability.json`, so that measurements may be made one after
the other. The rows of `tokenizers.json` get the fewest bits measured of their tokenizer, and how many shapes that took.
"""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from weightgpt.formatting import markdown_table
from weightgpt.io import atomic_write, read_json, write_json, write_text

ROWS, PAGE, PLOT = "predictability.json", "predictability.md", "predictability.png"
SIDE_BY_SIDE, DRAWN = "side by side", "drawn"

Row = dict[str, Any]

COLUMNS = {
    "corpus": ("corpus", "s"),
    "tokenizer": ("tokenizer", "s"),
    "iou_ratio": ("IoU / plain fit", ".3f"),
    "tokens_per_field": ("tokens", ",d"),
    "preset": ("GPT", "s"),
    "parameters": ("parameters", ",d"),
    "train_shapes": ("learned from", ",d"),
    "held_out_shapes": ("held out", ",d"),
    "steps": ("steps", ",d"),
    "passes": ("passes", ".1f"),
    "tokens_seen": ("tokens seen", ",d"),
    "tera_operations": ("10¹² operations", ".1f"),
    "uniform_bits_per_field": ("uniform bits", ",.0f"),
    "independent_bits_per_field": ("independent bits", ",.0f"),
    "bits_per_token": ("GPT, bits a token", ".2f"),
    "bits_per_field": ("GPT, bits a field", ",.0f"),
    "independent_bits_fraction": ("independent / uniform", ".3f"),
    "gpt_bits_fraction": ("GPT / uniform", ".3f"),
}
"""Keys of a row, the heads of their columns and their formats."""

DEFINITIONS = """Bits are the cross-entropy of the code tokens of held-out shapes, their class given; a field's are the
sum of its tokens'. *Uniform* takes all codes as equally likely. *Independent* knows how frequent each code is at each
position of the training sequences: what plain entropy coding needs. *GPT* is a GPT-2 trained on the same sequences,
stopped early by shapes that are neither learned from nor held out. Operations are those of its training, without
embeddings (Kaplan et al. 2020). IoU / plain fit is the distortion of the tokenizer on held-out shapes, 1 for a field as
good as the fit that was not quantized."""


def identity(row: Row) -> str:
    """What makes two rows measurements of the same."""
    keys = ("table", "corpus", "tokenizer", "fingerprint", "train_shapes", "settings")
    return repr([row[key] for key in keys])


def add_rows(output: Path, rows: list[Row], tokenizers: Path | None) -> None:
    """Add rows to `predictability.json`; a row that measures the same as an old one replaces it.

    Args:
        tokenizers: a folder whose `tokenizers.json` has rows of the same tokenizers, which get their fewest bits.
    """
    old = read_json(output / ROWS)["rows"] if (output / ROWS).is_file() else []
    new = {identity(row) for row in rows}
    rows = [*(row for row in old if identity(row) not in new), *rows]
    write_json(output / ROWS, {"rows": rows})
    if tokenizers and (tokenizers / "tokenizers.json").is_file():
        found = read_json(tokenizers / "tokenizers.json")
        found["rows"] = [{**row, **fewest(rows, row.get("fingerprint"))} for row in found["rows"]]
        write_json(tokenizers / "tokenizers.json", found)


def fewest(rows: list[Row], fingerprint: str | None) -> Row:
    """The fewest bits of a tokenizer, as they stand in its row of `tokenizers.json`; empty where none were measured."""
    own = [row for row in rows if row["fingerprint"] == fingerprint]
    if not own:
        return {}
    best = min(own, key=lambda row: row["bits_per_field"])
    return {
        "gpt_bits_per_field": best["bits_per_field"],
        "gpt_bits_fraction": best["gpt_bits_fraction"],
        "gpt_train_shapes": best["train_shapes"],
    }


def table(rows: list[Row]) -> str:
    """Rows as a Markdown table."""
    lines = []
    for row in rows:
        values = [(row[key], form) for key, (_, form) in COLUMNS.items()]
        lines.append(["–" if value is None else format(value, form) for value, form in values])
    return markdown_table([head for head, _ in COLUMNS.values()], lines)


def show(output: Path) -> None:
    """Write the page and its plot from the rows."""
    rows = read_json(output / ROWS)["rows"]
    parts = ["# Bits of a field", "", DEFINITIONS]
    equal = sorted((row for row in rows if row["table"] == SIDE_BY_SIDE), key=lambda row: row["bits_per_field"])
    for corpus in dict.fromkeys(row["corpus"] for row in equal):
        own = [row for row in equal if row["corpus"] == corpus]
        parts += ["", f"## {corpus}: the same shapes for every tokenizer", "", *_commands(own), "", table(own)]
        parts += ["", *_verdict([row for row in rows if row["corpus"] == corpus])]
    grown = [row for row in rows if row["table"] == DRAWN]
    grown.sort(key=lambda row: (row["tokenizer"], row["parameters"], row["train_shapes"]))
    if grown:
        parts += ["", "## More shapes to learn from", "", *_commands(grown), "", table(grown), "", f"![Bits]({PLOT})"]
        parts += ["", *_fewest(grown)]
        _plot(grown, output / PLOT)
    write_text(output / PAGE, "\n".join(parts) + "\n")


def _commands(rows: list[Row]) -> list[str]:
    return [f"Written by `{command}`.  " for command in dict.fromkeys(row["command"] for row in rows)]


def _verdict(rows: list[Row]) -> list[str]:
    """The fewest bits of a GPT on a corpus, and what the other tokenizers need by the better of both ways."""
    judged = sorted((row for row in rows if row["iou_ratio"] is not None), key=lambda row: row["bits_per_field"])
    if not judged:
        return []
    best, others = judged[0], [row for row in judged if row["tokenizer"] != judged[0]["tokenizer"]]
    if not others:
        return []
    need = [(min(row["bits_per_field"], row["independent_bits_per_field"]), row) for row in others]
    least = min(need, key=lambda pair: pair[0])
    near = max(need, key=lambda pair: (pair[1]["iou_ratio"], -pair[0]))
    told = [f"{bits:,.0f} ({row['tokenizer']}, IoU ratio {row['iou_ratio']:.3f})" for bits, row in (least, near)]
    return [
        f"The GPT of {best['tokenizer']} needs {best['bits_per_field']:,.0f} bits at an IoU ratio of"
        f" {best['iou_ratio']:.3f}, after {best['train_shapes']:,} shapes. Of the others, by GPT or as independent"
        f" codes, whichever is less, the fewest bits are {told[0]}, and those of the highest ratio are {told[1]}. A GPT"
        " of long sequences has few steps for the same compute; where it needs more than independent codes do, it has"
        " not learned enough to be compared."
    ]


def _fewest(rows: list[Row]) -> list[str]:
    best = min(rows, key=lambda row: row["gpt_bits_fraction"])
    return [
        f"The lowest share of uniform bits is {best['gpt_bits_fraction']:.3f}: {best['tokenizer']}, a GPT of"
        f" {best['parameters']:,} parameters, {best['train_shapes']:,} shapes to learn from,"
        f" {best['held_out_shapes']:,} held out."
    ]


def _plot(rows: list[Row], path: Path) -> None:
    """Bits of a field against shapes to learn from: a line for each tokenizer and GPT, dashes for independent codes."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    lines: dict[str, list[Row]] = {}
    for row in rows:
        most = f"{row['settings']['compute']:g} · 10¹² operations"
        lines.setdefault(f"{row['tokenizer']}, GPT of {row['parameters'] / 1e6:.1f} M, at most {most}", []).append(row)
    for index, (label, own) in enumerate(lines.items()):
        sizes = [row["train_shapes"] for row in own]
        axes.plot(sizes, [row["bits_per_field"] for row in own], "o-", color=f"C{index}", label=label)
        axes.plot(sizes, [row["independent_bits_per_field"] for row in own], "--", color=f"C{index}", linewidth=1)
    for level in dict.fromkeys(row["uniform_bits_per_field"] for row in rows):
        axes.axhline(level, color="0.4", linestyle=":", linewidth=1, label="uniform")
    axes.set(xlabel="shapes to learn from (dashes: independent codes)", ylabel="bits of a field, held out")
    axes.set_xscale("log", base=2)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=150, format="png")
    pyplot.close(figure)
