"""Learning a codebook: the loop lowers the loss, and what is frozen is what the library learned."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import sphere_shape, tiny_config, tiny_latent_decoder
from tokenization.train_codebook import CodebookConfig, TrainableRVQ, learn, start
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.fields.optimization import truncated_loss
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.shapes.sampling import Samples, sample_sdf, uniform_points

SMALL = CodebookConfig(
    neurons_per_chunk=6,
    latent_width=4,
    coefficients=4,
    latent_decoder_width=16,
    trained_quantizers=3,
    codebook_size=8,
    num_probes=64,
    encoder_width=16,
    steps=120,
    batch_size=8,
    points_per_step=128,
)


@pytest.fixture(scope="module")
def spheres() -> Samples:
    return sample_sdf([sphere_shape(0.3 + 0.02 * i) for i in range(16)], uniform_points(1024, 3, seed=0))


@pytest.fixture(scope="module")
def fits(spheres):
    return fit(tiny_config(), spheres, FitConfig(steps=60, points_per_step=256)).fields


def test_learning_lowers_the_loss_and_decodes_to_finite_fields(spheres, fits):
    layout = ChunkLayout(tiny_config(), 6)
    learned = learn(layout, fits, spheres, SMALL)
    assert learned.history[-1][1] < 0.7 * learned.history[0][1]
    codes = learned.quantizer.codebook.quantize(learned.quantizer.encoder(spheres.sdf[:, :64]))
    assert torch.isfinite(learned.quantizer.decode(codes).flat).all()


def test_shapes_with_latents_of_their_own_are_learnt_and_guessed(spheres, fits):
    """The loss falls, and refining starts nearer to each shape from the encoder's guess than from nothing."""
    learned = learn(ChunkLayout(tiny_config(), 6), fits, spheres, replace(SMALL, auto_decoding=True))
    assert learned.history[-1][1] < 0.7 * learned.history[0][1]
    codebook, encoder = learned.quantizer.codebook, learned.quantizer.encoder

    def loss(latents):
        values = Fields(tiny_config(), codebook.weights(latents))(spheres.points)[..., 0]
        return truncated_loss(values, spheres.sdf, 5.0).mean()

    guessed = encoder(spheres.sdf[:, :64])
    assert loss(guessed) < 0.8 * loss(torch.zeros_like(guessed))


def test_equal_seeds_learn_equal_codebooks(spheres, fits):
    layout = ChunkLayout(tiny_config(), 6)
    first, second = (learn(layout, fits, spheres, SMALL).quantizer for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_points_from_inside_and_squared_errors_change_what_is_learnt(spheres, fits):
    layout, kinds = ChunkLayout(tiny_config(), 6), ({}, {"balance_sides": True}, {"squared_weight": 4.0})
    found = {learn(layout, fits, spheres, replace(SMALL, **kind)).quantizer.fingerprint for kind in kinds}
    assert len(found) == len(kinds)


def test_the_first_levels_are_those_of_a_codebook_that_learnt_more(spheres, fits):
    layout = ChunkLayout(tiny_config(), 6)
    every, first = (learn(layout, fits, spheres, replace(SMALL, num_quantizers=kept)).quantizer for kept in (None, 2))
    codes = every.codebook.quantize(every.encoder(spheres.sdf[:, :64]))
    assert (every.num_quantizers, first.num_quantizers) == (3, 2)
    assert torch.equal(first.decode(codes[..., :2]).flat, every.decode(codes, num_quantizers=2).flat)
    with pytest.raises(InputError, match="of 3 that are learned keep 1 or more"):
        replace(SMALL, num_quantizers=4)


def test_squared_errors_cannot_weigh_less_than_nothing():
    with pytest.raises(InputError, match=r"weight of -1\.0; give 0 for plain ones alone"):
        replace(SMALL, squared_weight=-1.0)


def test_the_frozen_tables_give_the_codes_and_values_of_the_learnt_library_quantizer(fits):
    quantizer, latents = TrainableRVQ(SMALL, 3), torch.randn(4, 50, 4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    for _ in range(5):
        quantizer.learn(latents)
    layout = ChunkLayout(tiny_config(), 6)
    base, basis = start(layout, fits, 4, seed=0)
    codebook = Codebook(layout, base, basis, tiny_latent_decoder(layout.num_chunks, 4), quantizer.tables)
    rows = latents.flatten(0, 1)[: 60 * layout.num_chunks // layout.num_chunks * layout.num_chunks]
    rows = rows[: len(rows) // layout.num_chunks * layout.num_chunks].unflatten(0, (-1, layout.num_chunks))
    quantizer.vq.eval()
    values, codes, _ = quantizer.vq(rows.flatten(0, 1)[None])
    assert torch.equal(codebook.quantize(rows).flatten(0, 1), codes[0])
    assert torch.equal(codebook.latents(codebook.quantize(rows)).flatten(0, 1), values[0])


def test_base_and_bases_start_from_the_mean_and_the_principal_directions(fits):
    layout = ChunkLayout(tiny_config(), 6)
    base, basis = start(layout, fits, 15, seed=0)
    chunks = layout.split(fits.flat)
    assert torch.allclose(base, chunks.mean(0))
    centered = chunks - base
    for row in range(layout.num_chunks):
        latents = torch.linalg.lstsq(basis[row].T.double(), centered[:, row].T.double(), driver="gelsd").solution
        assert torch.allclose(basis[row].T.double() @ latents, centered[:, row].T.double(), atol=1e-4)


def test_too_few_shapes_for_the_codes_are_refused(spheres, fits):
    layout = ChunkLayout(tiny_config(), 6)
    with pytest.raises(InputError, match="learn from more shapes or ask for fewer codes"):
        learn(layout, fits, spheres.select(slice(0, 1)), SMALL)


def test_a_shape_with_a_nan_distance_is_named(spheres, fits):
    sdf = spheres.sdf.clone()
    sdf[3, 5] = float("nan")
    with pytest.raises(InputError, match=r"shapes \[3\] have NaN"):
        learn(ChunkLayout(tiny_config(), 6), fits, Samples(spheres.points, sdf), SMALL)
