"""One schedule for all shapes: half of it near their surfaces, the same every time."""

import math

import pytest
import torch

from tests.fakes import box_shape, generator, sphere_shape
from weightgpt.errors import InputError
from weightgpt.shapes.sampling import Samples, draw_points, near_surface, sample, shared_schedule, uniform_points

SPHERE = sphere_shape(0.6)
STD = 0.04
SHELL = 4 / 3 * math.pi * ((0.6 + 2 * STD) ** 3 - (0.6 - 2 * STD) ** 3) / 8
"""Share of the cube within two deviations of the sphere's surface."""


def share_near(points: torch.Tensor) -> float:
    """Share of points within two deviations of the surface."""
    return float((SPHERE.sdf(points).abs() < 2 * STD).float().mean())


@pytest.mark.parametrize("surface", [0.0, 0.5, 1.0])
def test_the_asked_share_lies_near_the_surface(surface):
    points = shared_schedule([SPHERE], 20_000, 0, surface=surface, std=STD)
    assert share_near(points) == pytest.approx(surface * 0.954 + (1 - surface) * SHELL, abs=0.01)


def test_distances_near_the_surface_are_gaussian_with_the_asked_deviation():
    distance = SPHERE.sdf(near_surface(SPHERE.sdf, 20_000, 3, STD, 0))
    expected = torch.tensor([0.25, 0.5, 0.75]) * 2 - 1
    quantiles = torch.quantile(distance, torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quantiles, STD * math.sqrt(2) * torch.erfinv(expected), atol=0.004, rtol=0)


def test_points_are_pulled_onto_surfaces_whose_distance_is_not_exact():
    """A field is a signed distance only roughly: here one of twice the slope."""
    points = near_surface(lambda x: 2 * SPHERE.sdf(x), 2000, 3, 0.0, 0)
    assert SPHERE.sdf(points).abs().max() < 1e-3


def test_every_contiguous_slice_is_a_fair_batch():
    points = shared_schedule([SPHERE], 16_384, 0)
    shares = [share_near(part) for part in points.split(1024)]
    assert max(shares) - min(shares) < 0.12


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_schedule_fills_the_box_and_stays_in_it(dimension):
    shapes = [sphere_shape(0.9, dimension), sphere_shape(0.3, dimension)]
    points = shared_schedule(shapes, 4001, 1, std=0.2)
    assert points.shape == (4001, dimension)
    assert points.abs().max() <= 1
    assert ((points > 0).sum(0) - 2000).abs().max() < 250


def test_a_schedule_is_near_every_shape_of_a_small_corpus():
    shapes = [sphere_shape(0.2 + 0.1 * i) for i in range(6)]
    points = shared_schedule(shapes, 6000, 0, surface=1.0)
    for shape in shapes:
        assert float((shape.sdf(points).abs() < 2 * STD).float().mean()) > 1 / len(shapes) * 0.9


def test_equal_seeds_give_equal_schedules_and_others_do_not():
    shapes = [SPHERE, box_shape()]
    first = shared_schedule(shapes, 1000, 5)
    assert torch.equal(shared_schedule(shapes, 1000, 5), first)
    assert not torch.equal(shared_schedule(shapes, 1000, 6), first)


def test_uniform_points_are_uniform():
    points = uniform_points(20_000, 3, 0)
    torch.testing.assert_close(points.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(points.var(0), torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_samples_are_the_distances_of_each_shape_in_order():
    shapes, points = [SPHERE, box_shape(), sphere_shape(0.3)], uniform_points(50, 3, 0)
    samples = sample(shapes, points)
    for row, shape in zip(samples.sdf, shapes, strict=True):
        assert torch.equal(row, shape.sdf(points))
    assert torch.equal(samples.select([2, 0]).sdf, samples.sdf[[2, 0]])


def test_selected_samples_are_single_precision():
    samples = Samples(torch.zeros(4, 3), torch.ones(2, 4, dtype=torch.float16))
    assert samples.select([0]).sdf.dtype == torch.float32


def test_mixed_dimensions_and_no_shapes_are_refused():
    for shapes in ([], [SPHERE, sphere_shape(0.5, dimension=2)]):
        with pytest.raises(InputError, match="all of one dimension"):
            shared_schedule(shapes, 100, 0)


def drawn(sdf: list[float], balanced: bool, surface: float = 1.0) -> torch.Tensor:
    """(M,) shares of 40,000 draws, by point."""
    found = draw_points(torch.tensor([sdf]), 40_000, surface, 0.1, generator(0), balanced)
    return found[0].bincount(minlength=len(sdf)) / 40_000


def test_chances_of_points_fall_with_the_distance_from_the_own_surface():
    expected = torch.tensor([1.0, math.exp(-1), math.exp(-2)])
    torch.testing.assert_close(drawn([0.0, -0.1, 0.2], False), expected / expected.sum(), atol=0.01, rtol=0)


def test_as_many_points_inside_as_outside_however_thin_the_shape():
    shares = drawn([-0.01, 0.01, 0.01, 0.01, 0.01], True)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.125, 0.125, 0.125, 0.125]), atol=0.01, rtol=0)


def test_the_rest_of_the_points_is_uniform():
    shares = drawn([-0.01, 5.0, 5.0, 5.0], True, surface=0.2)
    torch.testing.assert_close(shares, torch.tensor([0.3, 0.7 / 3, 0.7 / 3, 0.7 / 3]), atol=0.01, rtol=0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_shape_with_nothing_on_one_side_is_drawn_from_the_other(sign):
    torch.testing.assert_close(drawn([0.01 * sign, 0.01 * sign], True), torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)
