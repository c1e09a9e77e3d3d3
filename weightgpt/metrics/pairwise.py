"""How alike two shapes are.

Decisions:

- One distance between shapes everywhere: Chamfer-L1 between point clouds sampled on their surfaces (unit coordinates).
- Volume IoU compares signs at uniform points of the box; two empty shapes are equal, so their IoU is 1.
- Pieces are counted in the solid, not on its surface: the wall of a cavity is a second surface but no second piece.
- Every figure is a finite Python float, or an array or tensor of finite values.
"""

from collections.abc import Sequence

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.shapes.sampling import Samples

Array = NDArray[np.float64]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Volume intersection over union of two solids, from signed distances at the same uniform points.

    Args:
        a: (..., n) values, negative inside; NaN counts as outside.
        b: (..., n), broadcast against `a` in the leading dimensions.

    Returns:
        (...) float32 in [0, 1]; 1 where both are empty.

    Raises:
        InputError: the two were not evaluated at the same number of points.
    """
    if a.shape[-1] != b.shape[-1]:
        raise InputError(f"IoU was given {a.shape[-1]} and {b.shape[-1]} points; evaluate both at the same points.")
    both = ((a < 0) & (b < 0)).sum(-1)
    either = ((a < 0) | (b < 0)).sum(-1)
    return (both / either.clamp(min=1)).masked_fill(either == 0, 1.0)


@torch.no_grad()
def field_iou(fields: Fields, samples: Samples) -> Tensor:
    """(B,) volume IoU of fields with the shapes they stand for, at the uniform points of `samples`."""
    values = torch.cat([fields.select(slice(i, i + 16))(samples.points)[..., 0] for i in range(0, len(fields), 16)])
    return iou(values, samples.sdf)


def surface_points(mesh: trimesh.Trimesh, n: int, seed: int) -> Array:
    """(n, 3) points drawn uniformly by area on a mesh; the same seed gives the same points.

    Raises:
        InputError: the mesh has no area.
    """
    return oriented_points(mesh, n, seed)[0]


def oriented_points(mesh: trimesh.Trimesh, n: int, seed: int) -> tuple[Array, Array]:
    """The points (n, 3) of `surface_points` and the unit normals (n, 3) of their faces.

    Raises:
        InputError: the mesh has no area.
    """
    if len(mesh.faces) == 0 or not mesh.area > 0:
        raise InputError("the mesh has no surface to draw points on; leave empty shapes out.")
    points, faces = trimesh.sample.sample_surface(mesh, n, seed=seed)
    return np.asarray(points, dtype=np.float64), np.asarray(mesh.face_normals[faces], dtype=np.float64)


def chamfer(a: Array, b: Array) -> float:
    """Chamfer-L1 distance of two point clouds (Mescheder et al. 2019, Occupancy Networks).

    CD(A, B) = 1/2 (mean over a in A of min over b in B of |a - b|  +  mean over b in B of min over a in A of |a - b|),
    with the Euclidean norm, not squared; in units of the box's half-side.

    Args:
        a: (n, 3) finite points, n >= 1.
        b: (m, 3) finite points, m >= 1.

    Raises:
        InputError: a cloud is empty, misshapen or non-finite.
    """
    return float(chamfer_matrix([a], [b])[0, 0])


def normal_consistency(a: tuple[Array, Array], b: tuple[Array, Array]) -> float:
    """How well the surfaces of two shapes point the same way, in [0, 1] (Mescheder et al. 2019, Occupancy Networks).

    1/2 (mean over a in A of |n(a) · n(nearest of a in B)|  +  mean over b in B of |n(b) · n(nearest of b in A)|).

    Args:
        a: points (n, 3) and their unit normals (n, 3), n >= 1.
        b: points (m, 3) and their unit normals (m, 3), m >= 1.

    Raises:
        InputError: there is not one normal for each point, or as `chamfer`.
    """
    if a[0].shape != a[1].shape or b[0].shape != b[1].shape:
        raise InputError(
            f"points {a[0].shape} and {b[0].shape} were given with normals {a[1].shape} and {b[1].shape}; give one"
            " normal for each point."
        )
    trees = _tree(a[0]), _tree(b[0])
    there = np.abs((a[1] * b[1][trees[1].query(a[0])[1]]).sum(1)).mean()
    back = np.abs((b[1] * a[1][trees[0].query(b[0])[1]]).sum(1)).mean()
    return float((there + back) / 2)


def chamfer_matrix(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """(A, B) Chamfer-L1 distances between two lists of clouds; half the work when both are the same list.

    Raises:
        InputError: as `chamfer`.
    """
    return chamfer_matrices(a, b)[0]


def chamfer_matrices(a: Sequence[Array], b: Sequence[Array]) -> tuple[Array, Array]:
    """(A, B) Chamfer-L1 distances, and (A, B) squared ones, from one search.

    The squared one is that of Erkoç et al. 2023 (HyperDiffusion), as of PointFlow's code: the mean squared distance of
    each direction, summed, not averaged, over the two.

    Raises:
        InputError: as `chamfer`.
    """
    left = [_tree(cloud) for cloud in a]
    if a is b:
        found = _searched(left, left)
        return (found[0] + found[0].T) / 2, found[1] + found[1].T
    right = [_tree(cloud) for cloud in b]
    back, there = _searched(left, right), _searched(right, left)
    return (back[0] + there[0].T) / 2, back[1] + there[1].T


def _searched(trees: Sequence[cKDTree], clouds: Sequence[cKDTree]) -> tuple[Array, Array]:
    """(A, B) means over the points of cloud j of the distance to the nearest point of tree i, and of its square.

    All clouds are looked up in a tree at once: a search of its own for each costs half as much again.
    """
    plain, squared = np.zeros((2, len(trees), len(clouds)))
    if not clouds:
        return plain, squared
    points = np.concatenate([np.asarray(cloud.data) for cloud in clouds])
    sizes = np.array([len(cloud.data) for cloud in clouds])
    starts = np.cumsum(sizes) - sizes
    for i, tree in enumerate(trees):
        distances = np.asarray(tree.query(points)[0])
        plain[i] = np.add.reduceat(distances, starts) / sizes
        squared[i] = np.add.reduceat(np.square(distances), starts) / sizes
    return plain, squared


def solid_pieces(grid: Tensor, min_voxels: int = 8) -> int:
    """Number of separate pieces of a solid.

    Grid points with a negative value are voxels; they are joined across faces (6-connectivity), so that two pieces
    which touch at an edge or a corner alone are two. Components below `min_voxels` are crumbs of the grid and do not
    count.

    Args:
        grid: (R, R, R) signed distances; exact in sign (see `meshing.sdf_grid`).
        min_voxels: size of the smallest component that counts; 1 counts all.

    Raises:
        InputError: the grid is not three-dimensional.
    """
    if grid.ndim != 3:
        raise InputError(f"the grid has shape {tuple(grid.shape)}; give one solid's values, (R, R, R).")
    labels, _ = ndimage.label((grid < 0).cpu().numpy())
    sizes = np.bincount(labels.ravel())[1:]
    return int((sizes >= min_voxels).sum())


def _tree(cloud: Array) -> cKDTree:
    """The search tree of a checked cloud."""
    points = np.asarray(cloud, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not np.isfinite(points).all():
        raise InputError(f"a point cloud has shape {points.shape}; give one or more finite points, (n, 3).")
    return cKDTree(points)
