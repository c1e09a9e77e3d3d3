"""The bits of a field: entropies by hand, budgets, and GPTs of codes that can and that cannot be predicted."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from studies.bits import __main__ as bits
from studies.bits.__main__ import BitsConfig, independent_bits, measure_bits, pretrain_config
from studies.sequences import Sequences, TokenizedCorpus
from tests.fakes import tiny_tokenizer
from tests.studies.sequence_fakes import random_sequences, to_ids
from training.compare.flops import step_flops
from training.pretrain import PretrainConfig, new_model
from weightgpt.errors import InputError

NANO = BitsConfig(model_size="nano", max_train_flops=5e10, max_epochs=24)


def source(sequences: Sequences) -> TokenizedCorpus:
    return TokenizedCorpus("balls", "tiny", tiny_tokenizer(), sequences, {})


def nano_step_flops(batch_size: int, length: int) -> float:
    return step_flops(new_model(tiny_tokenizer(), PretrainConfig(model_size="nano")), batch_size, length)


def test_bits_of_independent_codes_by_hand():
    """The first position is 0 three times of four; the second is always 1."""
    train = torch.tensor([[0, 1], [0, 1], [0, 1], [1, 1]])
    held_out = torch.tensor([[0, 1], [1, 1]])
    expected = (-math.log2(3 / 4) - math.log2(1 / 4) + 0 + 0) / 4
    assert independent_bits(Sequences(train, train, held_out), 2) == pytest.approx(expected, abs=1e-3)


def test_the_validation_codes_choose_the_smoothing():
    """One training code says nothing about shapes with other codes, so nearly uniform frequencies are best."""
    train, others = torch.tensor([[0, 0]]), torch.tensor([[1, 2], [3, 1], [2, 3]])
    most = max(bits.SMOOTHING)
    expected = -math.log2(most / (1 + 4 * most))
    assert independent_bits(Sequences(train, others, others), 4) == pytest.approx(expected)
    assert independent_bits(Sequences(train, train, others), 4) > 5


def test_the_budget_pays_for_a_number_of_steps():
    sequences = random_sequences((96, 48, 10))
    flops = 9 * nano_step_flops(32, 9)  # 3 epochs of 3 steps
    config = BitsConfig(model_size="nano", max_train_flops=flops)
    assert pretrain_config(config, tiny_tokenizer(), sequences).epochs == pytest.approx(3)
    few_epochs = replace(config, max_epochs=2)
    assert pretrain_config(few_epochs, tiny_tokenizer(), sequences).epochs == 2


def test_no_more_sequences_are_validated_than_trained_on():
    sequences = random_sequences((96, 48, 10))
    config = pretrain_config(replace(NANO, max_epochs=3), tiny_tokenizer(), sequences)
    assert config.num_evaluations * len(sequences.validation) == config.epochs * len(sequences.train)


def test_a_step_has_about_as_many_tokens_whatever_the_length(monkeypatch):
    monkeypatch.setattr(bits, "step_flops", lambda model, batch_size, length: 1e9)
    parts = [torch.zeros(64, length) for length in (35, 764, 3044)]
    configs = [pretrain_config(NANO, tiny_tokenizer(), Sequences(part, part, part)) for part in parts]
    assert [config.batch_size for config in configs] == [32, 2, 1]


def test_constant_codes_need_no_bits(tmp_path: Path):
    sequences = Sequences(*(to_ids(torch.full((count, 3, 2), 5)) for count in (256, 16, 64)))
    row = measure_bits(source(sequences), sequences, replace(NANO, output=tmp_path))
    assert row["gpt_bits_fraction"] < 0.03
    assert row["independent_bits_fraction"] < 0.01
    assert (row["train_shapes"], row["held_out"], row["tokens_per_field"]) == (256, 64, 6)
    assert row["bits_per_field"] == 18
    assert row["gpt_bits_per_field"] == pytest.approx(18 * row["gpt_bits_fraction"])
    assert row["gpt_bits_per_field"] == pytest.approx(6 * row["gpt_bits_per_token"])
    assert row["tokens_seen"] == row["steps"] * 32 * 9
    assert row["epochs"] == row["steps"] * 32 / 256
    assert row["train_flops"] == row["steps"] * nano_step_flops(32, 9)


def test_random_codes_need_all_bits(tmp_path: Path):
    sequences = random_sequences((2048, 64, 256))  # embeddings of similar codes begin alike, which a GPT must unlearn
    config = replace(NANO, max_epochs=3, max_train_flops=2e11, output=tmp_path)
    row = measure_bits(source(sequences), sequences, config)
    assert row["gpt_bits_fraction"] == pytest.approx(1, abs=0.04)
    assert row["independent_bits_fraction"] == pytest.approx(1, abs=0.02)


def test_a_gpt_uses_dependencies_that_frequencies_do_not_show(tmp_path: Path):
    """Each code is uniform, but all six of a field are equal: the GPT needs the bits of one code of six."""
    counts = (512, 16, 64)
    sequences = Sequences(*(to_ids((torch.arange(n) % 8)[:, None, None].expand(n, 3, 2)) for n in counts))
    row = measure_bits(source(sequences), sequences, replace(NANO, max_train_flops=2e11, output=tmp_path))
    assert row["gpt_bits_fraction"] == pytest.approx(1 / 6, abs=0.05)
    assert row["independent_bits_fraction"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_size": "huge"}, "choose one of nano"),
        ({"max_train_flops": 0.0}, "give a number above 0"),
        ({"sizes": (8, 0)}, "sizes are 8, 0; give numbers of 1 or more"),
    ],
)
def test_an_impossible_setting_is_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        BitsConfig(**changes)
