"""Trials change one thing at a time, keep the first levels of a codebook, and come together on one page."""

import argparse
from pathlib import Path

import pytest
import torch

from studies.experiments import __main__ as experiments
from studies.experiments import page as experiments_page
from studies.sequences import Ids
from tests.fakes import generator, tiny_tokenizer
from weightgpt.errors import InputError
from weightgpt.io import read_json
from weightgpt.metrics.evaluator import SetEvaluator
from weightgpt.metrics.shape_set import mesh_shapes


def test_one_thing_is_changed_at_a_time():
    base = experiments.Trial(steps=500)
    found = experiments.trials(base, ["steps", "levels"], levels=3)
    assert [trial.steps for axis, trial in found if axis == "steps"] == [*experiments.AXES["steps"], 500]
    assert [trial.levels for axis, trial in found if axis == "levels"] == [1, 2, None]
    for axis, trial in found:
        assert [name for name in vars(base) if getattr(trial, name) != getattr(base, name)] in ([], [axis])
    with pytest.raises(InputError, match="no axis 'luck'"):
        experiments.trials(base, ["luck"], levels=3)


def test_fewer_tokens_are_the_first_levels(tmp_path):
    tokenizer = tiny_tokenizer()
    vocabulary = tokenizer.vocabulary
    shape = (5, vocabulary.num_chunks, vocabulary.num_quantizers)
    codes = torch.randint(vocabulary.codebook_size, shape, generator=generator(0))
    ids = vocabulary.ids(codes, ["chair"] * 5)
    lab = experiments.Lab(
        tokenizer, Ids(ids, ids[:2], ids[:1]), SetEvaluator(held_out=mesh_shapes([], seed=0)), 0, tmp_path
    )
    short, cut = lab.shortened(1)
    assert torch.equal(short.vocabulary.parse(cut.train)[0], codes[..., :1])
    assert torch.equal(short.decode(cut.train).flat, tokenizer.decode(ids, num_quantizers=1).flat)
    assert lab.shortened(None)[0] is tokenizer


def test_the_page_has_a_table_for_each_axis_and_the_plot(tmp_path):
    figures = {"mmd": 0.05, "cov": 0.5, "one_nna": 0.6, "frechet": 1.0, "one_piece": 0.9, "count": 4}
    figures |= {"cov_interval": (0.4, 0.6), "one_nna_interval": (0.5, 0.7), "command": "python -m studies.experiments"}
    trained = {"tokens_per_field": 8, "parameters": 1000, "trained_steps": 5, "train_flops": 1e9, "bits_fraction": 0.7}
    rows = [{"axis": "limit", **figures}]
    rows += [{"axis": "shapes", "shapes": n, **figures, **trained} for n in (256, 1024)]
    nothing = {"mmd": None, "cov": None, "one_nna": None, "cov_interval": None, "one_nna_interval": None}
    rows += [{"axis": "shapes", "shapes": 64, **figures, **trained, **nothing}]  # samples without a surface
    experiments_page.write(tmp_path, rows, {"shapes": 1024, "levels": None})
    text = (tmp_path / "experiments.md").read_text()
    assert "## Shapes to learn from" in text
    assert "| 1,024 | 8 | 1,000 |" in text
    assert "| 64 | 8 | 1,000 | 5 | 1.0e+09 | 0.700 | – | – | – |" in text
    assert "levels all" in text
    assert "## Temperature" not in text
    assert (tmp_path / "scaling.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_program_measures_once_and_repeats_itself(tmp_path, monkeypatch):
    tiny_tokenizer().save_pretrained(tmp_path / "model")

    def measured(name: str) -> list[dict]:
        given = {"model": tmp_path / "model", "output": tmp_path / name, "axes": "levels,temperature", "count": 4}
        given |= {"shapes": 64, "preset": "nano", "steps": 4, "temperature": 1.0, "seed": 0}
        experiments.measure(argparse.Namespace(**given), "python -m studies.experiments")
        return read_json(tmp_path / name / "experiments.json")["rows"]

    rows = measured("one")
    assert [row["axis"] for row in rows] == ["limit", *["levels"] * 2, *["temperature"] * 3]
    assert list((tmp_path / "one").glob("gpt-*/runs/*/events*"))
    assert measured("two") == rows
    monkeypatch.setattr(experiments, "pretrain", None)  # would fail if a GPT were trained again
    assert measured("one") == rows
    assert Path(tmp_path / "one" / "experiments.md").is_file()
