"""Places on the surface of a part where another part can be attached.

A face is a point of the surface with solid below it, its normal, and two directions in which the surface is flat.
Another part is attached face to face and a little sunk, so that both are one piece.

Dimensions: F faces.
"""

import numpy as np

from weightgpt.shapes.compositions.parts import Array

FACE = np.dtype(
    [
        ("point", np.float64, (3,)),
        ("frame", np.float64, (3, 3)),
        ("reach", np.float64, (2,)),
        ("depth", np.float64),
        ("weight", np.float64),
    ]
)
"""A face: its middle; its normal and the two directions along it, as rows; how far it is flat along these, to both
sides; the thickness of the solid below it; and how likely it is used when its part is attached to another one."""
Faces = np.ndarray[tuple[int], np.dtype[np.void]]
"""F rows of `FACE`."""

_UP = np.array([0.0, 1.0, 0.0])
_AXES = np.array([0, 0, 1, 1, 2, 2])
_SIGNS = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
_FRAMES = (
    np.eye(3)[(np.array([[0, 1, 2]]) + _AXES[:, None]) % 3] * np.stack([_SIGNS, _SIGNS**2, _SIGNS**2], 1)[..., None]
)
_ALONG = (_AXES[:, None] + np.array([1, 2])) % 3


def box_faces(half: Array) -> Faces:
    """The six sides of a box, those of x first; small sides are used more often.

    Args:
        half: (3,) half of its sides.
    """
    faces = np.zeros(6, FACE)
    faces["frame"] = _FRAMES
    faces["point"] = _FRAMES[:, 0] * half
    faces["reach"] = half[_ALONG]
    faces["depth"] = 2.0 * half[_AXES]
    faces["weight"] = half[_AXES] ** 2 + 0.1 * half.max() ** 2
    return faces


def cylinder_faces(radius: float, height: float) -> Faces:
    """Two ends and four lines along the side of a cylinder about y.

    Args:
        radius: its radius.
        height: half of its height.
    """
    faces = box_faces(np.array([radius, height, radius]))
    flat = 0.7 * radius
    faces["reach"] = [(height, 0), (height, 0), (flat, flat), (flat, flat), (0, height), (0, height)]
    return faces


def ellipsoid_faces(half: Array) -> Faces:
    """The six poles of an ellipsoid.

    Args:
        half: (3,) half axes.
    """
    faces = box_faces(half)
    faces["reach"] = 0.0
    return faces


def ring_faces(ring: float, tube: float) -> Faces:
    """Four outer points of a ring about y, and one above and below.

    Args:
        ring: its radius.
        tube: the radius of its tube.
    """
    faces = box_faces(np.array([ring + tube, tube, ring + tube]))
    faces["point"][2:4, 0] = ring
    faces["reach"], faces["depth"], faces["weight"] = 0.0, 2.0 * tube, 1.0
    return faces


def arc_faces(ring: float, tube: float, angle: float) -> Faces:
    """The two ends of an arc about y that is symmetric about x.

    Args:
        ring: its radius.
        tube: the radius of its tube.
        angle: half of its angle.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    faces = np.zeros(2, FACE)
    for face, sign in zip(faces, (1.0, -1.0), strict=True):
        normal = np.array([-sin, 0.0, sign * cos])
        face["frame"] = np.stack([normal, _UP, np.cross(normal, _UP)])
        face["point"] = np.array([ring * cos, 0.0, sign * ring * sin]) + tube * normal
    faces["depth"], faces["weight"] = 2.0 * tube, 1.0
    return faces


def extruded_faces(outline: Array, core: Array, room: float, half: float, edge: int) -> Faces:
    """Two caps and two edges of an extruded polygon; the first edge is its foot.

    Args:
        outline: (k, 2) the polygon.
        core: (2,) a point inside.
        room: its distance from the edges.
        half: half of the thickness.
        edge: another edge.
    """
    faces = np.zeros(4, FACE)
    for face, sign in zip(faces[:2], (1.0, -1.0), strict=True):
        face["frame"] = (0.0, 0.0, sign), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
        face["point"] = (*core, sign * half)
    faces["reach"][:2], faces["depth"][:2], faces["weight"][:2] = 0.6 * room, 2.0 * half, 1.0
    for face, number in zip(faces[2:], (0, edge), strict=True):
        _fill_edge(face, outline[number], outline[(number + 1) % len(outline)])
        face["frame"][2], face["reach"][1] = (0.0, 0.0, 1.0), half
    faces["depth"][2:], faces["weight"][2:] = 0.4 * room, (4.0, 1.0)  # the arms of a letter can be thin
    return faces


def _fill_edge(face: np.void, start: Array, end: Array) -> None:
    """The normal, the direction and the middle of an edge of a polygon that runs counter-clockwise."""
    x, y = end - start
    length = float(np.hypot(x, y))
    face["frame"][0], face["frame"][1] = (y / length, -x / length, 0.0), (x / length, y / length, 0.0)
    face["point"], face["reach"][0] = (*(start + end) / 2, 0.0), length / 2


def revolved_faces(outline: Array, depth: float, edge: int) -> Faces:
    """The lower and the upper end of a solid of revolution where they reach the axis, and four points of its side.

    Args:
        outline: (k, 2) the polygon, counter-clockwise from its lowest point.
        depth: thickness of the solid below its surface.
        edge: the edge on which the points of the side lie.
    """
    rows = []
    for corner, beside, sign in ((outline[0], outline[1], -1.0), (outline[-1], outline[-2], 1.0)):
        if corner[0] == 0.0:
            face = np.zeros(1, FACE)
            face["frame"] = (0.0, sign, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
            face["point"], face["reach"], face["weight"] = (0.0, corner[1], 0.0), 0.6 * beside[0], 3.0
            face["reach"] *= corner[1] == beside[1]
            rows.append(face)
    side = np.zeros(4, FACE)
    _fill_edge(side[0], outline[edge], outline[edge + 1])
    side[:] = side[0]
    turns = _QUARTERS
    side["frame"] = side["frame"] @ turns.transpose(0, 2, 1)
    side["point"] = np.einsum("fij,fj->fi", turns, side["point"])
    side["frame"][:, 2] = np.cross(side["frame"][:, 0], side["frame"][:, 1])
    side["reach"], side["weight"] = 0.0, 1.0
    rows.append(side)
    faces = np.concatenate(rows)
    faces["depth"] = depth
    return faces


_QUARTERS = np.array([[[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]] for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))])
