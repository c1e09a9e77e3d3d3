"""OFF: vertices and polygons as text.

Decisions:

- The header may name colors, normals and texture coordinates (COFF, NOFF, STOFF), which follow the position of a vertex
  and are not read. A fourth coordinate (4OFF) divides the others.
- Lines matter where a vertex or a face has more numbers than it needs. A file without such lines is read as well.
- The counts may follow the word OFF without a blank, as in the files of ModelNet40.
"""

import re
from array import array

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Growing, Vertices
from weightgpt.shapes.readers.limits import check_faces, check_vertices, unreadable
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.polygons import count_triangles, triangulate
from weightgpt.shapes.readers.text import PIECE, Numbers, pieces, plain_text, rows, whole, without_comments

_HEADER = re.compile(rb"\s*(ST)?(C)?(N)?(4)?(n)?OFF(?![^\s\d])[ \t]*(BINARY)?", re.IGNORECASE)
_BLOCK = 2**17
_COUNTS = re.compile(rb"\s*(\d+)\s+(\d+)(?:[ \t]*(?:\n|$)|\s+\d+(?=\s|$))")


def read_off(data: bytes) -> list[MeshPart]:
    """Read an OFF file.

    Args:
        data: its content.

    Returns:
        One part.

    Raises:
        InputError: the file breaks the rules of the format, is binary, or is too large.
    """
    if re.match(rb"\s*\w*OFF\s+BINARY", data[:80], re.IGNORECASE):
        raise InputError("is a binary OFF file, which is not read; export it as text or as .ply.")
    text = without_comments(plain_text(data))
    header = _HEADER.match(text)
    if header and header.group(5):
        raise InputError("has vertices of any dimension (nOFF), which are not read; export it in three dimensions.")
    counts = _COUNTS.match(text, header.end() if header else 0)
    if counts is None:
        raise unreadable("it does not begin with the numbers of vertices and faces")
    vertices, faces = int(counts[1][:20]), int(counts[2][:20])
    start = counts.end()
    # A vertex takes six bytes at least and a face two.
    if vertices * 6 + faces * 2 > len(text) - start + 2:
        raise unreadable(f"it claims {vertices:,} vertices and {faces:,} faces, more than it holds")
    check_vertices(vertices)
    check_faces(faces)
    width = 4 if header and header.group(4) else 3
    sizes_of_table = vertices, faces, width
    points, corners, sizes = _by_lines(text, start, *sizes_of_table) or _by_words(text, start, *sizes_of_table)
    if width == 4:
        points = points[:, :3] / points[:, 3:]
    return [MeshPart(points, triangulate(points, corners, sizes))]


_Polygons = tuple[Vertices, NDArray[np.int64], NDArray[np.int64]]


def _by_lines(text: bytes, start: int, vertices: int, faces: int, width: int) -> _Polygons | None:
    """Vertices, corners and sizes of a file with one vertex or face a line; None if it is not one."""
    points, corners = Growing(np.float64, width * vertices), Growing(np.int64, 3 * faces)
    sizes = Growing(np.int64, faces)
    to_read, triangles = vertices + faces, 0
    for piece in pieces(text, start):
        lines = [line for line in piece.split(b"\n") if line.strip()]
        if len(lines) > to_read or len(piece) > 2 * PIECE:
            return None
        values, counts = rows(lines)
        starts = np.cumsum(counts) - counts
        here = min(max(to_read - faces, 0), len(lines))
        if here and counts[:here].min() < width:
            return None
        points.add(np.stack([values[starts[:here] + axis] for axis in range(width)], axis=1))
        if here < len(lines):
            first = whole(values[starts[here:]])
            if (first < 0).any() or (first + 1 > counts[here:]).any():
                return None
            triangles += count_triangles(first)
            check_faces(triangles)
            offsets = np.repeat(starts[here:] + 1 - (np.cumsum(first) - first), first)
            corners.add(whole(values[offsets + np.arange(len(offsets))]))
            sizes.add(first)
        to_read -= len(lines)
    return None if to_read else (points.array(-1, width), corners.array(), sizes.array())


def _by_words(text: bytes, start: int, vertices: int, faces: int, width: int) -> _Polygons:
    """Vertices, corners and sizes of a file whose numbers stand on any lines, without colors."""
    numbers, sizes = Numbers(text, start), array("q")
    points, corners = Growing(np.float64, width * vertices), Growing(np.int64, 3 * faces)
    for first in range(0, vertices, _BLOCK):
        count = min(_BLOCK, vertices - first) * width
        if numbers.read(count) < count:
            raise InputError(f"has {vertices:,} vertices of less than {width} numbers; repair or export it again.")
        points.add(numbers.values[:count])
        numbers.drop(count)
    while len(sizes) < faces:
        block = _face_sizes(numbers, min(_BLOCK, faces - len(sizes)))
        ends = np.cumsum(np.array(block) + 1)
        is_corner = np.ones(ends[-1], bool)
        is_corner[0] = False
        is_corner[ends[:-1]] = False
        corners.add(whole(numbers.values[: ends[-1]][is_corner]))
        numbers.drop(int(ends[-1]))
        sizes.extend(block)
    if numbers.read(1):
        raise unreadable(f"it holds more numbers than {vertices:,} vertices and {faces:,} faces need")
    return points.array(-1, width), corners.array(), np.array(sizes, np.int64)


def _face_sizes(numbers: Numbers, count: int) -> list[int]:
    """The sizes of the next faces, at most `count`; their numbers are read."""
    sizes, position = list[int](), 0
    while len(sizes) < count and position < _BLOCK:
        stated = float(numbers.values[position]) if numbers.read(position + 1) > position else -1.0
        size = int(stated) if stated.is_integer() else -1
        if not 0 <= size < numbers.most or numbers.read(position + 1 + size) <= position + size:
            raise unreadable("it ends before its last face, or has a face with fewer corners than it claims")
        sizes.append(size)
        position += 1 + size
    return sizes
