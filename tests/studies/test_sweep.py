"""The sweep: its points, the settings that name a row, its page, and how an interrupted sweep resumes."""

import json
from dataclasses import replace

import pytest

from studies.sweep import __main__ as program
from studies.sweep import page
from studies.sweep.__main__ import SweepConfig, SweepPoint, measure_config, row_settings, sweep_points
from weightgpt import __version__
from weightgpt._programs import settings_digest
from weightgpt.fields.field import FieldConfig
from weightgpt.quantizers.chunking import ChunkLayout

TINY = SweepConfig(
    corpus="chairs",
    num_train=70,
    num_init_fits=4,
    num_held_out=4,
    codebook_steps=4,
    fit_steps=60,
    resolution=16,
)
DEFAULT = SweepPoint(axis="", value=0)


def digest(point: SweepPoint, config: SweepConfig | None = None) -> str:
    return settings_digest(row_settings(config or SweepConfig(), point))


def row(axis: str, value: int, **changes: float) -> dict:
    """A row of `sweep.json`."""
    figures = {"version": "0.2.0", "tokens_per_field": 8, "bits_per_field": 24.0, "iou": 0.5, "iou_ratio": 0.6}
    figures |= {"chamfer_ratio": 1.25, "seconds": 20.0, "plain_fit_steps": 600}
    return {"axis": axis, "value": value, **figures, **changes}


def test_the_default_lies_on_every_axis_and_all_other_points_differ():
    points = list(sweep_points())
    axes = {point.axis for point in points}
    assert {point.axis for point in points if digest(point) == digest(DEFAULT)} == axes
    assert len({digest(point) for point in points}) == len(points) - len(axes) + 1


def test_the_settings_of_a_point_lead_to_the_tokens_of_its_value():
    for point in sweep_points():
        codebook = measure_config(TINY, point).tokenizer.codebook
        layout = ChunkLayout(point.field_config, codebook.neurons_per_chunk)
        tokens = layout.num_chunks * codebook.num_quantizers
        assert tokens == (point.value if point.axis == "tokens" else 4 * codebook.num_quantizers)


def test_rows_of_different_settings_have_different_names():
    point = SweepPoint(axis="quantizer levels", value=8, changes={"num_quantizers": 8})
    assert digest(point, TINY) == digest(replace(point, axis="tokens", value=32, changes={}), TINY)
    others = [
        replace(point, changes={"num_quantizers": 4}),
        replace(point, num_shapes=9),
        replace(point, field_width=64),
    ]
    names = [digest(point, TINY), digest(point, replace(TINY, codebook_steps=5)), *(digest(p, TINY) for p in others)]
    assert len(set(names)) == 5


def test_the_default_that_lies_on_several_axes_counts_once_in_the_total_time():
    rows = [row("a", 1), row("b", 2), row("b", 3, iou=0.4)]
    assert page.total_seconds(rows) == 40


def test_the_charts_show_every_row():
    rows = [row("levels", 4, bits_per_field=12, iou=0.4), row("levels", 2, iou_ratio=0.5), row("width", 64)]
    (chart,) = page.plot_iou_against_bits(rows).axes
    points = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in chart.lines}
    assert points == {"levels": [(24, 0.5), (12, 0.4)], "width": [(24, 0.5)]}
    charts = [chart for chart in page.plot_axes(rows).axes if chart.get_visible()]
    points = {chart.get_xlabel(): list(zip(*chart.lines[0].get_data(), strict=True)) for chart in charts}
    assert points == {"levels": [(2, 0.5), (4, 0.6)], "width": [(64, 0.6)]}


@pytest.mark.slow
def test_an_interrupted_sweep_resumes_with_the_next_row(tmp_path, monkeypatch, capsys):
    few = {"latent_width": 2, "coefficients": 2, "num_quantizers": 2, "latent_decoder_width": 4, "codebook_size": 8}
    points = [SweepPoint(axis="shapes", value=n, num_shapes=n, changes=few) for n in (66, 70)]
    points.append(SweepPoint(axis="width", value=8, field_width=8, changes={**few, "neurons_per_chunk": 8}))
    monkeypatch.setattr(program, "sweep_points", lambda: iter(points))
    measure_point, measured = program.measure_point, []

    def stop_after_two(inputs, config, point):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(point)
        return measure_point(inputs, config, point)

    monkeypatch.setattr(program, "measure_point", stop_after_two)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.settings.items()]
    monkeypatch.setattr("sys.argv", ["sweep", f"--output={tmp_path}", *options])
    assert program.main() == 130
    measured.pop()
    assert program.main() == 0
    assert measured == [points[0], points[2]]
    rows = json.loads((tmp_path / page.ROWS_FILE).read_text())["rows"]
    assert [(row["axis"], row["value"], row["train_shapes"]) for row in rows] == [
        ("shapes", 66, 66),
        ("shapes", 70, 70),
        ("width", 8, 70),
    ]
    small = FieldConfig(hidden=(8, 8, 8)).parameters
    assert [row["parameters_per_field"] for row in rows] == [3041, 3041, small]
    for row in rows:
        assert (row["tokens_per_field"], row["bits_per_field"], row["version"]) == (8, 24.0, __version__)
        assert row["iou_ratio"] == pytest.approx(row["iou"] / row["iou_plain_fit"])
    assert len(list((tmp_path / "rows").iterdir())) == 3
    text = (tmp_path / page.PAGE_FILE).read_text()
    assert page.markdown_table(page.HEADERS, page.table_rows(rows)) in text
    assert "66" in capsys.readouterr().out
    for name in (page.BITS_PLOT, page.AXES_PLOT):
        assert f"({name})" in text
        assert (tmp_path / name).is_file()


def test_a_folder_that_does_not_exist_is_one_sentence_and_exit_code_two(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sweep", "--corpus", str(tmp_path / "none"), "--output", str(tmp_path)])
    assert program.main() == 2
    assert "is not a folder" in capsys.readouterr().err
