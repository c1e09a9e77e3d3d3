"""The shared training steps: gradients pass the quantizer, points follow the settings, losses are recorded."""

import pytest
import torch

from tests.fakes import generator, tiny_config, tiny_corpus
from tokenization.autoencoder_training import (
    COMMITMENT_WEIGHT,
    AutoencoderConfig,
    commitment_penalty,
    optimize,
    reconstruction_loss,
    straight_through,
)
from weightgpt.errors import InputError
from weightgpt.fields.functional import first_layer_inputs
from weightgpt.fields.optimization import cosine_rate


def test_values_are_quantized_and_gradients_pass_unchanged():
    latents = torch.tensor([[0.2, 1.7]], requires_grad=True)
    passed, quantized = straight_through(latents, torch.round)
    assert torch.equal(passed, torch.tensor([[0.0, 2.0]]))
    assert torch.equal(quantized, passed)
    (passed * torch.tensor([3.0, 5.0])).sum().backward()
    assert torch.equal(latents.grad, torch.tensor([[3.0, 5.0]]))


def test_the_commitment_penalty_draws_latents_to_constant_code_vectors():
    latents = torch.tensor([[0.5, 2.0]], requires_grad=True)
    penalty = commitment_penalty(latents, torch.round(latents.detach()))
    assert penalty.item() == pytest.approx(COMMITMENT_WEIGHT * 0.125)
    penalty.backward()
    assert torch.allclose(latents.grad, COMMITMENT_WEIGHT * torch.tensor([[0.5, 0.0]]))


def loss_of(sdf: torch.Tensor, **settings: float | bool) -> float:
    """The loss of the corpus' own fits at random points."""
    corpus, config = tiny_corpus(), AutoencoderConfig(points_per_step=4096, **settings)
    encoded = first_layer_inputs(corpus.samples.points, tiny_config())
    return float(reconstruction_loss(config, tiny_config(), corpus.fits.flat, encoded, sdf, generator(0)))


def test_the_loss_is_lower_for_the_shapes_of_the_fits_than_for_other_shapes():
    sdf = tiny_corpus().samples.sdf
    assert loss_of(sdf) < 0.5 * loss_of(sdf.flip(0))


def test_squared_errors_raise_the_loss_by_their_weight():
    sdf = tiny_corpus().samples.sdf
    plain, one, two = (loss_of(sdf, squared_weight=weight) for weight in (0.0, 1.0, 2.0))
    assert plain < one < two
    assert two - one == pytest.approx(one - plain, rel=1e-4)


def test_balanced_sides_count_errors_inside_a_small_shape_more_often():
    """The distances are wrong inside alone: the more points lie inside, the larger is the loss."""
    sdf = tiny_corpus().samples.sdf
    wrong = torch.where(sdf < 0, sdf - 1, sdf)
    thin = torch.where(sdf > -0.02, sdf.abs(), wrong)  # only the core of each shape is inside
    errors = {balanced: loss_of(thin, balance_sides=balanced, surface_bandwidth=1.0) for balanced in (False, True)}
    assert errors[True] > 1.1 * errors[False]


def test_every_group_follows_the_cosine_from_its_peak_learning_rate():
    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    groups = [{"params": [first], "lr": 1.0}, {"params": [second], "lr": 0.1}]
    values = []

    def step(_: int) -> tuple[torch.Tensor, torch.Tensor]:
        values.append((first.item(), second.item()))
        # A gradient of one: each step moves by the learning rate.
        return 100 + (first + second).sum(), torch.zeros(())

    optimize(11, step, [torch.optim.SGD(groups)], torch.nn.ParameterList([first, second]))
    moves = -torch.tensor(values).diff(dim=0)
    rates = torch.tensor([cosine_rate(i, 11) for i in range(10)])
    assert torch.allclose(moves, torch.stack([rates, 0.1 * rates], 1), atol=1e-6)


def test_the_history_holds_mean_losses_without_penalties():
    weight, calls = torch.nn.Parameter(torch.zeros(1)), []

    def step(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return 0 * weight.sum() + 100 - number, torch.tensor(100.0)

    optimizers, module = [torch.optim.SGD([weight], lr=1.0)], torch.nn.ParameterList([weight])
    history = optimize(100, step, optimizers, module, callback=lambda *entry: calls.append(entry))
    assert history == [(2 * i + 2, 99.5 - 2 * i) for i in range(50)]
    assert calls == history


@pytest.mark.parametrize("name", ["steps", "batch_size", "points_per_step", "surface_bandwidth"])
def test_a_setting_of_zero_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is 0; give"):
        AutoencoderConfig(**{name: 0})


def test_shares_and_weights_outside_their_range_are_refused():
    with pytest.raises(InputError, match=r"surface_fraction is 1\.5"):
        AutoencoderConfig(surface_fraction=1.5)
    with pytest.raises(InputError, match=r"squared_weight is -1\.0; give 0 or more"):
        AutoencoderConfig(squared_weight=-1.0)
