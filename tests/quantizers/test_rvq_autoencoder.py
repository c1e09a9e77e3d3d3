"""The RVQ autoencoder writes codes that decode to the shape, and refinement never makes them worse."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import box_shape, generator, sphere_shape, tiny_codebook, tiny_encoder, tiny_graph, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.optimization import truncated_loss
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.shape import Shape

CODEBOOK = tiny_codebook()
ENCODER = tiny_encoder(CODEBOOK)
QUANTIZER = RVQAutoencoder(CODEBOOK, ENCODER)
UNREFINED = EncodeConfig(steps=0, num_points=2048)
REFINED = EncodeConfig(steps=60, num_points=2048, points_per_step=512, learning_rate=3e-2)
SHAPES = [sphere_shape(0.5), sphere_shape(0.7), box_shape((1.2, 1.0, 0.6)), box_shape((0.6, 1.4, 0.6))]


def loss(codes: torch.Tensor, samples: Samples) -> torch.Tensor:
    """(B,) loss of the decoded fields."""
    return truncated_loss(CODEBOOK.decode(codes)(samples.points)[..., 0], samples.sdf, 5.0)


def random_codes(count: int, seed: int = 0) -> torch.Tensor:
    shape = (count, CODEBOOK.num_chunks, CODEBOOK.num_quantizers)
    return torch.randint(CODEBOOK.codebook_size, shape, generator=generator(seed))


def sample_at_probes(extra: int = 300) -> Samples:
    """At points that begin with the probes of the encoder, as those of a corpus do."""
    return sample_sdf(SHAPES, torch.cat([ENCODER.probes, uniform_points(extra, 3, 1)]))


def own_samples(fields: Fields) -> Samples:
    """The signed distances of the fields themselves."""
    points = shared_points(SHAPES, 4096, 1)
    return Samples(points, fields(points)[..., 0])


@pytest.fixture(scope="module")
def samples() -> Samples:
    return sample_sdf(SHAPES, shared_points(SHAPES, REFINED.num_points, REFINED.seed))


def test_without_steps_the_codes_are_those_of_the_encoder():
    expected = CODEBOOK.quantize(ENCODER(sample_sdf(SHAPES, ENCODER.probes).sdf))
    assert torch.equal(QUANTIZER.encode_shapes(SHAPES, UNREFINED), expected)
    assert torch.equal(QUANTIZER.encode_samples(sample_at_probes(), UNREFINED), expected)


def test_refinement_never_makes_a_code_worse_and_makes_codes_better_on_average(samples):
    before, after = (loss(QUANTIZER.encode_shapes(SHAPES, config), samples) for config in (UNREFINED, REFINED))
    assert (after <= before).all()
    assert after.mean() < 0.8 * before.mean()


def test_refinement_of_samples_lowers_the_loss_at_their_points():
    samples = sample_at_probes(2000)
    before, after = (loss(QUANTIZER.encode_samples(samples, config), samples) for config in (UNREFINED, REFINED))
    assert (after <= before).all()
    assert after.mean() < 0.8 * before.mean()


def test_points_near_the_surface_lower_the_loss_near_the_surface(samples):
    """The loss weighs points by their nearness to the surface, with equal weight inside and outside."""
    chances = torch.exp(-samples.sdf.abs() / 0.03)
    sides = [
        chances * inside / (chances * inside).sum(1, keepdim=True) for inside in (samples.sdf < 0, samples.sdf >= 0)
    ]

    corpus = sample_at_probes(4096)

    def surface_loss(config: EncodeConfig) -> torch.Tensor:
        values = QUANTIZER.decode(QUANTIZER.encode_samples(corpus, config))(samples.points)[..., 0]
        error = (torch.tanh(5 * values) - torch.tanh(5 * samples.sdf)).abs()
        return ((sides[0] + sides[1]) / 2 * error).sum(1)

    longer = replace(REFINED, steps=200)
    near, uniform, unrefined = (surface_loss(c) for c in (replace(longer, surface_fraction=1.0), longer, UNREFINED))
    assert near.mean() < 0.95 * uniform.mean()
    assert (near < 1.05 * unrefined).all()


@pytest.mark.parametrize("rate", [1e-4, 1.0, 100.0])
def test_refinement_with_a_bad_rate_returns_the_best_codes(samples, rate):
    config = replace(REFINED, steps=7, learning_rate=rate)
    before, after = (loss(QUANTIZER.encode_shapes(SHAPES, c), samples) for c in (UNREFINED, config))
    assert (after <= before).all()


@pytest.mark.parametrize("config", [UNREFINED, REFINED, replace(REFINED, surface_fraction=0.5, points_per_step=100)])
def test_fault_38_codes_do_not_depend_on_the_other_shapes_or_on_the_batch_or_on_the_threads(config):
    codes = QUANTIZER.encode_shapes(SHAPES, config)
    assert torch.equal(torch.cat([QUANTIZER.encode_shapes([shape], config) for shape in SHAPES]), codes)
    assert torch.equal(QUANTIZER.encode_shapes(SHAPES[::-1], replace(config, batch_size=3)).flip(0), codes)
    torch.set_num_threads(2)
    try:
        assert torch.equal(QUANTIZER.encode_shapes(SHAPES, config), codes)
    finally:
        torch.set_num_threads(1)
    corpus = sample_at_probes(1000)
    alone = [QUANTIZER.encode_samples(Samples(corpus.points, row[None]), config) for row in corpus.sdf]
    assert torch.equal(torch.cat(alone), QUANTIZER.encode_samples(corpus, config))
    fields = QUANTIZER.decode(random_codes(3))
    alone = [QUANTIZER.encode(fields.select([row]), config) for row in range(3)]
    assert torch.equal(torch.cat(alone), QUANTIZER.encode(fields, config))


def test_equal_seeds_give_equal_codes():
    first, second = (QUANTIZER.encode_shapes(SHAPES, REFINED) for _ in range(2))
    assert torch.equal(first, second)


def test_without_a_configuration_the_defaults_are_used():
    fields, samples = CODEBOOK.decode(random_codes(2)), sample_at_probes()
    assert torch.equal(QUANTIZER.encode(fields), QUANTIZER.encode(fields, EncodeConfig()))
    assert torch.equal(QUANTIZER.encode_shapes(SHAPES), QUANTIZER.encode_shapes(SHAPES, EncodeConfig()))
    assert torch.equal(QUANTIZER.encode_samples(samples), QUANTIZER.encode_samples(samples, EncodeConfig()))


def test_plain_fits_are_not_used():
    samples, fits = sample_at_probes(), CODEBOOK.decode(random_codes(len(SHAPES)))
    assert torch.equal(QUANTIZER.encode_fits(samples, fits, REFINED), QUANTIZER.encode_samples(samples, REFINED))


def test_half_precision_distances_are_read():
    samples = sample_at_probes()
    half = Samples(samples.points, samples.sdf.half())
    rounded = Samples(samples.points, half.sdf.float())
    assert torch.equal(QUANTIZER.encode_samples(half, REFINED), QUANTIZER.encode_samples(rounded, REFINED))


def test_a_decoded_field_has_the_codes_that_it_was_decoded_from():
    """Where code vectors are so far apart that each sum of them has one nearest code at each level."""
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    codebook = replace(CODEBOOK, code_vectors=torch.stack([0.2 * corners, 0.02 * corners]))
    quantizer, codes = RVQAutoencoder(codebook, ENCODER), random_codes(8)
    for config in (UNREFINED, REFINED):
        assert torch.equal(quantizer.encode(quantizer.decode(codes), config), codes)


def test_a_field_that_latents_can_write_gets_better_codes_than_its_quantized_latents():
    latents = 0.2 * torch.randn(8, CODEBOOK.num_chunks, CODEBOOK.latent_width, generator=generator(0))
    fields = QUANTIZER.decode_latents(latents)
    start, codes = QUANTIZER.quantize(latents), QUANTIZER.encode(fields, REFINED)
    assert loss(codes, own_samples(fields)).mean() < loss(start, own_samples(fields)).mean()


def test_encoding_a_decoded_field_is_stable():
    """A decoded field, encoded again, is no further from itself than its quantized projection is."""
    fields = CODEBOOK.decode(random_codes(8, seed=2))
    again, start = QUANTIZER.encode(fields, REFINED), CODEBOOK.quantize(CODEBOOK.project(fields))
    samples = own_samples(fields)
    assert loss(again, samples).mean() <= loss(start, samples).mean()
    assert loss(again, samples).mean() < 0.02
    assert torch.equal(QUANTIZER.encode(fields, REFINED), again)


def test_latents_decode_to_the_field_of_their_codes():
    codes = random_codes(3)
    assert QUANTIZER.has_latents
    assert torch.equal(QUANTIZER.decode_latents(QUANTIZER.latents(codes)).flat, QUANTIZER.decode(codes).flat)
    assert torch.equal(QUANTIZER.decode_latents(QUANTIZER.latents(codes, 1)).flat, QUANTIZER.decode(codes, 1).flat)
    assert QUANTIZER.tokens_per_field == codes[0].numel()


def test_the_shared_initial_field_is_the_one_of_zero_coefficients():
    zeros = torch.zeros(1, CODEBOOK.num_chunks, CODEBOOK.latent_width)  # without biases, of zero latents too
    torch.testing.assert_close(QUANTIZER.shared_init, QUANTIZER.decode_latents(zeros).flat[0])


def test_only_an_rvq_autoencoder_has_its_type():
    assert RVQAutoencoder.cast(QUANTIZER) is QUANTIZER
    for other in (tiny_weight_vq(), tiny_graph(CODEBOOK)):
        with pytest.raises(InputError, match="use an RVQ autoencoder"):
            RVQAutoencoder.cast(other)


def test_a_saved_quantizer_returns_bit_for_bit(tmp_path):
    QUANTIZER.save_pretrained(tmp_path)
    again = AutoQuantizer.from_pretrained(tmp_path)
    assert isinstance(again, RVQAutoencoder)
    assert again.fingerprint == QUANTIZER.fingerprint
    samples = sample_at_probes()
    assert torch.equal(again.encode_samples(samples, REFINED), QUANTIZER.encode_samples(samples, REFINED))


def test_samples_at_other_points_are_refused():
    for points in (uniform_points(300, 3, 1), ENCODER.probes[:-1]):
        with pytest.raises(InputError, match="first 32 points of the samples are not the probes of the encoder"):
            QUANTIZER.encode_samples(sample_sdf(SHAPES, points), UNREFINED)


def test_shapes_of_another_dimension_are_refused():
    with pytest.raises(InputError, match="for 3D shapes"):
        QUANTIZER.encode_shapes([sphere_shape(0.5, dimension=2)], UNREFINED)


def test_an_empty_list_of_shapes_is_refused():
    with pytest.raises(InputError, match="no shapes to encode"):
        QUANTIZER.encode_shapes([], UNREFINED)


def test_fault_37_a_shape_whose_distances_are_not_finite_is_named():
    shape = Shape(name="broken", label="none", sdf=lambda points: points[:, 0] / 0)
    with pytest.raises(InputError, match="shape 'broken' hold NaN or infinite"):
        QUANTIZER.encode_shapes([SHAPES[0], shape], UNREFINED)


def test_fields_of_another_architecture_are_refused():
    config = replace(CODEBOOK.field_config, activation="sine")
    with pytest.raises(InputError, match="learned for this architecture"):
        QUANTIZER.encode(Fields(config, torch.zeros(1, config.parameters)), UNREFINED)


def test_an_encoder_of_another_codebook_is_refused():
    coarse = replace(CODEBOOK, code_vectors=CODEBOOK.code_vectors[:1])
    assert RVQAutoencoder(coarse, ENCODER).num_quantizers == 1  # the encoder does not depend on the levels
    planar = tiny_encoder(CODEBOOK)
    planar.probes = planar.probes[:, :2]
    with pytest.raises(InputError, match=r"encoder is for .* \(3, 3, 2\), the codebook for \(3, 3, 3\)"):
        RVQAutoencoder(CODEBOOK, planar)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": -1},
        {"batch_size": 0},
        {"points_per_step": 0},
        {"num_points": 0},
        {"learning_rate": 0},
        {"surface_bandwidth": 0},
        {"surface_fraction": 1.5},
    ],
)
def test_settings_that_cannot_refine_are_refused(values):
    with pytest.raises(InputError, match="must be positive"):
        EncodeConfig(**values)
