"""The benchmarks: turns, medians and comparisons of codes by hand, and all measurements at a tiny size."""

import sys
import time

import pytest
import torch

from benchmarks import encoding_speed
from benchmarks.nearest_codes import time_nearest_codes
from benchmarks.speed_page import render_page
from benchmarks.timing import CodeComparison, compare_codes, time_in_turns
from tests.fakes import generator, tiny_weight_vq
from weightgpt import __version__
from weightgpt.io import read_json
from weightgpt.tokens.tokenizer import WeightTokenizer

TINY = {
    "num-shapes": 64,
    "num-held-out": 20,
    "num-init-fits": 3,
    "fit-steps": 2,
    "refine-steps": 1,
    "short-fit-steps": 1,
    "repeats": 2,
    "num-weight-fields": 2,
    "batch-size": 2,
    "turns": 1,
    "num-points": 2048,
    "num-eval-points": 256,
    "codebook.steps": 4,
    "codebook.latent-decoder-width": 16,
}


def test_methods_take_turns_and_the_first_turn_does_not_count(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def method(name, seconds):
        def run(turn):
            order.append((name, turn))
            now[0] += seconds[turn]

        return run

    seconds = time_in_turns({"a": method("a", [100, 1, 9, 2]), "b": method("b", [0, 5, 5, 6])}, turns=3)
    assert order == [(name, turn) for turn in range(4) for name in "ab"]
    assert seconds == {"a": 2, "b": 5}


def test_ties_and_errors_are_counted_apart():
    """On a line: 0.5 is as far from 0 as from 1, 0.9 is not. Levels after a different code are not compared."""
    code_vectors = torch.tensor([[[0.0], [1.0]], [[0.0], [0.1]]])
    vectors = torch.tensor([[0.5], [0.9], [0.05], [1.0]])
    codes = torch.tensor([[0, 0], [1, 0], [0, 0], [1, 0]])
    other_codes = torch.tensor([[1, 1], [0, 0], [0, 1], [1, 0]])
    assert compare_codes(vectors, code_vectors, codes, other_codes) == CodeComparison(4, different=3, ties=2)
    assert compare_codes(vectors, code_vectors, codes, codes) == CodeComparison(4, different=0, ties=0)


def test_both_methods_use_the_same_code_vectors_and_wrong_codes_are_counted():
    codebook = tiny_weight_vq(groups=1).codebook
    vectors = torch.randn(5, 28, 4, generator=generator(3))
    code_vectors = codebook.code_vectors[0]
    row = time_nearest_codes("vectors", vectors, codebook.quantize, code_vectors, 1)
    assert (row["fields"], row["vectors"], row["different"], row["code_vectors"]) == (5, 140, 0, [2, 8, 4])
    assert row["speedup"] == row["seconds_library"] / row["seconds_ours"]
    wrong = time_nearest_codes("vectors", vectors, lambda v: (codebook.quantize(v) + 1) % 8, code_vectors, 1)
    assert (wrong["different"], wrong["ties"]) == (140, 0)


@pytest.mark.slow
def test_all_speeds_are_measured_and_shown(tmp_path, monkeypatch, capsys):
    output, page = tmp_path / "speed.json", tmp_path / "speed.md"
    options = [f"--{name}={value}" for name, value in {"output": output, "page": page, **TINY}.items()]
    monkeypatch.setattr(sys, "argv", ["speed", *options])
    assert encoding_speed.main() == 0
    result = read_json(output)
    learning = result["learning"]
    assert result["version"] == __version__
    assert result["config"]["codebook"]["auto_decoding"] is True
    assert learning["seconds_ratio"] == learning["seconds_learning"] / learning["seconds_plain_fits"]
    assert learning["seconds_learning"] > learning["seconds_before_first_step"] > 0
    assert [row["batch_size"] for row in result["new_shapes"]] == [1, 1, 1, 16, 2, 2]
    assert [row["vectors"] for row in result["nearest_codes"]] == [256, 512, 762]
    assert all(row["different"] == row["ties"] for row in result["nearest_codes"])
    assert page.read_text() == render_page(result)
    assert page.read_text() in capsys.readouterr().out


def test_a_model_with_a_weight_vq_is_refused(tmp_path, monkeypatch, capsys):
    WeightTokenizer.create(tiny_weight_vq(), ["chair"]).save_pretrained(tmp_path / "tables")
    monkeypatch.setattr(
        sys, "argv", ["speed", "--output", str(tmp_path / "x"), "--tokenizer", str(tmp_path / "tables")]
    )
    assert encoding_speed.main() == 2
    assert "use an RVQ autoencoder" in capsys.readouterr().err
