"""SHA-256 of files, and files that survive a power loss."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FileRecord = dict[str, Any]
"""`bytes` and `sha256` of a file."""


def file_record(path: Path) -> FileRecord:
    """The size and the SHA-256 of a file.

    Args:
        path: the file.
    """
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def records(folder: Path, paths: Iterable[Path]) -> dict[str, FileRecord]:
    """The records of files below a folder, by their path within it.

    Args:
        folder: the folder.
        paths: files below it.
    """
    return {path.relative_to(folder).as_posix(): file_record(path) for path in sorted(paths)}


def differing(folder: Path, recorded: dict[str, FileRecord]) -> list[str]:
    """The paths of files that are missing or not as recorded.

    Args:
        folder: the folder of the paths.
        recorded: the result of an earlier `records`.
    """
    return sorted(name for name, record in recorded.items() if not _is_as_recorded(folder / name, record))


def _is_as_recorded(path: Path, record: FileRecord) -> bool:
    """Whether a file has the size and the hash of its record; the size is compared first because that is quick."""
    return path.is_file() and path.stat().st_size == record["bytes"] and file_record(path) == record


def flush_to_disk(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk, so that they survive a power loss.

    Args:
        path: the file or the folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
