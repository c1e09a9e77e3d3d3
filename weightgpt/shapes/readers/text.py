"""Text files in any encoding, as lines of numbers.

Decisions:

- Keywords and numbers of all mesh formats are ASCII. Every encoding except UTF-16 and UTF-32 stores them as the same
  bytes, so names and comments in Latin-1, GBK or another encoding need no decoding.
- Text is read in pieces of a quarter of a megabyte, so a large file needs little more memory than the mesh.
"""

import re
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Growing
from weightgpt.shapes.readers.limits import unreadable

PIECE = 2**18
"""Bytes of text that are read at once."""
MAX_LINE = 6_000_000
"""The most numbers of a line, or of a few short ones."""

_LINE_END = re.compile(rb"(?<!\\)\n")
_SPACE = re.compile(rb"\s")

_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32-le",
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
    b"\xef\xbb\xbf": "",
}


def plain_text(data: bytes) -> bytes:
    """Text whose ASCII characters are single bytes and whose lines end with a newline character.

    Args:
        data: the content of a file.

    Raises:
        InputError: the content is not text.
    """
    mark = next((mark for mark in _BYTE_ORDER_MARKS if data.startswith(mark)), b"")
    encoding = _BYTE_ORDER_MARKS.get(mark, "") or _wide_encoding(data)
    data = data[len(mark) :] if mark else data
    if encoding:
        with suppress(UnicodeDecodeError):
            data = data.decode(encoding).encode("utf-8", "replace")
    if b"\0" in data:
        raise unreadable("its bytes are not text")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _wide_encoding(data: bytes) -> str:
    """The encoding of UTF-16 without a byte order mark: every second byte of its ASCII characters is zero."""
    first = data[:64]
    if len(first) >= 4 and not any(first[1::2]) and all(first[: len(first) // 2 * 2 : 2]):
        return "utf-16-le"
    if len(first) >= 4 and not any(first[::2]) and all(first[1::2]):
        return "utf-16-be"
    return ""


def pieces(text: bytes, start: int = 0) -> Iterator[bytes]:
    """Pieces of a text that end where a line ends, but not where a backslash continues the line.

    Args:
        text: as `plain_text` returns it.
        start: position of the first piece.

    Yields:
        About `PIECE` bytes, or one longer line.
    """
    while start < len(text):
        found = _LINE_END.search(text, start + PIECE)
        end = found.end() if found else len(text)
        yield text[start:end]
        start = end


def without_comments(text: bytes) -> bytes:
    """Drop everything from a # to the end of its line.

    Args:
        text: any number of lines.
    """
    return re.sub(rb"#[^\n]*", b"", text) if b"#" in text else text


class Numbers:
    """The numbers of a text, which are separated by white space; only those that are needed next are in memory.

    Attributes:
        values: (n,) float64, the numbers that were read and not dropped; whole numbers up to 2^53 are exact.
    """

    def __init__(self, text: bytes, start: int = 0) -> None:
        """Args:
        text: numbers and white space only.
        start: position of the first number.
        """
        self.values: NDArray[np.float64] = np.empty(0)
        self._text, self._position = text, start

    @property
    def most(self) -> int:
        """Numbers that were not dropped, or more: a number takes two bytes at least."""
        return len(self.values) + (len(self._text) - self._position + 1) // 2

    def read(self, count: int) -> int:
        """Read until there are `count` numbers in `values`, or the text ends.

        Args:
            count: number of numbers.

        Returns:
            How many there are in `values`.

        Raises:
            InputError: a word is not a number.
        """
        found, parts = len(self.values), [self.values]
        while found < count and self._position < len(self._text):
            space = _SPACE.search(self._text, self._position + PIECE)
            end = space.start() if space else len(self._text)
            parts.append(_few_numbers(self._text[self._position : end]))
            self._position, found = end, found + len(parts[-1])
        if len(parts) > 1:
            self.values = np.concatenate(parts)
        return found

    def drop(self, count: int) -> None:
        """Forget the first numbers.

        Args:
            count: number of numbers, at most those in `values`.
        """
        self.values = self.values[count:]


def _few_numbers(text: bytes) -> NDArray[np.float64]:
    """The numbers of a text that is not long."""
    try:
        values: NDArray[np.float64] = np.fromstring(text, np.float64, sep=" ")
        if len(values) == len(word_starts(text)):
            return values
    except (ValueError, DeprecationWarning):  # numpy warns where a word is not a number, or raises in later versions
        pass
    raise unreadable(f"{_first_non_number(text)} is not a number")


def word_starts(text: bytes) -> NDArray[np.int64]:
    """Positions at which the words of a text begin.

    Args:
        text: words and white space.
    """
    visible = np.frombuffer(text, np.uint8) > 32
    before = np.concatenate([[False], visible[:-1]]) if len(visible) else visible
    return np.flatnonzero(visible & ~before)


def rows(lines: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The numbers of lines.

    Args:
        lines: numbers and white space only.

    Returns:
        All numbers, and how many each line has.

    Raises:
        InputError: a word is not a number.
    """
    text = b"\n".join(lines)
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)) + 1)
    words = np.searchsorted(word_starts(text), ends)
    if len(words) and words[-1] > MAX_LINE:
        raise InputError(f"has a line of {words[-1]:,} numbers, more than the {MAX_LINE:,} allowed; break the line.")
    stream, values = Numbers(text), Growing(np.float64, int(words[-1]) if len(words) else 0)
    while stream.read(1):
        values.add(stream.values)
        stream.drop(len(stream.values))
    return values.array(), np.diff(words, prepend=0)


def whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers as indices.

    Args:
        values: any numbers.

    Raises:
        InputError: a number is not whole, or not finite.
    """
    indices = values.astype(np.int64)
    if (indices != values).any():
        raise unreadable("an index is not a whole number")
    return indices


def _first_non_number(text: bytes) -> str:
    """The first word of a text that is not a number, for an error."""
    for word in text.split():
        try:
            float(word)
        except ValueError:
            return ascii(word[:30].decode("ascii", "replace"))
    return "a word"
