"""The body of a PLY file: rows of numbers and of lists of numbers, as text or binary.

A body counts in units, which are words for text and bytes for binary. Rows are read some ten thousand at a time, and
only the numbers of these rows are in memory. Rows with lists have no fixed size, so they are walked one by one.
"""

from array import array
from collections.abc import Callable, Iterator
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.readers.limits import check_vertices, unreadable
from weightgpt.shapes.readers.ply_header import Element, Property
from weightgpt.shapes.readers.text import MAX_LINE, Numbers

Positions = NDArray[np.int64]

_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}
_BLOCK = 2**16
"""Rows that are read at once."""


class Body:
    """The numbers behind the header, from the next row on.

    Attributes:
        position: where the next row begins.
    """

    def __init__(self, data: bytes, start: int, order: str) -> None:
        """Args:
        data: the content of the file.
        start: position of the first byte behind the header.
        order: order of the bytes, '<' or '>'; empty for text.
        """
        self._order, self._data = order, data
        self._text = None if order else Numbers(data, start)
        self.position = start if order else 0

    def size(self, kind: str) -> int:
        """Units of a number of this type."""
        return int(kind[1]) if self._order else 1

    def may_hold(self, units: int) -> bool:
        """Whether there can be so many units from the next row on."""
        return units <= (len(self._data) - self.position if self._text is None else self._text.most)

    def load(self, end: int, fault: str) -> int:
        """Read up to a position.

        Args:
            end: the position.
            fault: what is wrong with a file that ends before.

        Returns:
            The position up to which everything can be read.
        """
        length = len(self._data) if self._text is None else self._text.read(end)
        if end > length:
            raise unreadable(fault)
        return length

    def go_on(self, position: int) -> None:
        """Go on to the next row; numbers of a text before it are forgotten."""
        self.position = position
        if self._text is not None:
            self._text.drop(position)
            self.position = 0

    def numbers_at(self, positions: Positions, kind: str) -> NDArray[np.float64]:
        """The numbers of one type at positions of any alignment.

        Args:
            positions: of the first unit of each number.
            kind: type of the numbers.
        """
        if self._text is not None:
            return self._text.values[positions]
        size, out = self.size(kind), np.empty(len(positions))
        for rest in range(size):
            chosen = positions % size == rest
            if chosen.any():
                aligned = np.frombuffer(self._data, self._order + kind, (len(self._data) - rest) // size, rest)
                out[chosen] = aligned[positions[chosen] // size]
        return out

    def reader(self, kind: str) -> Callable[[int], int]:
        """A function that reads one whole number of a type at a position."""
        text = self._text
        if text is None:
            unpack = Struct(self._order + _CODES[kind]).unpack_from
            return lambda position: int(unpack(self._data, position)[0])
        return lambda position: int(text.values.item(position))


class Rows:
    """Where some rows of an element begin, and where a list of each row begins."""

    def __init__(self, body: Body, element: Element, count: int, wanted: str) -> None:
        """Args:
        body: the numbers.
        element: the element.
        count: number of rows, from the position of the body on.
        wanted: name of a list of each row, if any is wanted.

        Raises:
            InputError: the rows claim more than the body holds.
        """
        self.body, self.element, self.list_sizes = body, element, np.empty(0, np.int64)
        self._list_starts: Positions = self.list_sizes
        self._list_ends: list[Positions] = []
        if any(entry.count_kind for entry in element.properties):
            self.starts, self.end = self._walk(count, wanted)
        else:
            self.starts = body.position + _least(body, element) * np.arange(count)
            self.end = body.position + _least(body, element) * count
            body.load(self.end, "it ends before its last row")

    def _walk(self, count: int, wanted: str) -> tuple[Positions, int]:
        """Starts of all rows and the end of the last; notes the wanted list of each row."""
        body, starts, list_starts, list_sizes = self.body, array("q"), array("q"), array("q")
        steps, tail = _steps(body, self.element.properties)
        position = length = body.position
        # The numbers behind a list of a vertex have no fixed position in the row.
        ends = [array("q") for _ in steps] if self.element.name == "vertex" else []
        for _ in range(count):
            starts.append(position)
            for number, (skip, read, count_size, item_size, name) in enumerate(steps):
                position += skip
                if position + count_size > length:
                    length = body.load(position + count_size, "it ends before its last row")
                size = read(position)
                position += count_size
                end = position + size * item_size
                if end > length or size < 0:
                    fault = f"a list claims {size:,} numbers, more than the file holds"
                    length = body.load(end if 0 <= size <= MAX_LINE else 2**62, fault)
                if name == wanted:
                    list_starts.append(position)
                    list_sizes.append(size)
                position = end
                if ends:
                    ends[number].append(position)
            position += tail
        body.load(position, "it ends before its last row")
        self._list_starts, self.list_sizes = np.array(list_starts, np.int64), np.array(list_sizes, np.int64)
        self._list_ends = [np.array(each, np.int64) for each in ends]
        return np.array(starts, np.int64), position

    def column(self, name: str) -> NDArray[np.float64]:
        """The numbers of a property of a vertex, one a row."""
        starts, ends, offset = self.starts, iter(self._list_ends), 0
        for entry in self.element.properties:
            if entry.count_kind:
                starts, offset = next(ends), 0
                continue
            if entry.name == name:
                return self.body.numbers_at(starts + offset, entry.kind)
            offset += self.body.size(entry.kind)
        raise KeyError(name)

    def list_values(self, kind: str) -> NDArray[np.float64]:
        """The numbers of the wanted list, row after row."""
        size = self.body.size(kind)
        before = np.repeat(np.cumsum(self.list_sizes) - self.list_sizes, self.list_sizes)
        within = np.arange(len(before)) - before
        return self.body.numbers_at(np.repeat(self._list_starts, self.list_sizes) + within * size, kind)


def read_rows(body: Body, element: Element, wanted: str = "") -> Iterator[Rows]:
    """The rows of an element, some ten thousand at a time; the body then goes on to the next element.

    Args:
        body: the numbers.
        element: the element, which begins at the position of the body.
        wanted: name of a list of each row, if any is wanted.

    Raises:
        InputError: the element claims more than the body holds.
    """
    check_claim(body, element)
    for first in range(0, element.count if element.properties else 0, _BLOCK):
        rows = Rows(body, element, min(_BLOCK, element.count - first), wanted)
        yield rows
        body.go_on(rows.end)


def check_claim(body: Body, element: Element) -> None:
    """Refuse an element of more rows than can be read.

    Args:
        body: the numbers.
        element: the element, which begins at the position of the body.

    Raises:
        InputError: the element claims more than the body can hold, or too many rows with lists.
    """
    if not body.may_hold(element.count * _least(body, element)):
        raise unreadable(f"it claims {element.count:,} rows of {element.name[:30]!a}, more than it holds")
    if any(entry.count_kind for entry in element.properties):
        check_vertices(element.count)


def _least(body: Body, element: Element) -> int:
    """Units of a row whose lists are empty."""
    return sum(body.size(entry.count_kind or entry.kind) for entry in element.properties)


def _steps(
    body: Body, properties: tuple[Property, ...]
) -> tuple[list[tuple[int, Callable[[int], int], int, int, str]], int]:
    """For each list of a row: units before it, a reader of its length, units of the length and of an item, its name."""
    steps, skip = [], 0
    for entry in properties:
        if entry.count_kind:
            steps.append(
                (skip, body.reader(entry.count_kind), body.size(entry.count_kind), body.size(entry.kind), entry.name)
            )
            skip = 0
        else:
            skip += body.size(entry.kind)
    return steps, skip
