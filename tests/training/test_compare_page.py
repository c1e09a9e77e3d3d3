"""The page of a comparison shows what was measured: tables, intervals, order of the rows, pictures."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import box_shape, sphere_shape
from tests.pictures import read_picture
from training.baselines.__main__ import BaselineConfig
from training.baselines.meshgpt import MeshGptConfig
from training.compare import page, pictures, tables
from training.compare.config import CompareConfig
from training.pipeline import read_job
from weightgpt._programs import parse
from weightgpt.io import read_json, write_json
from weightgpt.metrics.evaluator import EMPTY_METRICS
from weightgpt.metrics.set_metrics import LOWER_IS_BETTER
from weightgpt.metrics.shape_set import mesh_shapes

SETTINGS = {
    "corpus": "balls",
    "held_out": 8,
    "set_size": 4,
    "num_sets": 2,
    "num_points": 2048,
    "emd": 3,
    "count": 4,
    "version": "0.2.0",
    "command": "python -m training.compare",
}


def table_rows(text: str) -> list[list[str]]:
    """The cells of all lines of all Markdown tables."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|--")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def metrics_row(name: str, mmd: float, cov: float, one_nna: float, width: float = 0.1, **values) -> dict:
    """A row whose intervals reach `width` to both sides."""
    metrics = {"mmd": mmd, "cov": cov, "one_nna": one_nna}
    intervals = {f"{key}_interval": [metrics[key] - width, metrics[key] + width] for key in LOWER_IS_BETTER}
    return {"row": name, "count": 4, "set_size": 4, **metrics, **intervals, **values}


def test_the_page_shows_the_rows_in_order_with_their_values_and_intervals(tmp_path: Path):
    ours = {"row": "ours", "mmd": 0.05, "mmd_interval": [0.04, 0.06], "train_flops": 2e12, "parameters": 12345}
    ours |= {"emd_compared": 3, "mmd_emd": 0.125, "cov_emd": 1.0, "one_nna_emd": 0.625}
    trial = {"amount": 0.1, "mmd": 0.1, "cov": 0.5, "one_nna": 0.6, "memorized_share": 0.0, "nearest_train_ratio": 1.25}
    write_json(tmp_path / "balls" / "ours.json", SETTINGS | ours)
    reference = {"row": "reference", "noise": 0.1, "noise_sweep": [trial, trial | {"amount": 0.2}]}
    write_json(tmp_path / "balls" / "reference.json", SETTINGS | reference)
    page.write_page(tmp_path)
    data = read_json(tmp_path / page.DATA)
    assert [row["row"] for row in data["rows"]] == ["reference", "ours"]
    assert data["commands"] == ["python -m training.compare"]
    lines = table_rows((tmp_path / page.PAGE).read_text())
    assert ["ours", "4", "5.000 [4.000, 6.000]"] in [line[:3] for line in lines]
    assert ["ours", "12,345", "2.0e+12", "–", "–", "–"] in lines
    assert ["ours", "3", "12.500", "1.000", "0.625"] in lines
    assert ["reference (chosen)", "0.100", "10.000", "0.500", "0.600", "0.000", "1.250"] in lines
    assert ["reference", "0.200", "10.000", "0.500", "0.600", "0.000", "1.250"] in lines


def test_the_size_of_the_sets_is_a_range_where_rows_differ():
    rows = [{"num_sets": sets, "set_size": 4, "held_out": 4 * sets, "num_points": 512} for sets in (300, 16)]
    assert re.findall(r"[\d,]+", page.set_sizes(rows)) == ["16", "300", "4", ",", "64", "1,200", ",", "512"]
    assert page.span([7, 7]) == "7"


def test_rows_of_another_run_are_named():
    rows = [{"row": "reference", "codebook": "a"}, {"row": "flow-matching"}, {"row": "ours", "codebook": "a"}]
    assert page.rows_of_other_runs([rows[0], rows[2]]) == []
    text = page.rows_of_other_runs(rows)[0]
    assert "flow-matching" in text
    assert "ours" not in text


def test_bold_words_say_that_intervals_do_not_overlap():
    rows = [metrics_row("reference", 0.5, 0.6, 0.4), metrics_row("far", 0.9, 0.5, 0.9)]
    too_few = metrics_row("few", 1.0, 0.1, 1.0, count=3)
    assert page.ours_against_rows(rows) == []
    text = "\n".join(page.ours_against_rows([*rows, too_few, metrics_row("ours", 0.5, 0.6, 0.55)]))
    assert table_rows(text)[1:] == [
        ["reference", "equal", "equal", "better"],  # 0.55 is nearer to 0.5 than 0.4 is
        ["far", "**better**", "better", "**better**"],
    ]
    assert "Italic" not in text


def test_the_reference_is_compared_with_the_strongest_baselines_by_its_own_intervals():
    baselines = [
        metrics_row(name, value, value, value, paired_difference_interval={"mmd": (0.01, 0.02)})
        for name, value in (("weight-diffusion", 0.55), ("flow-matching", 0.8), ("ours", 0.6))
    ]
    reference = metrics_row("reference", 0.5, 0.5, 0.5)
    assert page.reference_against_baselines(baselines) == []
    assert page.reference_against_baselines([reference]) == []
    lines = table_rows("\n".join(page.reference_against_baselines([reference, *baselines])))
    assert lines[1:] == [
        ["weight-diffusion", "better", "worse", "better"],  # the paired differences are those of ours
        ["flow-matching", "**better**", "**worse**", "**better**"],
    ]


def test_rows_with_the_same_held_out_shapes_are_compared_shape_by_shape():
    def row(name: str, mmd: list[float], one_nna: list[float]) -> dict:
        values = {"mmd": mmd, "cov": [0.5] * len(mmd), "one_nna": one_nna}
        means = [sum(part) / len(part) for part in values.values()]
        return metrics_row(name, *means, width=0.5, corpus="balls", per_shape_values=values)

    hard = [0.1, 0.9, 0.5, 0.3] * 2  # some held-out shapes are hard for all rows, so that the intervals overlap
    nearer, mixed = [x - 0.05 for x in hard], [0.2, 0.8, 0.6, 0.1] * 2
    others = [row("mixed", mixed, [0.6] * 8), row("far", hard, [0.9] * 8), row("short", hard[:3], [0.1] * 8)]
    rows = page.add_paired_differences([*others, row("ours", nearer, [0.45] * 8)])
    assert rows[1]["paired_difference_interval"]["mmd"] == pytest.approx((0.05, 0.05))
    assert not any("per_shape_values" in row for row in rows)
    assert "paired_difference_interval" not in rows[-1]
    text = "\n".join(page.ours_against_rows(rows))
    assert "Italic" in text
    assert table_rows(text)[1:] == [
        ["mixed", "better", "equal", "*better*"],
        ["far", "*better*", "equal", "*better*"],
        ["short", "better", "equal", "*better*"],  # other held-out shapes, so no interval for MMD
    ]


def test_a_row_without_metrics_shows_its_counts_and_its_loss_curves(tmp_path: Path):
    row = {
        **SETTINGS,
        **EMPTY_METRICS,
        "row": "meshgpt",
        "count": 8,
        "open_share": 0.75,
        "loss_curves": {"a": [[1, 2]]},
    }
    write_json(tmp_path / "balls" / "meshgpt.json", row)
    page.write_page(tmp_path)
    text = (tmp_path / page.PAGE).read_text()
    assert "75.0% of its 8" in text
    assert "![meshgpt](balls/meshgpt.png)" in text
    assert ["meshgpt", "8", *["–"] * (len(tables.QUALITY) - 1)] in table_rows(text)


def test_every_command_of_the_page_can_be_given_today():
    text = page.INTRODUCTION.read_text()
    commands = re.findall(r"^python -m (\S+) (.*)$", text, re.MULTILINE)
    commands += [
        tuple(command.removeprefix("python -m ").split(" ", 1))
        for command in read_json(Path("docs/results/evaluation.json"))["commands"]
    ]
    configs = {
        "training.baselines": BaselineConfig,
        "training.baselines.meshgpt": MeshGptConfig,
        "training.compare": CompareConfig,
    }
    for module, options in commands:
        if module in configs:
            assert parse(configs[module], module, shlex.split(options)).output
        else:
            assert module == "training.pipeline"
            assert read_job(shlex.split(options)).output
    assert {module for module, _ in commands} == {*configs, "training.pipeline"}


def test_the_published_page_is_the_one_that_its_data_gives(tmp_path: Path):
    results = Path("docs/results")
    for row in read_json(results / page.DATA)["rows"]:
        write_json(tmp_path / row["corpus"] / f"{row['row']}.json", row)
        assert (results / row["corpus"] / f"{row['row']}.png").is_file()
    page.write_page(tmp_path)
    assert (tmp_path / page.PAGE).read_text() == (results / page.PAGE).read_text()
    assert read_json(tmp_path / page.DATA) == read_json(results / page.DATA)


def test_a_strip_shows_each_shape_in_a_tile_of_its_own(tmp_path: Path):
    shapes = [sphere_shape(0.3), sphere_shape(0.8), box_shape()]
    pictures.draw_samples(
        tmp_path / "x" / "row.png", mesh_shapes([s.sdf for s in shapes], seed=0, resolution=16, points=32)
    )
    image = read_picture(tmp_path / "x" / "row.png").astype(int)
    assert image.shape[1] >= 3 * pictures.TILE
    tiles = [image[: pictures.TILE, i * pictures.TILE : (i + 1) * pictures.TILE] for i in range(3)]
    covered = [(abs(tile - tile[0, 0]).sum(-1) > 30).mean() for tile in tiles]
    assert 0 < covered[0] < 0.5 * covered[1] < 0.5
    assert abs(tiles[1] - tiles[2]).max() > 30


def test_a_plot_of_losses_has_a_panel_for_each_training_that_shows_its_curve(tmp_path: Path):
    def plot(name: str, curves: dict) -> np.ndarray:
        pictures.plot_losses(tmp_path / name, curves)
        return read_picture(tmp_path / name).astype(int)

    falling, rising = [(1, 5.0), (2, 4.0)], [(1, 4.0), (2, 5.0)]
    one, two = plot("one.png", {"a": falling}), plot("two.png", {"a": falling, "b": rising})
    assert two.shape[1] == 2 * one.shape[1]
    blue = np.abs(two - np.array([31, 119, 180])).sum(-1) < 30  # the first color of matplotlib
    for half, direction in ((blue[:, : blue.shape[1] // 2], 1), (blue[:, blue.shape[1] // 2 :], -1)):
        y, x = np.nonzero(half)
        assert np.corrcoef(x, y)[0, 1] * direction > 0.9  # y grows downwards in a picture
