"""Permuted fields are the same functions, and alignment restores the order of their neurons."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import box_shape, fitted_sphere, generator, sphere_shape, tiny_config
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.fields.functional import layer_matrices
from weightgpt.fields.symmetry import align, permute, random_permutations
from weightgpt.shapes.sampling import sample_sdf, shared_points

SMALL = FieldConfig(hidden=(5, 4), num_frequencies=1)
SEEDS = st.integers(0, 2**32)


@st.composite
def configs(draw: st.DrawFn, activations: tuple[str, ...] = ("relu", "gelu", "sine")) -> FieldConfig:
    return FieldConfig(
        in_features=draw(st.sampled_from([2, 3])),
        out_features=draw(st.integers(1, 3)),
        hidden=tuple(draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))),
        num_frequencies=draw(st.integers(0, 2)),
        activation=draw(st.sampled_from(activations)),
        output=draw(st.sampled_from(["none", "tanh"])),
    )


def random_weights(config: FieldConfig, count: int, seed: int = 0, size: float = 0.4) -> torch.Tensor:
    return torch.randn(count, config.parameters, generator=generator(seed)) * size


def random_factors(config: FieldConfig, count: int, seed: int = 0) -> list[torch.Tensor]:
    """From 1/4 to 4 for relu, signs for sine."""
    rows = [torch.rand(count, width, generator=generator(seed + i)) * 2 - 1 for i, width in enumerate(config.hidden)]
    return [4**row if config.activation == "relu" else torch.where(row < 0, -1.0, 1.0) for row in rows]


def inverse(permutations: list[torch.Tensor]) -> list[torch.Tensor]:
    """The permutations that undo others."""
    return [permutation.argsort(-1) for permutation in permutations]


def rescale(config: FieldConfig, flat: torch.Tensor, factors: list[torch.Tensor]) -> torch.Tensor:
    """Fields (B, P) whose neurons are scaled by factors (B, width): incoming weights and bias times, outgoing by."""
    matrices = [matrix.clone() for matrix in layer_matrices(config, flat)]
    for layer, factor in enumerate(factors):
        matrices[layer] *= factor[..., None]
        matrices[layer + 1][..., :-1] /= factor[:, None]
    return torch.cat([matrix.flatten(1) for matrix in matrices], 1)


def distance(flat: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (flat.double() - reference.double()).norm(dim=1)


def assert_same_functions(config: FieldConfig, flat: torch.Tensor, other: torch.Tensor) -> None:
    points = torch.rand(50, config.in_features, generator=generator(9)) * 2 - 1
    torch.testing.assert_close(Fields(config, other)(points), Fields(config, flat)(points), atol=1e-5, rtol=1e-5)


@given(configs(), SEEDS)
@settings(deadline=None, max_examples=40)
def test_permuted_fields_are_the_same_functions_and_the_inverse_restores_their_weights(config, seed):
    flat, permutations = random_weights(config, 3, seed), random_permutations(config, 3, seed)
    permuted = permute(config, flat, permutations)
    assert_same_functions(config, flat, permuted)
    assert torch.equal(permute(config, permuted, inverse(permutations)), flat)


def test_new_neuron_i_is_old_neuron_p_of_i():
    flat, orders = random_weights(SMALL, 2), [torch.tensor([3, 0, 4, 1, 2]), torch.tensor([1, 3, 0, 2])]
    old, new = layer_matrices(SMALL, flat), layer_matrices(SMALL, permute(SMALL, flat, orders))
    assert torch.equal(new[0], old[0][:, orders[0]])
    assert torch.equal(new[1], old[1][:, orders[1]][..., [*orders[0].tolist(), 5]])
    assert torch.equal(new[2], old[2][..., [*orders[1].tolist(), 4]])


def test_one_permutation_applies_to_all_fields_and_the_dtype_stays():
    flat, permutations = random_weights(SMALL, 3).double(), random_permutations(SMALL, 1, 0)
    shared = permute(SMALL, flat, [row[0] for row in permutations])
    assert torch.equal(shared, permute(SMALL, flat, [row.expand(3, -1) for row in permutations]))
    assert shared.dtype == torch.float64


def test_random_permutations_depend_on_their_seed():
    first, again, other = (random_permutations(SMALL, 4, seed) for seed in (1, 1, 2))
    assert [row.shape for row in first] == [(4, 5), (4, 4)]
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


@given(configs(("relu", "sine")), SEEDS)
@settings(deadline=None, max_examples=40)
def test_rescaled_relu_and_sine_fields_are_the_same_functions(config, seed):
    flat = random_weights(config, 3, seed)
    rescaled = rescale(config, flat, random_factors(config, 3, seed))
    assert_same_functions(config, flat, rescaled)


@given(configs(), SEEDS)
@settings(deadline=None, max_examples=40)
def test_alignment_undoes_permutations_and_signs_exactly(config, seed):
    reference = random_weights(config, 1, seed)[0]
    flat = reference + random_weights(config, 3, seed + 1, 1e-4)
    permutations = random_permutations(config, 3, seed)
    moved = permute(config, flat, permutations)
    if config.activation == "sine":
        moved = rescale(config, moved, random_factors(config, 3, seed))
    aligned, orders = align(config, moved, reference)
    assert torch.equal(aligned, flat)
    assert all(map(torch.equal, orders, inverse(permutations)))


@given(configs(), SEEDS)
@settings(deadline=None, max_examples=40)
def test_alignment_never_increases_the_distance_and_a_second_one_changes_nothing(config, seed):
    flat, reference = random_weights(config, 4, seed), random_weights(config, 1, seed + 1)[0]
    aligned, orders = align(config, flat, reference)
    assert (distance(aligned, reference) <= distance(flat, reference) + 1e-9).all()
    assert_same_functions(config, flat, aligned)
    again, orders_again = align(config, aligned, reference)
    assert torch.equal(again, aligned)
    assert all((order == torch.arange(order.shape[1])).all() for order in orders_again)
    if config.activation != "sine":
        assert torch.equal(permute(config, flat, orders), aligned)


def test_the_alignment_of_a_field_does_not_depend_on_the_other_fields():
    flat, reference = random_weights(SMALL, 6), random_weights(SMALL, 1, 1)[0]
    aligned, orders = align(SMALL, flat, reference)
    for index in range(6):
        alone, alone_orders = align(SMALL, flat[index : index + 1], reference)
        assert torch.equal(alone[0], aligned[index])
        assert all(torch.equal(one[0], all_[index]) for one, all_ in zip(alone_orders, orders, strict=True))
    nothing, none = align(SMALL, flat[:0], reference)
    assert nothing.shape == (0, SMALL.parameters)
    assert [order.shape for order in none] == [(0, 5), (0, 4)]


def test_alignment_brings_independent_fields_nearer():
    config = FieldConfig()
    flat, reference = random_weights(config, 8), random_weights(config, 1, 1)[0]
    aligned, _ = align(config, flat, reference)
    assert (distance(aligned, reference) < 0.95 * distance(flat, reference)).all()


def test_the_alignment_of_independent_fields_does_not_depend_on_the_order_of_their_neurons():
    config = FieldConfig()
    flat, reference = random_weights(config, 8), random_weights(config, 1, 1)[0]
    aligned, _ = align(config, flat, reference)
    for seed in range(3):
        other = permute(config, flat, random_permutations(config, 8, seed))
        assert torch.equal(align(config, other, reference)[0], aligned)


def test_equal_neurons_keep_their_order():
    flat = torch.ones(2, SMALL.parameters)
    aligned, orders = align(SMALL, flat, random_weights(SMALL, 1)[0])
    assert torch.equal(aligned, flat)
    assert all((order == torch.arange(order.shape[1])).all() for order in orders)


@pytest.mark.parametrize("activation", ["relu", "gelu", "sine"])
def test_256_permuted_fields_of_real_size_are_restored(activation):
    """Relative to the reference, the noise is as large as the change of shared-init fits from their initial weights."""
    config = FieldConfig(activation=activation)
    reference = random_weights(config, 1, 0, 0.125)[0]
    flat = reference + random_weights(config, 256, 1, 0.075)
    permutations = random_permutations(config, 256, 2)
    aligned, orders = align(config, permute(config, flat, permutations), reference)
    assert torch.equal(aligned, flat)
    assert all(map(torch.equal, orders, inverse(permutations)))


def test_permuted_shared_init_fits_are_restored():
    shapes = [sphere_shape(radius) for radius in (0.4, 0.5, 0.7, 0.8)]
    shapes += [box_shape((side, 0.8, 1.0)) for side in (0.6, 0.9, 1.2, 1.5)]
    samples = sample_sdf(shapes, shared_points(shapes, 2048, 0))
    fits = fit(
        tiny_config(), samples, FitConfig(steps=100, points_per_step=512, batch_size=8), shared_init=fitted_sphere()
    )
    flat = fits.fields.flat.repeat(8, 1)
    assert (distance(flat, fitted_sphere()) > 0.1).all()
    permuted = permute(tiny_config(), flat, random_permutations(tiny_config(), 64, 0))
    assert torch.equal(align(tiny_config(), permuted, fitted_sphere())[0], flat)


def with_first_order(value: torch.Tensor) -> list[torch.Tensor]:
    """Orders for `SMALL`: `value` for its first layer and a valid one for its second."""
    return [value, torch.arange(4)]


@pytest.mark.parametrize(
    ("permutations", "fragment"),
    [
        ([torch.arange(5)], "one tensor for each of the hidden layers"),
        ([torch.arange(5), torch.arange(4), torch.arange(1)], "one tensor for each of the hidden layers"),
        (with_first_order(torch.arange(6)), r"of shape \(width,\) or \(2, width\)"),
        (with_first_order(torch.arange(5).expand(3, -1)), r"of shape \(width,\) or \(2, width\)"),
        (with_first_order(torch.tensor(0)), r"of shape \(width,\) or \(2, width\)"),
        (with_first_order(torch.tensor([0, 1, 2, 3, 3])), "hidden layer 0 is not a permutation"),
        (with_first_order(torch.tensor([1, 2, 3, 4, 5])), "hidden layer 0 is not a permutation"),
        (with_first_order(torch.tensor([0, 1, 2, 3, -1])), "hidden layer 0 is not a permutation"),
        (with_first_order(torch.arange(5.0)), "hidden layer 0 is not a permutation"),
    ],
)
def test_values_that_are_no_permutations_are_refused(permutations, fragment):
    with pytest.raises(InputError, match=fragment):
        permute(SMALL, random_weights(SMALL, 2), permutations)


def test_a_negative_count_of_permutations_is_refused():
    with pytest.raises(InputError, match="at least 0"):
        random_permutations(SMALL, -1, 0)


CALLS: list[Callable[[torch.Tensor], object]] = [
    lambda flat: permute(SMALL, flat, [torch.arange(width) for width in SMALL.hidden]),
    lambda flat: align(SMALL, flat, torch.zeros(SMALL.parameters)),
]


@pytest.mark.parametrize("call", CALLS)
def test_weights_that_are_no_fields_are_refused(call):
    broken = random_weights(SMALL, 3)
    broken[1, 2] = math.nan
    with pytest.raises(InputError, match=r"fields \[1\] have NaN"):
        call(broken)
    for shape in [(2, SMALL.parameters + 1), (SMALL.parameters,)]:
        with pytest.raises(InputError, match="same architecture"):
            call(torch.zeros(shape))


@pytest.mark.parametrize(
    ("reference", "fragment"),
    [
        (torch.zeros(SMALL.parameters - 1), f"the {SMALL.parameters} weights of one field"),
        (torch.zeros(1, SMALL.parameters), f"the {SMALL.parameters} weights of one field"),
        (torch.full((SMALL.parameters,), math.inf), "the reference has NaN or infinite"),
    ],
)
def test_a_reference_that_is_no_field_is_refused(reference, fragment):
    with pytest.raises(InputError, match=fragment):
        align(SMALL, random_weights(SMALL, 2), reference)
