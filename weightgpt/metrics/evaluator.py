"""Sets of shapes, meshed once and compared: the rows that an honest evaluation prints together.

Decisions:
- A shape is its mesh on a grid: points on its surface, equally many for all, its pieces, and whether it is empty or
  broken. True shapes and fields go the same way, so that the grid's own error is in every row.
- Empty and broken shapes count in their rates and are left out of the set metrics. As many held-out shapes are left out
  with them, drawn at random, so that both sets stay equal; nothing is drawn again in place of an empty shape.
- Set metrics depend on the size of the sets. Where a size is given, shapes are compared set by set of that size, and
  the figures are means over the sets; if there are fewer held-out sets than sets of samples, the held-out ones serve
  again. Of each set as many shapes are compared as the one with the fewest surfaces has. The guard, which is slow, and
  the earth mover's distance look at the first set.
- Every surface is sampled with a seed of its own. With one seed for all, like meshes would get like points, and true
  shapes would look nearer to each other than fields can be to any.
- Distances between held-out shapes are computed once for all rows.
- The earth mover's distance is exact and slow: it is asked for, and then it compares the first shapes of each set, by
  fewer points.
- A thin part counts as kept where the sample has surface nearby. That is looked for among far more points than those
  that are compared, and needs to know which true shape a sample should be.

Dimensions: n shapes of a set.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from weightgpt.errors import InputError
from weightgpt.metrics import frechet as features
from weightgpt.metrics.emd import emd_matrix
from weightgpt.metrics.memorization import TrainingShapes, memorization_stats
from weightgpt.metrics.pairwise import chamfer_matrices, oriented_points, solid_pieces, surface_points
from weightgpt.metrics.set_metrics import Distances, set_metrics
from weightgpt.metrics.thin_parts import thin_points, thin_recall
from weightgpt.shapes.shape import Sdf
from weightgpt.visual.meshing import mesh_grid, sdf_grid

Array = NDArray[np.float64]

POINTS = 512
"""Points on each surface."""
THIN = 0.15
"""Thickness, in half-sides of the box, below which a part is thin: that of legs, wings and walls of built-in shapes."""
EMD_POINTS = 192
"""Points of each surface under the earth mover's distance."""
DENSE = 8192
"""Points of each surface among which thin parts of a true shape are looked for."""
SET_METRICS = ("mmd", "cov", "one_nna")
EMPTY_METRICS: dict[str, Any] = dict.fromkeys(
    [
        *SET_METRICS,
        *(f"{name}_interval" for name in SET_METRICS),
        "frechet",
        *(f"{name}_squared" for name in SET_METRICS),
        *("emd_compared", *(f"{name}_emd" for name in SET_METRICS)),
        *("memorized_share", "nearest_train_ratio", "nearest_train_quantiles", "thin_recall"),
    ]
)
"""The figures of a row before they are measured."""


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
    thin: list[Array]
    """Those of the surface points where the solid is thinner than `THIN`."""
    dense: list[Array]
    """Other surface points (`DENSE`, 3) of each, if they were drawn; (0, 3) where not, or where there is no surface."""

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
        return self.some(slice(0, n))

    def some(self, which: slice) -> "ShapeSet":
        """The shapes of a slice."""
        return ShapeSet(**{part.name: getattr(self, part.name)[which] for part in fields(self)})

    def sets(self, size: int | None) -> list["ShapeSet"]:
        """Sets of `size` shapes, those left over being left out; the whole set where it is not larger than that."""
        count = len(self.sdfs)
        if size is None or count <= size:
            return [self]
        return [self.some(slice(first, first + size)) for first in range(0, count - size + 1, size)]

    def rates(self) -> dict[str, float]:
        """Shares of the n shapes: in one piece, empty, broken; and the mean share of thin surface."""
        count = len(self.sdfs)
        empty = count - len(self.solid) - sum(self.broken)
        one = sum(pieces == 1 and cloud is not None for pieces, cloud in zip(self.pieces, self.clouds, strict=True))
        thin = sum(len(self.thin[i]) / len(cloud) for i, cloud in zip(self.solid, self.surfaces, strict=True))
        return {
            "one_piece": one / count,
            "empty": empty / count,
            "broken": sum(self.broken) / count,
            "thin_share": thin / max(len(self.solid), 1),
        }

    def thin_recall(self, truth: "ShapeSet") -> float | None:
        """Mean share of the thin parts of true shapes that these shapes have, the i-th those of the i-th.

        None where no true shape has thin parts. See `weightgpt.metrics.thin_parts.thin_recall`.

        Raises:
            InputError: there is not one true shape for each, or these were meshed without `dense`.
        """
        if len(self.sdfs) != len(truth.sdfs):
            raise InputError(f"{len(self.sdfs)} shapes came with {len(truth.sdfs)} true ones; give one for each.")
        if any(len(self.dense[i]) == 0 for i in self.solid):
            raise InputError("shapes have no points to look for thin parts among; mesh them with dense=True.")
        found = [thin_recall(thin, dense) for thin, dense in zip(truth.thin, self.dense, strict=True) if len(thin)]
        return float(np.mean(found)) if found else None


@torch.no_grad()
def mesh_all(
    sdfs: Sequence[Sdf],
    *,
    seed: int,
    resolution: int = 64,
    points: int = POINTS,
    dense: bool = False,
    title: str | None = None,
) -> ShapeSet:
    """Mesh shapes on a grid of `resolution`³ and draw points on their surfaces; a `title` shows progress.

    Args:
        seed: of the points; sets that are compared need different ones.
        dense: draw `DENSE` further points on each, for `thin_recall`; they take 192 KiB a shape.
    """
    clouds: list[Array | None] = []
    pieces, broken, thin, further = [], [], [], []
    for i, sdf in enumerate(tqdm(sdfs, title, unit="shape", disable=title is None)):
        grid = sdf_grid(sdf, resolution)
        meshed = mesh_grid(grid)
        mesh = meshed.mesh
        if mesh is None or not mesh.area > 0:
            clouds.append(None)
            thin.append(np.zeros((0, 3)))
            further.append(np.zeros((0, 3)))
        else:
            cloud, normals = oriented_points(mesh, points, (seed << 20) + i)
            clouds.append(cloud)
            thin.append(thin_points(sdf, torch.from_numpy(cloud).float(), torch.from_numpy(normals).float(), THIN))
            own = (seed << 20) + (1 << 19) + i
            further.append(surface_points(mesh, DENSE, own) if dense else np.zeros((0, 3)))
        broken.append(meshed.outcome == "nonfinite")
        pieces.append(0 if broken[-1] else solid_pieces(grid))
    return ShapeSet(list(sdfs), clouds, pieces, broken, thin, further)


@dataclass(frozen=True)
class SetEvaluator:
    """Held-out shapes and training shapes, ready to judge sets of samples by."""

    held: ShapeSet
    training: TrainingShapes | None
    """None where no guard is asked for."""
    familiar: list[float]
    """Distances of the held-out shapes of the first set to their nearest training shapes."""
    seed: int = 0
    emd: int = 0
    """Shapes of each set, at most, that are compared under the earth mover's distance too; 0 for none."""
    size: int | None = None
    """Shapes of a set; all in one set when None."""

    def __post_init__(self) -> None:
        """Refuse numbers of shapes that cannot be compared."""
        if self.emd < 0 or self.emd == 1:
            raise InputError(f"sets of {self.emd} cannot be compared under the earth mover's distance; give 0 or 2 up.")
        if self.size is not None and self.size < 2:
            raise InputError(f"sets of {self.size} shapes cannot be compared; give a size of 2 or more.")

    @classmethod
    def of(cls, held: ShapeSet, training: TrainingShapes, seed: int = 0, emd: int = 0, size: int | None = None) -> Self:
        """A judge that finds the nearest training shapes of the held-out ones first, of those of the first set."""
        first = held.sets(size)[0]
        near = training.nearest([first.sdfs[i] for i in first.solid])
        return cls(held, training, near.distance, seed, emd, size)

    def of_first(self, count: int) -> "SetEvaluator":
        """A judge by the first `count` held-out shapes, whose guard stays as it is."""
        return replace(self, held=self.held.first(count))

    @cached_property
    def sets(self) -> list[ShapeSet]:
        """The held-out shapes, set by set."""
        return self.held.sets(self.size)

    @cached_property
    def moved(self) -> Array:
        """Earth mover's distances between the first held-out shapes."""
        return emd_matrix(first := _some(self.held, self.emd), first)

    def row(
        self, samples: ShapeSet, *, guard: bool = True, truth: ShapeSet | None = None, per_shape_values: bool = False
    ) -> dict[str, Any]:
        """The figures of samples; those of set metrics are None if a set has fewer than two with a surface.

        Args:
            guard: whether to look for the nearest training shapes; no use for training shapes themselves.
            truth: the shape that each sample should be, where there is one, for the recall of its thin parts.
            places: keep what each held-out shape adds to the figures, to compare rows by (`set_metrics.leads`).
        """
        pairs = [(part, self.sets[i % len(self.sets)]) for i, part in enumerate(samples.sets(self.size))]
        count = min(min(len(part.solid), len(held.solid)) for part, held in pairs)
        compared = count * len(pairs)
        values: dict[str, Any] = {"count": len(samples.sdfs), "compared": compared, **samples.rates(), **EMPTY_METRICS}
        if count >= 2:
            values |= self._compare(pairs, count)
            if not per_shape_values:
                del values["per_shape_values"]
            values |= self._move(samples, min(count, self.emd)) if self.emd else {}
        if truth is not None:
            values["thin_recall"] = samples.thin_recall(truth)
        first = pairs[0][0]
        if guard and self.training is not None and first.solid:
            near = self.training.nearest([first.sdfs[i] for i in first.solid]).distance
            told = memorization_stats(near, self.familiar)
            values["memorized_share"] = told.memorized_share
            values["nearest_train_ratio"] = told.nearest_train_ratio
            values["nearest_train_quantiles"] = told.quantiles
        return values

    def _compare(self, pairs: list[tuple[ShapeSet, ShapeSet]], count: int) -> dict[str, Any]:
        plain: list[Distances] = []
        squared: list[Distances] = []
        frechet = []
        for samples, held in pairs:
            # Each with the same seed: of held-out shapes that serve again, the same ones are compared.
            mine, theirs = (
                np.sort(np.random.default_rng(self.seed).permutation(len(part.solid))[:count])
                for part in (samples, held)
            )
            cross = chamfer_matrices([samples.surfaces[i] for i in mine], [held.surfaces[i] for i in theirs])
            for found, within, across, known in zip(
                (plain, squared), samples.distances, cross, held.distances, strict=True
            ):
                found.append((within[np.ix_(mine, mine)], across, known[np.ix_(theirs, theirs)]))
            frechet.append(features.frechet_distance(samples.features[mine], held.features[theirs]))
        same = len(self.sets) == 1
        others = set_metrics(*squared, same_held=same, seed=self.seed)
        return {
            **asdict(set_metrics(*plain, same_held=same, seed=self.seed)),
            **{f"{name}_squared": getattr(others, name) for name in SET_METRICS},
            "frechet": float(np.mean(frechet)),
        }

    def _move(self, samples: ShapeSet, count: int) -> dict[str, Any]:
        mine = _some(samples, count)
        cross, held = emd_matrix(mine, _some(self.held, count)), self.moved[:count, :count]
        figures = set_metrics((emd_matrix(mine, mine), cross, held), seed=self.seed)
        return {"emd_compared": count} | {f"{name}_emd": getattr(figures, name) for name in SET_METRICS}


def _some(shapes: ShapeSet, count: int) -> list[Array]:
    """The first points of the first `count` surfaces."""
    return [cloud[:EMD_POINTS] for cloud in shapes.surfaces[:count]]
