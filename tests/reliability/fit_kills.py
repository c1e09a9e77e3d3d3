"""Fits that are killed at random moments and run again: the files of all batches are those of an undisturbed fit."""

import random
import signal
import time
from pathlib import Path
from typing import Any

from tests.fakes import tiny_config
from tests.reliability.forks import Child
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import sample_sdf, shared_points

SHAPES = 24
"""Shapes of a fit, in batches of four."""


def fit_into(folder: Path) -> None:
    """Fit drawn shapes; each finished batch is a file.

    Args:
        folder: folder of the batches.
    """
    shapes = list(draw_shapes(SHAPES, seed=1))
    samples = sample_sdf(shapes, shared_points(shapes, 1024, 0))
    fit(tiny_config(), samples, FitConfig(steps=60, points_per_step=256, batch_size=4), folder=folder)


def killed_fits(count: int, moments: random.Random, folder: Path) -> dict[str, Any]:
    """Kill fits at random moments, and run each again.

    Args:
        count: number of fits.
        moments: draws the moments.
        folder: an empty folder.
    """
    start = time.monotonic()
    if Child(lambda: fit_into(folder / "undisturbed")).wait():
        raise RuntimeError("an undisturbed fit fails")
    seconds, expected = time.monotonic() - start, _contents(folder / "undisturbed")
    counts = dict.fromkeys(("not_resumed", "finished_stages_lost", "different_files", "temporary_files"), 0)
    for index in range(count):
        output = folder / f"{index:03d}"
        child = Child(lambda output=output: fit_into(output))
        time.sleep(moments.uniform(0, seconds))
        child.send(signal.SIGKILL)
        before = {path: path.stat().st_mtime_ns for path in output.glob("0*.safetensors")}
        counts["not_resumed"] += Child(lambda output=output: fit_into(output)).wait() != 0
        after = _contents(output)
        counts["finished_stages_lost"] += any(path.stat().st_mtime_ns != stamp for path, stamp in before.items())
        counts["different_files"] += sum(after.get(name) != data for name, data in expected.items())
        counts["temporary_files"] += len(after.keys() - expected.keys())
    return {"runs": count, **counts}


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
