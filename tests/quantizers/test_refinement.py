"""Both doors lead to codes that are at least as good as where they started."""

from dataclasses import replace

import pytest
import torch
from weightgpt.quantizers.refinement import encode_fields, encode_samples, encode_shapes

from tests.fakes import box_shape, generator, sphere_shape, tiny_codebook, tiny_encoder
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.optimization import truncated_loss
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples, sample, shared_schedule
from weightgpt.shapes.shape import Shape

CODEBOOK = tiny_codebook()
ENCODER = tiny_encoder(CODEBOOK)
AS_IT_IS = EncodeConfig(steps=0, num_points=2048)
REFINED = EncodeConfig(steps=60, num_points=2048, points_per_step=512, learning_rate=3e-2)
SHAPES = [sphere_shape(0.5), sphere_shape(0.7), box_shape((1.2, 1.0, 0.6)), box_shape((0.6, 1.4, 0.6))]


def loss(codes: torch.Tensor, samples: Samples) -> torch.Tensor:
    """(B,) loss of the decoded fields."""
    return truncated_loss(CODEBOOK.decode(codes)(samples.points)[..., 0], samples.sdf, 5.0)


def random_codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        CODEBOOK.codebook_size, (count, CODEBOOK.layout.num_chunks, CODEBOOK.num_quantizers), generator=generator(seed)
    )


def apart() -> Codebook:
    """Code vectors so far apart, and levels so different, that each sum of them has one nearest code at each level."""
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    return replace(CODEBOOK, code_vectors=torch.stack([0.2 * corners, 0.02 * corners]))


@pytest.fixture(scope="module")
def samples() -> Samples:
    return sample(SHAPES, shared_schedule(SHAPES, REFINED.num_points, REFINED.seed))


def test_without_steps_the_codes_are_those_of_the_encoder():
    codes = encode_shapes(CODEBOOK, ENCODER, SHAPES, AS_IT_IS)
    assert torch.equal(codes, CODEBOOK.quantize(ENCODER(sample(SHAPES, ENCODER.probes).sdf)))


def test_refining_never_makes_a_code_worse_and_makes_them_better_together(samples):
    before, after = (
        loss(encode_shapes(CODEBOOK, ENCODER, SHAPES, options), samples) for options in (AS_IT_IS, REFINED)
    )
    assert (after <= before).all()
    assert after.mean() < 0.8 * before.mean()


def test_points_near_the_surface_make_what_they_show_better(samples):
    """Drawn with chances that fall from the surface, equal inside and outside, they lower the loss under those."""
    chances = torch.exp(-samples.sdf.abs() / 0.03)
    sides = [
        chances * inside / (chances * inside).sum(1, keepdim=True) for inside in (samples.sdf < 0, samples.sdf >= 0)
    ]

    def left(options: EncodeConfig) -> torch.Tensor:
        values = CODEBOOK.decode(encode_shapes(CODEBOOK, ENCODER, SHAPES, options))(samples.points)[..., 0]
        wrong = (torch.tanh(5 * values) - torch.tanh(5 * samples.sdf)).abs()
        return ((sides[0] + sides[1]) / 2 * wrong).sum(1)

    longer = replace(REFINED, steps=200)
    near, uniform, unrefined = (left(o) for o in (replace(longer, surface_fraction=1.0), longer, AS_IT_IS))
    assert near.mean() < 0.95 * uniform.mean()
    assert (near < 1.05 * unrefined).all()


@pytest.mark.parametrize("rate", [1e-4, 1.0, 100.0])
def test_refining_that_goes_astray_keeps_the_best(samples, rate):
    options = replace(REFINED, steps=7, learning_rate=rate)
    before, after = (loss(encode_shapes(CODEBOOK, ENCODER, SHAPES, o), samples) for o in (AS_IT_IS, options))
    assert (after <= before).all()


@pytest.mark.parametrize("surface", [0.0, 0.5])
def test_the_group_does_not_matter(surface):
    options = replace(REFINED, surface_fraction=surface)
    groups = [encode_shapes(CODEBOOK, ENCODER, SHAPES, replace(options, batch_size=group)) for group in (1, 3, 4)]
    assert torch.equal(groups[0], groups[1])
    assert torch.equal(groups[0], groups[2])


def test_equal_seeds_give_equal_codes():
    first, second = (encode_shapes(CODEBOOK, ENCODER, SHAPES, REFINED) for _ in range(2))
    assert torch.equal(first, second)


def test_half_precision_distances_are_read(samples):
    probed = sample(SHAPES, ENCODER.probes).sdf.half()
    half = Samples(samples.points, samples.sdf.half())
    rounded = Samples(half.points, half.sdf.float())
    expected = encode_samples(CODEBOOK, ENCODER, rounded, probed.float(), REFINED)
    assert torch.equal(encode_samples(CODEBOOK, ENCODER, half, probed, REFINED), expected)


def test_a_field_of_the_codebook_comes_back_as_itself():
    """The second door is the inverse of decoding where the levels do not overlap."""
    codebook, codes = apart(), random_codes(8)
    for options in (AS_IT_IS, REFINED):
        assert torch.equal(encode_fields(codebook, ENCODER, codebook.decode(codes), options), codes)


def test_a_field_of_the_subspace_is_never_worse_than_its_own_quantized_projection():
    latents = 0.2 * torch.randn(8, CODEBOOK.layout.num_chunks, CODEBOOK.latent_width, generator=generator(0))
    fields = Fields(CODEBOOK.layout.field_config, CODEBOOK.join(latents))
    start, codes = CODEBOOK.quantize(latents), encode_fields(CODEBOOK, ENCODER, fields, REFINED)
    points = shared_schedule(SHAPES, 4096, 1)
    own = Samples(points, fields(points)[..., 0])
    assert loss(codes, own).mean() < loss(start, own).mean()


def test_encoding_what_was_decoded_is_stable():
    """Encoded again, a decoded field moves no further from itself than the first codes are."""
    fields = CODEBOOK.decode(random_codes(8, seed=2))
    points = shared_schedule(SHAPES, 4096, 1)
    own = Samples(points, fields(points)[..., 0])
    again = encode_fields(CODEBOOK, ENCODER, fields, REFINED)
    start = CODEBOOK.quantize(CODEBOOK.project(fields))
    assert loss(again, own).mean() <= loss(start, own).mean()
    assert loss(again, own).mean() < 0.02
    assert torch.equal(encode_fields(CODEBOOK, ENCODER, fields, REFINED), again)


def test_shapes_of_another_dimension_are_refused():
    with pytest.raises(InputError, match="for 3D shapes"):
        encode_shapes(CODEBOOK, ENCODER, [sphere_shape(0.5, dimension=2)], AS_IT_IS)


def test_no_shapes_are_refused():
    with pytest.raises(InputError, match="corpus is empty"):
        encode_shapes(CODEBOOK, ENCODER, [], AS_IT_IS)


def test_distances_that_are_not_finite_are_refused():
    shape = Shape(name="broken", label="none", sdf=lambda points: points[:, 0] / 0)
    with pytest.raises(InputError, match="NaN or infinite"):
        encode_shapes(CODEBOOK, ENCODER, [SHAPES[0], shape], AS_IT_IS)


def test_fields_of_another_architecture_are_refused():
    config = replace(CODEBOOK.layout.field_config, activation="sine")
    with pytest.raises(InputError, match="learned for this architecture"):
        encode_fields(CODEBOOK, ENCODER, Fields(config, torch.zeros(1, config.parameters)), AS_IT_IS)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": -1},
        {"batch_size": 0},
        {"points_per_step": 0},
        {"num_points": 0},
        {"learning_rate": 0},
        {"surface_fraction": 1.5},
    ],
)
def test_settings_that_cannot_refine_are_refused(values):
    with pytest.raises(InputError, match="must be positive"):
        EncodeConfig(**values)


def test_an_encoder_comes_back_bit_for_bit(tmp_path):
    ENCODER.save(tmp_path)
    again, sdf = ShapeEncoder.load(tmp_path, CODEBOOK.layout.num_chunks, CODEBOOK.latent_width), torch.rand(5, 32) - 0.5
    assert again.state_dict().keys() == ENCODER.state_dict().keys()
    assert torch.equal(again(sdf), ENCODER(sdf))
    assert again.truncation == ENCODER.truncation
    assert not again.training


def test_far_distances_are_all_alike_to_the_encoder():
    far = torch.where(torch.arange(32) % 2 == 0, 3.0, -3.0)[None]
    torch.testing.assert_close(ENCODER(far), ENCODER(2 * far), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("chunks", "width"), [(4, 3), (3, 4), (9, 9)])
def test_an_encoder_of_another_size_is_refused(tmp_path, chunks, width):
    ENCODER.save(tmp_path)
    with pytest.raises(InputError, match="not the encoder of this codebook"):
        ShapeEncoder.load(tmp_path, chunks, width)


def test_a_cut_or_missing_encoder_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        ShapeEncoder.load(tmp_path, 3, 3)
    ENCODER.save(tmp_path)
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        ShapeEncoder.load(tmp_path, 3, 3)
