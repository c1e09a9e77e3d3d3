"""Pairwise metrics: hand values, brute force, and symmetry."""

import math

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgpt.errors import InputError
from weightgpt.metrics.pairwise import (
    chamfer,
    chamfer_matrices,
    chamfer_matrix,
    iou,
    normal_consistency,
    oriented_points,
    solid_pieces,
    surface_points,
)


def at(x: float) -> np.ndarray:
    """A cloud of one point on the x axis, so that the Chamfer distance of two is |x - x'|."""
    return np.array([[x, 0.0, 0.0]])


def clouds(seed: int, count: int, points: int = 20) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).uniform(-1, 1, (count, points, 3)))


def brute(a: np.ndarray, b: np.ndarray) -> float:
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return (distance.min(0).mean() + distance.min(1).mean()) / 2


def test_iou_by_hand():
    a = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    b = torch.tensor([[-1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    assert iou(a, b).tolist() == pytest.approx([1 / 3, 1, 0])


def test_iou_of_two_empty_shapes_is_one():
    assert iou(torch.ones(5), torch.ones(5)).item() == 1


def test_iou_of_concentric_spheres_is_the_ratio_of_volumes():
    radius = (torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1).norm(dim=-1)
    assert iou(radius - 0.6, radius - 0.8).item() == pytest.approx((0.6 / 0.8) ** 3, abs=0.01)


def test_iou_wants_the_same_points():
    with pytest.raises(InputError, match="same points"):
        iou(torch.ones(4), torch.ones(5))


def test_surface_points_lie_on_the_surface_and_follow_the_seed():
    mesh = trimesh.creation.box((1, 1, 1))
    points = surface_points(mesh, 500, seed=3)
    assert points.shape == (500, 3)
    assert np.allclose(np.abs(points).max(1), 0.5)
    assert np.array_equal(points, surface_points(mesh, 500, seed=3))
    assert not np.array_equal(points, surface_points(mesh, 500, seed=4))


def test_surface_points_need_a_surface():
    with pytest.raises(InputError, match="no surface"):
        surface_points(trimesh.Trimesh(), 10, seed=0)


def test_chamfer_by_hand():
    a = np.array([[0.0, 0, 0], [1, 0, 0]])
    b = np.array([[0.0, 3, 0]])
    assert chamfer(a, b) == pytest.approx(((3 + math.sqrt(10)) / 2 + 3) / 2)


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_chamfer_is_a_symmetric_distance_that_moves_with_the_clouds(seed: int):
    a, b = clouds(seed, 2)
    assert chamfer(a, b) == pytest.approx(brute(a, b))
    assert chamfer(a, b) == pytest.approx(chamfer(b, a))
    assert chamfer(a, a) == 0
    assert chamfer(a + 1, b + 1) == pytest.approx(chamfer(a, b))
    assert chamfer(2 * a, 2 * b) == pytest.approx(2 * chamfer(a, b))


def test_fault_61_chamfer_matrix_is_brute_force():
    a, b = clouds(0, 3), clouds(1, 4, points=9)
    assert np.allclose(chamfer_matrix(a, b), [[brute(x, y) for y in b] for x in a])
    assert np.allclose(chamfer_matrix(a, a), chamfer_matrix(a, list(a)))
    assert chamfer_matrix(a, []).shape == (len(a), 0)
    assert chamfer_matrix([], a).shape == (0, len(a))


@pytest.mark.parametrize("cloud", [np.zeros((0, 3)), np.zeros((4, 2)), np.full((4, 3), np.nan)])
def test_a_misshapen_cloud_is_refused(cloud: np.ndarray):
    with pytest.raises(InputError, match="finite points"):
        chamfer(cloud, np.zeros((1, 3)))


def test_solid_pieces_counts_solids_and_not_surfaces():
    axis = torch.linspace(-1, 1, 32)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")

    def ball(center: float, radius: float) -> torch.Tensor:
        return ((x - center) ** 2 + y**2 + z**2).sqrt() - radius

    assert solid_pieces(ball(0, 2)) == 1
    assert solid_pieces(ball(0, -1)) == 0
    assert solid_pieces(torch.minimum(ball(-0.5, 0.3), ball(0.5, 0.3))) == 2
    assert solid_pieces(torch.maximum(ball(0, 0.8), -ball(0, 0.4))) == 1  # a hollow ball


def test_solid_pieces_ignores_crumbs_and_does_not_join_corners():
    grid = torch.ones(9, 9, 9)
    grid[:4, :4, :4] = -1
    grid[4:8, 4:8, 4:8] = -1
    assert solid_pieces(grid) == 2
    grid[8, 0, 0] = -1
    assert solid_pieces(grid) == 2
    assert solid_pieces(grid, min_voxels=1) == 3


def test_normal_consistency_by_hand():
    """a finds b's point 0 twice: |cos| 1 and 0.6, mean 0.8; b finds a's points 0 and 1: 1 and 0, mean 0.5."""
    along, up, slanted = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.8, 0.0]
    a = np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([along, slanted])
    b = np.array([[0.0, 0, 0], [9, 0, 0]]), np.array([[-1.0, 0, 0], [-0.8, 0.6, 0.0]])
    assert normal_consistency(a, b) == pytest.approx((0.8 + 0.5) / 2)
    assert normal_consistency(b, a) == normal_consistency(a, b)
    assert normal_consistency(a, a) == pytest.approx(1)
    assert normal_consistency((a[0], np.array([along, along])), (a[0], np.array([up, up]))) == 0


def test_normals_of_a_sphere_point_outward():
    points, normals = oriented_points(trimesh.creation.icosphere(subdivisions=4), 500, seed=3)
    assert np.allclose(normals, points, atol=0.06)
    assert np.array_equal(points, surface_points(trimesh.creation.icosphere(subdivisions=4), 500, seed=3))


def test_a_cloud_needs_one_normal_for_each_point():
    points = np.zeros((2, 3))
    with pytest.raises(InputError, match="one normal for each point"):
        normal_consistency((points, points[:1]), (points, points))


def test_squared_distances_are_summed_over_both_directions():
    """From 0 to {1, 3}: 1 there; from {1, 3} to 0: 1 and 9 back, 5 on average."""
    plain, squared = chamfer_matrices([at(0.0)], [np.concatenate([at(1.0), at(3.0)])])
    assert squared[0, 0] == pytest.approx(1 + 5)
    assert plain[0, 0] == pytest.approx((1 + 2) / 2)
