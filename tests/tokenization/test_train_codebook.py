"""Learning a codebook: training lowers the loss, and what is frozen is what the library learned."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import sphere_shape, tiny_config, tiny_latent_decoder
from tokenization.corpus import Corpus
from tokenization.train_codebook import CodebookConfig, initial_basis, learn_codebook
from tokenization.trainable_autoencoder import TrainableRVQ
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.fields.optimization import truncated_loss
from weightgpt.quantizers.basis_decoder import BasisDecoder
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.shapes.sampling import sample_sdf, uniform_points

SMALL = CodebookConfig(
    neurons_per_chunk=6,
    latent_width=4,
    coefficients=4,
    latent_decoder_width=16,
    num_quantizers=3,
    codebook_size=8,
    num_probes=64,
    steps=120,
    batch_size=8,
    points_per_step=128,
)
LAYOUT = ChunkLayout(tiny_config(), 6)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Sixteen balls."""
    samples = sample_sdf([sphere_shape(0.3 + 0.02 * i) for i in range(16)], uniform_points(1024, 3, seed=0))
    config = FitConfig(steps=60, points_per_step=256)
    fits = fit(tiny_config(), samples, config).fields
    return Corpus(samples, fits, fits.flat[0], config)


def test_learning_lowers_the_loss_and_decodes_to_finite_fields(corpus):
    learned = learn_codebook(corpus, SMALL)
    assert learned.history[-1][1] < 0.7 * learned.history[0][1]
    codes = learned.quantizer.codebook.quantize(learned.quantizer.encoder(corpus.samples.sdf[:, :64]))
    assert torch.isfinite(learned.quantizer.decode(codes).flat).all()


def test_auto_decoding_lowers_the_loss_and_the_encoder_learns_to_predict_the_latents(corpus):
    learned = learn_codebook(corpus, replace(SMALL, auto_decoding=True))
    assert learned.history[-1][1] < 0.7 * learned.history[0][1]
    codebook, encoder = learned.quantizer.codebook, learned.quantizer.encoder

    def loss(latents):
        values = Fields(tiny_config(), codebook.weights(latents))(corpus.samples.points)[..., 0]
        return truncated_loss(values, corpus.samples.sdf, 5.0).mean()

    predicted = encoder(corpus.samples.sdf[:, :64])
    assert loss(predicted) < 0.8 * loss(torch.zeros_like(predicted))


def test_equal_seeds_of_the_corpus_learn_equal_codebooks_and_other_seeds_others(corpus):
    short = replace(SMALL, steps=20)
    seeds = (0, 0, 1)
    fingerprints = [learn_codebook(replace(corpus, seed=seed), short).quantizer.fingerprint for seed in seeds]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_first_levels_equal_those_of_a_codebook_that_uses_all_trained_levels(corpus):
    whole = learn_codebook(corpus, SMALL).quantizer
    first = learn_codebook(corpus, replace(SMALL, num_quantizers=2, trained_quantizers=3)).quantizer
    codes = whole.codebook.quantize(whole.encoder(corpus.samples.sdf[:, :64]))
    assert (whole.num_quantizers, first.num_quantizers) == (3, 2)
    assert torch.equal(first.decode(codes[..., :2]).flat, whole.decode(codes, num_quantizers=2).flat)


@pytest.mark.parametrize(("used", "trained", "levels"), [(3, None, 3), (3, 8, 8), (12, 8, 12)])
def test_at_least_the_used_levels_are_trained(used, trained, levels):
    config = replace(SMALL, num_quantizers=used, trained_quantizers=trained)
    assert TrainableRVQ(config, 3).code_vectors.shape[0] == config.num_trained == levels


@pytest.mark.parametrize("name", ["latent_width", "num_quantizers", "codebook_size", "num_probes", "neurons_per_chunk"])
def test_a_size_of_zero_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is 0; give 1 or more"):
        replace(SMALL, **{name: 0})


def test_frozen_code_vectors_give_the_codes_and_values_of_the_library(corpus):
    quantizer, latents = TrainableRVQ(SMALL, 3), torch.randn(4, 50, 4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    for _ in range(5):
        quantizer.update(latents)
    base, basis = initial_basis(LAYOUT, corpus.fits, 4, seed=0)
    decoder = BasisDecoder(LAYOUT, base, basis, tiny_latent_decoder(LAYOUT.num_chunks, 4))
    codebook = Codebook(decoder, quantizer.code_vectors)
    rows = latents.flatten(0, 1)[: 60 // LAYOUT.num_chunks * LAYOUT.num_chunks].unflatten(0, (-1, LAYOUT.num_chunks))
    quantizer.vq.eval()
    values, codes, _ = quantizer.vq(rows.flatten(0, 1)[None])
    assert torch.equal(codebook.quantize(rows).flatten(0, 1), codes[0])
    assert torch.equal(codebook.latents(codebook.quantize(rows)).flatten(0, 1), values[0])
    assert torch.equal(quantizer.quantize(rows).flatten(0, 1), values[0])


def test_base_and_bases_start_from_the_mean_and_the_principal_directions(corpus):
    base, basis = initial_basis(LAYOUT, corpus.fits, 15, seed=0)
    chunks = LAYOUT.split(corpus.fits.flat)
    assert torch.allclose(base, chunks.mean(0))
    centered = chunks - base
    for row in range(LAYOUT.num_chunks):
        latents = torch.linalg.lstsq(basis[row].T.double(), centered[:, row].T.double(), driver="gelsd").solution
        assert torch.allclose(basis[row].T.double() @ latents, centered[:, row].T.double(), atol=1e-4)


def test_fault_43_fewer_latents_than_codes_are_refused(corpus):
    few = Corpus(corpus.samples.select(slice(0, 1)), corpus.fits.select(slice(0, 1)), corpus.shared_init, corpus.fit)
    with pytest.raises(InputError, match="learn from more shapes or ask for fewer codes"):
        learn_codebook(few, SMALL)
