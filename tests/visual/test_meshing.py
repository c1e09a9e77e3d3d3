"""Meshes have analytic volumes, fields without a surface a named outcome, and skipped blocks do not change a mesh."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from tests.fakes import tiny_codebook
from weightgpt.errors import InputError
from weightgpt.visual.meshing import mesh_grid, mesh_sdf, save_mesh, sdf_grid

Sdf = Callable[[Tensor], Tensor]


def sphere(radius: float, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Sdf:
    return lambda points: (points - torch.tensor(center)).norm(dim=-1) - radius


def box(x: float, y: float, z: float) -> Sdf:
    def sdf(points: Tensor) -> Tensor:
        q = points.abs() - torch.tensor([x, y, z])
        return q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0)

    return sdf


def torus(points: Tensor) -> Tensor:
    return torch.stack((points[:, [0, 2]].norm(dim=-1) - 0.6, points[:, 1]), -1).norm(dim=-1) - 0.2


def diagonal(points: Tensor) -> Tensor:
    return points.sum(-1) / math.sqrt(3)


def network() -> Sdf:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)).double()
    return lambda points: model(points.double())[:, 0].float()


def test_sphere_has_its_volume_and_area_and_faces_outward():
    meshed = mesh_sdf(sphere(0.7), 64)
    assert (meshed.outcome, meshed.watertight, meshed.leaves_box) == ("surface", True, False)
    assert meshed.mesh.volume == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=0.005)
    assert meshed.mesh.area == pytest.approx(4 * math.pi * 0.7**2, rel=0.005)
    assert np.allclose(np.linalg.norm(meshed.mesh.vertices, axis=1), 0.7, atol=1e-3)


def test_axes_are_x_y_z():
    meshed = mesh_sdf(box(0.3, 0.5, 0.7), 65)
    assert np.allclose(meshed.mesh.bounds, [[-0.3, -0.5, -0.7], [0.3, 0.5, 0.7]], atol=1e-2)


@pytest.mark.parametrize("resolution", [32, 61, 64])
@pytest.mark.parametrize(
    "sdf",
    [
        sphere(0.5, (0.2, -0.1, 0.1)),
        box(0.5, 0.5, 0.5),
        torus,
        diagonal,
        sphere(1.2),
        lambda points: 5 * torus(points),
        lambda points: 0.1 * torus(points),
        lambda points: torus(points).clamp(-0.03, 0.03),
        network(),
    ],
    ids=["sphere", "box", "torus", "diagonal", "cut", "steep", "flat", "clamped", "network"],
)
def test_fault_59_skipped_blocks_do_not_change_the_mesh(sdf: Sdf, resolution: int):
    grid, every = sdf_grid(sdf, resolution), dense_grid(sdf, resolution)
    meshed, expected = mesh_grid(grid), mesh_grid(every)
    assert np.array_equal(meshed.mesh.vertices, expected.mesh.vertices)
    assert np.array_equal(meshed.mesh.faces, expected.mesh.faces)
    assert torch.equal(grid < 0, every < 0)


def test_fault_59_skipped_blocks_do_not_change_the_mesh_of_decoded_fields():
    codes = torch.randint(8, (24, 3, 2), generator=torch.Generator().manual_seed(0))
    for sdf in tiny_codebook().decode(codes).sdfs():
        assert torch.equal(sdf_grid(sdf, 32) < 0, dense_grid(sdf, 32) < 0)


@torch.no_grad()
def dense_grid(sdf: Sdf, resolution: int) -> Tensor:
    """The values at every grid point, in slabs as large as those of `sdf_grid`, so that products are rounded alike."""
    axis = torch.linspace(-1, 1, resolution)
    slabs = axis.split(max(1, 65_536 // resolution**2))
    return torch.cat([sdf(torch.cartesian_prod(x, axis, axis)).reshape(len(x), resolution, -1) for x in slabs])


def test_a_grid_evaluates_less_than_a_fifth_of_its_points():
    evaluated = 0

    def counted(points: Tensor) -> Tensor:
        nonlocal evaluated
        evaluated += len(points)
        return sphere(0.5)(points)

    sdf_grid(counted, 96)
    assert evaluated < 0.2 * 96**3


def test_surface_on_grid_points_is_watertight_without_degenerate_faces():
    meshed = mesh_sdf(box(0.5, 0.5, 0.5), 65)
    assert meshed.watertight
    assert meshed.mesh.area_faces.min() > 0


def test_a_mesh_that_leaves_the_box_is_open_there():
    meshed = mesh_sdf(sphere(0.5, (0.8, 0.0, 0.0)), 48)
    assert (meshed.outcome, meshed.watertight, meshed.leaves_box) == ("surface", False, True)


@pytest.mark.parametrize(("value", "outcome"), [(1.0, "empty"), (-1.0, "full"), (math.nan, "nonfinite")])
def test_fault_56_fields_without_a_surface_have_a_named_outcome(value: float, outcome: str):
    meshed = mesh_sdf(lambda points: torch.full((len(points),), value), 16)
    assert meshed.mesh is None
    assert meshed.outcome == outcome
    assert not meshed.watertight
    assert meshed.leaves_box == (outcome == "full")


def test_fault_57_one_infinity_of_a_grid_is_nonfinite():
    grid = sdf_grid(sphere(0.5), 17)
    grid[0, 0, 0] = math.inf
    assert mesh_grid(grid).outcome == "nonfinite"


def test_low_resolutions_wrong_values_and_unknown_extensions_are_refused():
    with pytest.raises(InputError, match="give 8 grid points or more"):
        sdf_grid(torus, 4)
    with pytest.raises(InputError, match="one value per point"):
        sdf_grid(lambda points: points[:, :1], 16)
    with pytest.raises(InputError, match=r"use \.glb"):
        save_mesh(trimesh.creation.box(), "mesh.xyz")


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj", ".stl"])
def test_a_saved_mesh_is_read_back(tmp_path: Path, suffix: str):
    mesh = mesh_sdf(torus, 32).mesh
    save_mesh(mesh, tmp_path / f"mesh{suffix}")
    back = trimesh.load(tmp_path / f"mesh{suffix}", force="mesh")
    assert len(back.faces) == len(mesh.faces)
    assert back.volume == pytest.approx(mesh.volume, rel=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == [f"mesh{suffix}"]
