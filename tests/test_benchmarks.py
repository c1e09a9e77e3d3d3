"""The benchmarks: turns, medians and the comparison of codes by hand, and all of the speeds on very little."""

import sys
import time
from dataclasses import replace

import pytest
import torch

from benchmarks import encoding_speed
from benchmarks.encoding_speed import Settings
from benchmarks.nearest_codes import race
from benchmarks.timing import Agreement, agreement, interleaved
from tests.fakes import generator, tiny_weight_vq
from weightgpt.io import read_json
from weightgpt.tokens.tokenizer import WeightTokenizer

LITTLE = Settings(
    corpus=64,
    held=20,
    started=3,
    steps=4,
    fit_steps=2,
    refine=1,
    short_steps=1,
    copies=2,
    weighed=2,
    batch=2,
    turns=1,
    schedule=2048,
    judged=256,
)


def test_ways_take_turns_and_the_first_does_not_count(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def way(name, seconds):
        def run(turn):
            order.append((name, turn))
            now[0] += seconds[turn]

        return run

    found = interleaved({"a": way("a", [100, 1, 9, 2]), "b": way("b", [0, 5, 5, 6])}, turns=3)
    assert order == [(name, turn) for turn in range(4) for name in "ab"]
    assert found == {"a": 2, "b": 5}


def test_ties_are_told_from_mistakes_by_hand():
    """On a line: 0.5 is as far from 0 as from 1, 0.9 is not; what is left after a different code is not judged."""
    tables = torch.tensor([[[0.0], [1.0]], [[0.0], [0.1]]])
    vectors = torch.tensor([[0.5], [0.9], [0.05], [1.0]])
    ours = torch.tensor([[0, 0], [1, 0], [0, 0], [1, 0]])
    theirs = torch.tensor([[1, 1], [0, 0], [0, 1], [1, 0]])
    assert agreement(vectors, tables, ours, theirs) == Agreement(4, different=3, ties=2)
    assert agreement(vectors, tables, ours, ours) == Agreement(4, different=0, ties=0)


def test_a_race_is_run_with_the_same_tables_and_sees_a_wrong_code():
    tables = tiny_weight_vq(groups=1).codebook
    vectors = torch.randn(5, 28, 4, generator=generator(3))
    row = race("vectors", vectors, tables.quantize, tables.code_vectors[0], 1)
    assert (row["fields"], row["vectors"], row["different"], row["tables"]) == (5, 140, 0, [2, 8, 4])
    assert row["faster"] == row["seconds_library"] / row["seconds_ours"]
    wrong = race("vectors", vectors, lambda v: (tables.quantize(v) + 1) % 8, tables.code_vectors[0], 1)
    assert (wrong["different"], wrong["ties"]) == (140, 0)


@pytest.mark.slow
def test_all_speeds_are_measured_and_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(encoding_speed, "Settings", lambda: LITTLE)
    monkeypatch.setattr(encoding_speed, "BOOK", replace(encoding_speed.BOOK, latent_decoder_width=16))
    output, page = tmp_path / "speed.json", tmp_path / "speed.md"
    monkeypatch.setattr(sys, "argv", ["speed", f"--output={output}", f"--page={page}"])
    assert encoding_speed.main() == 0
    found = read_json(output)
    assert found["learning"]["ratio"] == found["learning"]["learning"] / found["learning"]["plain_fits"]
    assert found["learning"]["learning"] > found["learning"]["before_the_first_step"] > 0
    assert [row["at_once"] for row in found["new_shapes"]] == [1, 1, 1, 16, 2, 2]
    assert [row["vectors"] for row in found["nearest_codes"]] == [256, 512, 762]
    assert all(row["different"] == row["ties"] for row in found["nearest_codes"])
    assert page.read_text() in capsys.readouterr().out


def test_a_model_of_tables_is_refused(tmp_path, monkeypatch, capsys):
    WeightTokenizer.create(tiny_weight_vq(), ["chair"]).save_pretrained(tmp_path / "tables")
    monkeypatch.setattr(sys, "argv", ["speed", "--output", str(tmp_path / "x"), "--model", str(tmp_path / "tables")])
    assert encoding_speed.main() == 2
    assert "use an RVQ autoencoder" in capsys.readouterr().err
