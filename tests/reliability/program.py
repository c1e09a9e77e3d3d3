"""What the programs of this folder share: they measure in an empty folder, and end with 1 if a count is not 0."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from weightgpt import __version__
from weightgpt._programs import command_line, parse
from weightgpt.io import write_json


class Job(Protocol):
    """What a program measures."""

    @property
    def output(self) -> Path:
        """The file of the figures."""


AnyJob = TypeVar("AnyJob", bound=Job)


def run_program(module: str, kind: type[AnyJob], measure: Callable[[AnyJob, Path], dict[str, Any]]) -> None:
    """Read the command line, measure, and write the figures with the version and the command.

    Args:
        module: the name of the program.
        kind: the dataclass of its options.
        measure: measures a job in an empty folder; returns figures with `problems`, which should be 0.
    """
    job = parse(kind, module)
    with tempfile.TemporaryDirectory() as folder:
        result = {"version": __version__, "command": command_line(module), **measure(job, Path(folder))}
    write_json(job.output, result)
    print(json.dumps(result, indent=2))
    if result["problems"]:
        sys.exit(1)
