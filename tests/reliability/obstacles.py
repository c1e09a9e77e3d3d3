"""Runs that cannot write: two at once in one folder, a full disk, a file where the folder should be."""

import random
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.reliability import tiny_run
from tests.reliability.forks import Child
from tests.reliability.resumption import Reference, last_line, run_again, summary, wait_for_stage
from training.run import STAGES

FILE_SIZES = (64, 4096, 65536)
"""Bytes that a file may have in a run whose disk is full."""


def outcome(child: Child) -> str:
    """How a run has ended: "done", "refused" with one sentence, or "failed".

    Args:
        child: the run.
    """
    if child.wait() == 0:
        return "done"
    refused = child.code == 2 and "Traceback" not in child.text and last_line(child.text).startswith("error: ")
    return "refused" if refused else "failed"


def two_runs(count: int, moments: random.Random, folder: Path, reference: Reference) -> dict[str, Any]:
    """Pairs of runs in one folder: both end well, or one is refused; then the same command is given once more.

    Args:
        count: number of pairs.
        moments: draws when the second run begins.
        folder: an empty folder.
        reference: undisturbed runs.
    """
    ends: Counter[str] = Counter()
    disturbed, examples = [], []
    for index in range(count):
        output = folder / f"{index:03d}" / "run"
        first = Child(tiny_run.command(output))
        time.sleep(moments.uniform(0, 0.8 * sum(reference.seconds.values())))
        second = Child(tiny_run.command(output))
        outcomes = sorted((outcome(first), outcome(second)))
        ends[" and ".join(outcomes)] += 1
        examples += [last_line(child.text) for child in (first, second) if outcome(child) == "failed"]
        disturbed.append(run_again(first, output, reference))
    failed = sum(number for name, number in ends.items() if "failed" in name or name == "refused and refused")
    return summary(disturbed) | {"ends": dict(ends), "failed": failed, "failures": sorted(set(examples))[:10]}


def disk_full(folder: Path, reference: Reference) -> dict[str, Any]:
    """From the start of each stage on, a file may have some bytes only; then the same command runs without a limit.

    Args:
        folder: an empty folder.
        reference: undisturbed runs.
    """
    ends: Counter[str] = Counter()
    disturbed, examples = [], []
    for stage in STAGES:
        for size in FILE_SIZES:
            output = folder / f"{stage}-{size}" / "run"
            child = Child(tiny_run.command(output))
            wait_for_stage(child, stage)
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (size, size))
            end = outcome(child)
            ends[end] += 1
            if end == "failed":
                examples.append(f"{stage}: {last_line(child.text)}")
            disturbed.append(run_again(child, output, reference))
    return summary(disturbed) | {"ends": dict(ends), "tracebacks": ends["failed"], "failures": sorted(set(examples))}


def read_only(folder: Path) -> dict[str, Any]:
    """Outputs that no user can write to, the superuser included: a file lies in their place or above them.

    Args:
        folder: an empty folder.
    """
    folder.mkdir(parents=True)
    blocked = folder / "file"
    blocked.write_text("in the way")
    ends: Counter[str] = Counter()
    begun = []
    for output in (blocked, blocked / "run"):
        child = Child(tiny_run.command(output))
        ends[outcome(child)] += 1
        begun.append(len(tiny_run.stages_begun(child.text)))
    failed = len(begun) - ends["refused"] + (blocked.read_text() != "in the way")
    return {"runs": len(begun), "ends": dict(ends), "failed": failed, "stages_begun": begun}
