"""Errors of other libraries and of the system as one sentence.

Our own code stays outside of the blocks, so that its faults keep their tracebacks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from textwrap import shorten

from weightgpt.errors import InputError


@contextmanager
def reading(path: Path | str, kind: str = "file") -> Iterator[None]:
    """Turn every error of the block into an `InputError` that names the file.

    Args:
        path: the file or folder that the block reads.
        kind: what the file should be, such as "safetensors file".

    Raises:
        InputError: the block raised an error.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the path of a {kind} that does.") from error
    except OSError as error:
        reason = error.strerror or _reason(error)
        raise InputError(f"{path} cannot be read: {reason}; give the path of a {kind} that you may read.") from error
    except BaseException as error:
        if not _is_ordinary(error):
            raise
        reason = _reason(error)
        raise InputError(f"{path} is not a whole {kind} ({reason}); make or download it again.") from error


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn every error of the block into an `InputError` that names the file.

    Args:
        path: the file or folder that the block writes.

    Raises:
        InputError: the block raised an error.
    """
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        if not _is_ordinary(error):
            raise
        raise writing_error(path, error) from error


def writing_error(path: Path | str, error: BaseException) -> InputError:
    """The error of one sentence for a file that cannot be written.

    Args:
        path: the file or folder.
        error: the error of the system or of a library.
    """
    reason = getattr(error, "strerror", None) or _reason(error)
    full = getattr(error, "errno", None) in (ENOSPC, EFBIG, EDQUOT) or any(
        f"os error {number}" in str(error) for number in (ENOSPC, EFBIG, EDQUOT)
    )
    advice = "free space on the disk or choose another one" if full else "choose an output that you may write to"
    return InputError(f"cannot write {path}: {reason}; {advice}.")


def check_file(path: Path | str, most_bytes: int | None = None) -> None:
    """Refuse a path that is no regular file, or one that is too large.

    Args:
        path: the path.
        most_bytes: the largest size that is allowed; any size when None.

    Raises:
        InputError: the path does not exist, is a folder or a pipe, or the file is too large.
    """
    with reading(path):
        size = os.stat(path).st_size
        if not os.path.isfile(path):
            raise InputError(f"{path} cannot be read: it is not a file; give the path of a file.")
        if most_bytes is not None and size > most_bytes:
            raise InputError(
                f"{path} has {size / 2**20:.0f} MiB, more than the {most_bytes / 2**20:.0f} MiB allowed; make it"
                " smaller."
            )


def _is_ordinary(error: BaseException) -> bool:
    """Whether an error is no interruption. A panic of a library in Rust is a BaseException."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _reason(error: BaseException) -> str:
    """The text of an error on one line."""
    return shorten(f"{type(error).__name__}: {error}", 160, placeholder=" …")
