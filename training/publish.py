"""Write measured values into a page.

    python -m training.publish --page docs/results/demo.md --run runs/demo --picture docs/images/samples.png
    python -m training.publish --page README.md --comparison docs/results/evaluation.json

The text between `<!-- figures:NAME -->` and `<!-- /figures:NAME -->` is replaced by a table and the command that
measured its values, so nobody types a value by hand. A run fills the places "demo" (eight rows) and "demo-metrics"
(everything); a comparison fills the place "comparison".
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightgpt._programs import cli_main, parse
from weightgpt.errors import InputError
from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import read_json, read_text, write_text

Row = Mapping[str, Any]
"""A row of metrics; docs/metrics.md lists the keys."""

COMPARISON_ROWS = {
    "reference": "true shapes (reference)",
    "round-trip": "true shapes through our tokens",
    "latent-noise": "true shapes with noise",
    "independent-codes": "codes drawn independently",
    "weight-diffusion": "diffusion on weights",
    "flow-matching": "flow matching on weights",
    "ours": "**weightgpt**",
}
"""The rows of the short comparison, and their titles."""
COMPARISON_COLUMNS = {
    "one_nna": "1-NNA (0.5 is ideal)",
    "cov": "COV (higher is better)",
    "one_piece": "one piece",
    "nearest_train_ratio": "distance to training",
    "train_flops": "training FLOPs",
}
"""The columns of the short comparison, and their titles."""
DEMO_ROWS: tuple[tuple[str, Callable[[Row], Any], Callable[[Row], str]], ...] = (
    ("tokens per field", lambda m: m["tokens_per_field"], lambda m: f"{_text(m['parameters_per_field'])} weights"),
    ("volume IoU after tokens", lambda m: m["iou"], lambda m: f"{_text(m['iou_plain_fit'])} without tokens"),
    (
        "bits per token of the GPT",
        lambda m: m["gpt_bits_per_token"],
        lambda m: f"{_text(m['uniform_bits_per_token'])} for random codes",
    ),
    ("samples in one piece", lambda m: m["samples"]["one_piece"], lambda m: _true_shapes(m, "one_piece")),
    ("1-NNA", lambda m: m["samples"]["one_nna"], lambda m: f"{_true_shapes(m, 'one_nna')}, 0.5 is ideal"),
    ("COV", lambda m: m["samples"]["cov"], lambda m: f"{_true_shapes(m, 'cov')}, higher is better"),
    ("share of memorized samples", lambda m: m["samples"]["memorized_share"], lambda m: "0.05 for new shapes"),
    ("minutes in total", lambda m: round(sum(m["seconds"].values()) / 60, 1), lambda m: f"{m['peak_memory_mb']} MB"),
)
"""The rows of the short table of a run: title, value, and what to compare the value with."""


@dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """Write measured values into a page."""

    page: Path
    """Page with places: a line `<!-- figures:demo -->`, and below it a line `<!-- /figures:demo -->`."""
    run: Path | None = None
    """Folder of a finished run of `training.pipeline`."""
    comparison: Path | None = None
    """The file `evaluation.json` that `training.compare` wrote."""
    corpus: str = "six-families"
    """Name of the corpus whose rows are shown."""
    rows: tuple[str, ...] = tuple(COMPARISON_ROWS)
    """Rows of the comparison that are shown."""
    command: str = "make demo"
    """The command of the run."""
    picture: Path | None = None
    """Copy the contact sheet of the run to this file; None copies nothing."""

    def __post_init__(self) -> None:
        if (self.run is None) == (self.comparison is None):
            raise InputError("publish needs a run or a comparison; give either --run or --comparison.")
        if self.picture is not None and self.run is None:
            raise InputError("--picture copies the samples of a run; give --run too, or leave --picture out.")


def run_table(metrics: Row) -> str:
    """Return the most important metrics of a run as a Markdown table of eight rows.

    Args:
        metrics: the content of `metrics.json`.
    """
    rows = [(title, _text(value(metrics)), compare_with(metrics)) for title, value, compare_with in DEMO_ROWS]
    return markdown_table(("held-out shapes, samples, cost", "value", "compare with"), rows)


def metrics_table(metrics: Row) -> str:
    """Return all metrics of a run as a Markdown table.

    Args:
        metrics: the content of `metrics.json`.
    """
    return markdown_table(("metric", "value"), list(_flat_rows(metrics)))


def comparison_table(rows: Sequence[Row], corpus: str, names: Sequence[str]) -> str:
    """Return a short comparison as a Markdown table.

    Rows of other runs and rows with less than one whole set cannot be compared, so the table leaves them out.

    Args:
        rows: the rows of `evaluation.json`.
        corpus: name of the corpus.
        names: the rows to show, in this order.

    Raises:
        InputError: the comparison has no row "ours" for the corpus.
    """
    shown = comparable_rows(rows, corpus, names)
    lines = [
        [COMPARISON_ROWS.get(row["row"], row["row"]), *(_cell(row, key) for key in COMPARISON_COLUMNS)] for row in shown
    ]
    table = markdown_table(["row", *COMPARISON_COLUMNS.values()], lines)
    return f"{table}\n\n{_source([row['command'] for row in shown], shown[-1].get('version', '0.1.0'))}"


def comparable_rows(rows: Sequence[Row], corpus: str, names: Sequence[str]) -> list[Row]:
    """Select the rows of a corpus that can be compared with the row "ours".

    Args:
        rows: the rows of `evaluation.json`.
        corpus: name of the corpus.
        names: the rows to select, in this order.

    Raises:
        InputError: the comparison has no row "ours" for the corpus.
    """
    by_name = {row["row"]: row for row in rows if row["corpus"] == corpus and row.get("cov") is not None}
    if "ours" not in by_name:
        raise InputError(f'the comparison has no row "ours" for {corpus}; run training.compare on that corpus first.')
    codebook = by_name["ours"].get("codebook")
    selected = [by_name[name] for name in names if name in by_name]
    return [row for row in selected if row.get("codebook") == codebook and row["count"] >= row["set_size"]]


def publish(page: Path, tables: Mapping[str, str]) -> None:
    """Write tables into the places of a page; a place without a table does not change.

    Args:
        page: the page.
        tables: a text for each place.

    Raises:
        InputError: the page does not exist, has none of the places, or has one twice.
    """
    if not page.is_file():
        raise InputError(f"{page} is not a file; give a page with places such as figures:{next(iter(tables))}.")
    text = read_text(page)
    num_places = 0
    for name, table in tables.items():
        pattern = rf"(<!-- figures:{re.escape(name)} -->\n).*?(<!-- /figures:{re.escape(name)} -->)"
        text, count = re.subn(pattern, lambda match, new=table: f"{match[1]}{new}\n{match[2]}", text, flags=re.DOTALL)
        if count > 1:
            raise InputError(f"{page} has {count} places called figures:{name}; leave one.")
        num_places += count
    if not num_places:
        raise InputError(f"{page} has no place called {' or '.join(f'figures:{name}' for name in tables)}; add one.")
    write_text(page, text)


def _text(value: Any) -> str:
    """Return a number with three significant digits."""
    return format_number(value, 3)


def _true_shapes(metrics: Row, key: str) -> str:
    """Return the value of the training shapes."""
    return f"{_text(metrics['reference'][key])} for true shapes"


def _cell(row: Row, key: str) -> str:
    """Return a value of a comparison with its interval, if there is one."""
    value, interval = row.get(key), row.get(f"{key}_interval")
    if value is None:
        return "–"
    if key.endswith("flops"):
        return f"{value:.1e}"
    return f"{value:.2f}" if interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _source(commands: Sequence[str], version: str) -> str:
    """Return the version and the commands that measured a table, as a sentence and a code block."""
    return f"Measured with weightgpt {version} by:\n\n```sh\n{chr(10).join(dict.fromkeys(commands))}\n```"


def _flat_rows(values: Row, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values as keys, joined by dots, and texts."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat_rows(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"`{prefix}{key}`", ", ".join(format_number(item) for item in value)
        else:
            yield f"`{prefix}{key}`", format_number(value)


@cli_main
def main() -> None:
    """Read the options and write the page."""
    config = parse(PublishConfig, "training.publish")
    if config.comparison is not None:
        rows = read_json(config.comparison)["rows"]
        publish(config.page, {"comparison": comparison_table(rows, config.corpus, config.rows)})
        return
    assert config.run is not None
    metrics = read_json(config.run / "metrics.json")
    source = _source([config.command], metrics["version"])
    publish(
        config.page,
        {"demo": f"{run_table(metrics)}\n\n{source}", "demo-metrics": f"{metrics_table(metrics)}\n\n{source}"},
    )
    if config.picture is not None:
        config.picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(config.run / "samples.png", config.picture)


if __name__ == "__main__":
    sys.exit(main())
