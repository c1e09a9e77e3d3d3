"""A GPT whose loss breaks goes back with a lower rate, or stops in one sentence."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_pretrain import NANO, patterned_corpus, train_and_validation
from training.pretrain import pretrain
from training.resume.divergence import DivergenceError, DivergenceWatch
from weightgpt.errors import InputError


def train(folder, rate, **options):
    tokenizer, corpus = patterned_corpus()
    config = dataclasses.replace(NANO, learning_rate=rate, **options)
    return pretrain(*train_and_validation(corpus), tokenizer, folder, config)


@pytest.mark.parametrize("rate", [1e30, 1e6])
def test_fault_49_a_loss_that_breaks_stops_in_one_sentence(tmp_path, capsys, rate):
    with pytest.raises(InputError, match="breaks with learning rates of"):
        train(tmp_path / "gpt", rate, epochs=3)
    assert not (tmp_path / "gpt" / "model").exists()
    assert capsys.readouterr().err.count("going back with a learning rate of") == 2
    for path in (tmp_path / "gpt").glob("checkpoint-*/model.safetensors"):
        assert all(torch.isfinite(value).all() for value in load_file(path).values())


def test_a_loss_that_breaks_recovers_with_a_lower_rate(tmp_path, capsys):
    train(tmp_path / "gpt", 3.0)
    assert "going back with a learning rate of 0.3" in capsys.readouterr().err
    log = json.loads((tmp_path / "gpt" / "history.json").read_text())["log"]
    assert max(row["learning_rate"] for row in log if "learning_rate" in row) < 0.31


def test_a_sound_training_is_left_alone(tmp_path, capsys):
    train(tmp_path / "gpt", NANO.learning_rate)
    assert "going back" not in capsys.readouterr().err


def test_an_untrained_model_with_large_embeddings_is_no_divergence(tmp_path, capsys):
    train(tmp_path / "gpt", NANO.learning_rate, embedding_init_scale=40.0)
    assert "going back" not in capsys.readouterr().err


def is_alarmed(losses: list[float], untrained: float) -> bool:
    """Whether the watch raises at one of these training losses; the loss of uniform tokens is 7.6."""
    watch, rows = DivergenceWatch(7.6, untrained), []
    for step, loss in enumerate(losses, 1):
        rows.append({"loss": loss})
        try:
            watch.on_log(None, SimpleNamespace(log_history=rows, global_step=step), None, rows[-1])
        except DivergenceError:
            return True
    return False


def test_swings_of_the_first_steps_are_no_divergence():
    """Measured with three files: the codes of few shapes are alike, so the untrained model is far off."""
    assert not is_alarmed([18.25, 18.35, 7.8, 13.7, 9.1, 6.2, 5.8], untrained=18.3)


def test_a_leap_is_seen_before_and_after_a_model_has_learned():
    assert is_alarmed([7.9, 5.0, 2.1, 2.0, 6.3], untrained=8.0)
    assert is_alarmed([7.9, 7.2, 16.0], untrained=8.0)
    assert is_alarmed([18.25, 9.0, 3.0, 7.5], untrained=18.3)
    assert is_alarmed([18.25, 37.0], untrained=18.3)
    assert not is_alarmed([7.9, 5.0, 2.1, 2.6, 1.9], untrained=8.0)
