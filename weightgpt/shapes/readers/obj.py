"""Wavefront OBJ: vertices and polygons.

Decisions:

- All objects and groups are one part, because they share their vertices.
- `fo` is the old word for `f`, and both may be in capitals.
- Normals, texture coordinates, materials, lines and points are not read. No other file is opened.
- A negative index counts back from the last vertex before the face.
"""

import re

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Growing, Vertices
from weightgpt.shapes.readers.limits import check_faces, check_vertices, unreadable
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.polygons import count_triangles, triangulate
from weightgpt.shapes.readers.text import pieces, plain_text, rows, whole, without_comments

_LINE = re.compile(rb"^[ \t]*((?:v|fo?|surf|bzp|bsp|call)[ \t][^\n]*)", re.MULTILINE | re.IGNORECASE)
_CONTINUED = (b"v ", b"v\t", b"f ", b"f\t", b"fo")
_LONGEST_CONTINUATION = 2**22
_FREE_FORM = "free-form surfaces"
_OTHER_GEOMETRY = {b"s": _FREE_FORM, b"b": _FREE_FORM, b"c": "its geometry in other files"}


def read_obj(data: bytes) -> list[MeshPart]:
    """Read an OBJ file.

    Args:
        data: its content.

    Returns:
        One part, with a triangle for each triangle and several for each larger polygon.

    Raises:
        InputError: the file breaks the rules of the format, or is too large.
    """
    text = plain_text(data)
    vertices, corners, sizes = Growing(np.float64), Growing(np.int64), Growing(np.int64)
    seen = triangles = 0
    for piece in pieces(text):
        lines = _LINE.findall(without_comments(_joined(piece)))
        first = np.frombuffer(b"".join([line[:1] for line in lines]).lower(), np.uint8)
        is_vertex, is_face = first == ord("v"), first == ord("f")
        _refuse_other_geometry(_select(lines, ~is_vertex & ~is_face))
        vertices.add(_positions([line[2:] for line in _select(lines, is_vertex)]))
        before = seen + np.cumsum(is_vertex)[is_face]
        indices, counts = _indices([line[2:] for line in _select(lines, is_face)])
        corners.add(_zero_based(indices, np.repeat(before, counts)))
        sizes.add(counts)
        seen, triangles = seen + int(is_vertex.sum()), triangles + count_triangles(counts)
        check_vertices(seen)
        check_faces(triangles)
    points = vertices.array(-1, 3)
    return [MeshPart(points, triangulate(points, corners.array(), sizes.array()))]


def _joined(piece: bytes) -> bytes:
    """Lines of vertices and faces that a backslash continues become one; a name may end with any byte."""
    if b"\\\n" not in piece:
        return piece
    if len(piece) > _LONGEST_CONTINUATION:
        raise unreadable(f"a line continues over more than {_LONGEST_CONTINUATION // 2**20} MiB")
    joined, continued = list[bytes](), False
    for line in piece.split(b"\n"):
        joined += [b" " if continued else b"\n", line]
        continued = line.endswith(b"\\") and (continued or line.lstrip()[:2].lower() in _CONTINUED)
    return b"".join(joined).replace(b"\\", b" ")


def _select(lines: list[bytes], chosen: NDArray[np.bool_]) -> list[bytes]:
    """Some of the lines."""
    return [lines[i] for i in np.flatnonzero(chosen).tolist()]


def _refuse_other_geometry(lines: list[bytes]) -> None:
    """Refuse free-form surfaces and files that include other files."""
    for line in lines:
        what = _OTHER_GEOMETRY[line[:1].lower()]
        raise InputError(f"has {what}, which is not read; export it as polygons in one file.")


def _positions(lines: list[bytes]) -> Vertices:
    """The first three numbers of each vertex; a weight or a color may follow."""
    values, counts = rows(lines)
    if len(counts) and counts.min() < 3:
        raise InputError(f"has a vertex of {counts.min()} numbers, which needs 3; repair or export it again.")
    starts = np.cumsum(counts) - counts
    return np.stack([values[starts + axis] for axis in range(3)], axis=1)


def _indices(lines: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The vertex indices of faces, and how many corners each face has; a corner is v, v/vt, v//vn or v/vt/vn."""
    text = b"\n".join(lines)
    if b"/" in text:
        lines = re.sub(rb"/\S*", b"", text).split(b"\n")
    values, counts = rows(lines)
    return whole(values), counts


def _zero_based(indices: NDArray[np.int64], before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices from 0, of indices from 1 or relative to the number of vertices before each."""
    if (indices == 0).any():
        raise unreadable("a face has the index 0, the first vertex is 1")
    absolute = np.where(indices > 0, indices - 1, before + indices)
    if (absolute < 0).any():
        raise InputError("has faces with vertices that do not exist; repair or export it again.")
    return absolute
