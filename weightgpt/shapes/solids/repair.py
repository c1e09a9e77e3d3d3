"""Repairs of a mesh: copies of faces, orientation, open surfaces, each with a note; and large fans are spread.

Dimensions: n vertices, m faces.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices
from weightgpt.shapes.solids.crowding import check_points
from weightgpt.shapes.solids.fans import spread_fans
from weightgpt.shapes.solids.open_surfaces import PIECES, sort_open_surfaces
from weightgpt.shapes.solids.orientation import align_neighbors, has_border, is_one_sided, turn_outward, turn_over
from weightgpt.shapes.solids.parts import is_solid, measure_parts, probe_parts
from weightgpt.shapes.solids.triangles import face_areas
from weightgpt.shapes.solids.welding import unique_faces


@dataclass(frozen=True)
class Repaired:
    """The faces of a mesh that surround a volume, and its open surfaces."""

    faces: Faces
    """Faces (m, 3) that surround a volume, facing outward."""
    sheets: Faces
    """Faces of open surfaces in free space, which bound nothing."""
    num_parts: int
    """Number of parts of the mesh."""
    num_sheets: int
    """Number of these surfaces."""
    num_one_sided: int
    """Number of those that have one side and no open edges, as a Klein bottle."""
    open_share: float
    """Their share of the area of the mesh."""
    notes: tuple[str, ...]
    """What was repaired, one sentence each."""


def repair(vertices: Vertices, faces: Faces, copies: int = 0) -> Repaired:
    """Drop copies of faces, turn what is inside out, and tell open surfaces from solids.

    Args:
        vertices: (n, 3) in unit coordinates, none twice at one position.
        faces: (m, 3).
        copies: number of copies of faces that were dropped already.

    Raises:
        TooComplexError: too many open surfaces are near to each other, or too many parts lie in each other.
    """
    notes = []
    faces, more = unique_faces(faces)
    copies += more
    if copies:
        notes.append(f"{counted(copies, 'face')} {was(copies)} there twice; the copies were dropped.")
    given = faces
    faces = align_neighbors(vertices, faces)
    parts = measure_parts(vertices, faces)
    solid = is_solid(parts)
    one_sided = is_one_sided(faces, parts.of_face) if faces is not given else np.zeros(len(solid), bool)
    solid &= ~one_sided
    one_sided &= ~has_border(faces, parts.of_face)
    if not solid.all():
        tested = np.bincount(probe_parts(vertices, faces, parts).part, minlength=len(solid))
        check_points(vertices, faces, int(tested.sum() + PIECES * tested[~solid].sum()))
    faces = turn_over(faces, turn_outward(vertices, faces, parts, solid)[parts.of_face])
    bounding, free = np.ones(len(faces), bool), np.zeros(len(faces), bool)
    if not solid.all():
        sheets = sort_open_surfaces(vertices, faces, parts, solid)
        never = one_sided[parts.of_face]
        faces, bounding, free = sheets.faces, sheets.bounding & ~never, sheets.free | never
    notes += _orientation_notes((faces != given).any(1)[bounding], parts.of_face[bounding])
    if one_sided.any():
        number = int(one_sided.sum())
        notes.append(f"{counted(number, 'surface')} with one side only, as a Klein bottle, {was(number)} read as open.")
    areas = face_areas(vertices[faces])
    return Repaired(
        faces=spread_fans(vertices, faces[bounding]),
        sheets=faces[free],
        num_parts=len(solid),
        num_sheets=len(np.unique(parts.of_face[free])),
        num_one_sided=int(one_sided.sum()),
        open_share=float(areas[free].sum() / areas.sum()),
        notes=tuple(notes),
    )


def _orientation_notes(turned: NDArray[np.bool_], of_face: NDArray[np.int64]) -> list[str]:
    """Notes on the faces (m,) that were turned over, and on the parts whose faces all were."""
    faces_of = np.bincount(of_face)
    turned_of = np.bincount(of_face, turned, len(faces_of))
    whole = (turned_of == faces_of) & (faces_of > 0)
    some, parts, total = int(turned_of[~whole].sum()), int(whole.sum()), int((faces_of > 0).sum())
    notes = []
    if some:
        of = f"{some:,} of {counted(len(turned), 'face')}"
        notes.append(f"{of} faced the other way than the faces next to them and {was(some)} turned over.")
    if parts:
        notes.append(f"{parts:,} of {counted(total, 'part')} {was(parts)} inside out and {was(parts)} flipped.")
    return notes


def counted(number: int, noun: str) -> str:
    """Write a number and a noun in the singular or plural.

    Args:
        number: the number.
        noun: the noun, whose plural ends in s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def was(number: int) -> str:
    """Choose between "was" and "were"."""
    return "was" if number == 1 else "were"
