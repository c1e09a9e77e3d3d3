"""Every learner of weight VQ does what its definition or the library says, and too little data is refused."""

import pytest
import torch
from vector_quantize_pytorch import FSQ

from tests.fakes import fitted_sphere, generator, tiny_config, tiny_corpus
from tokenization import weight_vq_learners as learners
from tokenization.corpus import Corpus
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.weight_codebook import split_vectors
from weightgpt.shapes.sampling import Samples

CORPUS = tiny_corpus()


def error(learned) -> float:
    """Mean squared error of the fits through the quantizer, normalized."""
    codebook = learned.quantizer.codebook
    vectors = codebook.split_weights(CORPUS.fits.flat)
    return float((codebook.vectors(codebook.quantize(vectors)) - vectors).square().mean())


def test_bins_hold_equally_many_weights_and_decode_to_their_means():
    normalization = learners.normalize_globally(CORPUS)
    learned = learners.learn_bins(CORPUS, normalization, 8)
    values = normalization(CORPUS.fits).flatten().sort().values
    expected = torch.stack([part.mean() for part in values.tensor_split(8)])
    torch.testing.assert_close(learned.quantizer.codebook.code_vectors.flatten(), expected, atol=1e-3, rtol=1e-3)


def test_lloyd_max_centers_are_means_of_their_nearest_weights_and_better_than_bins():
    normalization = learners.normalize_difference(CORPUS)
    learned = learners.learn_lloyd_max(CORPUS, normalization, 8, max_rounds=2000)
    centers, values = learned.quantizer.codebook.code_vectors.flatten(), normalization(CORPUS.fits).flatten()
    nearest = (values[:, None] - centers).abs().argmin(1)
    means = torch.stack([values[nearest == code].mean() for code in range(8)])
    torch.testing.assert_close(means, centers, atol=1e-4, rtol=1e-4)
    assert error(learned) < 0.7 * error(learners.learn_bins(CORPUS, normalization, 8))


def test_lloyd_max_separates_two_values_whatever_bins_it_starts_from():
    config = tiny_config()
    flat = torch.where(torch.arange(config.parameters) % 3 == 0, 4.0, 1.0).expand(6, -1)
    corpus = Corpus(Samples(torch.zeros(1, 3), torch.zeros(6, 1)), Fields(config, flat), fitted_sphere(), FitConfig())
    quantizer = learners.learn_lloyd_max(corpus, learners.normalize_globally(corpus), 2).quantizer
    torch.testing.assert_close(quantizer.decode(quantizer.encode(corpus.fits, EncodeConfig())).flat, flat)


def test_normalizations_center_and_scale_as_they_say():
    whole = learners.normalize_globally(CORPUS)(CORPUS.fits)
    assert whole.mean().abs() < 1e-4
    assert whole.std() == pytest.approx(1, rel=1e-4)
    difference = learners.normalize_difference(CORPUS)
    assert torch.equal(difference.center, CORPUS.shared_init)
    assert difference(CORPUS.fits).std() == pytest.approx(1, rel=1e-4)
    each = learners.normalize_per_parameter(CORPUS)
    assert each(CORPUS.fits).mean(0).abs().max() < 1e-4
    assert each(CORPUS.fits).square().mean(0).max() < 1.01
    assert (each.scale > 0).all()


@pytest.mark.parametrize(("width", "num_quantizers", "groups"), [(1, 1, 1), (4, 1, 1), (4, 2, 1), (4, 1, 2)])
@torch.no_grad()
def test_frozen_code_vectors_give_the_codes_and_values_of_the_library_for_new_vectors(width, num_quantizers, groups):
    torch.manual_seed(0)
    module = learners.library_quantizer(width, 8, num_quantizers, groups)
    learners.train_library_quantizer(module, torch.randn(500, width * groups), 256, batch_size=128)
    normalization = learners.normalize_per_parameter(CORPUS)
    frozen = learners._freeze(CORPUS, normalization, learners.code_vectors_of(module)).quantizer.codebook
    rows = torch.randn(10, 24 // groups, width * groups, generator=generator(2))
    values, library_codes, _ = module(rows)
    codes = frozen.quantize(rows.unflatten(2, (groups, width)).flatten(1, 2))
    assert torch.equal(codes, library_codes.permute(1, 2, 0, 3).reshape(10, 24, num_quantizers))
    if groups == 1:
        assert torch.equal(sum(frozen.code_vectors[0, i][codes[..., i]] for i in range(num_quantizers)), values)


def test_equal_seeds_learn_equal_quantizers():
    first, second = (learners.learn_vector_quantizer(CORPUS, 4, 16).quantizer for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_more_quantizer_levels_have_a_smaller_error():
    errors = [error(learners.learn_vector_quantizer(CORPUS, 4, 16, num_quantizers=levels)) for levels in (1, 2, 3)]
    assert errors[0] > 1.2 * errors[1] > 1.2 * errors[2]


def test_fsq_cells_are_those_of_the_library_and_the_nearest_mean_is_never_farther():
    levels = (5, 4, 3)
    codebook = learners.learn_fsq(CORPUS, levels).quantizer.codebook
    vectors = split_vectors(learners.normalize_per_parameter(CORPUS)(CORPUS.fits), 3).flatten(0, 1)
    center, axes = learners.principal_axes(vectors)
    torch.testing.assert_close(axes @ axes.T, torch.diag(axes.square().sum(1)), atol=1e-4, rtol=0)
    coordinates = (vectors - center) @ axes.T / axes.square().sum(1)
    assert coordinates.square().mean(0).tolist() == pytest.approx([1] * 3, rel=1e-3)
    library_codes = FSQ(levels=list(levels))(coordinates[None])[1][0].long()
    table, codes = codebook.code_vectors[0, 0], codebook.quantize(vectors[None])[0, :, 0]
    assert table.shape == (60, 3)
    assert (codes == library_codes).float().mean() > 0.7
    assert (table[codes] - vectors).square().mean() <= (table[library_codes] - vectors).square().mean()


@pytest.mark.parametrize(
    "learn",
    [
        lambda corpus: learners.learn_bins(corpus, learners.normalize_globally(corpus), 1000),
        lambda corpus: learners.learn_lloyd_max(corpus, learners.normalize_difference(corpus), 1000),
        lambda corpus: learners.learn_vector_quantizer(corpus, 4, 1000),
        lambda corpus: learners.learn_fsq(corpus, (10, 10, 10)),
    ],
)
def test_fault_43_a_corpus_with_fewer_vectors_than_codes_is_refused(learn):
    small = Corpus(CORPUS.samples, CORPUS.fits.select(slice(0, 2)), CORPUS.shared_init, CORPUS.fit)
    with pytest.raises(InputError, match="for 1000 codes; learn from more shapes or ask for fewer codes"):
        learn(small)


def test_one_fit_has_no_deviation():
    small = Corpus(CORPUS.samples, CORPUS.fits.select(slice(0, 1)), CORPUS.shared_init, CORPUS.fit)
    with pytest.raises(InputError, match="learn from two shapes or more"):
        learners.normalize_per_parameter(small)
