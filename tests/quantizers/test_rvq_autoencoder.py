"""Codebook and encoder joined: the doors of `encoding`, behind the interface of all quantizers."""

import pytest
import torch
from weightgpt.quantizers.refinement import encode_fields, encode_samples, encode_shapes

from tests.fakes import box_shape, fitted_sphere, generator, sphere_shape, tiny_codebook, tiny_config, tiny_encoder
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.quantizers.auto import load_quantizer
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.sampling import Samples, sample, uniform_points

CODEBOOK = tiny_codebook()
ENCODER = tiny_encoder(CODEBOOK)
LOOP = RVQAutoencoder(CODEBOOK, ENCODER)
OPTIONS = EncodeConfig(steps=3, points_per_step=128, num_points=512)
SHAPES = [sphere_shape(0.5), box_shape()]


def samples() -> Samples:
    """At points that begin with the encoder's probes, as those of a run do."""
    return sample(SHAPES, torch.cat([ENCODER.probes, uniform_points(300, 3, 1)]))


def test_every_door_is_the_one_of_encoding():
    fields = Fields(tiny_config(), fitted_sphere()[None])
    assert torch.equal(LOOP.encode(fields, OPTIONS), encode_fields(CODEBOOK, ENCODER, fields, OPTIONS))
    assert torch.equal(LOOP.encode_shapes(SHAPES, OPTIONS), encode_shapes(CODEBOOK, ENCODER, SHAPES, OPTIONS))
    expected = encode_samples(CODEBOOK, ENCODER, samples(), sample(SHAPES, ENCODER.probes).sdf, OPTIONS)
    assert torch.equal(LOOP.encode_samples(samples(), OPTIONS), expected)
    assert torch.equal(LOOP.encode_samples(samples(), OPTIONS, fits=fields), expected)


def test_what_it_says_of_itself_is_what_its_codebook_says():
    codes = torch.randint(8, (3, 3, 2), generator=generator(0))
    assert torch.equal(LOOP.decode(codes, 1).flat, CODEBOOK.decode(codes, 1).flat)
    assert (LOOP.num_chunks, LOOP.num_quantizers, LOOP.codebook_size, LOOP.tokens_per_field) == (3, 2, 8, 6)
    assert LOOP.fingerprint == CODEBOOK.fingerprint
    torch.testing.assert_close(LOOP.shared_init, fitted_sphere())


def test_it_comes_back_bit_for_bit(tmp_path):
    LOOP.save_pretrained(tmp_path)
    again = load_quantizer(tmp_path)
    assert isinstance(again, RVQAutoencoder)
    assert again.fingerprint == LOOP.fingerprint
    assert torch.equal(again.encode_samples(samples(), OPTIONS), LOOP.encode_samples(samples(), OPTIONS))


def test_samples_at_other_points_are_refused():
    for points in (uniform_points(300, 3, 1), ENCODER.probes[:-1]):
        with pytest.raises(InputError, match="first 32 of the samples' points are not the encoder's probes"):
            LOOP.encode_samples(sample(SHAPES, points), OPTIONS)
