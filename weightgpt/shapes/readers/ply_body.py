"""The body of a PLY file: rows of numbers and of lists of numbers, as text or binary.

A body counts in units, which are words for text and bytes for binary. Rows with lists have no fixed size, so they are
walked one by one; the numbers are read afterwards, all at once.
"""

from array import array
from collections.abc import Callable
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.readers.limits import check_vertices, unreadable
from weightgpt.shapes.readers.ply_header import Element, Property
from weightgpt.shapes.readers.text import numbers

Positions = NDArray[np.int64]

_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}


class Body:
    """The numbers behind the header."""

    def __init__(self, data: bytes, start: int, order: str) -> None:
        """Args:
        data: the content of the file.
        start: position of the first byte behind the header.
        order: order of the bytes, '<' or '>'; empty for text.
        """
        self.order = order
        self.values = np.empty(0) if order else numbers(data, start)
        self.data = data if order else b""
        self.length = len(data) if order else len(self.values)

    def size(self, kind: str) -> int:
        """Units of a number of this type."""
        return int(kind[1]) if self.order else 1

    def numbers_at(self, positions: Positions, kind: str) -> NDArray[np.float64]:
        """The numbers of one type at positions of any alignment.

        Args:
            positions: of the first unit of each number.
            kind: type of the numbers.
        """
        if not self.order:
            return self.values[positions]
        size, out = self.size(kind), np.empty(len(positions))
        for rest in range(size):
            chosen = positions % size == rest
            if chosen.any():
                aligned = np.frombuffer(self.data, self.order + kind, (len(self.data) - rest) // size, rest)
                out[chosen] = aligned[positions[chosen] // size]
        return out

    def reader(self, kind: str) -> Callable[[int], int]:
        """A function that reads one whole number of a type at a position."""
        if self.order:
            unpack = Struct(self.order + _CODES[kind]).unpack_from
            return lambda position: int(unpack(self.data, position)[0])
        item = self.values.item
        return lambda position: int(item(position))


class Rows:
    """Where the rows of one element begin, and where a list of each row begins."""

    def __init__(self, body: Body, element: Element, start: int, wanted: str = "") -> None:
        """Args:
        body: the numbers.
        element: the element, which begins at `start`.
        start: position in the body.
        wanted: name of a list of each row, if any is wanted.

        Raises:
            InputError: the element claims more than the body holds.
        """
        self.body, self.element = body, element
        lists = any(entry.count_kind for entry in element.properties)
        least = sum(body.size(entry.count_kind or entry.kind) for entry in element.properties)
        if element.count * least > body.length - start:
            raise unreadable(f"it claims {element.count:,} rows of {element.name[:30]!a}, more than it holds")
        self.list_starts = self.list_sizes = np.empty(0, np.int64)
        self._list_ends: list[Positions] = []
        if lists:
            check_vertices(element.count)
            self.starts, self.end = self._walk(start, wanted)
        else:
            self.starts = start + least * np.arange(element.count if least else 0)
            self.end = start + least * element.count

    def _walk(self, start: int, wanted: str) -> tuple[Positions, int]:
        """Starts of all rows and the end of the last; notes the wanted list of each row."""
        body, starts, list_starts, list_sizes = self.body, array("q"), array("q"), array("q")
        steps, tail = _steps(body, self.element.properties)
        position, length = start, body.length
        # The numbers behind a list of a vertex have no fixed position in the row.
        ends = [array("q") for _ in steps] if self.element.name == "vertex" else []
        for _ in range(self.element.count):
            starts.append(position)
            for number, (skip, read, count_size, item_size, name) in enumerate(steps):
                position += skip
                if position + count_size > length:
                    raise unreadable("it ends before its last row")
                count = read(position)
                position += count_size
                if count < 0 or position + count * item_size > length:
                    raise unreadable(f"a list claims {count:,} numbers, more than the file holds")
                if name == wanted:
                    list_starts.append(position)
                    list_sizes.append(count)
                position += count * item_size
                if ends:
                    ends[number].append(position)
            position += tail
        if position > length:
            raise unreadable("it ends before its last row")
        self.list_starts, self.list_sizes = np.array(list_starts, np.int64), np.array(list_sizes, np.int64)
        self._list_ends = [np.array(each, np.int64) for each in ends]
        return np.array(starts, np.int64), position

    def column(self, name: str) -> NDArray[np.float64] | None:
        """The numbers of a property of a vertex, one a row; None if there is no such number."""
        starts, ends, offset = self.starts, iter(self._list_ends), 0
        for entry in self.element.properties:
            if entry.count_kind:
                starts, offset = next(ends), 0
                continue
            if entry.name == name:
                return self.body.numbers_at(starts + offset, entry.kind)
            offset += self.body.size(entry.kind)
        return None

    def list_values(self, kind: str) -> NDArray[np.float64]:
        """The numbers of the wanted list, row after row."""
        size = self.body.size(kind)
        if len(self.list_sizes) and (self.list_sizes == self.list_sizes[0]).all():
            offsets = size * np.arange(self.list_sizes[0])
            return self.body.numbers_at((self.list_starts[:, None] + offsets).reshape(-1), kind)
        before = np.repeat(np.cumsum(self.list_sizes) - self.list_sizes, self.list_sizes)
        within = np.arange(len(before)) - before
        positions = np.repeat(self.list_starts, self.list_sizes) + within * size
        return self.body.numbers_at(positions, kind)


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
