"""Fits reach their shapes, are the same however they are grouped or interrupted, and start where they are told to."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import box_shape, sphere_shape, tiny_config
from weightgpt.errors import InputError
from weightgpt.fields import fitting
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit, fit_mean_initialization, random_initializations
from weightgpt.fields.optimization import cosine_rate, point_slices, truncated_loss
from weightgpt.metrics.pairwise import iou
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points

RADII = [0.4, 0.5, 0.6, 0.7, 0.8]
SHORT = FitConfig(steps=20, points_per_step=256, batch_size=2)


@pytest.fixture(scope="module")
def spheres() -> Samples:
    shapes = [sphere_shape(radius) for radius in RADII]
    return sample_sdf(shapes, shared_points(shapes, 2048, 0))


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        (sphere_shape(0.6), FieldConfig(hidden=(16, 16), num_frequencies=1)),
        (box_shape((1.2, 0.8, 1.0)), FieldConfig(hidden=(16, 16), num_frequencies=1)),
        (sphere_shape(0.5, dimension=2), FieldConfig(in_features=2, hidden=(12, 12), num_frequencies=1)),
    ],
)
def test_a_small_field_reaches_its_shape(shape, config):
    samples = sample_sdf([shape], shared_points([shape], 4096, 0))
    fits = fit(config, samples, FitConfig(steps=300, points_per_step=512, learning_rate=1e-2))
    points = uniform_points(20_000, shape.dimension, 1)
    assert iou(fits.fields(points)[..., 0], shape.sdf(points)).item() > 0.93


def test_the_loss_that_is_told_is_the_loss_of_the_fields(spheres):
    fits = fit(tiny_config(), spheres, FitConfig(steps=200, points_per_step=2048, learning_rate=1e-2))
    final = truncated_loss(fits.fields(spheres.points)[..., 0], spheres.sdf, 5.0)
    torch.testing.assert_close(fits.loss, final, rtol=0.1, atol=0)
    assert (fits.history[:, -1] < 0.5 * fits.history[:, 0]).all()


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_the_history_is_the_mean_of_twentieths_and_finite_for_the_shortest_fit(spheres, steps):
    fits = fit(tiny_config(), spheres, replace(SHORT, steps=steps))
    assert fits.history.shape == (len(RADII), 20)
    assert torch.isfinite(fits.history).all()
    if steps == 40:
        torch.testing.assert_close(fits.loss, fits.history[:, -2:].mean(1))


def test_fits_go_on_after_three_quarters(spheres):
    fits = fit(tiny_config(), spheres, FitConfig(steps=100, points_per_step=512, learning_rate=1e-2))
    early, late = (
        truncated_loss(f(spheres.points)[..., 0], spheres.sdf, 5.0) for f in (fits.at_three_quarters, fits.fields)
    )
    assert late.mean() < early.mean()


def test_fields_that_start_from_the_mean_field_start_closer_and_stay_closer(spheres):
    options = FitConfig(steps=60, points_per_step=512, learning_rate=1e-2)
    start = fit_mean_initialization(tiny_config(), spheres, replace(options, steps=200))
    conditioned, free = fit(tiny_config(), spheres, options, shared_init=start), fit(tiny_config(), spheres, options)
    assert (conditioned.history[:, 0] < 0.8 * free.history[:, 0]).all()
    assert spread(conditioned.fields) < 0.5 * spread(free.fields)


def spread(fields: Fields) -> float:
    return float((fields.flat - fields.flat.mean(0)).norm(dim=1).mean())


def test_the_mean_field_of_spheres_is_a_sphere_between_them(spheres):
    options = FitConfig(steps=300, points_per_step=512, learning_rate=1e-2)
    field, points = fit_mean_initialization(tiny_config(), spheres, options), uniform_points(10_000, 3, 2)
    values = Fields(tiny_config(), field[None])(points)[..., 0]
    assert iou(values, sphere_shape(0.6).sdf(points)).item() > 0.85
    mean = torch.tanh(5 * torch.stack([sphere_shape(radius).sdf(points) for radius in RADII])).mean(0)
    assert (torch.tanh(5 * values) - mean).abs().mean() < 0.1


@pytest.mark.parametrize("conditioned", [True, False])
def test_the_group_does_not_matter(spheres, conditioned):
    start = random_initializations(tiny_config(), 1, 9)[0] if conditioned else None
    fits = [fit(tiny_config(), spheres, replace(SHORT, batch_size=group), shared_init=start) for group in (1, 2, 5)]
    for other in fits[1:]:
        torch.testing.assert_close(other.fields.flat, fits[0].fields.flat, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.loss, fits[0].loss, atol=1e-4, rtol=1e-4)


def test_equal_seeds_give_equal_fits(spheres):
    first, second, other = (fit(tiny_config(), spheres, replace(SHORT, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.fields.flat, second.fields.flat)
    assert not torch.equal(first.fields.flat, other.fields.flat)


def test_unconditioned_fields_of_one_shape_differ(spheres):
    same = Samples(spheres.points, spheres.sdf[:1].expand(5, -1))
    flat = fit(tiny_config(), same, SHORT).fields.flat
    assert torch.pdist(flat).min() > 0.5


def test_conditioned_fields_of_one_shape_are_equal(spheres):
    same = Samples(spheres.points, spheres.sdf[:1].expand(3, -1))
    flat = fit(tiny_config(), same, SHORT, shared_init=random_initializations(tiny_config(), 1, 0)[0]).fields.flat
    torch.testing.assert_close(flat, flat[:1].expand(3, -1), atol=1e-4, rtol=1e-4)


def test_an_interrupted_fit_goes_on_where_it_stopped(spheres, tmp_path, monkeypatch):
    """Ctrl-C after the first group: the second run fits only the others, and ends as if nothing had happened."""
    expected, fitted, fit_group = fit(tiny_config(), spheres, SHORT), [], fitting._fit_group

    def interrupted(*args):
        if len(fitted) == 1:
            raise KeyboardInterrupt
        fitted.append(args)
        return fit_group(*args)

    monkeypatch.setattr(fitting, "_fit_group", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config(), spheres, SHORT, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    fitted.clear()
    monkeypatch.setattr(fitting, "_fit_group", lambda *args: fitted.append(args) or fit_group(*args))
    resumed = fit(tiny_config(), spheres, SHORT, folder=tmp_path)
    assert len(fitted) == 2
    assert torch.equal(resumed.fields.flat, expected.fields.flat)
    assert torch.equal(resumed.at_three_quarters.flat, expected.at_three_quarters.flat)
    assert torch.equal(resumed.loss, expected.loss)
    assert torch.equal(resumed.history, expected.history)


def test_a_half_written_group_is_told(spheres, tmp_path):
    fit(tiny_config(), spheres, SHORT, folder=tmp_path)
    path = min(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        fit(tiny_config(), spheres, SHORT, folder=tmp_path)


def test_the_eikonal_term_brings_the_slope_closer_to_one(spheres):
    config = FieldConfig(hidden=(12, 12), num_frequencies=0, activation="gelu")
    options = FitConfig(steps=150, points_per_step=256, learning_rate=1e-2)
    plain, even = (fit(config, spheres, replace(options, eikonal=weight)).fields for weight in (0.0, 0.5))
    assert slope_error(even) < 0.7 * slope_error(plain)


def slope_error(fields: Fields) -> float:
    """Mean distance of the length of the gradient from 1."""
    points = uniform_points(1000, 3, 3).expand(len(fields), -1, -1).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(fields(points).sum(), points)
    return float((gradient.norm(dim=-1) - 1).abs().mean())


def test_the_rate_warms_up_to_one_and_ends_at_zero():
    rates = [cosine_rate(step, 400) for step in range(400)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0.99 < rates[peak] <= 1
    assert 0 < rates[-1] < 1e-3
    assert 0 < rates[0] < 0.1


@pytest.mark.parametrize(("total", "size"), [(100, 30), (30, 30), (20, 30)])
def test_slices_lie_within_the_schedule_and_are_as_long_as_can_be(total, size):
    for part in point_slices(total, size, 50, 0):
        assert 0 <= part.start < part.stop <= total
        assert part.stop - part.start == min(size, total)


def test_the_truncated_loss_ignores_how_far_is_far():
    far, near = torch.tensor([[2.0, -3.0]]), torch.tensor([[0.1, -0.1]])
    assert truncated_loss(far, 2 * far, 5.0).item() < 1e-6
    assert truncated_loss(near, 2 * near, 5.0).item() > 0.1
    assert truncated_loss(near, near, 5.0).item() == 0
    assert truncated_loss(far, -far, 5.0).item() == pytest.approx(2)


def test_squared_errors_make_few_large_ones_dearer_than_many_small_ones():
    none = torch.zeros(1, 4)
    few, many = torch.tensor([[0.4, 0.0, 0.0, 0.0]]).atanh(), torch.full((1, 4), 0.1).atanh()
    for squared, expected in ((0.0, (0.1, 0.1)), (4.0, (0.1 + 4 * 0.04, 0.1 + 4 * 0.01))):
        for values, loss in zip((few, many), expected, strict=True):
            assert truncated_loss(values, none, 1.0, squared).item() == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(spheres, value):
    sdf = spheres.sdf.clone()
    sdf[2, 7] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        fit(tiny_config(), Samples(spheres.points, sdf), SHORT)
    with pytest.raises(InputError, match="NaN or infinite"):
        fit(tiny_config(), spheres, SHORT, shared_init=torch.full((tiny_config().parameters,), value))


def test_a_start_of_another_architecture_is_refused(spheres):
    with pytest.raises(InputError, match="same architecture"):
        fit(tiny_config(), spheres, SHORT, shared_init=torch.zeros(7))


@pytest.mark.parametrize("name", ["steps", "points_per_step", "batch_size", "learning_rate", "truncation"])
def test_settings_that_cannot_fit_are_refused(name):
    with pytest.raises(InputError, match="must be positive"):
        FitConfig(**{name: 0})
