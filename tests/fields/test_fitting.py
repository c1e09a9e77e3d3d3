"""Fits reach their shapes and do not depend on batches or interruptions."""

import math
from dataclasses import replace

import pytest
import torch

from tests.fakes import box_shape, sphere_shape, tiny_config
from weightgpt.errors import InputError
from weightgpt.fields import fitting
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import (
    FitConfig,
    fit,
    fit_fields,
    fit_mean_initialization,
    random_initializations,
)
from weightgpt.fields.optimization import truncated_loss
from weightgpt.io import read_tensors, write_tensors
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


def test_the_returned_loss_is_the_loss_of_the_fields(spheres):
    fits = fit(tiny_config(), spheres, FitConfig(steps=200, points_per_step=2048, learning_rate=1e-2))
    final = truncated_loss(fits.fields(spheres.points)[..., 0], spheres.sdf)
    torch.testing.assert_close(fits.loss, final, rtol=0.1, atol=0)
    assert (fits.history[:, -1] < 0.5 * fits.history[:, 0]).all()


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_the_history_has_the_means_of_twentieths_even_for_the_shortest_fit(spheres, steps):
    fits = fit(tiny_config(), spheres, replace(SHORT, steps=steps))
    assert fits.history.shape == (len(RADII), 20)
    assert torch.isfinite(fits.history).all()
    if steps == 40:
        torch.testing.assert_close(fits.loss, fits.history[:, -2:].mean(1))


def test_fits_still_improve_after_three_quarters(spheres):
    fits = fit(tiny_config(), spheres, FitConfig(steps=100, points_per_step=512, learning_rate=1e-2))
    early, late = (
        truncated_loss(f(spheres.points)[..., 0], spheres.sdf) for f in (fits.at_three_quarters, fits.fields)
    )
    assert late.mean() < early.mean()


def test_fits_from_the_mean_field_start_closer_and_stay_more_similar(spheres):
    options = FitConfig(steps=60, points_per_step=512, learning_rate=1e-2)
    start = fit_mean_initialization(tiny_config(), spheres, replace(options, steps=200))
    shared, random = fit(tiny_config(), spheres, options, shared_init=start), fit(tiny_config(), spheres, options)
    assert (shared.history[:, 0] < 0.8 * random.history[:, 0]).all()
    assert mean_deviation(shared.fields) < 0.5 * mean_deviation(random.fields)


def mean_deviation(fields: Fields) -> float:
    """Mean distance of the weights from their mean."""
    return float((fields.flat - fields.flat.mean(0)).norm(dim=1).mean())


def test_the_mean_field_of_spheres_is_a_sphere_between_them(spheres):
    options = FitConfig(steps=300, points_per_step=512, learning_rate=1e-2)
    field, points = fit_mean_initialization(tiny_config(), spheres, options), uniform_points(10_000, 3, 2)
    values = Fields(tiny_config(), field[None])(points)[..., 0]
    assert iou(values, sphere_shape(0.6).sdf(points)).item() > 0.85
    mean = torch.tanh(5 * torch.stack([sphere_shape(radius).sdf(points) for radius in RADII])).mean(0)
    assert (torch.tanh(5 * values) - mean).abs().mean() < 0.1


@pytest.mark.parametrize("points", [7, 256])
@pytest.mark.parametrize("config", [tiny_config(), FieldConfig(hidden=(16, 16)), FieldConfig(hidden=(5, 7))])
def test_fault_38_a_fit_has_equal_bits_alone_in_any_batch_and_in_any_order(spheres, config, points):
    options, start = FitConfig(steps=6, points_per_step=points), random_initializations(config, 1, 9)[0]

    def fits(rows: list[int], batch_size: int) -> torch.Tensor:
        samples = Samples(spheres.points, spheres.sdf[rows])
        found = fit(config, samples, replace(options, batch_size=batch_size), shared_init=start)
        return torch.cat([found.fields.flat, found.at_three_quarters.flat, found.loss[:, None], found.history], 1)

    rows = [i % len(RADII) for i in range(17)]
    expected = fits(rows, 16)
    assert all(torch.equal(fits(rows, size), expected) for size in (1, 2, 5, 17))
    assert torch.equal(fits(rows[::-1], 16).flip(0), expected)


@pytest.mark.parametrize("threads", [2, 3])
def test_fault_38_and_39_a_fit_has_equal_bits_with_any_number_of_threads(spheres, threads):
    options = FitConfig(steps=3)
    expected, before = fit(FieldConfig(), spheres, options).fields.flat, torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(fit(FieldConfig(), spheres, options).fields.flat, expected)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shared", [True, False])
def test_fault_38_fitted_fields_do_not_depend_on_the_other_shapes(shared):
    shapes = [sphere_shape(0.4), box_shape(), sphere_shape(0.6), box_shape((1.0, 0.4, 0.6))]
    start = random_initializations(tiny_config(), 1, 9)[0] if shared else None

    def fields(some: list, batch_size: int = 16) -> torch.Tensor:
        options = replace(SHORT, batch_size=batch_size)
        return fit_fields(some, tiny_config(), options, shared_init=start, num_points=512).flat

    expected = fields(shapes)
    assert torch.equal(torch.cat([fields([shape]) for shape in shapes]), expected)
    assert torch.equal(fields(shapes[::-1], 3).flip(0), expected)
    assert torch.pdist(expected).min() > (0 if shared else 0.5)


def test_equal_seeds_give_equal_fits(spheres):
    first, second, other = (fit(tiny_config(), spheres, replace(SHORT, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.fields.flat, second.fields.flat)
    assert not torch.equal(first.fields.flat, other.fields.flat)


def test_random_init_fits_of_one_shape_differ(spheres):
    same = Samples(spheres.points, spheres.sdf[:1].expand(5, -1))
    flat = fit(tiny_config(), same, SHORT).fields.flat
    assert torch.pdist(flat).min() > 0.5


def test_shared_init_fits_of_one_shape_are_equal(spheres):
    same = Samples(spheres.points, spheres.sdf[:1].expand(3, -1))
    flat = fit(tiny_config(), same, SHORT, shared_init=random_initializations(tiny_config(), 1, 0)[0]).fields.flat
    torch.testing.assert_close(flat, flat[:1].expand(3, -1), atol=1e-4, rtol=1e-4)


def test_fault_01_an_interrupted_fit_continues_where_it_stopped(spheres, tmp_path, monkeypatch):
    """After Ctrl-C in the second batch, the second run fits only the other batches and gives the same fields."""
    expected, fitted, fit_batch = fit(tiny_config(), spheres, SHORT), [], fitting._fit_batch

    def interrupted(*args):
        if len(fitted) == 1:
            raise KeyboardInterrupt
        fitted.append(args)
        return fit_batch(*args)

    monkeypatch.setattr(fitting, "_fit_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config(), spheres, SHORT, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    fitted.clear()
    monkeypatch.setattr(fitting, "_fit_batch", lambda *args: fitted.append(args) or fit_batch(*args))
    resumed = fit(tiny_config(), spheres, SHORT, folder=tmp_path)
    assert len(fitted) == 2
    assert torch.equal(resumed.fields.flat, expected.fields.flat)
    assert torch.equal(resumed.at_three_quarters.flat, expected.at_three_quarters.flat)
    assert torch.equal(resumed.loss, expected.loss)
    assert torch.equal(resumed.history, expected.history)


def test_a_half_written_batch_is_refused(spheres, tmp_path):
    fit(tiny_config(), spheres, SHORT, folder=tmp_path)
    path = min(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        fit(tiny_config(), spheres, SHORT, folder=tmp_path)


def test_finished_batches_of_other_arguments_are_refused(spheres, tmp_path):
    init, other = torch.zeros(tiny_config().parameters), Samples(spheres.points, spheres.sdf + 0.01)
    fit(tiny_config(), spheres, SHORT, shared_init=init, folder=tmp_path)
    others = [
        (tiny_config(), other, SHORT, init),
        (tiny_config(), Samples(-spheres.points, spheres.sdf), SHORT, init),
        (tiny_config(), spheres, replace(SHORT, steps=SHORT.steps + 1), init),
        (tiny_config(), spheres, replace(SHORT, seed=1), init),
        (tiny_config(), spheres, SHORT, init + 1),
        (tiny_config(), spheres, SHORT, None),
        (replace(tiny_config(), activation="sine"), spheres, SHORT, init),
    ]
    for config, samples, options, start in others:
        with pytest.raises(InputError, match="holds fits of other shapes or settings; fit with those again"):
            fit(config, samples, options, shared_init=start, folder=tmp_path)
    path = min(tmp_path.iterdir())
    write_tensors(path, read_tensors(path))
    with pytest.raises(InputError, match="holds fits of other shapes or settings"):
        fit(tiny_config(), spheres, SHORT, shared_init=init, folder=tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_distances_and_weights_that_are_not_finite_are_refused(spheres, value):
    sdf = spheres.sdf.clone()
    sdf[2, 7] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        fit(tiny_config(), Samples(spheres.points, sdf), SHORT)
    with pytest.raises(InputError, match="NaN or infinite"):
        fit(tiny_config(), spheres, SHORT, shared_init=torch.full((tiny_config().parameters,), value))


def test_initial_weights_of_another_architecture_are_refused(spheres):
    with pytest.raises(InputError, match="same architecture"):
        fit(tiny_config(), spheres, SHORT, shared_init=torch.zeros(7))


@pytest.mark.parametrize("name", ["steps", "points_per_step", "batch_size", "learning_rate", "truncation"])
def test_settings_that_are_not_positive_are_refused(name):
    with pytest.raises(InputError, match="must be positive"):
        FitConfig(**{name: 0})


def test_fields_of_single_shapes_reach_them():
    shapes, points = [box_shape(), sphere_shape(0.5)], uniform_points(20_000, 3, 1)
    options = FitConfig(steps=300, points_per_step=512, learning_rate=1e-2)
    fields = fit_fields(shapes, FieldConfig(hidden=(16, 16), num_frequencies=1), options, num_points=4096)
    distances = torch.stack([shape.sdf(points) for shape in shapes])
    assert iou(fields(points)[..., 0], distances).min() > 0.93


def test_fault_37_and_42_a_shape_whose_distances_are_not_finite_is_named(spheres):
    broken = replace(sphere_shape(0.5), name="bad ball", sdf=lambda points: torch.full((len(points),), float("nan")))
    with pytest.raises(InputError, match="shape 'bad ball' hold NaN"):
        fit_fields([sphere_shape(0.5), broken], tiny_config(), SHORT, num_points=512)
    sdf = spheres.sdf.clone()
    sdf[3, 7] = float("nan")
    with pytest.raises(InputError, match=r"shape 3 \(counted from 0\) hold NaN"):
        fit(tiny_config(), Samples(spheres.points, sdf), SHORT)


def test_fields_of_another_dimension_than_the_shapes_are_refused():
    with pytest.raises(InputError, match="is 2D; give shapes of dimension 3 alone"):
        fit_fields([sphere_shape(0.5, dimension=2)], tiny_config(), SHORT, num_points=512)


def test_fits_whose_loss_breaks_are_fitted_again_with_a_lower_rate(spheres):
    options = FitConfig(steps=100, points_per_step=512, learning_rate=10.0)
    fits = fit(tiny_config(), spheres, options)
    assert torch.isfinite(fits.fields.flat).all()
    assert (fits.loss <= fits.history[:, 0] + 0.1).all()


def test_fits_that_never_recover_stop_in_one_sentence(spheres):
    options = FitConfig(steps=20, points_per_step=512, learning_rate=1e30)
    with pytest.raises(InputError, match="breaks with learning rates of"):
        fit(tiny_config(), spheres, options)


def test_a_broken_fit_does_not_change_its_neighbors(spheres, monkeypatch):
    """The first row is declared broken, as one that diverges would be; the others keep their bits."""
    options = FitConfig(steps=30, points_per_step=512)
    sound = fit(tiny_config(), spheres, options)
    calls = []

    def only_the_first(results):
        calls.append(1)
        broken = torch.zeros(len(results["flat"]), dtype=torch.bool)
        broken[0] = len(calls) == 1
        return broken

    monkeypatch.setattr("weightgpt.fields.fitting._broken_rows", only_the_first)
    again = fit(tiny_config(), spheres, options)
    assert not torch.equal(sound.fields.flat[0], again.fields.flat[0])
    assert torch.equal(sound.fields.flat[1:], again.fields.flat[1:])


@pytest.mark.parametrize("changes", [{"learning_rate": math.inf}, {"truncation": math.nan}])
def test_fault_73_a_number_that_is_not_finite_is_refused(changes):
    with pytest.raises(InputError, match="give a number above 0"):
        FitConfig(**changes)
