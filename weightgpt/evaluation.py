"""Sets of shapes, meshed once and compared: the rows that an honest evaluation prints together.

Decisions:
- A shape is its mesh on a grid: points on its surface, equally many for all, its pieces, and whether it is empty or
  broken. True shapes and fields go the same way, so that the grid's own error is in every row.
- Empty and broken shapes count in their rates and are left out of the set metrics. As many held-out shapes are left out
  with them, drawn at random, so that both sets stay equal; nothing is drawn again in place of an empty shape.
- Every surface is sampled with a seed of its own. With one seed for all, like meshes would get like points, and true
  shapes would look nearer to each other than fields can be to any.
- Distances between held-out shapes are computed once for all rows.

Dimensions: n shapes of a set.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from weightgpt import features
from weightgpt.memorisation import TrainingShapes, verdict
from weightgpt.meshing import mesh_grid, sdf_grid
from weightgpt.metrics import chamfer_matrices, oriented_points, solid_pieces
from weightgpt.set_metrics import set_figures
from weightgpt.shapes import Sdf
from weightgpt.thin import thin_share

Array = NDArray[np.float64]

POINTS = 512
"""Points on each surface."""
THIN = 0.15
"""Thickness, in half-sides of the box, below which a part is thin: that of legs, wings and walls of built-in shapes."""


@dataclass(frozen=True)
class ShapeSet:
    """n shapes, meshed."""

    sdfs: list[Sdf]
    clouds: list[Array | None]
    """Surface points (m, 3) of each; None where there is no surface."""
    pieces: list[int]
    """Separate pieces of each solid."""
    broken: list[bool]
    """Whether a value is not finite."""
    thin: list[float]
    """Share of each surface where the solid is thinner than `THIN`; 0 where there is none."""

    @cached_property
    def solid(self) -> list[int]:
        """The shapes that have a surface."""
        return [i for i, cloud in enumerate(self.clouds) if cloud is not None]

    @cached_property
    def surfaces(self) -> list[Array]:
        """The points of those that have a surface."""
        return [cloud for cloud in self.clouds if cloud is not None]

    @cached_property
    def features(self) -> Array:
        """Of those, by the project's own point network, from the first points of each."""
        clouds = np.stack([cloud[: features.POINTS] for cloud in self.surfaces])
        return features.features(features.load_features(), torch.from_numpy(clouds).float())

    @cached_property
    def distances(self) -> tuple[Array, Array]:
        """Between those, Chamfer-L1 and squared."""
        return chamfer_matrices(self.surfaces, self.surfaces)

    def first(self, n: int) -> "ShapeSet":
        """The first `n` shapes."""
        return ShapeSet(self.sdfs[:n], self.clouds[:n], self.pieces[:n], self.broken[:n], self.thin[:n])

    def rates(self) -> dict[str, float]:
        """Shares of the n shapes: in one piece, empty, broken; and the mean share of thin surface."""
        count = len(self.sdfs)
        empty = count - len(self.solid) - sum(self.broken)
        one = sum(pieces == 1 and cloud is not None for pieces, cloud in zip(self.pieces, self.clouds, strict=True))
        thin = sum(self.thin) / max(len(self.solid), 1)
        return {
            "one_piece": one / count,
            "empty": empty / count,
            "broken": sum(self.broken) / count,
            "thin_share": thin,
        }


@torch.no_grad()
def mesh_all(
    sdfs: Sequence[Sdf], *, seed: int, resolution: int = 64, points: int = POINTS, title: str | None = None
) -> ShapeSet:
    """Mesh shapes on a grid of `resolution`³ and draw points on their surfaces; a `title` shows progress.

    Args:
        seed: of the points; sets that are compared need different ones.
    """
    clouds: list[Array | None] = []
    pieces, broken, thin = [], [], []
    for i, sdf in enumerate(tqdm(sdfs, title, unit="shape", disable=title is None)):
        grid = sdf_grid(sdf, resolution)
        meshed = mesh_grid(grid)
        mesh = meshed.mesh
        if mesh is None or not mesh.area > 0:
            clouds.append(None)
            thin.append(0.0)
        else:
            cloud, normals = oriented_points(mesh, points, (seed << 20) + i)
            clouds.append(cloud)
            thin.append(thin_share(sdf, torch.from_numpy(cloud).float(), torch.from_numpy(normals).float(), THIN))
        broken.append(meshed.outcome == "nonfinite")
        pieces.append(0 if broken[-1] else solid_pieces(grid))
    return ShapeSet(list(sdfs), clouds, pieces, broken, thin)


@dataclass(frozen=True)
class Judge:
    """Held-out shapes and training shapes, ready to judge sets of samples by."""

    held: ShapeSet
    training: TrainingShapes | None
    """None where no guard is asked for."""
    familiar: list[float]
    """Distances of held-out shapes, of all that there are, to their nearest training shapes."""
    seed: int = 0

    @classmethod
    def of(cls, held: ShapeSet, training: TrainingShapes, seed: int = 0) -> Self:
        """A judge that finds the nearest training shapes of the held-out ones first."""
        return cls(held, training, training.nearest([held.sdfs[i] for i in held.solid]).distance, seed)

    def of_first(self, count: int) -> "Judge":
        """A judge by the first `count` held-out shapes, who knows how near to training all of them are."""
        return replace(self, held=self.held.first(count))

    def row(self, samples: ShapeSet, *, guard: bool = True) -> dict[str, Any]:
        """The figures of a set of samples; those of its set metrics are None for fewer than two with a surface.

        Args:
            guard: whether to look for the nearest training shapes; no use for training shapes themselves.
        """
        count = min(len(samples.solid), len(self.held.solid))
        values: dict[str, Any] = {"count": len(samples.sdfs), "compared": count, **samples.rates()}
        names = ("mmd", "cov", "one_nna", "mmd_interval", "cov_interval", "one_nna_interval")
        found = dict.fromkeys([*names, "frechet", *(f"{name}_squared" for name in names[:3])], None)
        if count >= 2:
            found |= self._compare(samples, count)
        values |= found | {"memorised_share": None, "nearest_train_ratio": None, "nearest_train_quantiles": None}
        if guard and self.training is not None and samples.solid:
            near = self.training.nearest([samples.sdfs[i] for i in samples.solid]).distance
            told = verdict(near, self.familiar)
            values["memorised_share"] = told.memorised_share
            values["nearest_train_ratio"] = told.nearest_train_ratio
            values["nearest_train_quantiles"] = told.quantiles
        return values

    def _compare(self, samples: ShapeSet, count: int) -> dict[str, Any]:
        rng = np.random.default_rng(self.seed)
        mine = np.sort(rng.permutation(len(samples.solid))[:count])
        theirs = np.sort(rng.permutation(len(self.held.solid))[:count])
        cross = chamfer_matrices([samples.surfaces[i] for i in mine], [self.held.surfaces[i] for i in theirs])
        plain, squared = (
            set_figures(within[np.ix_(mine, mine)], across, held[np.ix_(theirs, theirs)], seed=self.seed)
            for within, across, held in zip(samples.distances, cross, self.held.distances, strict=True)
        )
        others = {f"{name}_squared": getattr(squared, name) for name in ("mmd", "cov", "one_nna")}
        frechet = features.frechet_distance(samples.features[mine], self.held.features[theirs])
        return asdict(plain) | others | {"frechet": frechet}
