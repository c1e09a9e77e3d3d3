"""From a signed distance function to a triangle mesh.

Decisions:

- The grid spans [-1, 1]^3 with its end points, axes (x, y, z) in that order, and is evaluated slab by slab.
- Fast road: one value at the center of each block of 4^3 grid points says whether the surface can come near the block.
  Only blocks it can reach are evaluated point by point; every other point takes its block's value, which has the right
  sign and lies in no cell that marching cubes would cut. `dense=True` evaluates every point.
- Nothing here fails on a strange field: no surface, no outside and non-finite values are outcomes with a name.
- A surface that leaves the box stays open there; `leaves_box` says so. Nothing is capped, welded, smoothed or repaired.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import trimesh
from skimage.measure import marching_cubes
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.io import atomic_write
from weightgpt.shapes.shape import Sdf

"""(n, 3) float32 points in [-1, 1]^3 -> (n,) signed distances: positive outside, negative inside."""

Outcome = Literal["surface", "empty", "full", "nonfinite"]

FORMATS = (".glb", ".ply", ".obj", ".stl")
_BLOCK = 4
_SAFETY = 1.5
_SLAB = 65_536
_LEAST = 1e-3


@dataclass(frozen=True)
class Meshed:
    """What meshing a field gave.

    Attributes:
        mesh: the zero level set in unit coordinates, faces outward; None unless `outcome` is "surface".
        outcome: "surface"; "empty" (no grid point inside); "full" (all inside); "nonfinite" (a NaN or infinity).
        watertight: every edge of the mesh has exactly two faces.
        leaves_box: the solid reaches the boundary of [-1, 1]^3, so that the mesh is open there.
    """

    mesh: trimesh.Trimesh | None
    outcome: Outcome
    watertight: bool
    leaves_box: bool


@torch.no_grad()
def sdf_grid(sdf: Sdf, resolution: int, *, dense: bool = False) -> Tensor:
    """Values of `sdf` on the regular grid over [-1, 1]^3.

    On the fast road only the values near the surface are exact; the others are right in sign and far from zero. The
    largest slope seen between blocks (at least 1, a distance's own) is taken as the bound of the field's slope; for a
    field that is steeper somewhere between, or non-finite only there, use `dense=True`.

    Args:
        sdf: the field.
        resolution: grid points along each axis, R >= 8.
        dense: evaluate every point.

    Returns:
        (R, R, R) float32, indexed [x, y, z].

    Raises:
        InputError: the resolution is below 8, or the field does not return one value per point.
    """
    if resolution < 2 * _BLOCK:
        raise InputError(f"the grid's resolution is {resolution}; it must be {2 * _BLOCK} or more: raise it.")
    axis = torch.linspace(-1.0, 1.0, resolution)
    everywhere = torch.ones((resolution,) * 3, dtype=torch.bool)
    if dense:
        return _fill(sdf, axis, torch.empty(everywhere.shape), everywhere)
    step = 2.0 / (resolution - 1)
    centers = (axis[::_BLOCK] + step * (_BLOCK - 1) / 2).clamp(max=1.0)
    size = len(centers)
    blocks = _fill(sdf, centers, torch.empty(size, size, size), torch.ones(size, size, size, dtype=torch.bool))
    slope = torch.stack(torch.gradient(blocks, spacing=(centers,) * 3)).norm(dim=0).max().clamp(min=1.0)
    near = ~(blocks.abs() > _SAFETY * slope * step * _BLOCK / 2 * 3**0.5)  # NaN counts as near
    return _fill(sdf, axis, _spread(blocks, resolution), _spread(near, resolution))


def mesh_sdf(sdf: Sdf, resolution: int = 96, *, dense: bool = False) -> Meshed:
    """Mesh the zero level set of a field by marching cubes (Lewiner et al. 2003, as in scikit-image).

    Grid values nearer to zero than a thousandth of a grid step are moved there, so that no face is degenerate.

    Args:
        sdf: the field.
        resolution: grid points along each axis, at least 8.
        dense: see `sdf_grid`.

    Raises:
        InputError: as `sdf_grid`.
    """
    return mesh_grid(sdf_grid(sdf, resolution, dense=dense))


def mesh_grid(grid: Tensor) -> Meshed:
    """Mesh (R, R, R) values already at hand, as `mesh_sdf` does."""
    if not bool(grid.isfinite().all()):
        return Meshed(None, "nonfinite", watertight=False, leaves_box=False)
    inside = grid < 0
    if not bool(inside.any()):
        return Meshed(None, "empty", watertight=False, leaves_box=False)
    if bool(inside.all()):
        return Meshed(None, "full", watertight=False, leaves_box=True)
    leaves = any(bool(inside.select(axis, end).any()) for axis in range(3) for end in (0, -1))
    step = 2.0 / (len(grid) - 1)
    least = torch.full_like(grid, _LEAST * step)
    values = torch.where(grid.abs() < least, torch.where(inside, -least, least), grid).cpu().numpy()
    vertices, faces, _, _ = marching_cubes(values, level=0.0, spacing=(step,) * 3)  # type: ignore[no-untyped-call]
    mesh = trimesh.Trimesh(vertices - 1.0, faces, process=False)
    return Meshed(mesh, "surface", watertight=bool(mesh.is_watertight), leaves_box=leaves)


def save_mesh(mesh: trimesh.Trimesh, path: Path | str) -> None:
    """Write a mesh as .glb, .ply, .obj or .stl, by the extension of `path`.

    Raises:
        InputError: the extension is another one, or the folder cannot be written to.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"cannot write a mesh as {suffix or 'a file without extension'}; use {', '.join(FORMATS)}.")
    buffer = io.BytesIO()
    mesh.export(buffer, file_type=suffix[1:])
    with atomic_write(path) as draft:
        draft.write_bytes(buffer.getvalue())


def _spread(blocks: Tensor, resolution: int) -> Tensor:
    """Give every grid point its block's value: (b, b, b) -> (R, R, R)."""
    for axis in range(3):
        blocks = blocks.repeat_interleave(_BLOCK, dim=axis).narrow(axis, 0, resolution)
    return blocks


def _fill(sdf: Sdf, axis: Tensor, grid: Tensor, mask: Tensor) -> Tensor:
    """Evaluate the masked points of a grid in place, a few x-slabs at a time."""
    thickness = max(1, _SLAB // len(axis) ** 2)
    for start in range(0, len(axis), thickness):
        slab = slice(start, start + thickness)
        x, y, z = mask[slab].nonzero(as_tuple=True)
        if len(x) == 0:
            continue
        values = sdf(torch.stack((axis[slab][x], axis[y], axis[z]), dim=1))
        if values.shape != (len(x),):
            raise InputError(
                f"the field returned shape {tuple(values.shape)} for {len(x)} points; return one value per point, (n,)."
            )
        grid[slab][x, y, z] = values.to(grid)
    return grid
