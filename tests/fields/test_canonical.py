"""The canonical form is the same function, and equal bit for bit for all orders of the hidden neurons."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import generator
from tests.fields.test_symmetry import SEEDS, SMALL, assert_same_functions, configs, random_weights, rescale
from weightgpt.errors import InputError
from weightgpt.fields.canonical import canonicalize
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.functional import layer_matrices
from weightgpt.fields.symmetry import permute, random_permutations


def coarse_weights(config: FieldConfig, count: int, seed: int) -> torch.Tensor:
    """Weights of few values, with zeros of both signs, so that neurons are often equal."""
    return torch.randint(-1, 2, (count, config.parameters), generator=generator(seed)) * -0.3


def powers_of_two(config: FieldConfig, count: int, seed: int) -> list[torch.Tensor]:
    source = generator(seed)
    return [2.0 ** torch.randint(-6, 7, (count, width), generator=source) for width in config.hidden]


@given(configs(), SEEDS, st.booleans())
@settings(deadline=None, max_examples=60)
def test_all_orders_have_one_form_bit_for_bit_which_is_the_same_function(config, seed, coarse):
    flat = coarse_weights(config, 3, seed) if coarse else random_weights(config, 3, seed)
    form = canonicalize(config, flat)
    assert torch.equal(canonicalize(config, permute(config, flat, random_permutations(config, 3, seed))), form)
    assert torch.equal(canonicalize(config, form), form)
    assert_same_functions(config, flat, form)


@given(configs(("relu",)), SEEDS)
@settings(deadline=None, max_examples=30)
def test_relu_fields_have_one_form_at_every_scale(config, seed):
    flat = random_weights(config, 3, seed)
    form = canonicalize(config, flat)
    assert torch.equal(canonicalize(config, rescale(config, flat, powers_of_two(config, 3, seed))), form)
    for matrix in layer_matrices(config, form)[:-1]:
        assert torch.equal(matrix.abs().amax(2), torch.ones(matrix.shape[:2]))


def test_equal_neurons_are_merged():
    """Three equal neurons have outgoing weights 0.1, 0.2 and 0.3 in any order; one neuron then has their sum."""
    config = FieldConfig(hidden=(4,), num_frequencies=0, activation="gelu")
    equal, other = torch.tensor([0.5, 0.0, 0.0, 0.1]), torch.tensor([0.9, 0.0, 0.0, 0.0])
    rows = torch.cat([equal, other, equal, equal])
    for outgoing in ([0.1, 0.7, 0.2, 0.3], [0.3, 0.7, 0.1, 0.2]):
        form = canonicalize(config, torch.cat([rows, torch.tensor([*outgoing, 0.0])])[None])
        first, last = layer_matrices(config, form)
        assert torch.equal(first[0], torch.stack([equal, other, 0 * equal, 0 * equal]))
        assert torch.allclose(last[0, 0, :2], torch.tensor([0.6, 0.7]))
        assert not last[0, 0, 2:].any()


def test_neurons_of_zeros_do_not_change():
    flat = torch.zeros(2, SMALL.parameters)
    assert torch.equal(canonicalize(SMALL, flat), flat)
    assert canonicalize(SMALL, flat[:0]).shape == (0, SMALL.parameters)


@pytest.mark.parametrize("activation", ["gelu", "sine"])
def test_only_relu_neurons_are_scaled(activation):
    config = replace(SMALL, activation=activation)
    flat = random_weights(config, 2)
    first, form = layer_matrices(config, flat)[0], layer_matrices(config, canonicalize(config, flat))[0]
    assert torch.equal(form.flatten().sort().values, first.flatten().sort().values)


def test_weights_that_are_no_fields_are_refused():
    broken = random_weights(SMALL, 3)
    broken[1, 2] = float("nan")
    with pytest.raises(InputError, match=r"fields \[1\] have NaN"):
        canonicalize(SMALL, broken)
    with pytest.raises(InputError, match="same architecture"):
        canonicalize(SMALL, torch.zeros(2, SMALL.parameters + 1))
