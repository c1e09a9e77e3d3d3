"""Pre-training: the ordinary Trainer, from a tiny corpus, alone and on two processes."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.fakes import tiny_tokenizer
from training.data.corpus import SPLITS, build, column, part, save
from training.pretrain import PretrainConfig, code_loss, collate, new_model, pretrain
from weightgpt.errors import InputError
from weightgpt.model import load_bundle

ROOT = Path(__file__).parents[2]
NANO = PretrainConfig(model_size="nano", epochs=6, batch_size=8, num_evaluations=3, learning_rate=5e-3)


def patterned_corpus(shapes: int = 64):
    """A corpus whose codes follow from the class: a GPT can learn it, independent draws cannot."""
    tokenizer = tiny_tokenizer()
    book = tokenizer.quantizer
    labels = ["chair" if i // 2 % 2 else "table" for i in range(shapes)]
    codes = torch.stack(
        [torch.full((book.num_chunks, book.num_quantizers), 1 + 2 * (i // 2 % 2)) for i in range(shapes)]
    )
    splits = ["train" if i < shapes // 2 else SPLITS[1 + i % 2] for i in range(shapes)]
    nothing: list[float | None] = [None] * shapes
    names = [f"shape-{i}" for i in range(shapes)]
    ids = tokenizer.vocabulary.ids(codes, labels)
    return tokenizer, build(names, labels, splits, book.decode(codes).flat, ids, nothing, nothing)


def test_a_gpt_learns_what_the_class_says(tmp_path):
    tokenizer, corpus = patterned_corpus()
    model = pretrain(part(corpus, "train"), part(corpus, "validation"), tokenizer, tmp_path / "gpt", NANO)
    held_out = column(part(corpus, "test"), "ids").long()
    assert code_loss(model, held_out) < 0.5 * math.log(tokenizer.quantizer.codebook_size)
    best = load_bundle(tmp_path / "gpt" / "model")
    assert best.tokenizer.quantizer.fingerprint == tokenizer.quantizer.fingerprint


def test_the_rate_falls_as_asked(tmp_path):
    tokenizer, corpus = patterned_corpus()
    rates = {}
    for name in ("linear", "cosine"):
        config = dataclasses.replace(NANO, lr_scheduler_type=name, epochs=16, num_evaluations=16)
        pretrain(part(corpus, "train"), part(corpus, "validation"), tokenizer, tmp_path / name, config)
        log = json.loads((tmp_path / name / "history.json").read_text())["log"]
        rates[name] = torch.tensor([row["learning_rate"] for row in log if "learning_rate" in row])[4:]
    bends = {name: float(part.diff(n=2).abs().max()) / NANO.learning_rate for name, part in rates.items()}
    assert bends["linear"] < 1e-4 < 1e-3 < bends["cosine"]


def test_the_loss_is_that_of_the_code_tokens_alone():
    tokenizer, corpus = patterned_corpus(8)
    model = new_model(tokenizer, NANO).eval()
    ids = column(corpus, "ids").long()
    labels = ids.clone()
    labels[:, :2] = labels[:, -1:] = -100
    assert code_loss(model, ids) == pytest.approx(float(model(ids, labels=labels).loss), rel=1e-5)


def test_bos_and_class_carry_no_loss():
    batch = collate([{"ids": [1, 4, 9, 8, 2]}])
    assert batch["labels"].tolist() == [[-100, -100, 9, 8, 2]]


def test_what_the_defaults_get_wrong_is_set():
    config = new_model(tiny_tokenizer(), NANO).config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 0)
    assert config.attn_pdrop == config.embd_pdrop == config.resid_pdrop == 0


def test_too_few_sequences_and_an_unknown_preset_are_refused(tmp_path):
    tokenizer, corpus = patterned_corpus(8)
    with pytest.raises(InputError, match="cannot train a GPT"):
        pretrain(part(corpus, "train"), part(corpus, "validation"), tokenizer, tmp_path, NANO)
    with pytest.raises(InputError, match="choose one of nano"):
        PretrainConfig(model_size="huge")


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    tokenizer, corpus = patterned_corpus()
    save(corpus, tmp_path / "corpus")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    cli_main = ["-m", "training.pretrain", "--corpus", str(tmp_path / "corpus"), "--output", str(tmp_path / "gpt")]
    options = ["--tokenizer", str(tmp_path / "tokenizer"), "--model-size", "nano", "--epochs", "2", "--batch-size", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *cli_main, *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    state = max((tmp_path / "gpt").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((state / "trainer_state.json").read_text())
    # 32 sequences, 2 processes of 4 each: 4 steps an epoch.
    assert history["max_steps"] == 8
    load_bundle(tmp_path / "gpt" / "model")
