"""Files and folders are written as a whole or not at all, also after a kill or a loss of power.

Decisions:

- The temporary path, the draft, lies beside the target, because a rename within one folder is atomic.
- The name of a draft holds the machine and the process that writes it. The next write in the folder removes the drafts
  of processes that have ended. The name does not grow with the name of the target.
- File and folder are synchronized with the disk before and after the rename. Otherwise a file can be empty after a loss
  of power.
"""

import hashlib
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from weightgpt.errors import InputError
from weightgpt.io.wrapping import writing_error

DRAFT = re.compile(r"\.wg-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.(tmp|old)")
"""Names of drafts: the machine, the process and a random number."""
MANY_FILES = 64
"""A folder of more files is synchronized by one call for all disks, which is faster than one for each file."""

_machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_own_drafts: set[str] = set()
"""Names of the drafts that this process writes now; one with its number that is not among them is of an older one."""
_writes_until_cleaning: dict[Path, int] = {}
"""For each folder, the writes that may pass before drafts are looked for again: few in a small folder."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Write a file or a folder as a whole: the block writes to a temporary path, which is then renamed to `path`.

    If the block raises an error, the temporary path is deleted, and what was at `path` before stays.

    Args:
        path: the file or folder to write; missing parent folders are created.

    Yields:
        The temporary path, in the same folder.

    Raises:
        InputError: `path` has no name, its folder cannot be written to, or the disk is full.

    Examples:
        >>> with atomic_write("notes.txt") as draft:  # doctest: +SKIP
        ...     draft.write_text("all or nothing")
    """
    path = Path(path)
    if not path.name:
        raise InputError(f"cannot write {str(path)!r}: the path has no name; give the path of a new file or folder.")
    if "\0" in str(path):
        raise InputError(f"cannot write {str(path)!r}: a path has no zero character; give another name.")
    draft, old = (path.with_name(_draft_name(ending)) for ending in ("tmp", "old"))
    try:
        _prepare(path)
        yield draft
        _synchronize(draft)
        if draft.is_dir() and path.is_dir():
            path.rename(old)
            draft.rename(path)
            shutil.rmtree(old)
        else:
            os.replace(draft, path)
        _synchronize_folder(path.parent)
    except FileNotFoundError:  # the block wrote nothing: a fault of ours
        raise
    except OSError as error:
        raise writing_error(path, error) from error
    finally:
        _remove(draft)
        _own_drafts.difference_update((draft.name, old.name))


def write_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8.

    Args:
        path: the file to write.
        text: its content.
    """
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _draft_name(ending: str) -> str:
    name = f".wg-{_machine}-{os.getpid()}-{uuid4().hex[:8]}.{ending}"
    _own_drafts.add(name)
    return name


def _prepare(path: Path) -> None:
    """Create the folder of a path, refuse what cannot be written, and remove old drafts."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.is_dir()  # refuses a name that is too long
    except FileNotFoundError as error:
        raise PermissionError(error.errno, error.strerror) from error
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(13, "Permission denied")
    left = _writes_until_cleaning.get(path.parent, 0)
    _writes_until_cleaning[path.parent] = left - 1 if left > 0 else remove_dead_drafts(path.parent) // 64


def remove_dead_drafts(folder: Path) -> int:
    """Remove the drafts that killed processes of this machine have left in a folder.

    Args:
        folder: the folder.

    Returns:
        The number of entries of the folder.
    """
    count = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            match = DRAFT.fullmatch(entry.name)
            if match and match[1] == _machine and not _is_writing(int(match[2]), entry.name):
                _remove(Path(entry.path))
    return count


def _is_writing(process: int, name: str) -> bool:
    """Whether a process still writes a draft."""
    if process == os.getpid():
        return name in _own_drafts
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _synchronize(draft: Path) -> None:
    """Bring a file, or all files of a folder, to the disk, with the permissions of new files."""
    files = [path for path in draft.rglob("*") if path.is_file()] if draft.is_dir() else [draft]
    mode = 0o666 & ~_umask()
    for file in files:
        if stat.S_IMODE(file.stat().st_mode) != mode:  # safetensors writes files that only their owner may read
            file.chmod(mode)
    if len(files) > MANY_FILES:
        os.sync()
        return
    for file in files:
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    if draft.is_dir():
        for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            _synchronize_folder(folder)


def _synchronize_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
