"""Shapes that are known at samples alone: interpolation, its bound, held-out samples, and values that are refused."""

import numpy as np
import pytest
import torch

from tests.fakes import box_shape, sphere_shape
from weightgpt.errors import InputError
from weightgpt.shapes.sampled import held_out_samples, shape_from_samples
from weightgpt.shapes.sampling import near_surface_points, uniform_points
from weightgpt.shapes.shape import Shape
from weightgpt.visual.meshing import mesh_sdf


def samples_of(
    shape: Shape, count: int = 20_000, scale: float = 1.0, center: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Half of the samples lie near the surface, in other units."""
    points = torch.cat([near_surface_points(shape.sdf, count // 2, 3, 0.05, 0), uniform_points(count // 2, 3, 1)])
    return points.numpy().astype(float) * scale + center, shape.sdf(points).numpy().astype(float) * scale


def sampled(shape: Shape, **options) -> Shape:
    return shape_from_samples(*samples_of(shape, **options), "a")


@pytest.mark.parametrize("shape", [sphere_shape(0.9), box_shape((1.8, 1.0, 0.6))])
def test_distances_are_interpolated_in_unit_coordinates(shape):
    near = near_surface_points(shape.sdf, 2000, 3, 0.02, 5)
    error = sampled(shape, scale=40.0, center=7.0).sdf(near) - shape.sdf(near)
    assert error.abs().mean() < 0.004
    assert error.abs().max() < 0.06
    far = uniform_points(2000, 3, 6)
    assert (sampled(shape).sdf(far) - shape.sdf(far)).abs().mean() < 0.02


def test_a_plane_is_interpolated_exactly_and_a_sample_has_its_own_value():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (4000, 3))
    shape = shape_from_samples(points, points[:, 1], "half")
    inside = (uniform_points(500, 3, 0) * 0.5 + 1e-9).double().numpy()
    unit = torch.from_numpy((inside - shape.center) / shape.scale).float()
    assert np.abs(shape.sdf(unit).numpy() * shape.scale - inside[:, 1]).max() < 1e-3
    tree = shape.sdf.tree
    own = shape.sdf(torch.from_numpy(tree.data[:100]).float()).numpy()
    assert np.abs(own - shape.sdf.sdf[:100]).max() < 1e-6


def test_no_value_is_farther_from_a_sample_than_its_point():
    """Also outside of the samples, where a plane alone would go anywhere."""
    shape = sphere_shape(0.6)
    points, sdf = samples_of(shape, count=600)
    near = np.linalg.norm(points, axis=1) < 0.8
    few = shape_from_samples(points[near], sdf[near], "few")
    corners = uniform_points(3000, 3, 0)
    gaps, nearest = few.sdf.tree.query(corners.numpy())
    assert (np.abs(few.sdf(corners).numpy() - few.sdf.sdf[nearest]) <= gaps + 1e-5).all()


def test_the_frame_is_that_of_the_inside():
    shape = sampled(box_shape((1.6, 0.8, 0.4)), scale=10.0, center=3.0)
    assert shape.scale == pytest.approx(16 / 1.8, rel=0.01)
    assert shape.center == pytest.approx((3.0, 3.0, 3.0), abs=0.1)
    assert shape.sides == pytest.approx((1.8, 0.9, 0.45), rel=0.03)
    mesh = mesh_sdf(shape.sdf, 48).mesh
    assert mesh.volume == pytest.approx(1.8 * 0.9 * 0.45, rel=0.04)


def test_held_out_samples_are_not_interpolated():
    shape = sampled(sphere_shape(0.9))
    points, sdf = shape.sdf.held_out
    assert points.shape == (2000, 3)
    assert (points.norm(dim=1) - 0.9 - sdf).abs().max() < 0.02
    assert shape.sdf.tree.query(points.numpy())[0].min() > 0
    samples = held_out_samples([shape, sphere_shape(0.5), sampled(sphere_shape(0.8), count=1000)])
    assert samples.points.shape == (2, 100, 3)
    assert samples.select([1]).points.shape == (1, 100, 3)
    assert held_out_samples([sphere_shape(0.5)]) is None


def test_equal_samples_have_equal_digests():
    first, second = sampled(sphere_shape(0.9)), sampled(sphere_shape(0.8))
    assert first.digest == sampled(sphere_shape(0.9)).digest != second.digest


BALL = samples_of(sphere_shape(0.6), 2000)


def changed(index: int, value: float) -> tuple[np.ndarray, np.ndarray]:
    points, sdf = BALL[0].copy(), BALL[1].copy()
    (points[:, 0] if index == 0 else sdf)[7] = value
    return points, sdf


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ((BALL[0][:100], BALL[1][:100]), r"has points \(100, 3\) and distances \(100,\); give .* 256 or more"),
        ((BALL[0][:, :2], BALL[1]), r"has points \(2000, 2\)"),
        (changed(0, np.nan), "has NaN or infinite values"),
        (changed(1, np.inf), "has NaN or infinite values"),
        ((BALL[0], np.abs(BALL[1]) + 1e-3), "are outside; give signed distances, negative inside"),
        ((BALL[0], -BALL[1]), "the outermost samples of shape 'a' are inside"),
        ((BALL[0], 10 * BALL[1]), "change faster than its points move apart"),
        ((BALL[0], np.sign(BALL[1])), "change faster than its points move apart"),
    ],
)
def test_samples_that_are_no_distances_are_refused(samples, message):
    with pytest.raises(InputError, match=message):
        shape_from_samples(*samples, "a")
