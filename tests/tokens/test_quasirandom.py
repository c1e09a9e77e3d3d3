"""Codes are sampled by uniforms that fill the unit interval evenly."""

import math

import pytest
import torch
from torch.quasirandom import SobolEngine

from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.tokens.generation import SamplingConfig, prompt_labels, sample_ids
from weightgpt.tokens.quasirandom import InverseCDFSampler, UniformStream, stratified_labels

VOCABULARY = tiny_tokenizer().vocabulary
MASKED = -math.inf


def sobol_uniforms(labels: list[str], codes_per_field: int, seed: int) -> torch.Tensor:
    return UniformStream(labels, codes_per_field, seed).draw(labels)


def random_uniforms(labels: list[str], codes_per_field: int, seed: int) -> torch.Tensor:
    return UniformStream(labels, codes_per_field, seed, quasi_random=False).draw(labels)


@pytest.mark.parametrize("quasi_random", [True, False])
def test_fault_82_uniforms_of_many_batches_are_those_of_one(quasi_random):
    labels, sizes = ["b", "a", "a", "c", "a"] * 40, (1, 2, 7, 30, 60, 100)
    whole = UniformStream(labels, 50, 5, quasi_random).draw(labels)
    stream, first, parts = UniformStream(set(labels), 50, 5, quasi_random), 0, []
    for size in sizes:
        parts.append(stream.draw(labels[first : first + size]))
        first += size
    assert torch.equal(torch.cat(parts), whole)


def test_of_64_uniforms_of_a_class_one_lies_in_each_64th_in_every_dimension():
    labels = ["chair", "table"] * 64
    uniforms = sobol_uniforms(labels, 7, seed=3)
    for first in (0, 1):
        rows = (uniforms[first::2] * 64).long().sort(0).values
        assert torch.equal(rows, torch.arange(64)[:, None].expand(64, 7))
    assert not torch.equal(uniforms[::2], uniforms[1::2])


def test_uniforms_depend_on_the_seed_and_on_the_number_within_the_class():
    three = sobol_uniforms(["chair", "table", "chair"], 4, seed=5)
    four = sobol_uniforms(["chair", "chair", "chair", "table"], 4, seed=5)
    assert torch.equal(three[[0, 2, 1]], four[[0, 1, 3]])
    assert not torch.equal(sobol_uniforms(["chair"], 4, seed=6), three[:1])
    assert sobol_uniforms([], 4, seed=0).shape == (0, 4)


def test_codes_beyond_the_dimensions_of_a_sobol_sequence_have_independent_uniforms():
    uniforms = sobol_uniforms(["chair"] * 8, SobolEngine.MAXDIM + 100, seed=1)
    counts = torch.stack([(column * 8).long().bincount(minlength=8) for column in uniforms.T])
    assert (counts[: SobolEngine.MAXDIM] == 1).all()
    assert (counts[SobolEngine.MAXDIM :] != 1).any(1).sum() > 90
    assert 0 <= uniforms.min() < uniforms.max() < 1


def test_every_part_of_the_list_has_the_class_frequencies_of_the_corpus():
    labels = stratified_labels(["b", "a", "a", "c", "a"] * 7, 4000, seed=4)
    for part in (labels, labels[:100], labels[1900:2000]):
        assert [part.count(label) / len(part) for label in "abc"] == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    assert labels[:9] != stratified_labels(["b", "a", "a", "c", "a"] * 7, 9, seed=5)
    assert stratified_labels(["a"], 2, seed=0) == ["a", "a"]


@pytest.mark.parametrize(("u", "token"), [(0.0, 1), (0.19, 1), (0.21, 2), (0.69, 2), (0.71, 4), (1 - 1e-7, 4)])
def test_the_sample_is_the_first_token_whose_cumulative_probability_exceeds_u(u, token):
    """Tokens 1, 2 and 4 have probabilities 0.2, 0.5 and 0.3; 0, 3 and 5 none."""
    scores = torch.tensor([[0.0, 0.2, 0.5, 0.0, 0.3, 0.0]]).log()
    masked = InverseCDFSampler(torch.tensor([[u]]), 2)(torch.zeros(1, 2, dtype=torch.long), scores)
    assert masked.tolist() == [[0.0 if i == token else MASKED for i in range(6)]]


def test_after_the_last_code_the_likeliest_token_is_taken():
    scores = torch.tensor([[0.0, 3.0, 1.0]])
    masked = InverseCDFSampler(torch.full((1, 1), 0.01), 2)(torch.zeros(1, 3, dtype=torch.long), scores)
    assert masked.tolist() == [[MASKED, 0.0, MASKED]]


def test_a_token_with_probability_zero_is_never_sampled():
    """The last 500 of 2,000 tokens have probability zero; rounding of the sums must not reach them."""
    scores = torch.randn(500, 2000, generator=torch.Generator().manual_seed(0)) * 4
    scores[:, 1500:] = MASKED
    uniforms = torch.full((500, 1), 1 - torch.finfo(torch.float32).eps)
    masked = InverseCDFSampler(uniforms, 1)(torch.zeros(500, 1, dtype=torch.long), scores)
    assert (masked.argmax(1) < 1500).all()
    assert (masked == 0).sum(1).eq(1).all()


def test_samples_of_a_flat_model_have_every_code_equally_often_at_every_position():
    """64 independent draws of 8 codes would almost never do so at six positions."""
    gpt = tiny_gpt(VOCABULARY)
    with torch.no_grad():
        gpt.transformer.wte.weight.zero_()
    codes = VOCABULARY.parse(sample_ids(gpt, VOCABULARY, ["chair"] * 64))[0].flatten(1)
    assert all(torch.equal(column.bincount(minlength=8), torch.full((8,), 8)) for column in codes.T)


def test_one_sample_has_the_distribution_of_the_model():
    """The frequencies of the first code over 2,000 seeds are near the probabilities that the model gives."""
    gpt = tiny_gpt(VOCABULARY)
    with torch.no_grad():
        gpt.transformer.wte.weight.mul_(3)
        prompt = torch.tensor([[1, VOCABULARY.class_id("chair")]])
        legal = VOCABULARY.legal[2]
        probabilities = gpt(prompt).logits[0, -1, legal.start : legal.stop].softmax(-1)
    uniforms = torch.cat([sobol_uniforms(["chair"], 6, seed) for seed in range(2000)])[:, 0].contiguous()
    codes = torch.searchsorted(probabilities.cumsum(0), uniforms)
    samples = [sample_ids(gpt, VOCABULARY, ["chair"], SamplingConfig(seed=seed)) for seed in range(40)]
    assert torch.equal(torch.cat(samples)[:, 2] - legal.start, codes[:40])
    frequencies = codes.bincount(minlength=8) / 2000
    assert (frequencies - probabilities).abs().max() < 4 * math.sqrt(0.25 / 2000)


def test_independent_samples_of_a_flat_model_have_some_codes_more_often_than_others():
    gpt = tiny_gpt(VOCABULARY)
    with torch.no_grad():
        gpt.transformer.wte.weight.zero_()
    ids = sample_ids(gpt, VOCABULARY, ["chair"] * 64, SamplingConfig(quasi_random=False))
    counts = torch.stack([column.bincount(minlength=8) for column in VOCABULARY.parse(ids)[0].flatten(1).T])
    assert (counts.sum(1) == 64).all()
    assert counts.float().var(1).mean() > 2  # chance gives 8; quasi-random samples have 0
    assert not torch.equal(random_uniforms(["chair"] * 2, 6, seed=0), random_uniforms(["chair"] * 2, 6, seed=1))


@pytest.mark.parametrize("quasi_random", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_sample_depends_neither_on_the_batch_size_nor_on_later_samples(batch_size, quasi_random):
    gpt, labels = tiny_gpt(VOCABULARY), prompt_labels(VOCABULARY, 10)
    expected = sample_ids(gpt, VOCABULARY, labels, SamplingConfig(seed=2, quasi_random=quasi_random))
    sampling = SamplingConfig(seed=2, quasi_random=quasi_random, batch_size=batch_size)
    assert torch.equal(sample_ids(gpt, VOCABULARY, labels, sampling), expected)
    assert torch.equal(sample_ids(gpt, VOCABULARY, labels[:4], sampling), expected[:4])


def test_fault_76_large_seeds_and_small_ones_give_different_numbers():
    seeds = [0, 1, 5, 2**16, 5 + 2**16, 2**32 - 1, 2**32, 2**62]
    drawn = [sobol_uniforms(["a", "b"], 4, seed) for seed in seeds]
    rows = torch.stack(drawn).flatten(1)
    assert torch.pdist(rows).min() > 0.1
    assert all(
        torch.equal(sobol_uniforms(["a", "b"], 4, seed), first) for seed, first in zip(seeds, drawn, strict=True)
    )


def test_fault_76_seeds_below_65536_keep_their_samples():
    engine = SobolEngine(4, scramble=True, seed=(7 << 16) + 1)
    assert torch.equal(sobol_uniforms(["a", "b"], 4, 7)[1:], engine.draw(1))
