"""PLY, as text and binary: vertices, polygons and triangle strips.

Decisions:

- Only the positions and the corners of the faces are read; all other elements and properties are passed over.
- The list of corners may be named `vertex_indices` or `vertex_index`.
"""

import numpy as np

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Growing, Indices, Vertices
from weightgpt.shapes.readers.limits import check_faces, check_vertices, unreadable
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.ply_body import Body, check_claim, read_rows
from weightgpt.shapes.readers.ply_header import Element, Property, read_header
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
    body = Body(data, header.end, header.order)
    vertices: Vertices | None = None
    polygons: tuple[Indices, Indices] | None = None
    strips = np.empty((0, 3), np.int64)
    for element in header.elements:
        corners = next((entry for entry in element.properties if entry.name in _CORNERS and entry.count_kind), None)
        if element.name == "vertex" and vertices is None:
            vertices = _positions(body, element)
        elif element.name == "face" and corners and polygons is None:
            polygons = _corners(body, element, corners)
        elif element.name == "tristrips" and corners:
            strips = strip_triangles(*_corners(body, element, corners))
        else:
            for _ in read_rows(body, element):
                pass
    if vertices is None:
        raise unreadable("it has no vertices")
    faces = triangulate(vertices, *polygons) if polygons else np.empty((0, 3), np.int64)
    check_corners(vertices, strips)
    return [MeshPart(vertices, np.concatenate([faces, strips]) if len(strips) else faces)]


def _positions(body: Body, element: Element) -> Vertices:
    """The columns x, y and z."""
    check_claim(body, element)
    found = {entry.name for entry in element.properties if entry.name in ("x", "y", "z") and not entry.count_kind}
    if len(found) < 3:
        raise InputError(f"has vertices of {len(found)} numbers, which need x, y and z; repair or export it again.")
    vertices = Growing(np.float64, 3 * element.count)
    for rows in read_rows(body, element):
        vertices.add(np.stack([rows.column(axis) for axis in "xyz"], axis=1))
    return vertices.array(-1, 3)


def _corners(body: Body, element: Element, entry: Property) -> tuple[Indices, Indices]:
    """The indices in a list of each row, and the sizes of the lists; a face of them is counted as a polygon."""
    check_claim(body, element)
    corners, sizes, triangles = Growing(np.int64, 3 * element.count), Growing(np.int64, element.count), 0
    for rows in read_rows(body, element, entry.name):
        triangles += count_triangles(rows.list_sizes) if element.name == "face" else 0
        check_faces(triangles)
        corners.add(whole(rows.list_values(entry.kind)))
        sizes.add(rows.list_sizes)
    return corners.array(), sizes.array()
