"""Meshing: signed distance functions to triangle meshes.

Decisions:

- The grid spans [-1, 1]^3 with its end points, axes (x, y, z) in that order, and is evaluated slab by slab.
- One value at the center of each block of 4^3 grid points shows whether the surface can reach the block. Only such
  blocks are evaluated point by point. All points of another block take the value of the block, which has the right sign
  and is in no cell that marching cubes would cut.
- No field raises an error: every result has an outcome, which names a field without a surface, without an outside, or
  with non-finite values.
- A surface that leaves the box stays open there, and `leaves_box` says so. Nothing is closed, welded, smoothed or
  repaired.

Dimensions: R grid points along each axis.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import trimesh
from jaxtyping import Float
from skimage.measure import marching_cubes
from torch import Tensor

from weightgpt.errors import InputError, check_whole
from weightgpt.io import atomic_write
from weightgpt.shapes.shape import Sdf
from weightgpt.visual.mesh_files import encode_mesh

Outcome = Literal["surface", "empty", "full", "nonfinite"]
"""What meshing a field gave, see `Meshed`."""

FORMATS = (".glb", ".ply", ".obj", ".stl")
"""Extensions of the files that `save_mesh` writes."""
_BLOCK = 4  # grid points along each side of a block
MAX_RESOLUTION = 1024
"""Most grid points along each axis."""
_BYTES_PER_POINT = 22  # measured at 512 points along each axis
MIN_RESOLUTION = 2 * _BLOCK
"""Least number of grid points along each axis."""
_SAFETY = 1.5  # factor on the distance at which the surface can still reach a block
_SLAB = 65_536  # points evaluated at once
_LEAST = 1e-3  # smallest size of a grid value, in grid steps


@dataclass(frozen=True)
class Meshed:
    """The result of meshing a field."""

    mesh: trimesh.Trimesh | None
    """The zero level set in unit coordinates, faces outward; None unless the outcome is "surface"."""
    outcome: Outcome
    """"surface", "empty" (no grid point inside), "full" (all inside) or "nonfinite" (a NaN or infinity)."""
    watertight: bool
    """Whether every edge of the mesh has exactly two faces."""
    leaves_box: bool
    """Whether the solid reaches the boundary of [-1, 1]^3, where the mesh is then open."""


@torch.no_grad()
def sdf_grid(sdf: Sdf, resolution: int) -> Float[Tensor, "R R R"]:
    """Evaluate a field on the regular grid over [-1, 1]^3, exactly near its surface.

    Values that are not near the surface have the right sign and are far from zero. The slope of the field is assumed to
    be at most the largest slope between neighboring blocks, and at least 1, which is the slope of a true distance.

    Args:
        sdf: points (n, 3) to signed distances (n,).
        resolution: R, 8 or more.

    Returns:
        (R, R, R) float32, indexed [x, y, z].

    Raises:
        InputError: the resolution is below 8, or the field does not return one value per point.
    """
    resolution = check_whole("resolution", resolution)
    if resolution < MIN_RESOLUTION:
        raise InputError(f"resolution is {resolution}; give {MIN_RESOLUTION} grid points or more along each axis.")
    if resolution > MAX_RESOLUTION:
        memory = f"{resolution**3 * _BYTES_PER_POINT / 2**30:,.0f} GiB"
        raise InputError(
            f"resolution is {resolution}, which takes about {memory} of memory; give {MAX_RESOLUTION} at most."
        )
    axis = torch.linspace(-1.0, 1.0, resolution)
    step = 2.0 / (resolution - 1)
    centers = (axis[::_BLOCK] + step * (_BLOCK - 1) / 2).clamp(max=1.0)
    size = len(centers)
    blocks = _fill(sdf, centers, torch.empty(size, size, size), torch.ones(size, size, size, dtype=torch.bool))
    slope = torch.stack(torch.gradient(blocks, spacing=(centers,) * 3)).norm(dim=0).max().clamp(min=1.0)
    near = ~(blocks.abs() > _SAFETY * slope * step * _BLOCK / 2 * 3**0.5)  # NaN counts as near
    return _fill(sdf, axis, _spread(blocks, resolution), _spread(near, resolution))


def mesh_sdf(sdf: Sdf, resolution: int = 96) -> Meshed:
    """Mesh the zero level set of a field by marching cubes (Lewiner et al. 2003, as in scikit-image).

    Grid values nearer to zero than a thousandth of a grid step are moved there, so that no face is degenerate.

    Args:
        sdf: points (n, 3) to signed distances (n,).
        resolution: grid points along each axis, 8 or more.

    Raises:
        InputError: the resolution is below 8, or the field does not return one value per point.

    Examples:
        >>> meshed = mesh_sdf(lambda points: points.norm(dim=-1) - 0.7, resolution=32)
        >>> meshed.outcome, meshed.watertight
        ('surface', True)
    """
    return mesh_grid(sdf_grid(sdf, resolution))


def mesh_grid(grid: Float[Tensor, "R R R"]) -> Meshed:
    """Mesh the values of a grid, as `mesh_sdf` does.

    Args:
        grid: (R, R, R) signed distances over [-1, 1]^3, indexed [x, y, z].
    """
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


def save_mesh(mesh: trimesh.Trimesh, path: Path | str) -> str | None:
    """Write a mesh as .glb, .ply, .obj or .stl, depending on the extension of `path`.

    Args:
        mesh: the mesh.
        path: the file to write.

    Returns:
        A sentence if the file has another position or size than the mesh, because its format holds single precision;
        see `weightgpt.visual.mesh_files`.

    Raises:
        InputError: the extension is another one, or the folder cannot be written to.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"cannot write a mesh as {suffix or 'a file without extension'}; use {', '.join(FORMATS)}.")
    content, note = encode_mesh(mesh, suffix)
    with atomic_write(path) as draft:
        draft.write_bytes(content)
    return None if note is None else f"{Path(path).name} {note}"


def _spread(blocks: Tensor, resolution: int) -> Tensor:
    """Repeat the value of each block at its grid points: (b, b, b) -> (R, R, R)."""
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
