"""Codes are drawn by numbers that fill the unit interval evenly."""

import math

import pytest
import torch
from torch.quasirandom import SobolEngine

from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.tokens.generation import class_labels, sample_ids
from weightgpt.tokens.quasirandom import InverseCDFSampler, random_uniforms, sobol_uniforms, stratified_labels

VOCABULARY = tiny_tokenizer().vocabulary
NOTHING = -math.inf


def test_of_64_numbers_of_a_class_one_lies_in_each_64th_at_every_place():
    labels = ["chair", "table"] * 64
    numbers = sobol_uniforms(labels, 7, seed=3)
    for first in (0, 1):
        rows = (numbers[first::2] * 64).long().sort(0).values
        assert torch.equal(rows, torch.arange(64)[:, None].expand(64, 7))
    assert not torch.equal(numbers[::2], numbers[1::2])


def test_numbers_follow_from_the_seed_and_the_place_in_the_class():
    some = sobol_uniforms(["chair", "table", "chair"], 4, seed=5)
    more = sobol_uniforms(["chair", "chair", "chair", "table"], 4, seed=5)
    assert torch.equal(some[[0, 2, 1]], more[[0, 1, 3]])
    assert not torch.equal(sobol_uniforms(["chair"], 4, seed=6), some[:1])
    assert sobol_uniforms([], 4, seed=0).shape == (0, 4)


@pytest.mark.parametrize(("seed", "same"), [(-1, 2**16 - 1), (2**62 + 5, 5)])
def test_of_any_seed_the_lowest_bits_count(seed, same):
    labels = ["chair", "table"]
    assert torch.equal(sobol_uniforms(labels, 4, seed), sobol_uniforms(labels, 4, same))
    assert not torch.equal(sobol_uniforms(labels, 4, seed), sobol_uniforms(labels, 4, 0))


def test_sequences_longer_than_a_sobol_sequence_is_wide_end_in_independent_numbers():
    numbers = sobol_uniforms(["chair"] * 8, SobolEngine.MAXDIM + 100, seed=1)
    each = torch.stack([(row * 8).long().bincount(minlength=8) for row in numbers.T])
    assert (each[: SobolEngine.MAXDIM] == 1).all()
    assert (each[SobolEngine.MAXDIM :] != 1).any(1).sum() > 90
    assert 0 <= numbers.min() < numbers.max() < 1


def test_classes_come_as_often_as_they_occur_in_every_part_of_the_list():
    found = stratified_labels(["b", "a", "a", "c", "a"] * 7, 4000, seed=4)
    for part in (found, found[:100], found[1900:2000]):
        assert [part.count(kind) / len(part) for kind in "abc"] == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    assert found[:9] != stratified_labels(["b", "a", "a", "c", "a"] * 7, 9, seed=5)
    assert stratified_labels(["a"], 2, seed=0) == ["a", "a"]


@pytest.mark.parametrize(("number", "token"), [(0.0, 1), (0.19, 1), (0.21, 2), (0.69, 2), (0.71, 4), (1 - 1e-7, 4)])
def test_a_number_draws_the_token_up_to_which_probabilities_exceed_it(number, token):
    """Tokens 1, 2 and 4 have probabilities 0.2, 0.5 and 0.3; 0, 3 and 5 none."""
    scores = torch.tensor([[0.0, 0.2, 0.5, 0.0, 0.3, 0.0]]).log()
    drawn = InverseCDFSampler(torch.tensor([[number]]), start=2)(torch.zeros(1, 2, dtype=torch.long), scores)
    assert drawn.tolist() == [[0.0 if i == token else NOTHING for i in range(6)]]


def test_after_the_last_number_the_likeliest_token_is_taken():
    scores = torch.tensor([[0.0, 3.0, 1.0]])
    drawn = InverseCDFSampler(torch.full((1, 1), 0.01), start=2)(torch.zeros(1, 3, dtype=torch.long), scores)
    assert drawn.tolist() == [[NOTHING, 0.0, NOTHING]]


def test_no_token_without_probability_is_ever_drawn():
    """However the sums of 2,000 probabilities round, and though the last tokens have none."""
    scores = torch.randn(500, 2000, generator=torch.Generator().manual_seed(0)) * 4
    scores[:, 1500:] = NOTHING
    number = torch.full((500, 1), 1 - torch.finfo(torch.float32).eps)
    drawn = InverseCDFSampler(number, start=1)(torch.zeros(500, 1, dtype=torch.long), scores)
    assert (drawn.argmax(1) < 1500).all()
    assert (drawn == 0).sum(1).eq(1).all()


def test_samples_of_a_flat_model_have_every_code_equally_often_at_every_place():
    """64 independent draws of 8 codes would hardly ever do so, at six places less still."""
    model = tiny_gpt(VOCABULARY)
    with torch.no_grad():
        model.transformer.wte.weight.zero_()
    codes = VOCABULARY.parse(sample_ids(model, VOCABULARY, ["chair"] * 64))[0].flatten(1)
    assert all(torch.equal(column.bincount(minlength=8), torch.full((8,), 8)) for column in codes.T)


def test_one_sample_has_the_models_own_distribution():
    """The first code of one sample under 2,000 seeds, beside the probabilities that the model gives."""
    model = tiny_gpt(VOCABULARY)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(3)
        prompt = torch.tensor([[1, VOCABULARY.class_id("chair")]])
        legal = VOCABULARY.legal[2]
        wanted = model(prompt).logits[0, -1, legal.start : legal.stop].softmax(-1)
    number = torch.cat([sobol_uniforms(["chair"], 6, seed) for seed in range(2000)])[:, 0]
    found = torch.searchsorted(wanted.cumsum(0), number.contiguous()).bincount(minlength=8) / 2000
    first = torch.cat([sample_ids(model, VOCABULARY, ["chair"], seed=seed)[:, 2] for seed in range(40)]) - legal.start
    assert torch.equal(first, torch.searchsorted(wanted.cumsum(0), number[:40].contiguous()))
    assert (found - wanted).abs().max() < 4 * math.sqrt(0.25 / 2000)


def test_samples_drawn_each_for_itself_miss_codes_that_a_flat_model_has():
    model = tiny_gpt(VOCABULARY)
    with torch.no_grad():
        model.transformer.wte.weight.zero_()
    ids = sample_ids(model, VOCABULARY, ["chair"] * 64, quasi_random=False)
    counts = torch.stack([column.bincount(minlength=8) for column in VOCABULARY.parse(ids)[0].flatten(1).T])
    assert (counts.sum(1) == 64).all()
    assert counts.float().var(1).mean() > 2  # 8 is what chance gives; drawn evenly they have 0
    assert not torch.equal(random_uniforms(["chair"] * 2, 6, seed=0), random_uniforms(["chair"] * 2, 6, seed=1))


@pytest.mark.parametrize("quasi_random", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_sample_does_not_depend_on_the_batch_nor_on_how_many_follow(batch, quasi_random):
    model, labels = tiny_gpt(VOCABULARY), class_labels(VOCABULARY, 10)
    alone = sample_ids(model, VOCABULARY, labels, seed=2, quasi_random=quasi_random)
    assert torch.equal(sample_ids(model, VOCABULARY, labels, seed=2, quasi_random=quasi_random, batch=batch), alone)
    assert torch.equal(
        sample_ids(model, VOCABULARY, labels[:4], seed=2, quasi_random=quasi_random, batch=batch), alone[:4]
    )
