"""STL, as text and binary: triangles.

Decisions:

- A file is binary if its size is the one of the number of triangles that it states, also if it begins with `solid`.
- All solids of a text are one part. Names are not read, so they may hold any words in any encoding.
- Normals and colors are not read; the order of the corners decides which side is outside.
"""

import re
from collections.abc import Iterator

import numpy as np

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Growing
from weightgpt.shapes.readers.limits import check_faces, unreadable
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.polygons import check_corners, triangulate
from weightgpt.shapes.readers.text import plain_text, rows

_HEADER_BYTES, _TRIANGLE_BYTES = 84, 50
_TEXT = re.compile(rb"\s*solid\b", re.IGNORECASE)
_NAME = re.compile(
    rb"^[ \t]*(?:end[ \t]*)?solid\b[^\n]*?(?=$|\bfacet[ \t]+normal[ \t]+[-+.\dn]|\bfacet[ \t]+outer[ \t])", re.M | re.I
)
_FACET = re.compile(rb"\bfacet(?:\s+normal\s+\S+\s+\S+\s+\S+)?\s+outer\s+loop\b", re.IGNORECASE)
_WORDS = re.compile(rb"\b(?:vertex|end\s*loop|end\s*facet)\b", re.IGNORECASE)
_FACET_END = re.compile(rb"\bend[ \t]*facet\b", re.IGNORECASE)
_PIECE, _LONGEST_FACET = 2**19, 2**20


def read_stl(data: bytes) -> list[MeshPart]:
    """Read an STL file.

    Args:
        data: its content.

    Returns:
        One part, whose triangles share no vertices.

    Raises:
        InputError: the file breaks the rules of the format, is cut short, or is too large.
    """
    stated = int.from_bytes(data[80:_HEADER_BYTES], "little") if len(data) >= _HEADER_BYTES else -1
    if stated >= 0 and len(data) == _HEADER_BYTES + _TRIANGLE_BYTES * stated:
        return _read_binary(data, stated)
    try:
        text = plain_text(data)
    except InputError:
        text = b""
    if _TEXT.match(text):
        return _read_text(text)
    held = (len(data) - _HEADER_BYTES) // _TRIANGLE_BYTES
    if text or stated < 0:
        raise unreadable("it is not binary, and its text does not begin with the word solid")
    # Some exporters add a few bytes behind the last triangle.
    if held != stated:
        raise unreadable(f"it states {stated:,} triangles but holds {held:,}")
    return _read_binary(data, stated)


def _read_binary(data: bytes, count: int) -> list[MeshPart]:
    """Triangles of 50 bytes each: a normal, three corners and two bytes without a meaning."""
    check_faces(count)
    triangle = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
    vertices = np.frombuffer(data, triangle, count, _HEADER_BYTES)["corners"].reshape(-1, 3).astype(np.float64)
    faces = np.arange(3 * count).reshape(-1, 3)
    check_corners(vertices, faces)
    return [MeshPart(vertices, faces)]


def _read_text(text: bytes) -> list[MeshPart]:
    """Facets with one loop of three or more corners each."""
    vertices, sizes, count = Growing(np.float64), Growing(np.int64), 0
    for facets in _facet_pieces(text):
        # A facet becomes a line of its numbers.
        lines = _WORDS.sub(b" ", _FACET.sub(b"\x01", _NAME.sub(b"", facets)).replace(b"\n", b" ")).split(b"\x01")
        if lines[0].strip():
            raise unreadable(f"{lines[0].strip()[:30].decode('latin-1')!a} stands outside of a facet")
        values, counts = rows(lines[1:])
        if (counts % 3).any() or (counts < 9).any():
            raise unreadable("a facet has not three corners of three numbers")
        vertices.add(values)
        sizes.add(counts // 3)
        count += int((counts // 3 - 2).sum())
        check_faces(count)
    points = vertices.array(-1, 3)
    return [MeshPart(points, triangulate(points, np.arange(len(points)), sizes.array()))]


def _facet_pieces(text: bytes) -> Iterator[bytes]:
    """Pieces of a text that end behind a facet; a text that ends inside a facet is refused."""
    start, last = 0, 0
    for last_facet in _FACET_END.finditer(text, max(0, len(text) - _LONGEST_FACET)):
        last = last_facet.end()
    while start < last:
        end = _FACET_END.search(text, start + _PIECE, start + _PIECE + _LONGEST_FACET)
        stop = end.end() if end else last
        if stop - start > _PIECE + _LONGEST_FACET:
            raise unreadable("a facet does not end")
        yield text[start:stop]
        start = stop
    rest = _NAME.sub(b"", text[start:]) if len(text) - start <= _LONGEST_FACET else b"?"
    if rest.strip():
        raise unreadable("it ends inside a facet, so it is cut short")
