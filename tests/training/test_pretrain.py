"""Pre-training: the ordinary Trainer, on a tiny corpus, in one process and in two."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.fakes import tiny_tokenizer
from tests.test_fault_writing import full_disk
from training import pretrain as module
from training.data.corpus import SPLITS, build_corpus, column_tensor, save_corpus, split_rows
from training.pretrain import PretrainConfig, code_loss, new_model, pretrain
from training.resume.lock import folder_lock
from weightgpt.errors import InputError
from weightgpt.model import WeightGPT

ROOT = Path(__file__).parents[2]
NANO = PretrainConfig(model_size="nano", epochs=6, batch_size=8, num_evaluations=3, learning_rate=5e-3)


def patterned_corpus(shapes: int = 64):
    """A corpus whose codes follow from the class: a GPT can learn that, a model of independent codes cannot."""
    tokenizer = tiny_tokenizer()
    quantizer = tokenizer.quantizer
    labels = ["chair" if i // 2 % 2 else "table" for i in range(shapes)]
    size = (quantizer.num_chunks, quantizer.num_quantizers)
    codes = torch.stack([torch.full(size, 1 + 2 * (i // 2 % 2)) for i in range(shapes)])
    splits = ["train" if i < shapes // 2 else SPLITS[1 + i % 2] for i in range(shapes)]
    unmeasured: list[float | None] = [None] * shapes
    names = [f"shape-{i}" for i in range(shapes)]
    input_ids = tokenizer.vocabulary.ids(codes, labels)
    weights = quantizer.decode(codes).flat
    return tokenizer, build_corpus(names, labels, splits, weights, input_ids, unmeasured, unmeasured)


def train_and_validation(corpus):
    return split_rows(corpus, "train"), split_rows(corpus, "validation")


def test_a_gpt_learns_codes_that_follow_from_the_class(tmp_path):
    tokenizer, corpus = patterned_corpus()
    model = pretrain(*train_and_validation(corpus), tokenizer, tmp_path / "gpt", NANO)
    held_out = column_tensor(split_rows(corpus, "test"), "input_ids").long()
    assert code_loss(model, held_out) < 0.5 * math.log(tokenizer.quantizer.codebook_size)
    best = WeightGPT.from_pretrained(tmp_path / "gpt" / "model")
    assert best.tokenizer.quantizer.fingerprint == tokenizer.quantizer.fingerprint


def test_fault_06_a_full_disk_stops_the_training_in_one_sentence(tmp_path):
    tokenizer, corpus = patterned_corpus()
    config = dataclasses.replace(NANO, epochs=1, num_evaluations=1)
    whole = pretrain(*train_and_validation(corpus), tokenizer, tmp_path / "whole", config)
    (size,) = (path.stat().st_size for path in tmp_path.glob("whole/checkpoint-*/model.safetensors"))
    for limit in (size // 2, size + 1000):  # room for no file, and for the weights without the optimizer
        with full_disk(limit), pytest.raises(InputError, match=r"cannot write .*gpt: .*"):
            pretrain(*train_and_validation(corpus), tokenizer, tmp_path / "gpt", config)
    again = pretrain(*train_and_validation(corpus), tokenizer, tmp_path / "gpt", config)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in again.state_dict().items())


def test_equal_seeds_give_equal_weights_and_others_do_not(tmp_path):
    tokenizer, corpus = patterned_corpus()
    config = dataclasses.replace(NANO, epochs=1, num_evaluations=1)
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        pretrain(*train_and_validation(corpus), tokenizer, tmp_path / name, config, seed=seed)
    first, second, third = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("first", "second", "third")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_the_learning_rate_follows_the_schedule_of_that_name(tmp_path):
    tokenizer, corpus = patterned_corpus()
    rates = {}
    for name in ("linear", "cosine"):
        config = dataclasses.replace(NANO, lr_scheduler_type=name, epochs=16, num_evaluations=16)
        pretrain(*train_and_validation(corpus), tokenizer, tmp_path / name, config)
        log = json.loads((tmp_path / name / "history.json").read_text())["log"]
        rates[name] = torch.tensor([row["learning_rate"] for row in log if "learning_rate" in row])[4:]
    bends = {name: float(rate.diff(n=2).abs().max()) / NANO.learning_rate for name, rate in rates.items()}
    assert bends["linear"] < 1e-4 < 1e-3 < bends["cosine"]


def test_the_loss_is_that_of_the_code_tokens_alone():
    tokenizer, corpus = patterned_corpus(8)
    model = new_model(tokenizer, NANO).eval()
    input_ids = column_tensor(corpus, "input_ids").long()
    labels = input_ids.clone()
    labels[:, :2] = labels[:, -1:] = -100
    assert code_loss(model, input_ids) == pytest.approx(model(input_ids, labels=labels).loss.item(), rel=1e-5)


def test_dropout_is_off_by_default_and_set_everywhere_otherwise():
    """GPT-2's own default is 0.1; in training mode two passes over the same sequence then differ."""
    tokenizer, corpus = patterned_corpus(8)
    input_ids = column_tensor(corpus, "input_ids").long()
    plain, dropping = (
        new_model(tokenizer, dataclasses.replace(NANO, dropout=dropout)).train() for dropout in (0.0, 0.5)
    )
    assert torch.equal(plain(input_ids).logits, plain(input_ids).logits)
    assert not torch.equal(dropping(input_ids).logits, dropping(input_ids).logits)


def test_a_model_has_as_many_positions_as_a_sequence_has_tokens():
    tokenizer, corpus = patterned_corpus(8)
    model = new_model(tokenizer, NANO).eval()
    input_ids = column_tensor(corpus, "input_ids").long()
    assert model(input_ids).logits.shape == (8, tokenizer.vocabulary.length, tokenizer.vocabulary.vocab_size)
    assert model.transformer.wpe.weight.shape[0] == tokenizer.vocabulary.length


def test_generation_starts_and_ends_with_the_tokens_of_the_tokenizer():
    tokenizer = tiny_tokenizer()
    model = new_model(tokenizer, NANO).eval()
    sequence = model.generate(do_sample=False)[0].tolist()
    special = tokenizer.vocabulary.ids(torch.zeros(1, 3, 2, dtype=torch.long), ["chair"])[0].tolist()
    assert (sequence[0], sequence[-1]) == (special[0], special[-1])


def test_bf16_follows_the_machine_unless_it_is_set(monkeypatch):
    for machine in (False, True):
        monkeypatch.setattr(module, "has_bf16", lambda machine=machine: machine)
        assert PretrainConfig().mixed_precision is machine
        assert PretrainConfig(bf16=not machine).mixed_precision is not machine
    assert dataclasses.asdict(PretrainConfig())["bf16"] is None


def test_too_few_sequences_are_refused(tmp_path):
    tokenizer, corpus = patterned_corpus(8)
    with pytest.raises(InputError, match="cannot train a GPT"):
        pretrain(*train_and_validation(corpus), tokenizer, tmp_path, NANO)


def test_an_unknown_model_size_is_refused():
    with pytest.raises(InputError, match="choose one of nano"):
        PretrainConfig(model_size="huge")


def test_the_program_refuses_a_folder_without_a_corpus(tmp_path, monkeypatch, capsys):
    folders = ["--dataset", str(tmp_path / "none"), "--tokenizer", str(tmp_path), "--output", str(tmp_path / "gpt")]
    monkeypatch.setattr("sys.argv", ["pretrain", *folders])
    assert module.main() == 2
    assert "holds no corpus" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    tokenizer, corpus = patterned_corpus()
    save_corpus(corpus, tmp_path / "corpus")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    folders = ["--dataset", str(tmp_path / "corpus"), "--tokenizer", str(tmp_path / "tokenizer")]
    options = ["--output", str(tmp_path / "gpt"), "--model-size", "nano", "--epochs", "2", "--batch-size", "4"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = subprocess.run(
        [*launcher, "-m", "training.pretrain", *folders, *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    checkpoint = max((tmp_path / "gpt").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    # 32 sequences, 2 processes of 4 each: 4 steps an epoch.
    assert state["max_steps"] == 8
    WeightGPT.from_pretrained(tmp_path / "gpt" / "model")


def test_fault_09_two_trainings_in_one_folder(tmp_path, monkeypatch, capsys):
    tokenizer, corpus = patterned_corpus()
    save_corpus(corpus, tmp_path / "corpus")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    options = {"dataset": tmp_path / "corpus", "tokenizer": tmp_path / "tokenizer", "output": tmp_path / "gpt"}
    command = ["pretrain", *(part for name, path in options.items() for part in (f"--{name}", str(path)))]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(module, "pretrain", lambda *_, **__: None)
    (tmp_path / "gpt").mkdir()
    with folder_lock(tmp_path / "gpt"):
        assert module.main() == 2
        assert "is in use by process" in capsys.readouterr().err
        monkeypatch.setenv("RANK", "1")  # another process of the same training
        assert not module.main()
    monkeypatch.delenv("RANK")
    assert not module.main()
    assert not (tmp_path / "gpt").exists()  # nothing was written
