"""The signed distances of a run: its shapes sampled once at shared points.

All distances of a run lie in one file, the many training rows in half precision.
"""

from dataclasses import dataclass
from pathlib import Path

from weightgpt.io import read_tensors, write_tensors
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.splits import Split


@dataclass(frozen=True)
class SampledSplit:
    """Signed distances of a run: at the shared schedule for learning, at uniform points for judging."""

    train: Samples
    validation: Samples
    test: Samples
    judged_train: Samples
    """The first training shapes at the uniform points."""
    judged_test: Samples
    """The test shapes at the uniform points."""


def sample_split(split: Split, schedule: int, judged: int, seed: int, path: Path) -> SampledSplit:
    """Sample all shapes, or read what an earlier run sampled, at `schedule` shared and `judged` uniform points."""
    if not path.is_file():
        points = shared_points(split.train, schedule, seed)
        uniform = uniform_points(judged, split.train[0].dimension, seed + 1)
        tensors = {
            "points": points,
            "uniform": uniform,
            "train": sample_sdf(split.train, points, progress=True).sdf.half(),
            "validation": sample_sdf(split.validation, points).sdf,
            "test": sample_sdf(split.test, points).sdf,
            "judged_train": sample_sdf(split.train[: len(split.test)], uniform).sdf,
            "judged_test": sample_sdf(split.test, uniform).sdf,
        }
        write_tensors(path, tensors)
    found = read_tensors(path)
    names = ("train", "validation", "test")
    learn = [Samples(found["points"], found[name]) for name in names]
    judge = [Samples(found["uniform"], found[name]) for name in ("judged_train", "judged_test")]
    return SampledSplit(*learn, *judge)
