"""The page of a comparison, `evaluation.md`, and its data, `evaluation.json`, written from the measured rows.

The text before the tables is `introduction.md` in this folder.
"""

from pathlib import Path
from string import Template
from typing import Any

from training.compare.tables import (
    COST,
    EMD,
    QUALITY,
    SQUARED,
    Row,
    metrics_table,
    noise_table,
    significance_table,
)
from weightgpt.io import read_json, write_json, write_text
from weightgpt.metrics.evaluator import EMD_POINTS
from weightgpt.metrics.set_metrics import paired_difference_ci
from weightgpt.metrics.shape_set import THIN_THICKNESS
from weightgpt.metrics.thin_parts import TOLERANCE

PAGE, DATA = "evaluation.md", "evaluation.json"
INTRODUCTION = Path(__file__).with_name("introduction.md")
ORDER = (
    "reference",
    "plain-fit",
    "round-trip",
    "independent-codes",
    "weight-noise",
    "latent-noise",
    "regression-transformer",
    "weight-diffusion",
    "weight-diffusion-longer",
    "weight-diffusion-plain",
    "flow-matching",
    "flow-matching-plain",
    "nef-gpt",
    "meshgpt",
    "ours-independent",
    "ours",
)
"""The order of the rows; a baseline that is not in this list comes after "nef-gpt"."""
STRONGEST = ("weight-diffusion", "flow-matching")
"""The baselines that the reference row is compared with."""


def write_page(output: Path) -> None:
    """Write the page and its data from all rows in a folder.

    Args:
        output: folder with one folder of rows for each corpus.
    """
    rows = add_paired_differences([read_json(path) for path in sorted(output.glob("*/*.json"))])
    rows.sort(key=lambda row: (row["corpus"], row_order(row["row"])))
    commands = list(dict.fromkeys(row["command"] for row in rows))
    write_json(output / DATA, {"commands": commands, "rows": rows})
    introduction = Template(INTRODUCTION.read_text(encoding="utf-8"))
    versions = ", ".join(sorted({row["version"] for row in rows}))
    places = {"thin": THIN_THICKNESS, "tolerance": TOLERANCE, "versions": versions, "commands": "\n".join(commands)}
    text = [introduction.substitute(places)]
    for corpus in dict.fromkeys(row["corpus"] for row in rows):
        text += corpus_section(corpus, [row for row in rows if row["corpus"] == corpus])
    write_text(output / PAGE, "\n".join(text))


def row_order(name: str) -> tuple[int, str]:
    """A key that sorts rows by `ORDER`.

    Args:
        name: name of a row.
    """
    return (ORDER.index(name if name in ORDER else "meshgpt"), name)


def add_paired_differences(rows: list[Row]) -> list[Row]:
    """Replace the per-shape values of the rows by the intervals of their paired differences to ours.

    A row gets `paired_difference_interval`: for each metric, the 95 % interval of how much better ours is. Rows whose
    held-out shapes are not those of ours get none.

    Args:
        rows: measured rows of all corpora.
    """
    ours = {row["corpus"]: row.get("per_shape_values") or {} for row in rows if row["row"] == "ours"}
    results = []
    for row in rows:
        result = {key: value for key, value in row.items() if key != "per_shape_values"}
        if row["row"] != "ours":
            intervals = paired_difference_ci(ours.get(row["corpus"], {}), row.get("per_shape_values") or {})
            result |= {"paired_difference_interval": intervals} if intervals else {}
        results.append(result)
    return results


def corpus_section(corpus: str, rows: list[Row]) -> list[str]:
    """The paragraphs, tables and pictures of one corpus.

    Args:
        corpus: name of the corpus.
        rows: its rows.
    """
    learned = [row for row in rows if row.get("train_flops")]
    return [
        f"## {corpus}",
        "",
        set_sizes(rows),
        "",
        *rows_of_other_runs(rows),
        metrics_table(QUALITY, rows),
        "",
        *ours_against_rows(rows),
        *reference_against_baselines(rows),
        "HyperDiffusion's protocol (squared distances, summed over both directions):",
        "",
        metrics_table(SQUARED, rows),
        "",
        *emd_table(rows),
        "Cost:",
        "",
        metrics_table(COST, learned),
        "",
        *(f"{caption(row)}\n\n![{row['row']}]({corpus}/{row['row']}.png)\n" for row in rows),
        "Amounts of noise, on fewer shapes:",
        "",
        noise_table(rows),
        "",
    ]


def set_sizes(rows: list[Row]) -> str:
    """A sentence with the number of sets and shapes that were compared.

    Args:
        rows: the rows of a corpus.
    """
    num_sets, held_out = (span([row[key] for row in rows]) for key in ("num_sets", "held_out"))
    sets = f"{num_sets} {'set' if num_sets == '1' else 'sets'} of {rows[0]['set_size']} shapes"
    return f"{sets}, {held_out} held-out shapes, {rows[0]['num_points']:,} points on each surface."


def span(numbers: list[int]) -> str:
    """The least and the greatest number, or the number if all are equal.

    Args:
        numbers: one number or more.
    """
    return " to ".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)}))


def rows_of_other_runs(rows: list[Row]) -> list[str]:
    """A paragraph that names the rows with another codebook than the first row, if there are any.

    Args:
        rows: the rows of a corpus.
    """
    names = [row["row"] for row in rows if row.get("codebook") != rows[0].get("codebook")]
    text = "Measured with another run of the same command, which learned another codebook:"
    return [f"{text} {', '.join(names)}.", ""] if names else []


def ours_against_rows(rows: list[Row]) -> list[str]:
    """A table that compares ours with each row that has whole sets; empty where ours is not measured.

    Args:
        rows: the rows of a corpus.
    """
    ours = next((row for row in _measured(rows) if row["row"] == "ours"), None)
    if ours is None:
        return []
    others = [row for row in _measured(rows) if row is not ours and row["count"] >= row["set_size"]]
    text = "Ours against each row. **Bold**: the 95 % intervals do not overlap."
    if any(row.get("paired_difference_interval") for row in others):
        text += " *Italic*: they overlap, but the interval of the paired difference over held-out shapes excludes 0."
    return [text, "", significance_table(ours, others), ""]


def reference_against_baselines(rows: list[Row]) -> list[str]:
    """A table that compares true shapes with the strongest baselines; empty where either is missing.

    Args:
        rows: the rows of a corpus.
    """
    reference = next((row for row in rows if row["row"] == "reference"), None)
    baselines = [row for row in _measured(rows) if row["row"] in STRONGEST]
    if reference is None or not baselines:
        return []
    text = "The reference against the strongest baselines. The reference is what a perfect generator would score:"
    return [text, "", significance_table(reference, baselines, paired=False), ""]


def emd_table(rows: list[Row]) -> list[str]:
    """The metrics under the earth mover's distance; empty where they were not measured.

    Args:
        rows: the rows of a corpus.
    """
    measured = [row for row in rows if row.get("emd_compared")]
    if not measured:
        return []
    most = max(row["emd"] for row in measured)
    text = f"Earth mover's distance, by {EMD_POINTS} points of the first {most} shapes of each set:"
    return [text, "", metrics_table(EMD, measured), ""]


def caption(row: Row) -> str:
    """The text above the picture of a row.

    Args:
        row: a measured row.
    """
    if "loss_curves" in row:
        return (
            f"{row['row']} generates no fields, so it has no metrics. {row['open_share']:.1%} of its {row['count']}"
            " samples have no closed surface. Its loss curves:"
        )
    return row["row"] + (f", sampled at temperature {row['temperature']:g}" if "temperature" in row else "")


def _measured(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows that have set metrics."""
    return [row for row in rows if row.get("cov") is not None]
