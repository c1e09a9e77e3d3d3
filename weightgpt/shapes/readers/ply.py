"""PLY, as text and binary: vertices, polygons and triangle strips.

Decisions:

- Only the positions and the corners of the faces are read; all other elements and properties are passed over.
- The list of corners may be named `vertex_indices` or `vertex_index`.
"""

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Vertices
from weightgpt.shapes.readers.limits import check_faces, check_vertices, unreadable
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.ply_body import Body, Rows
from weightgpt.shapes.readers.ply_header import read_header
from weightgpt.shapes.readers.polygons import check_corners, count_triangles, triangulate
from weightgpt.shapes.readers.strips import strip_triangles
from weightgpt.shapes.readers.text import plain_text, whole

_CORNERS = ("vertex_indices", "vertex_index")


def read_ply(data: bytes) -> list[MeshPart]:
    """Read a PLY file.

    Args:
        data: its content.

    Returns:
        One part.

    Raises:
        InputError: the file breaks the rules of the format, claims more than it holds, or is too large.
    """
    if not data.startswith(b"ply"):
        data = plain_text(data).lstrip()
    header = read_header(data)
    check_faces(sum(element.count for element in header.elements if element.name == "face"))
    check_vertices(sum(element.count for element in header.elements if element.name == "vertex"))
    body, position = Body(data, header.end, header.order), header.end if header.order else 0
    vertices: Vertices | None = None
    polygons: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    strips = np.empty((0, 3), np.int64)
    for element in header.elements:
        corners = next((entry for entry in element.properties if entry.name in _CORNERS and entry.count_kind), None)
        rows = Rows(body, element, position, corners.name if corners else "")
        position = rows.end
        if element.name == "vertex" and vertices is None:
            vertices = _positions(rows)
        elif element.name == "face" and corners and polygons is None:
            check_faces(count_triangles(rows.list_sizes))
            polygons = whole(rows.list_values(corners.kind)), rows.list_sizes
        elif element.name == "tristrips" and corners:
            strips = strip_triangles(whole(rows.list_values(corners.kind)), rows.list_sizes)
    if vertices is None:
        raise unreadable("it has no vertices")
    faces = triangulate(vertices, *polygons) if polygons else np.empty((0, 3), np.int64)
    check_corners(vertices, strips)
    return [MeshPart(vertices, np.concatenate([faces, strips]))]


def _positions(rows: Rows) -> Vertices:
    """The columns x, y and z."""
    columns = [rows.column(axis) for axis in "xyz"]
    found = [column for column in columns if column is not None]
    if len(found) < 3:
        raise InputError(f"has vertices of {len(found)} numbers, which need x, y and z; repair or export it again.")
    return np.stack(found, axis=1)
