"""Work in forked processes. Everything is imported once, so that a process costs its work and not its imports.

A fork is safe only in a process with one thread. So these functions refuse a process with more, and the programs of
this folder do no work of torch before their last fork.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import torch

TIMEOUT = 300.0
"""Seconds after which a process counts as hanging."""
POLL = 0.001
"""Seconds between two looks at a process."""
HARMLESS_THREAD = "jemalloc_bg_thd"
"""A thread of pyarrow's allocator, which handles forks itself."""


class Child:
    """A forked process and what it has printed.

    Args:
        work: what the process does; it returns the exit code.
        threads: threads of torch in the process.
    """

    def __init__(self, work: Callable[[], int | None], threads: int = 1) -> None:
        check_one_thread()
        self.pipe, writing_end = os.pipe()
        self.code: int | None = None
        self.text = ""
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _work_and_leave(work, threads, writing_end)
        os.close(writing_end)
        os.set_blocking(self.pipe, False)

    def running(self) -> bool:
        """Read what the process has printed, and return whether it still runs."""
        if self.code is not None:
            return False
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        with suppress(BlockingIOError):
            while part := os.read(self.pipe, 1 << 16):
                self.text += part.decode(errors="replace")
        if pid:
            self.code = os.waitstatus_to_exitcode(status)
            os.close(self.pipe)
        return not pid

    def wait_until(self, happened: Callable[[], bool]) -> bool:
        """Wait until something happens; False if the process ends before.

        Args:
            happened: whether it has happened.
        """
        end = time.monotonic() + TIMEOUT
        while self.running():
            if happened():
                return True
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                raise TimeoutError(f"a process runs for more than {TIMEOUT} s:\n{self.text[-2000:]}")
            time.sleep(POLL)
        return False

    def wait(self) -> int:
        """Return the exit code; that of a signal is negative."""
        self.wait_until(lambda: False)
        assert self.code is not None
        return self.code

    def send(self, number: signal.Signals) -> bool:
        """Send a signal and wait for the end of the process; False if it had ended before.

        Args:
            number: the signal.
        """
        if not self.running():
            return False
        os.kill(self.pid, number)
        self.wait()
        return True


def _work_and_leave(work: Callable[[], int | None], threads: int, pipe: int) -> None:
    """The forked process: both streams go to the pipe, and nothing of the parent is unwound at the end."""
    code = 1
    try:
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        torch.set_num_threads(threads)
        code = work() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def check_one_thread() -> None:
    """Refuse a process with several threads."""
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    names = {(task / "comm").read_text().strip() for task in tasks}
    if names - {HARMLESS_THREAD}:
        raise RuntimeError(f"this process has other threads ({names}) and cannot be forked safely; fork before work.")


def import_what_is_needed(work: Callable[[], int | None], folder: Path) -> None:
    """Do some work in a process, and import the modules that it imported, so that later processes have them.

    Args:
        work: what the process does.
        folder: a folder for the list of modules.
    """
    names = folder / "modules.txt"

    def work_and_list() -> int | None:
        code = work()
        names.write_text("\n".join(sys.modules))
        return code

    child = Child(work_and_list)
    if child.wait():
        raise RuntimeError(f"the work fails undisturbed:\n{child.text[-2000:]}")
    for name in names.read_text().splitlines():
        if name not in sys.modules and name != "__mp_main__":
            with suppress(Exception):
                import_module(name)
