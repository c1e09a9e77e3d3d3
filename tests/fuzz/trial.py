"""One mutated file is read under watch: its outcome, its time, its memory, and what the process does meanwhile."""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fuzz.checksums import renew_checksums
from tests.fuzz.formats import Format, copy_example
from tests.fuzz.mutations import mutate
from weightgpt.errors import InputError

MAX_SECONDS = 5.0
"""The longest that a reader may take, in time of the processor, because other programs may slow the machine."""
MAX_MEMORY = 200 * 2**20
"""Bytes that a reader may take beyond twice the size of the file."""
OUTCOMES = ("refused", "accepted", "other value", "other error", "slow", "memory", "outside", "crash")
"""What can happen to a file; all but the first two are faults."""

_WRITES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
_RUNS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class"}
_watched: list[str] | None = None
"""What the process has done outside of the rules while a file is read; None while nothing is read."""
_is_hooked = False


class TooSlowError(BaseException):
    """A reader took too long; no reader catches it."""


def run_trial(formats: list[Format], seed: int, index: int, folder: Path) -> tuple[str, str, str]:
    """Mutate one file, read it, and return the format, the outcome and a note.

    Args:
        formats: the formats to choose from.
        seed: seed of all trials.
        index: number of the trial; the same seed and number give the same file.
        folder: an empty folder for the files of the trial.
    """
    rng = random.Random(f"{seed}-{index}")
    example = formats[index % len(formats)]
    path = copy_example(example, folder / "trial")
    content = mutate(path.read_bytes(), rng)
    path.write_bytes(content)
    if example.new_checksums:
        renew_checksums(folder / "trial")
    outcome, note = _read(example, folder / "trial", len(content))
    return example.name, outcome, note


def _read(example: Format, folder: Path, size: int) -> tuple[str, str]:
    before, start = _reset_peak(), time.process_time()
    with _watch() as actions:
        try:
            with _time_limit():
                value = example.read(folder)
            outcome, note = "accepted", ""
            if example.value is not None and value != example.value:
                outcome, note = "other value", str(value)[:300]
        except InputError as error:
            outcome, note = "refused", str(error)
        except TooSlowError:
            outcome, note = "slow", ""
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome, note = "other error", f"{type(error).__name__}: {error}"[:300]
    if actions:
        return "outside", actions[0]
    if time.process_time() - start > MAX_SECONDS:
        return "slow", note
    if _peak() - before > MAX_MEMORY + 2 * size:
        return "memory", f"{(_peak() - before) / 2**20:.0f} MiB; {note}"
    return outcome, note


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooSlowError

    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS + 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


@contextmanager
def _watch() -> Iterator[list[str]]:
    """Collect what the process does: files that it writes, processes that it starts, connections that it opens."""
    global _watched, _is_hooked
    if not _is_hooked:
        sys.addaudithook(_hook)
        _is_hooked = True
    _watched = actions = []
    try:
        yield actions
    finally:
        _watched = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and str(path) != os.devnull and not str(path).endswith(".pyc") and "__pycache__" not in str(path):
            _watched.append(f"open {path} {mode}")
    elif event in (_WRITES | _RUNS) and "__pycache__" not in str(arguments):
        _watched.append(f"{event} {arguments}"[:200])


def _reset_peak() -> int:
    """Start a new measurement of the peak of the memory; returns the memory in use."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0
