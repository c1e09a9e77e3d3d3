"""Shared points lie near surfaces as often as they should, and points for each shape follow their probabilities."""

import math

import pytest
import torch

from tests.fakes import box_shape, generator, sphere_shape
from weightgpt.errors import InputError
from weightgpt.shapes.sampling import (
    Samples,
    near_surface_points,
    sample_point_indices,
    sample_sdf,
    shared_points,
    uniform_points,
)

SPHERE = sphere_shape(0.6)
STD = 0.04
SHELL = 4 / 3 * math.pi * ((0.6 + 2 * STD) ** 3 - (0.6 - 2 * STD) ** 3) / 8
"""Share of the cube within two deviations of the sphere's surface."""


def share_near(points: torch.Tensor) -> float:
    """Share of points within two deviations of the surface."""
    return float((SPHERE.sdf(points).abs() < 2 * STD).float().mean())


@pytest.mark.parametrize("surface", [0.0, 0.5, 1.0])
def test_the_right_share_of_points_lies_near_the_surface(surface):
    points = shared_points([SPHERE], 20_000, 0, surface_fraction=surface, std=STD)
    assert share_near(points) == pytest.approx(surface * 0.954 + (1 - surface) * SHELL, abs=0.01)


def test_distances_near_the_surface_are_gaussian_with_the_standard_deviation():
    distance = SPHERE.sdf(near_surface_points(SPHERE.sdf, 20_000, 3, STD, 0))
    expected = torch.tensor([0.25, 0.5, 0.75]) * 2 - 1
    quantiles = torch.quantile(distance, torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quantiles, STD * math.sqrt(2) * torch.erfinv(expected), atol=0.004, rtol=0)


def test_points_reach_surfaces_whose_distance_is_not_exact():
    """A field is only approximately a signed distance; this one has twice the slope."""
    points = near_surface_points(lambda x: 2 * SPHERE.sdf(x), 2000, 3, 0.0, 0)
    assert SPHERE.sdf(points).abs().max() < 1e-3


def test_every_contiguous_slice_is_a_fair_batch():
    points = shared_points([SPHERE], 16_384, 0)
    shares = [share_near(part) for part in points.split(1024)]
    assert max(shares) - min(shares) < 0.12


@pytest.mark.parametrize("dimension", [2, 3])
def test_shared_points_fill_the_box_and_stay_in_it(dimension):
    shapes = [sphere_shape(0.9, dimension), sphere_shape(0.3, dimension)]
    points = shared_points(shapes, 4001, 1, std=0.2)
    assert points.shape == (4001, dimension)
    assert points.abs().max() <= 1
    assert ((points > 0).sum(0) - 2000).abs().max() < 250


def test_shared_points_lie_near_every_shape_of_a_small_corpus():
    shapes = [sphere_shape(0.2 + 0.1 * i) for i in range(6)]
    points = shared_points(shapes, 6000, 0, surface_fraction=1.0)
    for shape in shapes:
        assert float((shape.sdf(points).abs() < 2 * STD).float().mean()) > 1 / len(shapes) * 0.9


def test_equal_seeds_give_equal_points_and_different_seeds_do_not():
    shapes = [SPHERE, box_shape()]
    first = shared_points(shapes, 1000, 5)
    assert torch.equal(shared_points(shapes, 1000, 5), first)
    assert not torch.equal(shared_points(shapes, 1000, 6), first)


def test_uniform_points_are_uniform():
    points = uniform_points(20_000, 3, 0)
    torch.testing.assert_close(points.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(points.var(0), torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_samples_are_the_distances_of_each_shape_in_order():
    shapes, points = [SPHERE, box_shape(), sphere_shape(0.3)], uniform_points(50, 3, 0)
    samples = sample_sdf(shapes, points)
    for row, shape in zip(samples.sdf, shapes, strict=True):
        assert torch.equal(row, shape.sdf(points))
    assert torch.equal(samples.select([2, 0]).sdf, samples.sdf[[2, 0]])


def test_selected_samples_are_single_precision():
    samples = Samples(torch.zeros(4, 3), torch.ones(2, 4, dtype=torch.float16))
    assert samples.select([0]).sdf.dtype == torch.float32


def test_an_empty_corpus_and_mixed_dimensions_are_refused():
    for shapes in ([], [SPHERE, sphere_shape(0.5, dimension=2)]):
        with pytest.raises(InputError, match="all of one dimension"):
            shared_points(shapes, 100, 0)


def shares_of_points(sdf: list[float], balance_sides: bool, surface: float = 1.0) -> torch.Tensor:
    """(M,) share of 40,000 indices that falls on each point."""
    indices = sample_point_indices(torch.tensor([sdf]), 40_000, surface, 0.1, generator(0), balance_sides)
    return indices[0].bincount(minlength=len(sdf)) / 40_000


def test_the_probability_of_a_point_falls_with_its_distance_from_the_surface():
    expected = torch.tensor([1.0, math.exp(-1), math.exp(-2)])
    torch.testing.assert_close(shares_of_points([0.0, -0.1, 0.2], False), expected / expected.sum(), atol=0.01, rtol=0)


def test_balanced_sides_have_as_many_points_inside_as_outside():
    shares = shares_of_points([-0.01, 0.01, 0.01, 0.01, 0.01], True)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.125, 0.125, 0.125, 0.125]), atol=0.01, rtol=0)


def test_the_points_that_are_not_near_the_surface_are_uniform():
    shares = shares_of_points([-0.01, 5.0, 5.0, 5.0], True, surface=0.2)
    torch.testing.assert_close(shares, torch.tensor([0.3, 0.7 / 3, 0.7 / 3, 0.7 / 3]), atol=0.01, rtol=0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_shape_without_points_on_one_side_takes_them_from_the_other_side(sign):
    torch.testing.assert_close(
        shares_of_points([0.01 * sign, 0.01 * sign], True), torch.tensor([0.5, 0.5]), atol=0.01, rtol=0
    )
