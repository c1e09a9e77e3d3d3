"""SHA-256 of files, and files that survive a power loss."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from weightgpt.errors import InputError
from weightgpt.io import read_json, reading, write_json

FileRecord = dict[str, Any]
"""`bytes` and `sha256` of a file."""

CHECKSUMS = "checksums.json"
"""Name of the file with the records of all other files of a folder."""


def file_record(path: Path) -> FileRecord:
    """The size and the SHA-256 of a file.

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be read.
    """
    with reading(path), path.open("rb") as file:
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


def write_checksums(folder: Path) -> None:
    """Write the records of all files of a folder to a file in it.

    Args:
        folder: the folder.
    """
    write_json(folder / CHECKSUMS, records(folder, [path for path in folder.rglob("*") if path.is_file()]))


def changed_files(folder: Path) -> list[str]:
    """The paths of files of a folder that are not as `write_checksums` recorded them; none if it recorded nothing.

    Args:
        folder: the folder.

    Raises:
        InputError: the file of the records is broken.
    """
    if not (folder / CHECKSUMS).is_file():
        return []
    recorded = read_json(folder / CHECKSUMS)
    if not are_records(recorded):
        raise InputError(f"{folder / CHECKSUMS} does not have the checksums of files; make the folder again.")
    return differing(folder, recorded)


def are_records(values: Any) -> bool:
    """Whether JSON values are records of files within a folder, by their path in it.

    Args:
        values: the JSON values.
    """
    return isinstance(values, dict) and all(
        _is_within(name) and isinstance(record, dict) and record.keys() == {"bytes", "sha256"}
        for name, record in values.items()
    )


def _is_within(name: str) -> bool:
    """Whether a path leads to a place within the folder that it starts from."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _is_as_recorded(path: Path, record: FileRecord) -> bool:
    """Whether a file has the size and the hash of its record; the size is compared first because that is quick."""
    return os.path.isfile(path) and path.stat().st_size == record["bytes"] and file_record(path) == record


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
