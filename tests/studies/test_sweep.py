"""The sweep: what is planned, what a row says by hand, and that an interrupted sweep goes on."""

import json
import re
from dataclasses import replace

import pytest

from studies import sweep as cli_main
from studies.sweep import PAGE, ROWS, Point, SweepConfig, digest, hidden, measure_config, plan
from weightgpt.fields.field import FieldConfig
from weightgpt.formatting import format_number
from weightgpt.quantizers.chunking import ChunkLayout

TINY = SweepConfig(corpus="chairs", train=70, fitted=4, held=4, steps=4, fit_steps=60, resolution=16)


def test_every_axis_holds_the_default_and_all_else_differs():
    points = list(plan())
    names = [digest(TINY, replace(point, shapes=None if point.shapes == 2048 else point.shapes)) for point in points]
    default = digest(TINY, Point(axis="", value=0))
    axes = {point.axis for point in points}
    assert len(axes) == 6
    assert {point.axis for point, name in zip(points, names, strict=True) if name == default} == axes
    assert len(set(names)) == len(points) - len(axes) + 1 == 25


def test_the_axis_of_tokens_tells_tokens():
    for point in plan():
        codebook = measure_config(TINY, hidden(point), point.changes).tokenizer.codebook
        layout = ChunkLayout(FieldConfig(hidden=hidden(point)), codebook.neurons_per_chunk)
        tokens = layout.num_chunks * codebook.num_quantizers
        assert tokens == (point.value if point.axis == "tokens" else 4 * codebook.num_quantizers)


def test_a_row_is_named_by_all_that_decides_it():
    point = Point(axis="levels", value=8, changes={"num_quantizers": 8})
    assert digest(TINY, point) == digest(TINY, replace(point, axis="tokens", value=32, changes={}))
    others = [replace(point, changes={"num_quantizers": 4}), replace(point, shapes=9), replace(point, width=64)]
    names = {digest(TINY, other) for other in others} | {digest(replace(TINY, steps=5), point), digest(TINY, point)}
    assert len(names) == 5


def test_an_interrupted_sweep_goes_on_with_the_next_row(tmp_path, monkeypatch, capsys):
    few = {"latent_width": 2, "coefficients": 2, "num_quantizers": 2, "latent_decoder_width": 4, "codebook_size": 8}
    points = [Point(axis="shapes", value=n, shapes=n, changes=few) for n in (66, 70)]
    points.append(Point(axis="width", value=8, width=8, changes={**few, "neurons_per_chunk": 8}))
    monkeypatch.setattr(cli_main, "plan", lambda: iter(points))
    true, learned = cli_main.measured, []

    def stop_after_two(ground, config, point):
        if len(learned) == 2:
            raise KeyboardInterrupt
        learned.append(point)
        return true(ground, config, point)

    monkeypatch.setattr(cli_main, "measured", stop_after_two)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in vars(TINY).items()]
    monkeypatch.setattr("sys.argv", ["sweep", f"--output={tmp_path}", f"--pages={tmp_path / 'docs'}", *options])
    assert cli_main.main() == 130
    learned.pop()
    assert cli_main.main() == 0
    assert learned == [points[0], points[2]]
    rows = json.loads((tmp_path / "docs" / ROWS).read_text())["rows"]
    assert [(row["axis"], row["value"], row["tokens"], row["bits"]) for row in rows] == [
        ("shapes", 66, 8, 24.0),
        ("shapes", 70, 8, 24.0),
        ("width", 8, 8, 24.0),
    ]
    assert [row["train_shapes"] for row in rows] == [66, 70, 70]
    assert [row["parameters"] for row in rows[1:]] == [3041, FieldConfig(hidden=(8, 8, 8)).parameters]
    for row in rows:
        assert row["iou_ratio"] == pytest.approx(row["iou"] / row["iou_plain_fit"])
    text = (tmp_path / "docs" / PAGE).read_text()
    assert f"{format_number(sum(row['seconds'] for row in rows))} in all" in text
    assert all(f"| {row['axis']} | {row['value']} |" in re.sub(" +", " ", text) for row in rows)
    assert "| width | 8 |" in re.sub(" +", " ", capsys.readouterr().out)
    for name in ("sweep.png", "sweep-axes.png"):
        assert name in text
        assert (tmp_path / "docs" / name).stat().st_size > 10_000
    assert len(list((tmp_path / "rows").iterdir())) == 3


def test_the_default_that_stands_on_several_axes_counts_once():
    row = {"tokens": 8, "bits": 24.0, "iou": 0.5, "seconds": 20.0, "plain_fit_steps": 600}
    rows = [
        {"axis": "a", "value": 1, **row},
        {"axis": "b", "value": 2, **row},
        {"axis": "b", "value": 3, **row} | {"iou": 0.4},
    ]
    assert ": 40 in all" in cli_main.page(TINY, "command", rows)


def test_a_mistake_is_one_sentence_and_exit_code_two(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sweep", "--corpus", str(tmp_path / "none"), "--output", str(tmp_path)])
    assert cli_main.main() == 2
    assert "is not a folder" in capsys.readouterr().err
