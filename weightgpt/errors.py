"""The error for a mistake that the caller can correct, checks of the numbers in a configuration, and SIGTERM."""

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
    seed: int = config.seed  # type: ignore[attr-defined]
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed is {seed}; give a whole number from 0 to {MAX_SEED}.")
