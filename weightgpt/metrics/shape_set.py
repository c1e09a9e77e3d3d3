"""A set of shapes that were meshed once: everything that the set metrics need.

Decisions:

- A shape is represented by its mesh on a grid: points on its surface, the number of its pieces, and whether it is empty
  or broken. True shapes and fields are meshed in the same way, so that the error of the grid is in every row.
- Every surface is sampled with a different seed. With one seed for all, equal meshes would get equal points, and the
  distances between true shapes would be too small.
- Thin parts of a true shape are searched among far more points of a sample than are compared otherwise (`dense=True`).

Dimensions: n shapes of a set, m points of a surface.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from weightgpt.errors import InputError
from weightgpt.metrics.frechet import FEATURE_POINTS, extract_features, load_point_features
from weightgpt.metrics.pairwise import Array, chamfer_matrices, oriented_points, solid_pieces, surface_points
from weightgpt.metrics.thin_parts import thin_points, thin_recall
from weightgpt.shapes.shape import Sdf
from weightgpt.visual.meshing import Meshed, mesh_grid, sdf_grid

POINTS = 512
"""Points on each surface."""
THIN_THICKNESS = 0.15
"""Thickness below which a part counts as thin: that of legs, wings and walls of built-in shapes."""
DENSE_POINTS = 8192
"""Points of each surface among which the thin parts of a true shape are searched."""
_NO_POINTS: Array = np.zeros((0, 3))


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Properties of a set that need no other set."""

    one_piece: float
    """Share of shapes whose solid is one connected piece."""
    empty: float
    """Share of shapes without a surface: nothing inside, or everything."""
    broken: float
    """Share of shapes with values that are not finite."""
    thin_share: float
    """Mean share of the surface where the solid is thinner than `THIN_THICKNESS`, over shapes with a surface."""


@dataclass(frozen=True)
class ShapeSet:
    """n shapes, meshed."""

    sdfs: list[Sdf] = field(default_factory=list)
    """Signed distance functions."""
    clouds: list[Float[Array, "m 3"] | None] = field(default_factory=list)
    """Surface points (m, 3) of each shape; None where there is no surface."""
    pieces: list[int] = field(default_factory=list)
    """Number of separate pieces of each solid."""
    broken: list[bool] = field(default_factory=list)
    """Whether a value of the shape is not finite."""
    thin: list[Float[Array, "_ 3"]] = field(default_factory=list)
    """The surface points where each solid is thinner than `THIN_THICKNESS`."""
    dense: list[Float[Array, "_ 3"]] = field(default_factory=list)
    """Further surface points (`DENSE_POINTS`, 3) of each shape; (0, 3) if not sampled or if there is no surface."""

    def __len__(self) -> int:
        return len(self.sdfs)

    @cached_property
    def with_surface(self) -> list[int]:
        """Numbers of the shapes that have a surface."""
        return [i for i, cloud in enumerate(self.clouds) if cloud is not None]

    @cached_property
    def surfaces(self) -> list[Float[Array, "m 3"]]:
        """Surface points of the shapes that have a surface."""
        return [cloud for cloud in self.clouds if cloud is not None]

    @cached_property
    def features(self) -> Float[Array, "_ d"]:
        """Point features of the shapes that have a surface, from their first `FEATURE_POINTS` points."""
        clouds = np.stack([cloud[:FEATURE_POINTS] for cloud in self.surfaces])
        return extract_features(load_point_features(), torch.from_numpy(clouds).float())

    @cached_property
    def distances(self) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
        """Chamfer-L1 and squared distances between the shapes that have a surface."""
        return chamfer_matrices(self.surfaces, self.surfaces)

    def select(self, part: slice) -> "ShapeSet":
        """Return the shapes of a slice.

        Args:
            part: which shapes.
        """
        return ShapeSet(**{column.name: getattr(self, column.name)[part] for column in fields(self)})

    def split(self, size: int | None) -> list["ShapeSet"]:
        """Split into sets of equal size; shapes that do not fill a set are left out.

        Args:
            size: shapes of each set; None, or a size not below n, gives the whole set.
        """
        if size is None or len(self) <= size:
            return [self]
        return [self.select(slice(start, start + size)) for start in range(0, len(self) - size + 1, size)]

    def rates(self) -> Rates:
        """Compute the shares of shapes in one piece, empty and broken, and the share of thin surface."""
        count = len(self)
        empty = count - len(self.with_surface) - sum(self.broken)
        in_one_piece = sum(
            pieces == 1 and cloud is not None for pieces, cloud in zip(self.pieces, self.clouds, strict=True)
        )
        thin = sum(len(self.thin[i]) / len(cloud) for i, cloud in zip(self.with_surface, self.surfaces, strict=True))
        return Rates(
            one_piece=in_one_piece / count,
            empty=empty / count,
            broken=sum(self.broken) / count,
            thin_share=thin / max(len(self.with_surface), 1),
        )

    def thin_recall(self, truth: "ShapeSet") -> float | None:
        """Measure how much of the thin surface of true shapes these copies have too, as a mean over true shapes.

        Args:
            truth: the i-th shape is the one that the i-th of these shapes copies.

        Returns:
            A share in [0, 1], or None if no true shape has thin parts.

        Raises:
            InputError: there is not one true shape for each, or these shapes were meshed without `dense`.
        """
        if len(self) != len(truth):
            raise InputError(f"{len(self)} shapes came with {len(truth)} true ones; give one for each.")
        if any(len(self.dense[i]) == 0 for i in self.with_surface):
            raise InputError("shapes have no points to search for thin parts; mesh them with dense=True.")
        recalls = [thin_recall(thin, dense) for thin, dense in zip(truth.thin, self.dense, strict=True) if len(thin)]
        return float(np.mean(recalls)) if recalls else None


@torch.no_grad()
def mesh_shapes(
    sdfs: Sequence[Sdf],
    *,
    seed: int,
    resolution: int = 64,
    points: int = POINTS,
    dense: bool = False,
    title: str | None = None,
) -> ShapeSet:
    """Mesh shapes on a grid and sample points on their surfaces.

    Args:
        sdfs: n signed distance functions.
        seed: seed of the points; sets that are compared need different seeds.
        resolution: grid points along each axis.
        points: points on each surface.
        dense: sample `DENSE_POINTS` further points on each surface, for `ShapeSet.thin_recall`; they take 192 KiB each.
        title: text of a progress bar; None shows none.
    """
    shapes = ShapeSet()
    for index, sdf in enumerate(tqdm(sdfs, title, unit="shape", disable=title is None)):
        grid = sdf_grid(sdf, resolution)
        meshed = mesh_grid(grid)
        broken = meshed.outcome == "nonfinite"
        cloud, thin, further = _sample_surface(sdf, meshed, (seed << 20) + index, points, dense)
        shapes.sdfs.append(sdf)
        shapes.clouds.append(cloud)
        shapes.pieces.append(0 if broken else solid_pieces(grid))
        shapes.broken.append(broken)
        shapes.thin.append(thin)
        shapes.dense.append(further)
    return shapes


def _sample_surface(sdf: Sdf, meshed: Meshed, seed: int, points: int, dense: bool) -> tuple[Array | None, Array, Array]:
    """Return surface points, the thin ones of them, and dense points; None and no points without a surface."""
    mesh = meshed.mesh
    if mesh is None or not mesh.area > 0:
        return None, _NO_POINTS, _NO_POINTS
    cloud, normals = oriented_points(mesh, points, seed)
    thin = thin_points(sdf, torch.from_numpy(cloud).float(), torch.from_numpy(normals).float(), THIN_THICKNESS)
    return cloud, thin, surface_points(mesh, DENSE_POINTS, seed + (1 << 19)) if dense else _NO_POINTS
