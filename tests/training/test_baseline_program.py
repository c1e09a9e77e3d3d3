"""`python -m training.baselines` reads the fields of a run, trains once, and refuses other settings."""

import dataclasses
from pathlib import Path

import pytest
import torch

from tests.fakes import generator, tiny_config, tiny_tokenizer
from tests.training.test_baseline_models import CONFIG, SETS
from tokenization.presets import TokenizerConfig
from training.baselines import __main__ as program
from training.baselines.field_sets import load_field_sets
from training.data.corpus import build_corpus, save_corpus
from training.presets import PipelineConfig
from training.run import Run
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.storage import load_fields
from weightgpt.io import read_json, write_tensors


def write_config(run: Path, field: FieldConfig) -> None:
    """The configuration of a run whose fits take 20 steps."""
    tokenizer = TokenizerConfig(field=field, fit=FitConfig(steps=20, points_per_step=16))
    Run(PipelineConfig(tokenizer=tokenizer), run).write_config()


def write_run(run: Path) -> None:
    """A run with a corpus of 60 training and 4 validation fields of two classes."""
    splits, ids, none = ["train"] * 60 + ["validation"] * 4, torch.zeros(64, 5), [None] * 64
    names = [f"s{i}" for i in range(64)]
    save_corpus(build_corpus(names, list(SETS.labels), splits, SETS.train, ids, none, none), run / "corpus")
    write_config(run, CONFIG)
    write_tensors(run / "fits" / "shared_init.safetensors", {"flat": SETS.shared_init})


def test_the_fields_of_a_run_are_those_of_its_corpus(tmp_path: Path):
    write_run(tmp_path)
    sets = load_field_sets(tmp_path)
    assert torch.equal(sets.train, SETS.train[:60])
    assert torch.equal(sets.validation, SETS.train[60:])
    assert sets.labels == SETS.labels[:60]


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no corpus; give the folder of a run"):
        load_field_sets(tmp_path)


def test_the_program_trains_once_and_refuses_other_settings(tmp_path: Path, capsys: pytest.CaptureFixture):
    run, output = tmp_path / "run", tmp_path / "flow"
    write_run(run)
    config = program.BaselineConfig(
        run=run, baseline="flow-matching", output=output, budget_flops=2e11, num_samples=6, seed=0
    )
    program.train_baseline(config)
    fields, metadata = load_fields(output / "fields.safetensors")
    assert len(fields) == 6
    assert set(metadata.labels) == {"a", "b"}
    cost = read_json(output / "cost.json")
    assert 1e11 < cost["train_flops"] <= 2e11
    assert (cost["baseline"], cost["num_plain_fits"], cost["num_samples"]) == ("flow-matching", 0, 6)
    before = (output / "fields.safetensors").stat().st_mtime_ns
    program.train_baseline(config)
    assert "already trained" in capsys.readouterr().err
    assert (output / "fields.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="seed differ"):
        program.train_baseline(dataclasses.replace(config, seed=1))


def test_an_unknown_baseline_ends_the_program_with_exit_code_2(tmp_path: Path, monkeypatch, capsys):
    line = f"baselines --run {tmp_path} --baseline gan --output {tmp_path / 'gan'}"
    monkeypatch.setattr("sys.argv", line.split())
    assert program.main() == 2
    assert "there is no baseline 'gan'" in capsys.readouterr().err


def test_a_baseline_learns_the_extra_shapes_as_their_tokens_decode(tmp_path: Path):
    tokenizer, labels = tiny_tokenizer(), ["chair", "table", "chair"]
    run, none = tmp_path / "run", [None] * 3
    codes = torch.randint(8, (3, 3, 2), generator=generator(0))
    ids, fields = tokenizer.vocabulary.ids(codes, labels), tokenizer.quantizer.decode(codes).flat
    tokenizer.quantizer.save_pretrained(run / "codebook")
    names, splits = ["a", "b", "c"], ["train", "train", "validation"]
    save_corpus(build_corpus(names, labels, splits, fields, ids, none, none), run / "corpus")
    write_config(run, tiny_config())
    write_tensors(run / "fits" / "shared_init.safetensors", {"flat": fields[0]})
    assert torch.equal(load_field_sets(run).train, fields[:2])
    write_tensors(run / "extra_shapes.safetensors", {"input_ids": ids.flip(0).int(), "probe_sdf": torch.zeros(3, 8)})
    sets = load_field_sets(run)
    torch.testing.assert_close(sets.train, torch.cat([fields[:2], fields.flip(0)]))
    assert sets.labels == ("chair", "table", "chair", "table", "chair")


def test_plain_fits_are_those_of_the_first_training_shapes(tmp_path: Path):
    write_run(tmp_path)
    points = torch.rand(64, CONFIG.in_features) * 2 - 1
    sdf = points.norm(dim=1).expand(60, 64).half() - 0.5
    write_tensors(tmp_path / "sdf_samples.safetensors", {"points": points, "train": sdf, "validation": sdf[:4].float()})
    sets = load_field_sets(tmp_path, 8)
    assert (len(sets.train), len(sets.validation)) == (8, 4)
    assert sets.labels == SETS.labels[:8]
    assert not torch.equal(sets.train, SETS.train[:8])
    assert torch.equal(load_field_sets(tmp_path, 8).train, sets.train)
