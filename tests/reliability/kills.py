"""Kill, stop and obstruct tiny runs of the pipeline: `python -m tests.reliability.kills --output runs/kills.json`.

After each disturbance the same command is given again. Then no file may be unreadable, no finished stage may be lost,
no final byte may differ from an undisturbed run, and no temporary file may be left.
"""

import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reliability import obstacles, tiny_run
from tests.reliability.fit_kills import killed_fits
from tests.reliability.forks import Child
from tests.reliability.program import run_program
from tests.reliability.resumption import Disturbed, Reference, problems, run_again, summary, wait_for_stage
from training.run import STAGES
from weightgpt._programs import cli_main

AFTER_A_NAME = 0.02
"""Longest time in seconds between the appearance of a name and a kill."""


@dataclass(frozen=True, kw_only=True)
class KillsJob:
    """Kill, stop and obstruct tiny runs of the pipeline, and compare what becomes of them with undisturbed runs."""

    output: Path = Path("runs/kills.json")
    """The file of the counts."""
    kills: int = 200
    """Runs that are killed by SIGKILL."""
    fits: int = 50
    """Fits of fields that are killed by SIGKILL."""
    terminations: int = 16
    """Runs that are ended by SIGTERM."""
    pairs: int = 8
    """Pairs of runs at once in one folder."""
    obstacles: bool = True
    """Whether to measure full disks and folders that cannot be written to."""
    seed: int = 0
    """Seed of the moments."""


def measure(job: KillsJob, folder: Path) -> dict[str, Any]:
    """All counts.

    Args:
        job: what to measure.
        folder: an empty folder.
    """
    reference = Reference.measure(folder / "reference")
    moments, start = random.Random(job.seed), time.monotonic()
    result: dict[str, Any] = {
        "files_compared": len(reference.contents),
        "not_compared": reference.not_compared,
        "kills": stop_runs(job.kills, signal.SIGKILL, moments, folder / "kills", reference),
        "fits": killed_fits(job.fits, moments, folder / "fits"),
        "terminations": stop_runs(job.terminations, signal.SIGTERM, moments, folder / "terminations", reference),
        "two_runs": obstacles.two_runs(job.pairs, moments, folder / "pairs", reference),
    }
    if job.obstacles:
        result["disk_full"] = obstacles.disk_full(folder / "full", reference)
        result["read_only"] = obstacles.read_only(folder / "read-only")
    return result | {"problems": problems(result), "seconds": round(time.monotonic() - start)}


def stop_runs(
    count: int, number: signal.Signals, moments: random.Random, folder: Path, reference: Reference
) -> dict[str, Any]:
    """Stop runs by a signal, spread over all stages, half at random moments and half after a name has appeared.

    Args:
        count: number of runs.
        number: the signal.
        moments: draws the moments.
        folder: an empty folder.
        reference: undisturbed runs.
    """
    disturbed: list[Disturbed] = []
    codes, slowest = [], 0.0
    for index in range(count):
        output = folder / f"{index:03d}" / "run"
        child = Child(tiny_run.command(output))
        stage = STAGES[index % len(STAGES)]
        wait_for_stage(child, stage)
        if index // len(STAGES) % 2:
            wait_for_names(child, output, moments.randint(1, 4))
            time.sleep(moments.uniform(0, AFTER_A_NAME))
        else:
            time.sleep(moments.uniform(0, reference.seconds[stage]))
        sent = time.monotonic()
        if child.send(number):
            slowest = max(slowest, time.monotonic() - sent)
            codes.append(child.code)
            disturbed.append(run_again(child, output, reference))
        print(f"{number.name} {index + 1}/{count}", file=sys.stderr, flush=True)
    result = summary(disturbed)
    if number == signal.SIGTERM:
        result |= {"not_143": sum(code != 143 for code in codes), "slowest_seconds": round(slowest, 1)}
    return result


def wait_for_names(child: Child, output: Path, count: int) -> None:
    """Wait until names have appeared in or vanished from the folder of a run several times, or the run has ended.

    Args:
        child: the run.
        output: its folder.
        count: number of changes.
    """
    for _ in range(count):
        before = _names(output)
        child.wait_until(lambda before=before: _names(output) != before)


def _names(folder: Path) -> set[str]:
    return {os.path.join(path, name) for path, folders, names in os.walk(folder) for name in (*folders, *names)}


@cli_main
def main() -> None:
    """Measure, write the counts, and end with 1 if one of them must be 0 and is not."""
    run_program("tests.reliability.kills", KillsJob, measure)


if __name__ == "__main__":
    sys.exit(main())
