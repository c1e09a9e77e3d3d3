"""The page and the plots of the sweep, built from the rows of `sweep.json`."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from studies.pages import measured_by, save_figure
from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import write_json, write_text

ROWS_FILE, PAGE_FILE, BITS_PLOT, AXES_PLOT = "sweep.json", "sweep.md", "sweep.png", "sweep-axes.png"
COLUMNS = {
    "axis": "axis",
    "value": "value",
    "tokens_per_field": "tokens",
    "bits_per_field": "bits",
    "iou": "IoU",
    "iou_ratio": "IoU / plain fit",
    "chamfer_ratio": "Chamfer / plain fit",
    "seconds": "seconds",
}
"""Keys of a row and the headers of their columns."""
HEADERS = tuple(COLUMNS.values())

Row = dict[str, Any]


def write_results(output: Path, result: dict[str, Any]) -> None:
    """Write `sweep.json`, `sweep.md` and two plots.

    Args:
        output: folder of the files.
        result: the content of `sweep.json`.
    """
    write_json(output / ROWS_FILE, result)
    save_figure(plot_iou_against_bits(result["rows"]), output / BITS_PLOT)
    save_figure(plot_axes(result["rows"]), output / AXES_PLOT)
    write_text(output / PAGE_FILE, render_page(result))


def table_rows(rows: list[Row]) -> list[list[str]]:
    """The cells of the table.

    Args:
        rows: the rows of `sweep.json`.
    """
    return [[format_number(row[key]) for key in COLUMNS] for row in rows]


def total_seconds(rows: list[Row]) -> float:
    """The seconds of all rows, where a row that lies on several axes counts once.

    Args:
        rows: the rows of `sweep.json`.
    """
    measured = {json.dumps({**row, "axis": "", "value": 0}, sort_keys=True): row["seconds"] for row in rows}
    return float(sum(measured.values()))


def render_page(result: dict[str, Any]) -> str:
    """The figures as Markdown.

    Args:
        result: the content of `sweep.json`.
    """
    settings, rows = result["settings"], result["rows"]
    return f"""# Settings of the RVQ autoencoder

{measured_by(rows, result["command"])}

Each axis changes one setting and leaves all others at their defaults. Every autoencoder learns from
{settings["num_train"]} shapes in {settings["codebook_steps"]} steps, and all rows measure the same
{settings["num_held_out"]} held-out shapes. The steps are few, so compare the rows only with each other; see
[tokenizers.md](tokenizers.md) for longer training. The default lies on every axis and was learned once. Ratios divide
by the plain fits of fields of the same width ({rows[-1]["plain_fit_steps"]} steps). Seconds of one core count learning
and encoding, {format_number(total_seconds(rows))} in total.

![IoU against bits]({BITS_PLOT})

![Every axis]({AXES_PLOT})

{markdown_table(HEADERS, table_rows(rows))}
"""


def rows_by_axis(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each axis, in the order of their values.

    Args:
        rows: the rows of `sweep.json`.
    """
    names = dict.fromkeys(row["axis"] for row in rows)
    return {name: sorted((row for row in rows if row["axis"] == name), key=lambda row: row["value"]) for name in names}


def plot_iou_against_bits(rows: list[Row]) -> Figure:
    """A chart of IoU against the bits of a field, with a color for each axis.

    Args:
        rows: the rows of `sweep.json`.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    chart = figure.subplots()
    for axis, points in rows_by_axis(rows).items():
        chart.plot(
            [row["bits_per_field"] for row in points], [row["iou"] for row in points], "o", label=axis, alpha=0.8
        )
    chart.set(xscale="log", xlabel="bits of a field", ylabel="IoU with held-out shapes")
    chart.grid(alpha=0.3)
    chart.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_axes(rows: list[Row]) -> Figure:
    """A chart of each axis, with IoU as a share of the IoU of the plain fits.

    Args:
        rows: the rows of `sweep.json`.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    charts = figure.subplots(2, 3, sharey=True, squeeze=False).flat
    for axis, points in rows_by_axis(rows).items():
        chart, values = next(charts), [row["value"] for row in points]
        chart.plot(values, [row["iou_ratio"] for row in points], "o-")
        chart.set_xscale("log", base=2)
        chart.set_xticks(values, [str(value) for value in values], fontsize="small")
        chart.minorticks_off()
        chart.set(xlabel=axis)
        chart.grid(alpha=0.3)
    for chart in charts:
        chart.set_visible(False)
    figure.supylabel("IoU / plain fit")
    return figure
