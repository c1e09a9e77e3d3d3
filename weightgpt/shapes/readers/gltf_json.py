"""The JSON of a glTF file, whose entries may be of any type until they are checked."""

import json
import math
from typing import Any

from weightgpt.errors import InputError
from weightgpt.shapes.readers.limits import unreadable

MAX_VALUES = 1_000_000
"""Files with more values in their JSON are refused. A value may take a hundred times its bytes in memory."""

Entry = dict[str, Any]


def parse(text: bytes) -> Entry:
    """Parse the JSON of a file.

    Args:
        text: the JSON, which some exporters fill up with blanks or zeros.

    Raises:
        InputError: it is not JSON, or has too many values.
    """
    values = sum(text.count(mark) for mark in (b",", b"[", b"{"))
    if values > MAX_VALUES:
        raise InputError(
            f"has {values:,} values in its JSON, more than the {MAX_VALUES:,} allowed; simplify the scene."
        )
    try:
        tree = json.loads(text.decode(json.detect_encoding(text), "replace").rstrip("\0"), parse_constant=float)
    except (ValueError, RecursionError) as error:
        raise unreadable("its JSON is broken") from error
    if not isinstance(tree, dict):
        raise unreadable("its JSON is not an object")
    return tree


def entry(parent: Entry, kind: str, index: Any) -> Entry:
    """The object at an index of a list, such as an accessor.

    Args:
        parent: the whole JSON.
        kind: name of the list, such as 'accessors'.
        index: what another entry gives as the index.

    Raises:
        InputError: there is no such object.
    """
    found = parent.get(kind, [])
    if not isinstance(found, list):
        raise unreadable(f"{kind} is not a list")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(found):
        raise unreadable(f"{kind} has no entry {ascii(index)[:20]}")
    if not isinstance(found[index], dict):
        raise unreadable(f"an entry of {kind} is not an object")
    item: Entry = found[index]
    return item


def entries(parent: Entry, kind: str) -> list[Entry]:
    """A list of objects; empty where it is missing.

    Args:
        parent: the object with the list.
        kind: name of the list.

    Raises:
        InputError: it is not a list of objects.
    """
    found = parent.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise unreadable(f"{kind} is not a list of objects")
    return found


def child(parent: Entry, *names: str) -> Entry:
    """An object inside objects; empty where it is missing.

    Args:
        parent: the outer object.
        *names: names on the way.

    Raises:
        InputError: something on the way is not an object.
    """
    for name in names:
        parent = parent.get(name, {})
        if not isinstance(parent, dict):
            raise unreadable(f"{name} is not an object")
    return parent


def whole_number(parent: Entry, name: str, default: int | None = None) -> int:
    """A whole number from 0.

    Args:
        parent: the object.
        name: name of the number.
        default: what a missing number is; None refuses it.

    Raises:
        InputError: the number is missing, negative, or not whole.
    """
    value = parent.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise unreadable(f"{name} is {ascii(value)[:20]}, not a whole number from 0")
    return value


def indices(parent: Entry, name: str) -> list[int]:
    """A list of whole numbers from 0; empty where it is missing.

    Args:
        parent: the object.
        name: name of the list.

    Raises:
        InputError: it is not such a list.
    """
    found = parent.get(name, [])
    if not isinstance(found, list) or any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in found):
        raise unreadable(f"{name} is not a list of whole numbers from 0")
    return found


def numbers(parent: Entry, name: str, count: int | None, default: list[float]) -> list[float]:
    """A list of finite numbers.

    Args:
        parent: the object.
        name: name of the list.
        count: how many numbers it must have; None allows any.
        default: what a missing list is.

    Raises:
        InputError: it is not such a list.
    """
    found = parent.get(name, default)
    good = isinstance(found, list) and count in (None, len(found))
    if not good or any(isinstance(x, bool) or not isinstance(x, (int, float)) or not abs(x) < math.inf for x in found):
        many = "finite numbers" if count is None else f"{count} finite numbers"
        raise unreadable(f"{name} is not a list of {many}")
    try:
        return [float(number) for number in found]
    except OverflowError as error:
        raise unreadable(f"{name} has a number that is too large") from error
