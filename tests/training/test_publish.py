"""Tables in pages: only the text between the markers changes, and every table names its command."""

from pathlib import Path

import pytest

from training import publish
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

PAGE = """# A page
<!-- figures:demo -->
old
<!-- /figures:demo -->
In between.
<!-- figures:comparison -->
stays
<!-- /figures:comparison -->
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def run_program(monkeypatch: pytest.MonkeyPatch, line: str) -> int:
    monkeypatch.setattr("sys.argv", ["publish", *line.split()])
    return publish.main()


def table_rows(page: Path) -> list[list[str]]:
    """The cells of all tables on a page, with the heads."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_only_the_text_between_the_markers_is_replaced(page: Path):
    publish.publish(page, {"demo": "new \\1 text", "absent": "nowhere"})
    assert page.read_text() == PAGE.replace("old", "new \\1 text")
    publish.publish(page, {"demo": "old"})
    assert page.read_text() == PAGE


def test_a_page_without_the_markers_or_with_two_of_them_is_refused(page: Path):
    page.write_text(PAGE + PAGE)
    for name, message in (("demo", "has 2 places called figures:demo"), ("absent", "no place called figures:absent")):
        with pytest.raises(InputError, match=message):
            publish.publish(page, {name: "new"})
    assert page.read_text() == PAGE + PAGE


def test_a_run_is_published_with_its_command_and_its_picture(finished: Path, page: Path, monkeypatch):
    picture = page.parent / "images" / "samples.png"
    line = f"--run {finished} --page {page} --command it --picture {picture}"
    assert run_program(monkeypatch, line) == 0
    metrics, text = read_json(finished / "metrics.json"), page.read_text()
    assert f"Measured with weightgpt {metrics['version']} by:\n\n```sh\nit\n```" in text
    rows = table_rows(page)
    assert len(rows) == 1 + len(publish.DEMO_ROWS) <= 9
    iou, plain_fit = metrics["iou"], metrics["iou_plain_fit"]
    assert ["volume IoU after tokens", f"{iou:.3g}", f"{plain_fit:.3g} without tokens"] in rows
    reference = f"{metrics['reference']['cov']:.3g} for true shapes, higher is better"
    assert ["COV", f"{metrics['samples']['cov']:.3g}", reference] in rows
    assert "stays" in text
    assert picture.read_bytes() == (finished / "samples.png").read_bytes()


def test_all_metrics_of_a_run_fill_their_place(finished: Path, tmp_path: Path, monkeypatch):
    page = tmp_path / "demo.md"
    page.write_text("<!-- figures:demo-metrics -->\n<!-- /figures:demo-metrics -->\n")
    assert run_program(monkeypatch, f"--run {finished} --page {page}") == 0
    rows = dict(table_rows(page))
    assert rows["`iou`"] == f"{read_json(finished / 'metrics.json')['iou']:.4g}"
    assert {"`samples.one_nna`", "`reference.mmd_interval`", "`by_class.chair.iou`", "`seconds.gpt`"} < set(rows)


def test_rows_that_do_not_compare_with_ours_are_left_out(page: Path, monkeypatch):
    row = {"corpus": "balls", "codebook": "a", "count": 512, "set_size": 256, "command": "it", "version": "0.2.0"}
    row |= {"cov": 0.5, "cov_interval": [0.4, 0.6], "one_nna": 0.5, "one_piece": 1.0, "train_flops": 2e12}
    others = [
        {"row": "reference", "command": "that"},
        {"row": "round-trip", "codebook": "b"},
        {"row": "latent-noise", "count": 32},
        {"row": "flow-matching", "corpus": "cubes"},
        {"row": "weight-diffusion", "cov": None},
        {"row": "ours"},
    ]
    comparison = page.parent / "evaluation.json"
    write_json(comparison, {"rows": [row | other for other in others]})
    line = f"--comparison {comparison} --page {page} --corpus"
    assert run_program(monkeypatch, f"{line} balls") == 0
    text = page.read_text()
    assert "Measured with weightgpt 0.2.0 by:\n\n```sh\nthat\nit\n```" in text
    reference, ours = table_rows(page)[1:]
    assert reference[0] == "true shapes (reference)"
    assert ours == ["**weightgpt**", "0.50", "0.50 [0.40, 0.60]", "1.00", "–", "2.0e+12"]
    assert "old" in text
    assert run_program(monkeypatch, f"{line} cones") == 2


def test_the_short_comparison_has_at_most_eight_rows():
    assert len(publish.COMPARISON_ROWS) <= 8


@pytest.mark.parametrize("options", ["", "--run a --comparison b", "--comparison b --picture c.png", "--run absent"])
def test_options_that_do_not_fit_are_one_sentence(page: Path, monkeypatch, capsys, options: str):
    assert run_program(monkeypatch, f"--page {page} {options}") == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: ")
    assert page.read_text() == PAGE
