"""Files that are whole or absent, and mistakes told in one sentence.

Every artifact is written beside its target under a temporary name and renamed over it, so that a reader (or a resumed
run) sees the old file, the new file, or none; never half of one. This module knows nothing of shapes or models.
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
    """A temporary path beside `path` to write a file or a folder to; renamed over `path` when the block ends well.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = Path(path)
    if not path.name:
        raise InputError(f"cannot write {str(path)!r}: it has no name; give the path of a new file or folder.")
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
        with suppress(NotADirectoryError, PermissionError):  # nothing was written there
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create a folder and those above it; whatever the system says against it is a refusal."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(error.errno, error.strerror) from error


def write_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

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
        raise InputError(f"{path} is not valid JSON ({error}); it may be cut short: make it again.") from error


def write_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as safetensors."""
    with atomic_write(path) as draft:
        save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, draft, metadata)
        draft.chmod(0o644)


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read a safetensors file; pickles are never loaded.

    Raises:
        InputError: the file is missing, cut short, or not safetensors.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; give the path of a .safetensors file.")
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own type for each fault of the container
        raise InputError(f"{path} is not a whole safetensors file ({error}); make or download it again.") from error
