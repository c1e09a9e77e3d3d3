"""Faults of sequences and samples that need several modules: numbers 51, 53, 54, 55 and 81."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY
from tests.fakes import tiny_gpt, tiny_tokenizer
from tests.reliability.soak import threads_as_serial
from training import pipeline
from training.data.corpus import column_tensor, load_corpus, split_rows
from weightgpt.errors import InputError
from weightgpt.model import WeightGPT
from weightgpt.tokens.vocabulary import BOS, EOS, PAD

TOKENIZER = tiny_tokenizer()
VOCABULARY = TOKENIZER.vocabulary


def model() -> WeightGPT:
    return WeightGPT(tiny_gpt(VOCABULARY), TOKENIZER)


@pytest.mark.parametrize(
    ("position", "token"),
    [
        (-1, VOCABULARY.first_code),
        (4, EOS),
        (3, BOS),
        (3, PAD),
        (5, VOCABULARY.vocab_size),
        (5, -1),
        (0, PAD),
        (1, BOS),
    ],
    ids=["no end", "end too soon", "start within", "pad within", "too large", "negative", "no start", "no class"],
)
def test_fault_51_a_token_where_it_is_not_allowed_is_named(position: int, token: int):
    ids = model().generate(3).ids
    ids[1, position] = token
    with pytest.raises(InputError, match=f"sequence 1 has id {token} at position {position % VOCABULARY.length}"):
        TOKENIZER.batch_decode(ids)


@pytest.mark.parametrize("length", [1, VOCABULARY.length - 1, VOCABULARY.length + 1])
def test_fault_51_a_sequence_of_another_length_is_refused(length: int):
    ids = torch.cat([model().generate(2).ids] * 2, dim=1)[:, :length]
    with pytest.raises(InputError, match=f"every sequence has {VOCABULARY.length} tokens"):
        TOKENIZER.batch_decode(ids)


@pytest.mark.parametrize("options", [{"temperature": 1e-8}, {"temperature": 1e8}, {"top_k": 10**6}, {"top_p": 1e-9}])
def test_fault_53_extreme_settings_give_sequences_that_decode(options: dict[str, float]):
    shapes = model().generate(5, "table", **options)
    assert TOKENIZER.class_names(shapes.ids) == ["table"] * 5
    assert torch.isfinite(shapes.fields.flat).all()


def test_fault_54_a_sample_depends_neither_on_the_batch_nor_on_later_samples():
    many = model().generate(23, seed=9)
    for count, batch_size in ((1, 64), (8, 3), (23, 1), (23, 7)):
        part = model().generate(count, seed=9, batch_size=batch_size)
        assert torch.equal(part.ids, many.ids[:count])
        torch.testing.assert_close(part.fields.flat, many.fields.flat[:count], atol=1e-6, rtol=1e-5)


def test_fault_54_a_field_has_equal_bits_alone_and_among_others():
    many = model().generate(23, seed=9)
    for count in (1, 2, 7):
        assert torch.equal(TOKENIZER.batch_decode(many.ids[:count]).flat, many.fields.flat[:count])


def test_fault_55_samples_equal_to_training_sequences_are_counted(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The model of a finished run writes three training sequences and a sequence of its own."""
    output = shutil.copytree(finished, tmp_path / "run")
    train = column_tensor(split_rows(load_corpus(finished / "corpus"), "train"), "input_ids").long()
    generate = WeightGPT.generate

    def copying(self: WeightGPT, *arguments, **options):
        shapes = generate(self, *arguments, **options)
        shapes.ids[:3] = train[:3]
        return shapes

    monkeypatch.setattr(WeightGPT, "generate", copying)
    assert pipeline.run_pipeline(TINY, output)["samples_equal_to_training"] == 3


def test_fault_81_several_threads_give_what_one_gives():
    assert threads_as_serial(threads=4)["different"] == 0
