"""Write measured figures into a page: `python -m training.publish --run runs/demo --page README.md`.

The table between `<!-- figures:NAME -->` and `<!-- /figures:NAME -->` is replaced by the run's measured figures and the
command that made them, so no figure in a page is typed by hand. With `--picture` the contact sheet is copied as well.
With `--compared docs/results/evaluation.json` in place of a run it is a run's samples beside what they must beat.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from training.compare import page as compare_page
from weightgpt._programs import cli_main
from weightgpt.errors import InputError
from weightgpt.formatting import markdown_table
from weightgpt.io import read_json, write_text


def _sets(values: dict[str, float] | None) -> str:
    return f"{100 * values['mmd']:.2f}, {values['cov']:.2f}, {values['1-nna']:.2f}" if values else "–"


ROWS = (
    ("shapes to learn from / held out for test", lambda f: f"{f['shapes']['train']} / {f['shapes']['test']}"),
    ("tokens per field (weights per field)", lambda f: f"{f['tokens_per_field']} ({f['parameters_per_field']})"),
    ("IoU of the plain fit, held out", lambda f: f"{f['fit_iou_heldout']:.3f}"),
    ("… gained in the last quarter of its steps", lambda f: f"{f['fit_iou_heldout_gain_last_quarter']:.4f}"),
    ("IoU after the round trip through tokens, held out", lambda f: f"{f['roundtrip_iou_heldout']:.3f}"),
    ("round trip ÷ plain fit", lambda f: f"{f['roundtrip_over_fit']:.3f}"),
    (
        "GPT, bits a token on held-out shapes (uniform)",
        lambda f: f"{f['gpt_val_bits_per_token']:.2f} ({f['uniform_bits_per_token']:.0f})",
    ),
    ("GPT parameters", lambda f: f"{f['gpt_parameters']:,}"),
    ("samples that decode, at temperature", lambda f: f"{f['decode_rate']:.3f} of {f['samples']}, {f['temperature']}"),
    ("empty samples", lambda f: f"{f['empty_rate']:.3f}"),
    (
        "samples in one piece (training shapes)",
        lambda f: f"{f['one_piece_rate']:.3f} ({f['one_piece_rate_train']:.3f})",
    ),
    (
        "distance to the nearest training shape, samples ÷ held-out shapes",
        lambda f: "–" if f["nearest_train_chamfer_ratio"] is None else f"{f['nearest_train_chamfer_ratio']:.2f}",
    ),
    ("MMD ×100, COV, 1-NNA of samples against held-out shapes", lambda f: _sets(f["set_metrics"])),
    ("… of as many training shapes (what can be hoped for)", lambda f: _sets(f["set_metrics_of_training_shapes"])),
    ("samples equal to a training sequence", lambda f: str(f["samples_equal_to_training"])),
    ("minutes in all, on the machine of the run", lambda f: f"{sum(f['seconds'].values()) / 60:.1f}"),
    ("peak memory, MB", lambda f: str(f["peak_memory_mb"])),
)


COMPARED = (
    *(("MMD ×100", "mmd"), ("COV", "cov"), ("1-NNA", "one_nna"), ("one piece", "one_piece")),
    *(("nearest", "nearest_train_ratio"), ("training FLOPs", "train_flops"), ("FLOPs a sample", "sample_flops")),
)


def table(figures: dict[str, Any], command: str) -> str:
    """The figures as a Markdown table, below the command that made them."""
    rows = [(name, show(figures)) for name, show in ROWS]
    return f"`{command}` measured:\n\n{markdown_table(('figure', 'value'), rows)}"


def beside(rows: list[dict[str, Any]], corpus: str) -> str:
    """The rows of a comparison that are of the same run as ours and of as many shapes in a set, as a Markdown table.

    Raises:
        InputError: there is no row of ours for that corpus.
    """
    here = [row for row in rows if row["corpus"] == corpus and row.get("cov") is not None]
    ours = next((row for row in here if row["row"] == "ours"), None)
    if ours is None:
        raise InputError(f"the comparison has no row of ours for {corpus}; compare a run of it first.")
    shown = [row for row in here if row.get("codebook") == ours.get("codebook") and row["count"] >= row["size"]]
    commands = " and ".join(f"`{told}`" for told in dict.fromkeys(row["command"] for row in shown))
    return f"{commands} measured:\n\n{compare_page.table(list(COMPARED), shown)}"


def publish(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers called `name`.

    Raises:
        InputError: the page has no such markers.
    """
    before = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- figures:{re.escape(name)} -->\n).*?(<!-- /figures:{re.escape(name)} -->)"
    after, count = re.subn(pattern, lambda m: f"{m[1]}{text}\n{m[2]}", before, flags=re.DOTALL)
    if count != 1:
        raise InputError(f"{page} has {count} places called figures:{name}; it needs one pair of markers.")
    write_text(page, after)


@cli_main
def main() -> None:
    """Parse arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="a finished run of training.pipeline")
    source.add_argument("--compared", type=Path, help="evaluation.json, as training.compare writes it")
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--corpus", default="six-families", help="of the comparison")
    parser.add_argument("--name", default="demo", help="name of the markers")
    parser.add_argument("--command", default="make demo", help="the command that made the run")
    parser.add_argument("--picture", type=Path, help="where to copy samples.png")
    given = parser.parse_args()
    if given.compared:
        publish(given.page, given.name, beside(read_json(given.compared)["rows"], given.corpus))
        return
    publish(given.page, given.name, table(read_json(given.run / "metrics.json"), given.command))
    if given.picture:
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(given.run / "samples.png", given.picture)


if __name__ == "__main__":
    sys.exit(main())
