"""A GPT begins with what its codebook knows: near code vectors have near embeddings and like scores."""

import dataclasses

import torch

from tests.fakes import generator, tiny_tokenizer
from training.embeddings import code_embeddings
from training.pretrain import PretrainConfig, new_model
from weightgpt.quantizers.base import Quantizer

NANO = PretrainConfig(model_size="nano")


def test_distances_of_code_vectors_are_kept():
    vectors = torch.randn(3, 8, 5, generator=generator(0)) * torch.tensor([4.0, 1.0, 0.1]).view(3, 1, 1)
    found = code_embeddings(vectors, 16, 0.04, seed=0).unflatten(0, (3, 8))
    for level, own in zip(found, vectors, strict=True):
        ratio = torch.pdist(level) / torch.pdist(own)
        assert float(ratio.std() / ratio.mean()) < 1e-4
        assert abs(float(level.std(unbiased=False)) - 0.04) < 1e-6


def test_all_levels_are_turned_alike():
    """A vector of the second level that points as one of the first does has an embedding that points so too."""
    first = torch.randn(8, 5, generator=generator(0))
    found = code_embeddings(torch.stack([first, 0.1 * first]), 16, 0.04, seed=0).unflatten(0, (2, 8))
    torch.testing.assert_close(found[0], found[1])


def test_wide_vectors_fit_a_narrow_gpt_and_equal_ones_are_no_error():
    vectors = torch.randn(2, 4, 32, generator=generator(0))
    vectors[1] = 1.0
    found = code_embeddings(vectors, 16, 0.04, seed=0).unflatten(0, (2, 4))
    assert found.shape == (2, 4, 16)
    assert torch.equal(found[1], torch.zeros(4, 16))


def test_a_new_model_begins_with_the_vectors_of_its_codebook():
    tokenizer = tiny_tokenizer()
    vectors, first = tokenizer.quantizer.code_vectors, tokenizer.vocabulary.first_code
    assert vectors is not None
    model = new_model(tokenizer, NANO)
    start = code_embeddings(vectors, model.config.n_embd, 2 * model.config.initializer_range, NANO.seed)
    assert torch.equal(model.transformer.wte.weight[first:], start)
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)


def test_without_spread_or_shared_vectors_a_model_begins_at_random(monkeypatch):
    tokenizer = tiny_tokenizer()
    models = [new_model(tokenizer, dataclasses.replace(NANO, embedding_init_scale=0.0))]
    monkeypatch.setattr(type(tokenizer.quantizer), "code_vectors", Quantizer.code_vectors)
    models.append(new_model(tokenizer, NANO))
    rows = [model.transformer.wte.weight[tokenizer.vocabulary.first_code :] for model in models]
    assert torch.equal(*rows)
    assert float(rows[0].std()) < 1.5 * models[0].config.initializer_range
