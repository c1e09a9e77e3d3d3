"""Codes drawn anew: of noisy latents, different each time, of the same class."""

import pytest
import torch

from tests.fakes import tiny_codebook, tiny_tokenizer, tiny_weight_vq
from training.data.latent_augmentation import redraw, redrawn
from weightgpt.errors import InputError
from weightgpt.tokens.tokenizer import WeightTokenizer


def codes_of(book, count: int):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(book.codebook_size, (count, book.layout.num_chunks, book.num_quantizers), generator=generator)


def test_without_noise_the_codes_are_those_of_the_latents():
    book = tiny_codebook()
    codes = codes_of(book, 64)
    found = redraw(book, codes, torch.Generator().manual_seed(0), 0.0)
    assert torch.equal(found, book.quantize(book.latents(codes)))


def test_noise_is_in_standard_deviations_of_each_number_over_the_shapes():
    """Of one shape among many, drawn very often: its codes against latents that were made noisy by hand."""
    book = tiny_codebook()
    codes = codes_of(book, 4000)
    codes[1::2] = codes[0]
    latents = book.latents(codes)
    found = redraw(book, codes, torch.Generator().manual_seed(0), 0.7)[1::2]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2000, *latents.shape[1:], generator=generator) * latents.std(0)
    expected = book.quantize(latents[0] + 0.7 * noise)
    for chunk in range(book.layout.num_chunks):
        odds = [part[:, chunk, 0].bincount(minlength=book.codebook_size) / 2000 for part in (found, expected)]
        assert odds[0].tolist() == pytest.approx(odds[1].tolist(), abs=0.05)


def test_more_noise_strays_farther():
    book = tiny_codebook()
    codes = codes_of(book, 64)
    latents = book.latents(codes)
    drawn = [redraw(book, codes, torch.Generator().manual_seed(0), noise) for noise in (0.0, 0.5, 2.0)]
    strays = [float((book.latents(some) - latents).norm()) for some in drawn]
    assert strays[0] < strays[1] < strays[2]


def test_sequences_keep_their_classes_and_differ():
    tokenizer = tiny_tokenizer()
    book = tokenizer.quantizer.codebook
    labels = ["chair", "table"] * 8
    ids = tokenizer.vocabulary.ids(codes_of(book, 16), labels)
    found = redrawn(tokenizer, ids, 3, 0.5, 0)
    assert tokenizer.vocabulary.parse(found)[1] == labels * 3
    assert not torch.equal(found[:16], found[16:32])
    assert torch.equal(found, redrawn(tokenizer, ids, 3, 0.5, 0))
    assert not torch.equal(found, redrawn(tokenizer, ids, 3, 0.5, 1))


def test_a_tokenizer_without_latents_is_refused():
    tokenizer = tiny_tokenizer()
    with pytest.raises(InputError, match="--redrawn 0"):
        redrawn(
            WeightTokenizer.create(tiny_weight_vq(), ["chair"]),
            tokenizer.vocabulary.ids(codes_of(tiny_codebook(), 1), ["chair"]),
            1,
            0.5,
            0,
        )
