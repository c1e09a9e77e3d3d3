"""The measurement of the graph road, from shapes to figures, on very little."""

import json
import sys

import pytest

from studies import graph
from studies.graph import VARIANTS, Settings, measure
from weightgpt.errors import InputError

LITTLE = Settings(
    shapes=70, fields=8, held=2, schedule=2048, judged=512, steps=4, graph_steps=2, fit_steps=2, family="bottle"
)


def test_a_run_goes_on_where_it_stopped_and_refuses_other_settings(tmp_path, monkeypatch, capsys):
    figures = measure(LITTLE, tmp_path)
    assert set(VARIANTS) < set(figures["rows"])
    assert json.loads((tmp_path / "metrics.json").read_text()) == figures
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    (tmp_path / "metrics.json").unlink()
    options = [f"--{name.replace('_', '-')}={value}" for name, value in vars(LITTLE).items()]
    monkeypatch.setattr(sys, "argv", ["graph", f"--output={tmp_path}", *options])
    graph.main()
    assert f"{figures['tokens']} tokens, 2 held-out shapes" in capsys.readouterr().out
    assert "| weights alone |" in (tmp_path / "graph.md").read_text()
    assert json.loads((tmp_path / "metrics.json").read_text()) == figures
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == made
    with pytest.raises(InputError, match="other settings"):
        measure(Settings(), tmp_path)
