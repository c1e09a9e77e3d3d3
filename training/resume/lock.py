"""One process at a time in the folder of a run.

The lock is a file with the process, its host and its start. It does not use `flock`, which some network file systems
ignore. The file is created by a hard link, which succeeds for one process only.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from weightgpt.errors import InputError

LOCK = "run.lock"
"""Name of the lock in a folder."""


@contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Create a folder of a run and hold its lock; a folder in which nothing was written is removed at the end.

    Args:
        folder: the folder, which may exist.

    Raises:
        InputError: the folder cannot be written to, or another process holds the lock.
    """
    try:
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(folder_lock(folder))
            except OSError as error:
                raise InputError(
                    f"cannot write to {folder}: {error.strerror}; choose an output folder that you may write to."
                ) from error
            yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # only if nothing was written


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the lock of a process that has ended is taken over with a word.

    Args:
        folder: an existing folder.

    Raises:
        InputError: another process holds the lock.
    """
    path = folder / LOCK
    content = json.dumps(
        {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "process_start": process_start(os.getpid()),
        }
    )
    while not _create(path, content):
        _take_over(path)
    try:
        yield
    finally:
        if _read(path) == content:
            path.unlink()


def process_start(pid: int) -> str | None:
    """The start of a process in ticks since the boot of the machine; None if it does not run.

    Process numbers are used again, so a number alone does not name a process. Where /proc does not exist, the text is
    empty for every process that runs.

    Args:
        pid: number of the process.
    """
    if Path("/proc/self/stat").is_file():
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        except OSError:
            return None
        fields = after_name.split()
        return None if fields[0] in ("Z", "X") else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def _create(path: Path, content: str) -> bool:
    """Create the lock; False if it exists."""
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    draft.write_text(content, encoding="utf-8")
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _take_over(path: Path) -> None:
    """Remove a lock whose process has ended.

    Raises:
        InputError: the process runs, or it is on another host.
    """
    content = _read(path)
    if content is None:
        return
    try:
        values = json.loads(content)
        pid, host, since, start = (values[name] for name in ("pid", "host", "since", "process_start"))
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a lock of this library; delete it if no run uses the folder.") from None
    if host != socket.gethostname() or (start is not None and process_start(pid) == start):
        raise InputError(
            f"{path.parent} is in use by process {pid} on {host} since {since}; wait for it, choose another --output,"
            f" or delete {path.name} if that process has ended."
        )
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.old")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != content:  # another process was quicker, and this is its lock
            with suppress(FileExistsError):
                os.link(aside, path)
        else:
            print(f"{path.parent} was in use by process {pid}, which has ended; its run goes on here.", file=sys.stderr)
        aside.unlink()


def _read(path: Path) -> str | None:
    """The first bytes of a lock; None if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; delete it if no run uses the folder.") from error
