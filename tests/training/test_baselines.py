"""Every road to tables learns what its definition or the library says, and too little to learn from is told."""

import pytest
import torch
from vector_quantize_pytorch import FSQ

from tests.fakes import fitted_sphere, generator, tiny_config, tiny_corpus
from tokenization import baselines
from tokenization.corpus import Corpus
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.weight_codebook import split_vectors
from weightgpt.shapes.sampling import Samples

CORPUS = tiny_corpus()
ANY = EncodeConfig()


def error(learned) -> float:
    """Mean squared error of the fits, normalized, through the tables."""
    tables = learned.quantizer.codebook
    vectors = tables.split_weights(CORPUS.fits.flat)
    wrong = tables.vectors(tables.quantize(vectors)) - vectors
    return float(wrong.square().mean())


def test_bins_hold_equal_mass_and_stand_for_their_means():
    learned = baselines.bins(CORPUS, baselines.raw(CORPUS), 8)
    values = baselines.raw(CORPUS)(CORPUS.fits).flatten().sort().values
    expected = torch.stack([part.mean() for part in values.tensor_split(8)])
    torch.testing.assert_close(learned.quantizer.codebook.code_vectors.flatten(), expected, atol=1e-3, rtol=1e-3)


def test_lloyd_max_centers_are_means_of_what_is_nearest_to_them_and_better_than_bins():
    normal = baselines.difference(CORPUS)
    learned = baselines.lloyd_max(CORPUS, normal, 8, rounds=2000)
    centers, values = learned.quantizer.codebook.code_vectors.flatten(), normal(CORPUS.fits).flatten()
    nearest = (values[:, None] - centers).abs().argmin(1)
    means = torch.stack([values[nearest == code].mean() for code in range(8)])
    torch.testing.assert_close(means, centers, atol=1e-4, rtol=1e-4)
    assert error(learned) < 0.7 * error(baselines.bins(CORPUS, normal, 8))


def test_lloyd_max_by_hand():
    """Two clusters of numbers, whatever bins it starts from."""
    config = tiny_config()
    flat = torch.where(torch.arange(config.parameters) % 3 == 0, 4.0, 1.0).expand(6, -1)
    corpus = Corpus(Samples(torch.zeros(1, 3), torch.zeros(6, 1)), Fields(config, flat), fitted_sphere(), FitConfig())
    quantizer = baselines.lloyd_max(corpus, baselines.raw(corpus), 2).quantizer
    torch.testing.assert_close(quantizer.decode(quantizer.encode(corpus.fits, ANY)).flat, flat)


def test_normalizations():
    for make in (baselines.raw, baselines.difference, baselines.conditioned):
        assert (make(CORPUS).scale > 0).all()
    assert baselines.raw(CORPUS)(CORPUS.fits).mean().abs() < 1e-4
    assert torch.equal(baselines.difference(CORPUS).center, CORPUS.shared_init)
    normalized = baselines.conditioned(CORPUS)(CORPUS.fits)
    assert normalized.mean(0).abs().max() < 1e-4
    assert normalized.square().mean(0).max() < 1.01


@pytest.mark.parametrize(("width", "levels", "groups"), [(1, 1, 1), (4, 1, 1), (4, 2, 1), (4, 1, 2)])
@torch.no_grad()
def test_frozen_tables_are_those_of_the_learnt_library_quantizer(width, levels, groups):
    """The library's own codes and values of vectors it never saw, bit for bit."""
    torch.manual_seed(0)
    module = baselines.library_quantizer(width, 8, levels, groups)
    baselines.trained(module, torch.randn(500, width * groups), 256, batch=128)
    corpus_tables = baselines.tables_of(module)
    frozen = baselines._frozen(CORPUS, baselines.conditioned(CORPUS), corpus_tables).quantizer.codebook
    rows = torch.randn(10, 24 // groups, width * groups, generator=generator(2))
    values, codes, _ = module(rows)
    vectors = rows.unflatten(2, (groups, width)).flatten(1, 2)
    found = frozen.quantize(vectors)
    assert torch.equal(found, codes.permute(1, 2, 0, 3).reshape(10, 24, levels))
    total = sum(frozen.code_vectors[0, level][found[..., level]] for level in range(levels)) if groups == 1 else None
    if total is not None:
        assert torch.equal(total, values)


def test_equal_seeds_learn_equal_tables_and_more_levels_a_smaller_error():
    first, second = (baselines.vector_quantization(CORPUS, 4, 16).quantizer for _ in range(2))
    assert first.fingerprint == second.fingerprint
    errors = [error(baselines.vector_quantization(CORPUS, 4, 16, levels=levels)) for levels in (1, 2, 3)]
    assert errors[0] > 1.2 * errors[1] > 1.2 * errors[2]


def test_fsq_cells_are_those_of_the_library_and_the_nearest_mean_is_never_further():
    levels = (5, 4, 3)
    learned = baselines.fsq(CORPUS, levels)
    vectors = split_vectors(baselines.conditioned(CORPUS)(CORPUS.fits), 3).flatten(0, 1)
    center, axes = baselines.principal(vectors)
    torch.testing.assert_close(axes @ axes.T, torch.diag(axes.square().sum(1)), atol=1e-4, rtol=0)
    coordinates = (vectors - center) @ axes.T / axes.square().sum(1)
    assert coordinates.square().mean(0).tolist() == pytest.approx([1] * 3, rel=1e-3)
    codes = FSQ(levels=list(levels))(coordinates[None])[1][0].long()
    table = learned.quantizer.codebook.code_vectors[0, 0]
    own = learned.quantizer.codebook.quantize(vectors[None])[0, :, 0]
    assert table.shape == (60, 3)
    assert (own == codes).float().mean() > 0.7
    assert (table[own] - vectors).square().mean() <= (table[codes] - vectors).square().mean()


@pytest.mark.parametrize(
    "learn",
    [
        lambda corpus: baselines.bins(corpus, baselines.raw(corpus), 1000),
        lambda corpus: baselines.lloyd_max(corpus, baselines.difference(corpus), 1000),
        lambda corpus: baselines.vector_quantization(corpus, 4, 1000),
        lambda corpus: baselines.fsq(corpus, (10, 10, 10)),
    ],
)
def test_a_corpus_smaller_than_the_codebook_is_refused(learn):
    small = Corpus(CORPUS.samples, CORPUS.fits.select(slice(0, 2)), CORPUS.shared_init, CORPUS.fit)
    with pytest.raises(InputError, match="for 1000 codes; learn from more shapes or ask for fewer codes"):
        learn(small)


def test_one_fit_has_no_deviation():
    small = Corpus(CORPUS.samples, CORPUS.fits.select(slice(0, 1)), CORPUS.shared_init, CORPUS.fit)
    with pytest.raises(InputError, match="learn from two shapes or more"):
        baselines.conditioned(small)


def test_one_nan_row_in_a_corpus_is_named():
    sdf = CORPUS.samples.sdf.clone()
    sdf[5, 7] = float("nan")
    with pytest.raises(InputError, match=r"shapes \[5\] have NaN or infinite distances"):
        Corpus(Samples(CORPUS.samples.points, sdf), CORPUS.fits, CORPUS.shared_init, CORPUS.fit)
    flat = CORPUS.fits.flat.clone()
    flat[3, 0] = float("inf")
    with pytest.raises(InputError, match=r"fields \[3\] have NaN or infinite weights"):
        Fields(tiny_config(), flat)


def test_more_fits_than_shapes_make_no_corpus():
    with pytest.raises(InputError, match="make no corpus"):
        Corpus(CORPUS.samples.select(slice(0, 2)), CORPUS.fits, CORPUS.shared_init, CORPUS.fit)
