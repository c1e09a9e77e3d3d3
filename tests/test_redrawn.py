"""Codes drawn anew: near the shape, different each time, of the same class."""

import pytest
import torch

from tests.fakes import tiny_codebook, tiny_tokenizer
from training.redrawn import redraw, redrawn
from weightgpt.files import InputError


def codes_of(book, count: int):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(book.size, (count, book.layout.chunks, book.levels), generator=generator)


def test_drawn_codes_follow_their_odds():
    """Of one latent drawn very often, the first level, against the softmax by hand."""
    book = tiny_codebook()
    codes = codes_of(book, 1)
    many = redraw(book, codes.expand(4000, -1, -1), torch.Generator().manual_seed(0), 2.0)
    rest, table = book.latents(codes)[0], book.codes[0]
    squared = torch.cdist(rest, table).square()
    near = squared.sort(1).values
    odds = torch.softmax(-squared / (2.0 * (near[:, 1] - near[:, 0]).mean()), 1)
    for chunk in range(book.layout.chunks):
        found = many[:, chunk, 0].bincount(minlength=book.size) / 4000
        assert found.tolist() == pytest.approx(odds[chunk].tolist(), abs=0.03)


def test_softer_draws_stray_farther_and_hardly_soft_ones_find_the_nearest_codes():
    book = tiny_codebook()
    codes = codes_of(book, 64)
    hard = redraw(book, codes, torch.Generator().manual_seed(0), 1e-6)
    assert torch.equal(hard, book.quantise(book.latents(codes)))
    strays = [
        float(
            (book.latents(redraw(book, codes, torch.Generator().manual_seed(0), softness)) - book.latents(codes)).norm()
        )
        for softness in (1e-6, 0.3, 100.0)
    ]
    assert strays[0] < strays[1] < strays[2]


def test_sequences_keep_their_classes_and_differ():
    tokenizer = tiny_tokenizer()
    book = tokenizer.quantiser.codebook
    labels = ["chair", "table"] * 8
    ids = tokenizer.vocabulary.ids(codes_of(book, 16), labels)
    found = redrawn(tokenizer, ids, 3, 0)
    assert tokenizer.vocabulary.parse(found)[1] == labels * 3
    assert not torch.equal(found[:16], found[16:32])
    assert torch.equal(found, redrawn(tokenizer, ids, 3, 0))
    assert not torch.equal(found, redrawn(tokenizer, ids, 3, 1))


def test_a_tokenizer_without_latents_is_refused():
    tokenizer = tiny_tokenizer()
    with pytest.raises(InputError, match="--redrawn 0"):
        redrawn(
            type("Other", (), {"quantiser": object()})(),
            tokenizer.vocabulary.ids(codes_of(tiny_codebook(), 1), ["chair"]),
            1,
            0,
        )
