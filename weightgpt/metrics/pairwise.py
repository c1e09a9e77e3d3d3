"""Distances and agreement of two shapes, and properties of one shape.

Decisions:

- The distance of two shapes is the Chamfer-L1 distance of points sampled on their surfaces. Only names that say so
  (`squared`, `emd`) stand for another distance.
- Volume IoU compares signs at uniform points of the box. Two empty shapes are equal, so their IoU is 1.
- Pieces are counted in the solid, not on its surface, because the wall of a cavity is a second surface but no second
  piece.
- All results are finite: Python floats, arrays or tensors.

Dimensions: n and m points of two clouds, A and B clouds of two lists, R grid points along each axis. Lengths are in
half-sides of the box [-1, 1]^3.
"""

from collections.abc import Sequence

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.shapes.sampling import Samples

Array = NDArray[np.float64]

_FIELDS_AT_ONCE = 16


def iou(a: Tensor, b: Tensor) -> Float[Tensor, "..."]:
    """Compute the volume intersection over union (IoU) of two solids.

    Args:
        a: (..., n) signed distances at n uniform points, negative inside; NaN counts as outside.
        b: (..., n) signed distances at the same points, broadcast against `a` in the leading dimensions.

    Returns:
        (...) float32 in [0, 1]; 1 where both solids are empty.

    Raises:
        InputError: the two solids were not evaluated at the same number of points.

    Examples:
        >>> float(iou(torch.tensor([-1.0, -1.0, 1.0]), torch.tensor([-1.0, 1.0, 1.0])))
        0.5
    """
    if a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"IoU compares values at {a.shape[-1]} and {b.shape[-1]} points; evaluate both at the same points."
        )
    both = ((a < 0) & (b < 0)).sum(-1)
    either = ((a < 0) | (b < 0)).sum(-1)
    return (both / either.clamp(min=1)).masked_fill(either == 0, 1.0)


@torch.no_grad()
def field_iou(fields: Fields, samples: Samples) -> Float[Tensor, " B"]:
    """Compute the volume IoU of each field with the shape that the field stands for.

    Args:
        fields: B fields.
        samples: signed distances of the B shapes at uniform points, or at points of their own.

    Returns:
        (B,) float32 in [0, 1].

    Raises:
        InputError: as `iou`.
    """
    parts = [slice(start, start + _FIELDS_AT_ONCE) for start in range(0, len(fields), _FIELDS_AT_ONCE)]
    values = [fields.select(part)(samples.select(part).points)[..., 0] for part in parts]
    return iou(torch.cat(values), samples.sdf)


def surface_points(mesh: trimesh.Trimesh, n: int, seed: int) -> Float[Array, "n 3"]:
    """Sample points on a mesh, uniformly by area.

    Args:
        mesh: a mesh with some area.
        n: number of points.
        seed: equal seeds give equal points.

    Returns:
        (n, 3) points.

    Raises:
        InputError: the mesh has no area.
    """
    return oriented_points(mesh, n, seed)[0]


def oriented_points(mesh: trimesh.Trimesh, n: int, seed: int) -> tuple[Float[Array, "n 3"], Float[Array, "n 3"]]:
    """Sample points on a mesh with their normals; the points are those of `surface_points`.

    Args:
        mesh: a mesh with some area.
        n: number of points.
        seed: equal seeds give equal points.

    Returns:
        Points (n, 3) and the unit normals (n, 3) of their faces.

    Raises:
        InputError: the mesh has no area.
    """
    if len(mesh.faces) == 0 or not mesh.area > 0:
        raise InputError("the mesh has no surface to sample points on; leave empty shapes out.")
    points, faces = trimesh.sample.sample_surface(mesh, n, seed=seed)
    return np.asarray(points, dtype=np.float64), np.asarray(mesh.face_normals[faces], dtype=np.float64)


def chamfer(a: Array, b: Array) -> float:
    """Compute the Chamfer-L1 distance of two point clouds (Mescheder et al. 2019, Occupancy Networks).

    CD(A, B) = 1/2 (mean over a in A of min over b in B of |a - b|  +  mean over b in B of min over a in A of |a - b|),
    with the Euclidean norm, not squared.

    Args:
        a: (n, 3) finite points, n >= 1.
        b: (m, 3) finite points, m >= 1.

    Returns:
        The distance in half-sides of the box; 0 or more.

    Raises:
        InputError: a cloud is empty, misshapen or non-finite.

    Examples:
        >>> chamfer(np.array([[0.0, 0.0, 0.0]]), np.array([[0.0, 3.0, 4.0]]))
        5.0
    """
    return float(chamfer_matrix([a], [b])[0, 0])


def normal_consistency(a: tuple[Array, Array], b: tuple[Array, Array]) -> float:
    """Compute how well the surfaces of two shapes point the same way (Mescheder et al. 2019, Occupancy Networks).

    1/2 (mean over a in A of |n(a) · n(nearest of a in B)|  +  mean over b in B of |n(b) · n(nearest of b in A)|).

    Args:
        a: points (n, 3) and their unit normals (n, 3), n >= 1.
        b: points (m, 3) and their unit normals (m, 3), m >= 1.

    Returns:
        A value in [0, 1]; 1 for equal surfaces.

    Raises:
        InputError: a cloud does not have one normal for each point, or as `chamfer`.
    """
    if a[0].shape != a[1].shape or b[0].shape != b[1].shape:
        raise InputError(
            f"points {a[0].shape} and {b[0].shape} were given with normals {a[1].shape} and {b[1].shape}; give one"
            " normal for each point."
        )
    trees = _search_tree(a[0]), _search_tree(b[0])
    a_to_b = np.abs((a[1] * b[1][trees[1].query(a[0])[1]]).sum(1)).mean()
    b_to_a = np.abs((b[1] * a[1][trees[0].query(b[0])[1]]).sum(1)).mean()
    return float((a_to_b + b_to_a) / 2)


def chamfer_matrix(a: Sequence[Array], b: Sequence[Array]) -> Float[Array, "A B"]:
    """Compute the Chamfer-L1 distances of all pairs of two lists of clouds.

    Args:
        a: A clouds, (n, 3) each.
        b: B clouds, (m, 3) each; pass the same list as `a` to do half the work.

    Returns:
        (A, B) distances.

    Raises:
        InputError: as `chamfer`.
    """
    return chamfer_matrices(a, b)[0]


def chamfer_matrices(a: Sequence[Array], b: Sequence[Array]) -> tuple[Float[Array, "A B"], Float[Array, "A B"]]:
    """Compute Chamfer-L1 distances and squared Chamfer distances of all pairs with one search.

    The squared distance is that of Erkoç et al. 2023 (HyperDiffusion), as in PointFlow's code: the mean squared
    distance of each direction, summed over the two directions, not averaged.

    Args:
        a: A clouds, (n, 3) each.
        b: B clouds, (m, 3) each; pass the same list as `a` to do half the work.

    Returns:
        (A, B) Chamfer-L1 distances and (A, B) squared distances.

    Raises:
        InputError: as `chamfer`.
    """
    trees_a = [_search_tree(cloud) for cloud in a]
    if a is b:
        plain, squared = _mean_nearest_distances(trees_a, trees_a)
        return (plain + plain.T) / 2, squared + squared.T
    trees_b = [_search_tree(cloud) for cloud in b]
    (b_to_a, b_to_a_squared), (a_to_b, a_to_b_squared) = (
        _mean_nearest_distances(trees_a, trees_b),
        _mean_nearest_distances(trees_b, trees_a),
    )
    return (b_to_a + a_to_b.T) / 2, b_to_a_squared + a_to_b_squared.T


def _mean_nearest_distances(trees: Sequence[cKDTree], clouds: Sequence[cKDTree]) -> tuple[Array, Array]:
    """Return (A, B) means over the points of cloud j of the distance to the nearest point of tree i, and of its square.

    One query per tree looks up the points of all clouds, because one query per pair takes half as long again.
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
    """Count the separate pieces of a solid.

    Grid points with a negative value are voxels. Voxels are connected across faces (6-connectivity), so two pieces that
    touch only at an edge or a corner count as two. Components below `min_voxels` are artifacts of the grid and do not
    count.

    Args:
        grid: (R, R, R) signed distances with exact signs (see `weightgpt.visual.meshing.sdf_grid`).
        min_voxels: size of the smallest component that counts; 1 counts all.

    Returns:
        The number of pieces; 0 for an empty solid.

    Raises:
        InputError: the grid is not three-dimensional.
    """
    if grid.ndim != 3:
        raise InputError(f"the grid has shape {tuple(grid.shape)}; give one solid's values, (R, R, R).")
    labels, _ = ndimage.label((grid < 0).cpu().numpy())
    sizes = np.bincount(labels.ravel())[1:]
    return int((sizes >= min_voxels).sum())


def _search_tree(cloud: Array) -> cKDTree:
    """Check a cloud and build its search tree."""
    points = np.asarray(cloud, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not np.isfinite(points).all():
        raise InputError(f"a point cloud has shape {points.shape}; give one or more finite points, (n, 3).")
    return cKDTree(points)
