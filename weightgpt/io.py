"""Atomic writing of files and folders, JSON, and safetensors; errors are one sentence.

Decisions:

- A file is written under a temporary name in the same folder and then renamed. So there is the old
  file, the new file or no file under that name, but never a part of a file, also after an interruption.
- Tensors are safetensors only; pickles are never loaded.
- This module does not depend on shapes or models.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors.torch import load_file, save_file
from torch import Tensor

from weightgpt.errors import InputError


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Write a file or a folder as a whole: the block writes to a temporary path, which is then renamed to `path`.

    If the block raises an error, the temporary path is deleted, and what was at `path` before stays.

    Args:
        path: the file or folder to write; missing parent folders are created.

    Yields:
        The temporary path, in the same folder.

    Raises:
        InputError: `path` has no name, or its folder cannot be written to.

    Examples:
        >>> with atomic_write("notes.txt") as draft:  # doctest: +SKIP
        ...     draft.write_text("all or nothing")
    """
    path = Path(path)
    if not path.name:
        raise InputError(f"cannot write {str(path)!r}: the path has no name; give the path of a new file or folder.")
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        _make_folder(path.parent)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(13, "Permission denied")
        yield draft
        if draft.is_dir() and path.is_dir():
            old = path.with_name(f".{path.name}.{uuid4().hex[:8]}.old")
            path.rename(old)
            draft.rename(path)
            shutil.rmtree(old)
        else:
            os.replace(draft, path)
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        reason = error.strerror or "no access"
        raise InputError(f"cannot write {path}: {reason}; choose an output folder that you may write to.") from error
    finally:
        with suppress(NotADirectoryError, PermissionError):  # the temporary path was never created
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents; any error of the system becomes a PermissionError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(error.errno, error.strerror) from error


def write_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8.

    Args:
        path: the file to write.
        text: its content.
    """
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON.

    Args:
        path: the file to write.
        value: lists, dicts, texts, numbers, bools and None.

    Raises:
        ValueError: `value` holds NaN or infinity, which are not JSON.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Args:
        path: the file to read.

    Raises:
        InputError: the file is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the path of a file that does.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give the path of a file.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); the file may be cut short: make it again.") from error


def write_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as safetensors.

    Args:
        path: the file to write.
        tensors: tensors by name, on any device.
        metadata: texts by name, for the header of the file.
    """
    with atomic_write(path) as draft:
        save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, draft, metadata)
        draft.chmod(0o644)


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Args:
        path: the file to read.

    Raises:
        InputError: the file is missing, cut short, or not safetensors.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; give the path of a .safetensors file.")
    try:
        return load_file(path)
    except Exception as error:  # safetensors has its own error types
        raise InputError(f"{path} is not a whole safetensors file ({error}); make or download it again.") from error


def check_format(path: Path | str, header: Any, expected: str, version: int) -> None:
    """Check the `format` and the `version` of a file.

    Args:
        path: the file, for the error.
        header: its header, which may be anything.
        expected: the format that the file should have, such as 'weightgpt.fields'.
        version: the version that the file should have.

    Raises:
        InputError: the file is of another format or version.
    """
    values = header if isinstance(header, dict) else {}
    if values.get("format") != expected:
        actual = values.get("format", "of an unknown format")
        raise InputError(f"{path} is {actual}, not {expected}; give a file of that format.")
    if values.get("version") != version:
        actual = values.get("version")
        raise InputError(f"{path} is of version {actual}, this library reads version {version}; make the file again.")
