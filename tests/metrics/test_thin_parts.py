"""Thin parts: slabs of known thickness, and a table that loses its legs."""

import numpy as np
import pytest
import torch
import trimesh

from tests.fakes import box_shape, sphere_shape
from weightgpt.errors import InputError
from weightgpt.metrics.pairwise import oriented_points
from weightgpt.metrics.thin_parts import thickness, thin_points, thin_recall
from weightgpt.shapes.primitives import box, union
from weightgpt.visual.meshing import mesh_grid, sdf_grid

UP = torch.tensor([0.0, 1.0, 0.0])
TOP = box(1.4, 0.2, 1.4).translate(y=0.5)
LEGS = box(0.07, 1.2, 0.07).translate(x=0.6, y=-0.1, z=0.6).mirror("xz")
TABLE = union(TOP, LEGS)


def sample_mesh(mesh: trimesh.Trimesh, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of a mesh and their normals, (n, 3) each."""
    points, normals = (torch.from_numpy(part).float() for part in oriented_points(mesh, n, seed))
    return points, normals


def surface(sdf, n: int = 4000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on the meshed zero level, and their normals."""
    return sample_mesh(mesh_grid(sdf_grid(sdf, 64)).mesh, n, seed)


def above(height: float, n: int = 50) -> torch.Tensor:
    """Points (n, 3) of a plane, away from the edges of the slabs below."""
    points = torch.rand(n, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    return points * torch.tensor([0.8, 0.0, 0.8]) + height * UP


@pytest.mark.parametrize("width", [0.01, 0.0713, 0.4])
def test_the_thickness_of_a_slab_is_its_width(width):
    points = above(width / 2)
    measured = thickness(box_shape((1.2, width, 1.2)).sdf, points, UP.expand_as(points), max_thickness=1.0)
    assert measured.tolist() == pytest.approx([width] * 50, abs=1e-5)


def test_points_slightly_off_the_surface_give_the_same_thickness():
    slab = box_shape((1.2, 0.1, 1.2)).sdf
    points = above(0.05 + 0.007)
    measured = thickness(slab, points, UP.expand_as(points), max_thickness=0.5)
    assert measured.tolist() == pytest.approx([0.1] * 50, abs=1e-5)


def test_thickness_depends_on_signs_only():
    """A field that grows three times too fast, as learned ones may, has the same thickness."""
    slab = box_shape((1.2, 0.1, 1.2)).sdf
    points = above(0.05)
    measured = thickness(lambda p: torch.tanh(3 * slab(p)), points, UP.expand_as(points), max_thickness=0.5)
    assert measured.tolist() == pytest.approx([0.1] * 50, abs=1e-3)


def test_the_thickness_of_a_ball_is_its_diameter_or_the_maximum():
    ball = sphere_shape(0.3).sdf
    normals = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    points = 0.3 * normals
    assert thickness(ball, points, normals, max_thickness=1.0).tolist() == pytest.approx([0.6] * 200, abs=1e-3)
    assert thickness(ball, points, normals, max_thickness=0.25).tolist() == pytest.approx([0.25] * 200)


def test_the_thickness_of_a_wall_ends_at_the_hollow_behind_the_wall():
    walls = union(box(1, 0.1, 1).translate(y=0.5), box(1, 0.1, 1).translate(y=-0.5))
    points = above(0.55)
    assert thickness(walls, points, UP.expand_as(points), 1.5).tolist() == pytest.approx([0.1] * 50, abs=1e-5)


def test_a_ray_that_does_not_enter_gives_the_maximum():
    slab = box_shape((1.2, 0.05, 1.2)).sdf
    points = above(0.1)
    assert thickness(slab, points, UP.expand_as(points), max_thickness=0.5).tolist() == pytest.approx([0.5] * 50)


def test_a_solid_ends_at_the_box_and_the_field_is_not_evaluated_outside():
    """Everything below y = -0.95 is a slab of 0.05."""

    def below(points: torch.Tensor) -> torch.Tensor:
        assert points.abs().max() <= 1
        return points[:, 1] + 0.95

    points = above(-0.95)
    assert thickness(below, points, UP.expand_as(points), 0.5).tolist() == pytest.approx([0.05] * 50, abs=0.004)


def test_the_thin_points_of_a_table_are_on_its_legs():
    thin = thin_points(TABLE, *surface(TABLE))
    assert len(thin) > 100
    assert np.abs(thin[:, [0, 2]]).min() > 0.56
    assert thin[:, 1].max() < 0.42


def test_the_share_of_thin_points_is_that_of_the_area():
    """Only the two large faces of the slab are thin, 2·1.2² of 2·1.2² + 4·1.2·0.08."""
    slab = box_shape((1.2, 0.08, 1.2)).sdf
    points, normals = sample_mesh(trimesh.creation.box((1.2, 0.08, 1.2)), 4000)
    assert len(thin_points(slab, points, normals)) / 4000 == pytest.approx(2.88 / 3.264, abs=0.02)
    assert len(thin_points(slab, points, normals, max_thickness=0.07)) == 0


def test_a_table_without_legs_has_a_low_recall():
    thin = thin_points(TABLE, *surface(TABLE))
    whole, legless = surface(TABLE, 8000, seed=1)[0], surface(TOP, 8000, seed=1)[0]
    assert thin_recall(thin, whole.numpy()) > 0.97
    assert thin_recall(thin, legless.numpy()) < 0.08


def test_the_recall_by_hand():
    thin = np.array([[0, 0, 0], [0.03, 0, 0], [0.05, 0, 0], [0.5, 0, 0.0]])
    assert thin_recall(thin, np.zeros((1, 3))) == 0.5
    assert thin_recall(thin, np.zeros((1, 3)), tolerance=0.06) == 0.75
    assert thin_recall(thin, np.zeros((0, 3))) == 0


def test_misshapen_points_and_empty_references_are_refused():
    ball, points = sphere_shape(0.3).sdf, torch.zeros(4, 3)
    for call in (
        lambda: thickness(ball, points, points[:3], 1.0),
        lambda: thickness(ball, points, points, 0.0),
        lambda: thin_recall(np.zeros((0, 3)), np.zeros((4, 3))),
        lambda: thin_recall(np.zeros((4, 2)), np.zeros((4, 3))),
    ):
        with pytest.raises(InputError):
            call()
