"""`SetEvaluator`: the one evaluation of a set of shapes, for runs, comparisons and the command line.

Decisions:

- Empty and broken shapes count in their rates and are left out of the set metrics. Equally many held-out shapes,
  chosen at random, are left out too, so both sets stay equal in size. Empty shapes are not replaced by new samples.
- Set metrics depend on the size of the sets. If a size is given, shapes are compared set by set, and the metrics are
  means over the sets. If there are fewer held-out sets than sample sets, the held-out sets are reused. The
  same number of shapes is compared in every set: the number of surfaces of the set with the fewest.
- The memorization check and the earth mover's distance are slow, so they use the first set only.
- EMD is off by default (`emd=0`). If it is on, it uses the first `emd` shapes of each set and `EMD_POINTS` points.
- Distances between held-out shapes are computed once for all rows.

Dimensions: n shapes of a set.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from weightgpt.errors import InputError
from weightgpt.metrics.emd import emd_matrix
from weightgpt.metrics.frechet import frechet_distance
from weightgpt.metrics.memorization import MemorizationStats, NearestShapes, TrainingShapes, memorization_stats
from weightgpt.metrics.pairwise import Array, chamfer_matrices
from weightgpt.metrics.set_metrics import SET_METRICS, Distances, SetMetrics, set_metrics
from weightgpt.metrics.shape_set import Rates, ShapeSet

EMD_POINTS = 192
"""Points of each surface under the earth mover's distance."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of one set of shapes; None marks what was not measured."""

    count: int
    """Shapes of the set."""
    compared: int
    """Shapes of the set that entered MMD, COV and 1-NNA."""
    rates: Rates
    """Shares of the set that need no other set."""
    chamfer: SetMetrics | None = None
    """Set metrics under the Chamfer-L1 distance; None if a set has fewer than two shapes with a surface."""
    squared: SetMetrics | None = None
    """Set metrics under squared Chamfer distances (HyperDiffusion's protocol)."""
    frechet: float | None = None
    """Fréchet distance of point features."""
    emd_compared: int | None = None
    """Shapes of the set that entered `emd`."""
    emd: SetMetrics | None = None
    """Set metrics under the earth mover's distance."""
    memorization: MemorizationStats | None = None
    """The memorization check; None if it was not run or if no shape has a surface."""
    nearest: NearestShapes | None = None
    """Nearest training shapes of the shapes with a surface of the first set, if the memorization check was run."""
    thin_recall: float | None = None
    """Mean share of the thin surface of true shapes that these copies have too."""

    def to_row(self, *, per_shape_values: bool = False) -> dict[str, Any]:
        """Return the metrics as one flat row of JSON values; see docs/metrics.md for the keys.

        Args:
            per_shape_values: add the values whose means are the set metrics, for
                `weightgpt.metrics.set_metrics.paired_difference_ci`.
        """
        row: dict[str, Any] = {"count": self.count, "compared": self.compared, **asdict(self.rates), **EMPTY_METRICS}
        if self.chamfer is not None:
            values = asdict(self.chamfer)
            values_of_shapes = values.pop("per_shape_values")
            row |= values | {"frechet": self.frechet}
            row |= {"per_shape_values": values_of_shapes} if per_shape_values else {}
        if self.squared is not None:
            row |= _suffixed(self.squared, "squared")
        if self.emd is not None:
            row |= {"emd_compared": self.emd_compared, **_suffixed(self.emd, "emd")}
        if self.memorization is not None:
            row |= asdict(self.memorization)
        row["thin_recall"] = self.thin_recall
        return row


def _suffixed(metrics: SetMetrics, protocol: str) -> dict[str, float]:
    """Return MMD, COV and 1-NNA with the protocol in their keys."""
    return {
        f"mmd_{protocol}": metrics.mmd,
        f"cov_{protocol}": metrics.cov,
        f"one_nna_{protocol}": metrics.one_nna,
    }


EMPTY_METRICS: Mapping[str, Any] = dict.fromkeys(
    [
        *SET_METRICS,
        *(f"{name}_interval" for name in SET_METRICS),
        "frechet",
        *(f"{name}_squared" for name in SET_METRICS),
        "emd_compared",
        *(f"{name}_emd" for name in SET_METRICS),
        *(column.name for column in fields(MemorizationStats)),
        "thin_recall",
    ]
)
"""The keys of a row that need a held-out set, each None: a row that could not be evaluated."""


@dataclass(frozen=True, kw_only=True)
class SetEvaluator:
    """Held-out shapes and training shapes, prepared to evaluate sets of shapes.

    Examples:
        >>> from weightgpt.metrics.shape_set import mesh_shapes
        >>> balls = [lambda points, radius=radius: points.norm(dim=-1) - radius for radius in (0.4, 0.6)]
        >>> evaluator = SetEvaluator(held_out=mesh_shapes(balls, seed=1, resolution=16))
        >>> evaluator.evaluate(mesh_shapes(balls, seed=2, resolution=16), check_memorization=False).to_row()["cov"]
        1.0
    """

    held_out: ShapeSet
    """The held-out shapes."""
    training: TrainingShapes | None = None
    """All training shapes; None if the memorization check is never needed."""
    held_out_nn_distances: tuple[float, ...] = ()
    """Distances of the held-out shapes of the first set to their nearest training shapes."""
    seed: int = 0
    """Seed of the bootstrap and of the choice of held-out shapes."""
    emd: int = 0
    """Largest number of shapes of a set that are compared under the earth mover's distance; 0 for none."""
    size: int | None = None
    """Shapes of each set; None puts all shapes into one set."""

    def __post_init__(self) -> None:
        if self.emd < 0 or self.emd == 1:
            raise InputError(f"sets of {self.emd} cannot be compared under the earth mover's distance; give 0 or 2 up.")
        if self.size is not None and self.size < 2:
            raise InputError(f"sets of {self.size} shapes cannot be compared; give a size of 2 or more.")

    @classmethod
    def create(
        cls, held_out: ShapeSet, training: TrainingShapes, *, seed: int = 0, emd: int = 0, size: int | None = None
    ) -> Self:
        """Find the nearest training shapes of the held-out shapes, and prepare the evaluator.

        Args:
            held_out: shapes that no model was trained on.
            training: all training shapes.
            seed: seed of the bootstrap and of the choice of held-out shapes.
            emd: largest number of shapes of a set that are compared under the earth mover's distance; 0 for none.
            size: shapes of each set; None puts all shapes into one set.

        Raises:
            InputError: `emd` is 1 or negative, or `size` is below 2.
        """
        first = held_out.split(size)[0]
        nearest = training.nearest([first.sdfs[i] for i in first.with_surface])
        return cls(
            held_out=held_out,
            training=training,
            held_out_nn_distances=tuple(nearest.distance),
            seed=seed,
            emd=emd,
            size=size,
        )

    def with_first_held_out(self, count: int) -> Self:
        """Return an evaluator that compares with fewer held-out shapes; the memorization check stays as it is.

        Args:
            count: number of held-out shapes, the first ones.
        """
        return replace(self, held_out=self.held_out.select(slice(0, count)))

    @cached_property
    def held_out_sets(self) -> list[ShapeSet]:
        """The held-out shapes, set by set."""
        return self.held_out.split(self.size)

    @cached_property
    def held_out_emd(self) -> Float[Array, "n n"]:
        """Earth mover's distances between the first held-out shapes."""
        clouds = _emd_clouds(self.held_out, self.emd)
        return emd_matrix(clouds, clouds)

    def evaluate(
        self, samples: ShapeSet, *, check_memorization: bool = True, truth: ShapeSet | None = None
    ) -> Evaluation:
        """Measure a set of shapes against the held-out shapes.

        Args:
            samples: the shapes to measure.
            check_memorization: search the nearest training shapes; of no use for training shapes themselves.
            truth: the shape that each sample copies, if there is one; needed for the recall of thin parts.

        Raises:
            InputError: as `ShapeSet.thin_recall`.
        """
        pairs = [
            (part, self.held_out_sets[i % len(self.held_out_sets)]) for i, part in enumerate(samples.split(self.size))
        ]
        count = min(min(len(part.with_surface), len(held_out.with_surface)) for part, held_out in pairs)
        nearest = self._nearest_training(pairs[0][0]) if check_memorization else None
        return Evaluation(
            count=len(samples),
            compared=count * len(pairs),
            rates=samples.rates(),
            **(self._compare(pairs, count) if count >= 2 else {}),
            **(self._compare_emd(samples, min(count, self.emd)) if count >= 2 and self.emd else {}),
            memorization=None if nearest is None else memorization_stats(nearest.distance, self.held_out_nn_distances),
            nearest=nearest,
            thin_recall=None if truth is None else samples.thin_recall(truth),
        )

    def _nearest_training(self, samples: ShapeSet) -> NearestShapes | None:
        """Find the nearest training shapes of samples with a surface; None if there are no such samples."""
        if self.training is None or not samples.with_surface:
            return None
        return self.training.nearest([samples.sdfs[i] for i in samples.with_surface])

    def _compare(self, pairs: list[tuple[ShapeSet, ShapeSet]], count: int) -> dict[str, Any]:
        """Compare `count` shapes of each set of samples with those of its held-out set."""
        plain: list[Distances] = []
        squared: list[Distances] = []
        frechet = []
        for samples, held_out in pairs:
            # All pairs use one seed, so the same shapes of a reused held-out set are compared.
            rows, columns = (
                np.sort(np.random.default_rng(self.seed).permutation(len(part.with_surface))[:count])
                for part in (samples, held_out)
            )
            cross = chamfer_matrices([samples.surfaces[i] for i in rows], [held_out.surfaces[i] for i in columns])
            for distances, within, across, between in zip(
                (plain, squared), samples.distances, cross, held_out.distances, strict=True
            ):
                distances.append((within[np.ix_(rows, rows)], across, between[np.ix_(columns, columns)]))
            frechet.append(frechet_distance(samples.features[rows], held_out.features[columns]))
        same_held_out = len(self.held_out_sets) == 1
        return {
            "chamfer": set_metrics(*plain, same_held_out=same_held_out, seed=self.seed),
            "squared": set_metrics(*squared, same_held_out=same_held_out, seed=self.seed),
            "frechet": float(np.mean(frechet)),
        }

    def _compare_emd(self, samples: ShapeSet, count: int) -> dict[str, Any]:
        """Compare the first `count` shapes under the earth mover's distance."""
        clouds = _emd_clouds(samples, count)
        cross = emd_matrix(clouds, _emd_clouds(self.held_out, count))
        distances = emd_matrix(clouds, clouds), cross, self.held_out_emd[:count, :count]
        return {"emd_compared": count, "emd": set_metrics(distances, seed=self.seed)}


def _emd_clouds(shapes: ShapeSet, count: int) -> list[Array]:
    """Return the first points of the first `count` surfaces."""
    return [cloud[:EMD_POINTS] for cloud in shapes.surfaces[:count]]
