"""The signed distances of a run: all shapes of the run, sampled once at shared points.

File: {points (M, D), eval_points (m, D), train (N, M) float16, validation (V, M), test (T, M), eval_train (T, m),
eval_test (T, m)}. The many training rows are stored in half precision. Shapes that are known at samples alone are
evaluated at their own held-out samples: then eval_train_points and eval_test_points (T, m, D) take the place of
eval_points.

Dimensions: N training, V validation and T test shapes, M shared points, m points for evaluation, D dimension.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from weightgpt.io import read_tensors, write_tensors
from weightgpt.shapes.sampled import held_out_samples
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.splits import Split


@dataclass(frozen=True)
class SampledSplit:
    """Signed distances of a run: at the shared points for learning, at uniform points for evaluation."""

    train: Samples
    """The training shapes at the shared points."""
    validation: Samples
    """The validation shapes at the shared points."""
    test: Samples
    """The test shapes at the shared points."""
    eval_train: Samples
    """The first T training shapes at the uniform points, or at their held-out samples."""
    eval_test: Samples
    """The test shapes at the uniform points, or at their held-out samples."""


def sample_split(
    split: Split, num_points: int, num_eval_points: int, seed: int, path: Path, probes: Tensor | None = None
) -> SampledSplit:
    """Sample all shapes, or read the samples of an earlier call.

    Args:
        split: the shapes.
        num_points: M, shared points near the surfaces and in the volume.
        num_eval_points: m, uniform points.
        seed: seed of both sets of points.
        path: the file that the samples are written to or read from.
        probes: (m, D) further shared points, which come first; none when None.
    """
    if not path.is_file():
        points = shared_points(split.train, num_points, seed)
        points = points if probes is None else torch.cat([probes, points])
        eval_points = uniform_points(num_eval_points, split.train[0].dimension, seed + 1)
        tensors = {
            "points": points,
            "train": sample_sdf(split.train, points, progress=True).sdf.half(),
            "validation": sample_sdf(split.validation, points).sdf,
            "test": sample_sdf(split.test, points).sdf,
        }
        for name, shapes in (("eval_train", split.train[: len(split.test)]), ("eval_test", split.test)):
            samples = held_out_samples(shapes) or sample_sdf(shapes, eval_points)
            own = samples.points.ndim == 3
            tensors |= {f"{name}_points" if own else "eval_points": samples.points, name: samples.sdf}
        write_tensors(path, tensors)
    tensors = read_tensors(path)
    return SampledSplit(
        *(Samples(tensors["points"], tensors[name]) for name in ("train", "validation", "test")),
        *(
            Samples(tensors[f"{name}_points" if f"{name}_points" in tensors else "eval_points"], tensors[name])
            for name in ("eval_train", "eval_test")
        ),
    )
