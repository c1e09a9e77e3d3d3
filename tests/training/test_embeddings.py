"""The embeddings of an untrained GPT: near code vectors have near embeddings and similar scores."""

import dataclasses

import torch

from tests.fakes import generator, tiny_tokenizer
from training.embeddings import code_embeddings
from training.pretrain import PretrainConfig, new_model
from weightgpt.quantizers.base import Quantizer

NANO = PretrainConfig(model_size="nano")


def test_embeddings_keep_the_distances_of_code_vectors():
    code_vectors = torch.randn(3, 8, 5, generator=generator(0)) * torch.tensor([4.0, 1.0, 0.1]).view(3, 1, 1)
    embeddings = code_embeddings(code_vectors, 16, 0.04, seed=0).unflatten(0, (3, 8))
    for level, vectors in zip(embeddings, code_vectors, strict=True):
        ratio = torch.pdist(level) / torch.pdist(vectors)
        assert float(ratio.std() / ratio.mean()) < 1e-4
        assert abs(float(level.std(unbiased=False)) - 0.04) < 1e-6


def test_all_levels_are_rotated_in_the_same_way():
    """Vectors of the second level that are parallel to those of the first have parallel embeddings."""
    first = torch.randn(8, 5, generator=generator(0))
    embeddings = code_embeddings(torch.stack([first, 0.1 * first]), 16, 0.04, seed=0).unflatten(0, (2, 8))
    torch.testing.assert_close(embeddings[0], embeddings[1])


def test_another_seed_gives_another_rotation():
    code_vectors = torch.randn(1, 8, 5, generator=generator(0))
    first, second = (code_embeddings(code_vectors, 16, 0.04, seed=seed) for seed in (0, 1))
    assert not torch.allclose(first, second)


def test_code_vectors_wider_than_the_gpt_are_projected():
    embeddings = code_embeddings(torch.randn(2, 4, 32, generator=generator(0)), 16, 0.04, seed=0)
    assert embeddings.shape == (8, 16)


def test_equal_code_vectors_of_a_level_have_embeddings_of_zero():
    embeddings = code_embeddings(torch.ones(1, 4, 5), 16, 0.04, seed=0)
    assert torch.equal(embeddings, torch.zeros(4, 16))


def test_an_untrained_model_has_the_embeddings_of_its_code_vectors():
    tokenizer = tiny_tokenizer()
    code_vectors, first = tokenizer.quantizer.code_vectors, tokenizer.vocabulary.first_code
    model = new_model(tokenizer, NANO, seed=3)
    std = NANO.embedding_init_scale * model.config.initializer_range
    expected = code_embeddings(code_vectors, model.config.n_embd, std, seed=3)
    assert torch.equal(model.transformer.wte.weight[first:], expected)
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)


def test_embeddings_are_random_with_scale_0_or_without_code_vectors(monkeypatch):
    tokenizer = tiny_tokenizer()
    models = [new_model(tokenizer, dataclasses.replace(NANO, embedding_init_scale=0.0))]
    monkeypatch.setattr(type(tokenizer.quantizer), "code_vectors", Quantizer.code_vectors)
    models.append(new_model(tokenizer, NANO))
    rows = [model.transformer.wte.weight[tokenizer.vocabulary.first_code :] for model in models]
    assert torch.equal(*rows)
    assert rows[0].std().item() < 1.5 * models[0].config.initializer_range
