"""The latents do not depend on the order of hidden neurons, and a saved encoder returns bit for bit."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import tiny_codebook, tiny_config, tiny_graph
from tests.fields.test_symmetry import SEEDS, configs, random_weights
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.symmetry import permute, random_permutations
from weightgpt.io import write_tensors
from weightgpt.quantizers.graph_encoder import GraphEncoder
from weightgpt.shapes.sampling import uniform_points

CODEBOOK = tiny_codebook()
ENCODER = tiny_graph(CODEBOOK).encoder
LOAD = (tiny_config(), CODEBOOK.num_chunks, CODEBOOK.latent_width)


@given(configs(), SEEDS, st.sampled_from([0, 5]), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
@torch.no_grad()
def test_latents_do_not_depend_on_the_order_of_neurons(config, seed, traces, rounds):
    """The encoder alone, on fields that are not in canonical form; up to rounding."""
    torch.manual_seed(seed)
    encoder = GraphEncoder(config, 2, 3, uniform_points(traces, config.in_features, 0), 8, rounds).eval()
    flat = random_weights(config, 3, seed)
    latents = encoder(flat)
    assert latents.shape == (3, 2, 3)
    permuted = permute(config, flat, random_permutations(config, 3, seed))
    torch.testing.assert_close(encoder(permuted), latents, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_every_weight_changes_the_latents_of_the_graph_alone():
    """Without traces and without a shape encoder."""
    torch.manual_seed(0)
    encoder = GraphEncoder(*LOAD, torch.zeros(0, 3), 8, 3)
    flat = random_weights(tiny_config(), 1)
    flat.requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(encoder(flat).square().sum(), flat)
    assert (slope != 0).all()


@torch.no_grad()
def test_before_training_the_latents_are_those_of_the_shape_encoder():
    shape_encoder = tiny_graph(CODEBOOK).encoder.shape_encoder
    encoder = GraphEncoder(*LOAD, torch.zeros(0, 3), shape_encoder=shape_encoder)
    flat, fields = random_weights(tiny_config(), 4), CODEBOOK.decode(torch.zeros(1, 3, 2).long())
    torch.testing.assert_close(encoder(fields.flat), shape_encoder(fields(shape_encoder.probes)[..., 0]))
    assert not torch.allclose(ENCODER(flat), encoder(flat))


def test_a_shape_encoder_needs_one_distance():
    config = replace(tiny_config(), out_features=2)
    with pytest.raises(InputError, match="not 2 outputs"):
        GraphEncoder(config, 3, 3, torch.zeros(0, 3), shape_encoder=ENCODER.shape_encoder)


@pytest.mark.parametrize("shape_encoder", [None, ENCODER.shape_encoder])
@pytest.mark.parametrize("traces", [0, 8])
def test_a_saved_encoder_returns_bit_for_bit(tmp_path, shape_encoder, traces):
    encoder = GraphEncoder(*LOAD, uniform_points(traces, 3, 0), 8, 2, shape_encoder)
    write_tensors(tmp_path / "encoder.safetensors", encoder.tensors())
    again, flat = GraphEncoder.load(tmp_path, *LOAD), random_weights(tiny_config(), 2)
    assert {name: value.tolist() for name, value in again.state_dict().items()} == {
        name: value.tolist() for name, value in encoder.state_dict().items()
    }
    assert torch.equal(again(flat), encoder(flat))


@pytest.mark.parametrize(
    "sizes", [(FieldConfig(hidden=(6,), num_frequencies=1), *LOAD[1:]), (LOAD[0], 4, LOAD[2]), (*LOAD[:2], 9)]
)
def test_an_encoder_of_another_size_is_refused(tmp_path, sizes):
    write_tensors(tmp_path / "encoder.safetensors", ENCODER.tensors())
    with pytest.raises(InputError, match="take all files from one folder"):
        GraphEncoder.load(tmp_path, *sizes)
