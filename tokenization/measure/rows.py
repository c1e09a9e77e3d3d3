"""Rows of `tokenizers.json`: one row for each tokenizer, corpus and setting.

Decisions:
- A row has all settings that its values depend on, and the version of weightgpt that measured it. A new measurement
  with equal settings replaces the old row.
- Rows with equal benchmark settings have the same shapes, samples and plain fits, so they can be compared.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import weightgpt
from tokenization.measure.benchmark import Benchmark
from tokenization.measure.config import CORPORA, PRESETS
from weightgpt._programs import settings_digest
from weightgpt.io import read_json, write_json

ROWS_FILE = "tokenizers.json"
PLAIN_FIT = "plain-fit"
"""The name of the rows of plain fits."""

Row = dict[str, Any]


def make_row(benchmark: Benchmark, tokenizer: str, command: str, values: Row) -> Row:
    """A row of `tokenizers.json`.

    Args:
        benchmark: the shapes and the settings of the measurement.
        tokenizer: the name of a tokenizer, or `PLAIN_FIT`.
        command: the command that measures it.
        values: the metrics.
    """
    settings = benchmark.config.settings(None if tokenizer == PLAIN_FIT else tokenizer)
    return {
        "corpus": benchmark.config.full_corpus_name,
        "tokenizer": tokenizer,
        "version": weightgpt.__version__,
        "command": command,
        "settings": settings,
        "picture": f"{tokenizer}-{settings_digest(settings)}.png",
        "train_shapes": len(benchmark.train),
        "held_out": len(benchmark.held_out),
        "plain_fit_steps": benchmark.corpus.fit.steps,
        "iou_gain_last_quarter": benchmark.iou_gain_last_quarter,
        "parameters_per_field": benchmark.plain_fits.config.parameters,
        **values,
    }


def read_rows(output: Path) -> list[Row]:
    """The rows in a folder; none if it has no `tokenizers.json`.

    Args:
        output: the folder of the measurements.
    """
    return read_json(output / ROWS_FILE)["rows"] if (output / ROWS_FILE).is_file() else []


def add_rows(output: Path, rows: list[Row]) -> None:
    """Add rows to `tokenizers.json`; a row replaces the old row of the same corpus, tokenizer and settings.

    `studies.bits` adds the bits that a GPT needs. They stay as long as the quantizer stays the same.

    Args:
        output: the folder of the measurements.
        rows: the new rows.
    """
    old = read_rows(output)
    gpt = {row.get("fingerprint"): {key: row[key] for key in row if key.startswith("gpt_")} for row in old}
    rows = [{**row, **(gpt.get(row["fingerprint"], {}) if row.get("fingerprint") else {})} for row in rows]
    new_identities = {identity(row) for row in rows}
    write_json(output / ROWS_FILE, {"rows": [*(row for row in old if identity(row) not in new_identities), *rows]})


def identity(row: Row) -> tuple[str, str, str]:
    """Corpus, tokenizer and settings of a row, which no other row has."""
    return row["corpus"], row["tokenizer"], settings_digest(row["settings"])


def comparable_rows(rows: list[Row]) -> list[Row]:
    """The rows with the benchmark settings of the last row."""
    return [row for row in rows if row["settings"]["benchmark"] == rows[-1]["settings"]["benchmark"]]


def unique_titles(rows: Sequence[Row]) -> list[str]:
    """The names of the rows' tokenizers, followed by their tokens where a name occurs twice."""
    names = [row["tokenizer"] for row in rows]
    return [
        name if names.count(name) == 1 else f"{name}-{row['tokens_per_field']}"
        for name, row in zip(names, rows, strict=True)
    ]


def preset_name(row: Row) -> str:
    """The preset for the corpus of a row."""
    return "built-in" if row["settings"]["benchmark"]["corpus"] in CORPORA else "mesh-files"


def settings_changes(row: Row) -> str:
    """The settings of a row that differ from today's preset for its corpus, as `name=value` with commas between them.

    Args:
        row: a row of `tokenizers.json`.
    """
    tokenizer = None if row["tokenizer"] == PLAIN_FIT else row["tokenizer"]
    preset = dict(_flatten(PRESETS[preset_name(row)].settings(tokenizer)))
    shown_elsewhere = ("corpus", "classes", "num_train", "num_held_out")
    changes = [
        f"{name}={value}"
        for name, value in _flatten(row["settings"])
        if name not in shown_elsewhere and (name not in preset or preset[name] != value)
    ]
    return ", ".join(changes)


def _flatten(settings: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of nested settings, without the two outer names; lists as text."""
    for part in settings.values():
        for name, value in part.items():
            if isinstance(value, dict):
                yield from ((f"{name}.{inner}", str(item)) for inner, item in value.items())
            else:
                yield name, str(value)
