"""The error for a mistake that the caller can correct, checks of numbers, and SIGTERM.

A whole number is an `int` or an integer of numpy. True is none, and 3.0 is none.
"""

import dataclasses
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from numbers import Integral, Real
from types import FrameType, UnionType
from typing import Any, get_args, get_type_hints

MAX_SEED = 2**31 - 1
"""The largest seed of a program. numpy takes 32 bits, and programs add small numbers to their seeds."""


class InputError(ValueError):
    """A caller's mistake: one sentence that says what was given, what is allowed and what to do."""


@contextmanager
def sigterm_as_interrupt() -> Iterator[threading.Event]:
    """Treat SIGTERM in the block as Ctrl-C, so that the same code cleans up and no temporary file stays.

    Outside the main thread, where signals cannot be handled, nothing changes.

    Yields:
        An event that is set when SIGTERM arrives.
    """
    terminated = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        terminated.set()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield terminated
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, previous)


def check_whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """Refuse a value that is not a whole number in a range.

    Args:
        name: what the caller calls it.
        value: what was given.
        least: the least number that is allowed; any when None.
        most: the largest number that is allowed; any when None.

    Returns:
        The number as an `int`.

    Raises:
        InputError: the value is not whole, or not in the range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} is {value!r:.50}; give a whole number.")
    number = int(value)
    if least is not None and number < least:
        raise InputError(f"{name} is {number}; give {least} or more.")
    if most is not None and number > most:
        raise InputError(f"{name} is {number}; give {most} or less.")
    return number


def check_types(config: Any) -> None:
    """Refuse a configuration whose fields are not of their types, and turn numbers of numpy into those of Python.

    Args:
        config: a dataclass; fields that are neither numbers nor bools are not checked.

    Raises:
        InputError: a field that should be whole is not, or one that should be a number or a bool is something else.
    """
    kind: Any = type(config)
    for name, kinds in _kinds(kind).items():
        value = getattr(config, name)
        if value is None and type(None) in kinds:
            continue
        if int in kinds:
            value = check_whole(name, value)
        elif float in kinds:
            if isinstance(value, bool) or not isinstance(value, Real):
                raise InputError(f"{name} is {value!r:.50}; give a number.")
            value = value if isinstance(value, int) else float(value)
        elif bool in kinds and type(value) is not bool:
            raise InputError(f"{name} is {value!r:.50}; give True or False.")
        object.__setattr__(config, name, value)


@cache
def _kinds(kind: Any) -> dict[str, tuple[Any, ...]]:
    """The types that each field of a dataclass may have."""
    hints = get_type_hints(kind)
    parts = {name: get_args(hint) if isinstance(hint, UnionType) else (hint,) for name, hint in hints.items()}
    return {field.name: parts[field.name] for field in dataclasses.fields(kind)}


def check_at_least(config: object, least: int, *names: str) -> None:
    """Refuse a configuration with a number that is too small or not finite.

    Args:
        config: an object with these fields.
        least: the least value that is allowed.
        names: names of the fields; a field that is None is not checked.

    Raises:
        InputError: a number is below `least`, infinite or NaN.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not least <= value < math.inf:
            raise InputError(f"{name} is {value}; give {least} or more.")


def check_at_most(config: object, most: int, *names: str) -> None:
    """Refuse a configuration with a number that is larger than any machine can work with.

    Args:
        config: an object with these fields.
        most: the largest value that is allowed.
        names: names of the fields; a field that is None is not checked.

    Raises:
        InputError: a number is above `most`.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not value <= most:
            raise InputError(f"{name} is {value}; give {most} or less.")


def check_positive(config: object, *names: str) -> None:
    """Refuse a configuration with a number that is not positive or not finite.

    Args:
        config: an object with these fields.
        names: names of the fields; a field that is None is not checked.

    Raises:
        InputError: a number is 0, negative, infinite or NaN.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; give a number above 0.")


def check_share(config: object, *names: str) -> None:
    """Refuse a configuration with a share that is not between 0 and 1.

    Args:
        config: an object with these fields.
        names: names of the fields.

    Raises:
        InputError: a share is below 0, above 1 or NaN.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}; give a share between 0 and 1.")


def check_seed(config: object) -> None:
    """Refuse a configuration with a seed that some random generator does not take.

    Args:
        config: an object with a field `seed`.

    Raises:
        InputError: the seed is negative or above 2147483647.
    """
    seed = check_whole("seed", config.seed)  # type: ignore[attr-defined]
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed is {seed}; give a whole number from 0 to {MAX_SEED}.")
