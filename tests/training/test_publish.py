"""Figures in pages: between their markers, of the run that was given, and nothing else on the page moves."""

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
<!-- figures:other -->
stays
<!-- /figures:other -->
"""


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    publish.publish(page, "demo", "new \\1 text")
    assert page.read_text() == PAGE.replace("old", "new \\1 text")
    publish.publish(page, "demo", "old")
    assert page.read_text() == PAGE


def test_a_page_without_its_markers_is_left_alone(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(PAGE + PAGE)
    for name, places in (("demo", 2), ("absent", 0)):
        with pytest.raises(InputError, match=f"has {places} places called figures:{name}"):
            publish.publish(page, name, "new")
    assert page.read_text() == PAGE + PAGE


def test_the_figures_of_a_run_come_to_the_page_with_their_command(finished: Path, tmp_path: Path, monkeypatch):
    page, picture = tmp_path / "page.md", tmp_path / "images" / "samples.png"
    page.write_text(PAGE)
    line = f"publish --run {finished} --page {page} --command it --picture {picture}"
    monkeypatch.setattr("sys.argv", line.split())
    assert publish.main() == 0
    found, text = read_json(finished / "metrics.json"), page.read_text()
    assert "`it` measured:" in text
    assert f"| IoU of the plain fit, held out | {found['fit_iou_heldout']:.3f} |" in text
    assert f"| peak memory, MB | {found['peak_memory_mb']} |" in text
    assert text.count("\n| ") == len(publish.ROWS) + 2
    assert picture.read_bytes() == (finished / "samples.png").read_bytes()
    monkeypatch.setattr("sys.argv", ["publish", "--run", str(tmp_path), "--page", str(page)])
    assert publish.main() == 2


def test_the_rows_of_a_comparison_come_with_the_commands_that_made_them(tmp_path: Path, monkeypatch):
    page, compared = tmp_path / "page.md", tmp_path / "evaluation.json"
    page.write_text(PAGE)
    usual = {"corpus": "balls", "codebook": "a", "count": 512, "size": 256, "command": "it"}
    row = {**usual, "mmd": 0.05, "mmd_interval": [0.04, 0.06], "cov": 0.5, "one_nna": 0.5, "train_flops": 2e12}
    others = [{"row": "older", "codebook": "b"}, {"row": "fewer", "count": 32}, {"row": "elsewhere", "corpus": "cubes"}]
    kept = [{"row": "limit", "command": "that"}, *others, {"row": "none", "cov": None}, {"row": "ours"}]
    write_json(compared, {"rows": [row | other for other in kept]})
    line = f"publish --compared {compared} --page {page} --name other --corpus"
    monkeypatch.setattr("sys.argv", [*line.split(), "balls"])
    assert publish.main() == 0
    text = page.read_text()
    assert "`that` and `it` measured:" in text
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][2:] == ["limit", "ours"]
    assert "| ours | 5.000 [4.000, 6.000] | 0.500 | 0.500 | – | – | 2.0e+12 | – |" in text
    monkeypatch.setattr("sys.argv", [*line.split(), "cones"])
    assert publish.main() == 2
