"""The study of graph encoders, from shapes to figures, at a tiny size."""

import json
import sys

import pytest
import torch

from studies.graph import __main__ as graph
from studies.graph.__main__ import VARIANTS, GraphStudyConfig, run_study, summarize
from tests.fakes import fitted_sphere, tiny_config
from weightgpt import __version__
from weightgpt.fields.field import Fields
from weightgpt.shapes.sampling import Samples, uniform_points

TINY = {
    "family": "bottle",
    "num_shapes": 70,
    "num_fields": 8,
    "num_held_out": 2,
    "num_points": 2048,
    "num_eval_points": 512,
    "codebook_steps": 4,
    "graph_steps": 2,
    "fit_steps": 2,
}


def test_a_field_without_its_shape_has_failed():
    points = uniform_points(512, 3, 0)
    fields = Fields(tiny_config(), fitted_sphere().expand(3, -1))
    sdf = fields(points)[..., 0]
    row = summarize(fields, Samples(points, torch.stack([sdf[0], sdf[0], -sdf[0]])))
    assert (row["iou"], row["iou_lowest"], row["failed"]) == (pytest.approx(2 / 3), 0, 1)


@pytest.mark.slow
def test_the_same_command_resumes_and_other_settings_start_anew(tmp_path, monkeypatch, capsys):
    result = run_study(GraphStudyConfig(output=tmp_path, **TINY), "first")
    assert set(VARIANTS) < set(result["rows"])
    assert result["version"] == __version__
    plain = max(result["rows"]["plain-fit"]["iou"], 1e-9)
    assert all(row["iou_ratio"] == row["iou"] / plain for row in result["rows"].values())
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    (tmp_path / "metrics.json").unlink()
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    monkeypatch.setattr(sys, "argv", ["graph", f"--output={tmp_path}", *options])
    assert graph.main() == 0
    assert f"{result['tokens_per_field']} tokens, 2 held-out shapes" in capsys.readouterr().out
    assert "| weights only " in (tmp_path / "graph.md").read_text()
    again = json.loads((tmp_path / "metrics.json").read_text())
    assert again["command"].startswith("python -m studies.graph --output=")
    assert {**again, "command": "first"} == result
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == files
    run_study(GraphStudyConfig(output=tmp_path, **{**TINY, "graph_steps": 1}), "other")
    assert files.keys() < set(tmp_path.rglob("*.safetensors"))
    assert {path: path.stat().st_mtime_ns for path in files} == files
