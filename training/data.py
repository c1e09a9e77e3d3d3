"""The signed distances of a run: its shapes sampled once, and kept in one file, training rows in half precision.

Files are sampled at one schedule. Drawn shapes by the thousand take several in turn: together those are denser than one
schedule could be. In the gaps of a schedule that all shapes share nothing asks for a part, and chairs lose the middle
of their column there, all in the same place.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from weightgpt.files import read_tensors, write_tensors
from weightgpt.sampling import Samples, sample, shared_schedule, shared_schedules, uniform_points
from weightgpt.splits import Split

PROBES = 2048
"""m, the first points of every schedule, which all shapes share; without refining the encoder sees no others."""
END = 6144
"""Points of a schedule after those, where shapes take several in turn."""
FIRST = 512
"""Training shapes that plain fits and the field that they start from are made of, at most."""


@dataclass(frozen=True)
class Sampled:
    """Signed distances of a run: at schedules for learning, at uniform points for judging."""

    train: Samples
    """At the schedule, or at several in turn."""
    first: Samples
    """The first training shapes at the schedule."""
    validation: Samples
    """At the schedule."""
    test: Samples
    """At the schedule."""
    judged_train: Samples
    """The first training shapes at the uniform points."""
    judged_test: Samples
    """The test shapes at the uniform points."""


def sample_split(split: Split, schedule: int, turns: int, judged: int, seed: int, path: Path) -> Sampled:
    """Sample all shapes, or read what an earlier run sampled.

    Args:
        schedule: points of the schedule.
        turns: schedules that training shapes take in turn; 0: they are sampled at the whole one.
        judged: uniform points.
    """
    if not path.is_file():
        points = shared_schedule(split.train, schedule, seed)
        uniform = uniform_points(judged, split.train[0].dimension, seed + 1)
        learnt = shared_schedules(split.train, turns, points[:PROBES], END, seed + 1) if turns else points.clone()
        tensors = {
            "learnt": learnt,
            "points": points,
            "uniform": uniform,
            "train": sample(split.train, learnt, progress=True, dtype=torch.float16).sdf,
            "first": sample(split.train[:FIRST], points).sdf,
            "validation": sample(split.validation, points).sdf,
            "test": sample(split.test, points).sdf,
            "judged_train": sample(split.train[: len(split.test)], uniform).sdf,
            "judged_test": sample(split.test, uniform).sdf,
        }
        write_tensors(path, tensors)
    found = read_tensors(path)
    places = {"train": "learnt", "judged_train": "uniform", "judged_test": "uniform"}
    names = ("train", "first", "validation", "test", "judged_train", "judged_test")
    return Sampled(*(Samples(found[places.get(name, "points")], found[name]) for name in names))
