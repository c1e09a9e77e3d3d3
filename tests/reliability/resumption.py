"""A disturbed run, the same command again, and what differs from an undisturbed run."""

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.reliability import tiny_run
from tests.reliability.forks import Child, import_what_is_needed
from training.run import STAGES


def wait_for_stage(child: Child, stage: str) -> bool:
    """Wait until a run announces a stage; False if it ends before.

    Args:
        child: the run.
        stage: one of `STAGES`.
    """
    return child.wait_until(lambda: stage in tiny_run.stages_begun(child.text))


@dataclass(frozen=True)
class Reference:
    """What undisturbed runs give."""

    contents: dict[str, str]
    """A digest of each file that two undisturbed runs have in common, byte by byte."""
    not_compared: list[str]
    """Files that differ between two undisturbed runs, because they show times."""
    seconds: dict[str, float]
    """Duration of each stage."""

    @classmethod
    def measure(cls, folder: Path) -> "Reference":
        """Run undisturbed three times; the first run only finds out which modules are needed.

        Args:
            folder: an empty folder.
        """
        import_what_is_needed(tiny_run.command(folder / "first" / "run"), folder)
        outputs = [folder / name / "run" for name in ("second", "third")]
        for output in outputs:
            child, begun = Child(tiny_run.command(output)), []
            for stage in STAGES:
                wait_for_stage(child, stage)
                begun.append(time.monotonic())
            if child.wait():
                raise RuntimeError(f"an undisturbed run fails:\n{child.text[-2000:]}")
            begun.append(time.monotonic())
        first, second = map(tiny_run.contents, outputs)
        equal = {name: digest for name, digest in first.items() if second.get(name) == digest}
        durations = [end - start for start, end in pairwise(begun)]
        others = sorted((first.keys() | second.keys()) - equal.keys())
        return cls(equal, others, dict(zip(STAGES, durations, strict=True)))

    def differences(self, output: Path) -> list[str]:
        """The files of a run that are missing or differ.

        Args:
            output: the folder of the run.
        """
        contents = tiny_run.contents(output)
        return [name for name, digest in self.contents.items() if contents.get(name) != digest]

    def other_files(self, output: Path) -> list[str]:
        """The files of a run that an undisturbed run does not have.

        Args:
            output: the folder of the run.
        """
        return sorted(tiny_run.contents(output).keys() - self.contents.keys() - set(self.not_compared))


@dataclass
class Disturbed:
    """What a disturbed run left, and what the same command made of it."""

    stage: str
    """The stage that was disturbed."""
    resumed: bool
    """Whether the same command ended well."""
    unreadable: list[str]
    """Files under their final names that cannot be read, after the disturbance or at the end."""
    lost: list[str]
    """Files of finished stages that are missing or were made again."""
    different: list[str]
    """Files that differ from those of an undisturbed run, if the same command ended well."""
    drafts: list[str]
    """Temporary files at the end."""
    other_files: list[str]
    """Further files that an undisturbed run does not have."""
    message: str = field(default="")
    """The last line of the same command if it failed."""


def run_again(child: Child, output: Path, reference: Reference) -> Disturbed:
    """Give the same command again after a disturbance.

    Args:
        child: the disturbed run, which has ended.
        output: its folder.
        reference: undisturbed runs.
    """
    begun = tiny_run.stages_begun(child.text) or ["start"]
    finished = begun[:-1]
    unreadable, before = tiny_run.unreadable(output), tiny_run.artifacts(output, finished)
    again = Child(tiny_run.command(output))
    resumed = again.wait() == 0
    after = tiny_run.artifacts(output, finished)
    return Disturbed(
        stage=begun[-1],
        resumed=resumed,
        unreadable=unreadable + tiny_run.unreadable(output),
        lost=[name for name, stamp in before.items() if after.get(name) != stamp],
        different=reference.differences(output) if resumed else [],
        drafts=tiny_run.drafts(output),
        other_files=[name for name in reference.other_files(output) if resumed],
        message="" if resumed else last_line(again.text),
    )


def last_line(text: str) -> str:
    """The last line that names an error, or else the last line, without folders, so that equal problems are equal.

    Args:
        text: what a run has printed.
    """
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    errors = [line for line in lines if re.match(r"error: |[\w.]+(Error|Exception)\b", line)]
    return re.sub(r"/\S*/(?=run\b|file\b)", "", (errors or lines)[-1])[:160]


def summary(disturbed: Iterable[Disturbed]) -> dict[str, Any]:
    """Counts over several disturbed runs.

    Args:
        disturbed: the runs.
    """
    runs = list(disturbed)
    return {
        "runs": len(runs),
        "by_stage": dict(Counter(run.stage for run in runs)),
        "not_resumed": sum(not run.resumed for run in runs),
        "unreadable_files": sum(len(run.unreadable) for run in runs),
        "finished_stages_lost": sum(bool(run.lost) for run in runs),
        "different_files": sum(len(run.different) for run in runs),
        "temporary_files": sum(len(run.drafts) for run in runs),
        "other_files": sum(len(run.other_files) for run in runs),
        "examples": sorted({example for run in runs for example in _examples(run)})[:20],
    }


def _examples(run: Disturbed) -> list[str]:
    """One line for each kind of problem of a run."""
    parts = {
        "not resumed": [run.message] if run.message else [],
        "unreadable": run.unreadable,
        "lost": run.lost,
        "different": run.different,
        "temporary": [Path(name).name for name in run.drafts],
        "other file": run.other_files,
    }
    return [f"{run.stage}: {kind}: {values[0]}" for kind, values in parts.items() if values]


PROBLEMS = (
    *("not_resumed", "unreadable_files", "finished_stages_lost", "different_files", "temporary_files", "other_files"),
    *("failed", "tracebacks", "not_143"),
)
"""Counts of a summary that must be 0."""


def problems(result: dict[str, Any]) -> int:
    """The sum of all counts that must be 0, in all summaries of a result.

    Args:
        result: summaries by name.
    """
    parts = [part for part in result.values() if isinstance(part, dict)]
    return sum(int(part.get(name, 0)) for part in parts for name in PROBLEMS)
