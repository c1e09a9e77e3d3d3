"""Training of a quantizer whose loss leaps goes back with a lower rate, or stops in one sentence."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import TINY
from tests.fakes import tiny_corpus
from tokenization import train_codebook
from tokenization.autoencoder_training import optimize
from tokenization.train_codebook import CodebookConfig, learn_codebook
from weightgpt.errors import InputError

CONFIG = CodebookConfig(
    neurons_per_chunk=6,
    latent_width=4,
    coefficients=4,
    latent_decoder_width=16,
    num_quantizers=2,
    codebook_size=8,
    num_probes=128,
    steps=200,
    batch_size=8,
    points_per_step=64,
)


def descend(rate, spike=None, steps=100):
    """Gradient descent on x²; from one step on, once, the loss is thrown far away."""
    x = torch.nn.Parameter(torch.tensor([3.0]))
    spikes = [spike]

    def step(number):
        if number in spikes:
            spikes.clear()
            with torch.no_grad():
                x.fill_(1e3)
        return x.square().sum(), torch.zeros(())

    history = optimize(steps, step, [torch.optim.SGD([x], lr=rate)], torch.nn.ParameterList([x]))
    return x.item(), history


def test_a_rate_that_is_too_high_is_lowered(capsys):
    x, history = descend(3.0)
    assert abs(x) < 0.1
    assert [step for step, _ in history] == list(range(2, 101, 2))
    assert "going back to step 2 with 0.3 times the learning rate" in capsys.readouterr().err


def test_a_leap_goes_back_to_the_state_before(capsys):
    x, history = descend(0.02, spike=40)
    assert abs(x) < 1.0
    assert max(loss for _, loss in history) <= 9
    assert [step for step, _ in history] == list(range(2, 101, 2))
    assert "at step 42; going back to step 38" in capsys.readouterr().err


def test_a_loss_that_never_recovers_stops_in_one_sentence():
    with pytest.raises(InputError, match=r"leaps to .* start again with a lower learning_rate"):
        descend(1e12)


def test_a_loss_that_is_not_finite_stops_at_once():
    numbers = []

    def step(number):
        numbers.append(number)
        return torch.full((), torch.nan, requires_grad=True), torch.zeros(())

    with pytest.raises(InputError, match="leaps to nan at step 1"):
        optimize(10_000, step, [], torch.nn.ParameterList())
    assert set(numbers) == {0}


def test_a_sound_training_has_equal_bits_without_the_watch(monkeypatch, capsys):
    first = learn_codebook(tiny_corpus(), CONFIG)
    assert "going back" not in capsys.readouterr().err
    monkeypatch.setattr("tokenization.divergence.StateKeeper.is_sound", lambda *_: True)
    second = learn_codebook(tiny_corpus(), CONFIG)
    assert first.quantizer.fingerprint == second.quantizer.fingerprint
    assert first.history == second.history


def test_a_codebook_with_a_rate_that_is_too_high_recovers(capsys):
    sound = learn_codebook(tiny_corpus(), CONFIG).history[-1][1]
    learned = learn_codebook(tiny_corpus(), replace(CONFIG, learning_rate=0.3))
    assert "going back" in capsys.readouterr().err
    assert learned.history[-1][1] < 3 * sound
    assert torch.isfinite(learned.quantizer.codebook.code_vectors).all()


def test_a_codebook_that_never_recovers_stops_in_one_sentence():
    with pytest.raises(InputError, match="leaps to"):
        learn_codebook(tiny_corpus(), replace(CONFIG, learning_rate=1e9))


def test_the_state_holds_the_quantizer_of_the_library():
    corpus = tiny_corpus()
    layout = train_codebook.ChunkLayout(corpus.fits.config, CONFIG.neurons_per_chunk)
    autoencoder = train_codebook.TrainableBasisAutoencoder(layout, corpus, CONFIG)
    names = set(autoencoder.state_dict())
    assert "rvq.code_vectors" in names
    assert any(name.endswith("initted") for name in names)
    assert TINY.tokenizer.codebook.learning_rate == CodebookConfig().learning_rate
