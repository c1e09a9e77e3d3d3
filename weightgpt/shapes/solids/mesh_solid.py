"""The solid that a mesh surrounds: repaired, centered and scaled, with its exact signed distance.

Decisions:

- A point is inside where the generalized winding number exceeds 1/2 (Jacobson et al. 2013). The distance is that to the
  surface of the solid: faces inside it, such as those of parts that overlap, do not count.
- What has one right answer is repaired, and a note says so: parts and faces that face the wrong way, and copies of
  faces. Open surfaces that bound nothing are dropped with a note, unless they are more than `MAX_OPEN_SHARE` of the
  area, or are given a thickness.
- The box is that of what is read: geometry without area and surfaces that are dropped do not count.
- With a thickness t, an open surface becomes the solid within t/2 of it. Where it overlaps another solid, the distance
  inside is a lower bound.
- The signed distance of a mesh is not differentiable.

Dimensions: n vertices, m faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.shape import Sdf
from weightgpt.shapes.solids.arrangement import find_crossings
from weightgpt.shapes.solids.connectivity import Faces, Vertices, drop_unused, label_solids
from weightgpt.shapes.solids.crowding import TooComplexError
from weightgpt.shapes.solids.digest import digest_surface
from weightgpt.shapes.solids.distances import TriangleDistance
from weightgpt.shapes.solids.extent import SIDE, Frame, fit_frame, with_area
from weightgpt.shapes.solids.holes import Closing, cap_holes, close_flat_holes, fill_holes, find_open_caps
from weightgpt.shapes.solids.parts import is_solid, measure_parts
from weightgpt.shapes.solids.repair import Repaired, counted, repair, was
from weightgpt.shapes.solids.rounding import round_neighbors, round_volume
from weightgpt.shapes.solids.triangles import Triangles, face_areas
from weightgpt.shapes.solids.union import Surface, enclosed_volume, solid_surface
from weightgpt.shapes.solids.welding import weld, weld_cracks
from weightgpt.shapes.solids.winding import WindingNumber

MAX_OPEN_SHARE = 0.5
"""Files are refused if open surfaces that bound nothing have more than this share of the area."""
_CRACK = 1e-6  # open edges nearer than this to each other are joined, in unit coordinates
_UNCLEAR = 0.002  # the volume is not known if more than this share of the surface may be missing
_BUSY = 200  # holes stay open if one of the faces that would close them crosses more other faces than this
_GRID = SIDE * 2.0**-18  # parts that meet or nearly touch are rounded to this, so that those that nearly touch do
_NO_AREA = 1e-12  # twice the area of a face without area, in unit coordinates


@dataclass(frozen=True, kw_only=True)
class MeshSolid:
    """The solid of a mesh."""

    sdf: Sdf
    """Signed distances in unit coordinates."""
    center: tuple[float, float, float]
    """With `scale`: file units = unit coordinates * scale + center."""
    scale: float
    """Length of one unit in the units of the file."""
    sides: tuple[float, ...]
    """Sides of the box, in unit coordinates."""
    volume: float | None
    """Volume in file units cubed. None where open surfaces have a thickness, where other parts of the mesh cover its
    holes in part, or beyond the range of numbers."""
    digest: str
    """Hash of the geometry."""
    notes: tuple[str, ...]
    """What was repaired or dropped, one sentence each."""


def build_solid(name: str, parts: Sequence[MeshPart], thickness: float | None = None) -> MeshSolid:
    """Build the solid that the parts of a mesh surround.

    Args:
        name: name of the mesh, for errors.
        parts: the parts; their vertices are finite, and their faces have vertices that exist.
        thickness: thickness of open surfaces that bound nothing, in unit coordinates; None drops them.

    Raises:
        InputError: the mesh surrounds no volume, has too little area or too much open area, its parts cross at too many
            places or are too many, or the thickness is not between 0 and 1.
    """
    check_thickness(thickness)
    try:
        return _build(name, parts, thickness)
    except TooComplexError as error:
        raise InputError(f"{name} has {error}.") from None


def _build(name: str, parts: Sequence[MeshPart], thickness: float | None) -> MeshSolid:
    """Build the solid, see `build_solid`."""
    vertices, faces, copies, frame = _clean(name, parts, least=4 if thickness is None else 1)
    mesh = repair(vertices, faces, copies)
    notes = (*mesh.notes, *_open_notes(name, mesh, thickness))
    sheets = mesh.sheets if thickness is not None else mesh.sheets[:0]
    if len(mesh.faces) == 0 and len(sheets) == 0:
        raise InputError(_no_volume(name))
    solid_corners, sheet_corners = vertices[mesh.faces].reshape(-1, 3), vertices[sheets].reshape(-1, 3)
    inner, low, high = _fit(solid_corners, sheet_corners, thickness or 0.0)
    vertices, frame = inner.to_unit(vertices), frame.inside(inner)
    of_face, _ = label_solids(mesh.faces)
    vertices, rounded = round_neighbors(vertices, mesh.faces, of_face, _GRID)
    faces, closing, winding, surface = _close(vertices, mesh.faces)
    if len(surface.triangles) + len(sheets) == 0:
        raise InputError(_no_volume(name))
    caps = cap_holes(vertices, faces, label_solids(faces)[0])
    opening = find_open_caps(caps, winding)
    filling = fill_holes(caps, winding)
    closed = np.concatenate([vertices[closing.faces], filling])
    known = len(sheets) == 0 and opening.unclear < _UNCLEAR * face_areas(surface.triangles).sum()
    volume = _volume(surface, caps.triangles[opening.closing], frame, rounded) if known else None
    thick = surface if len(sheets) == 0 else _with_sheets(surface, vertices[sheets])
    return MeshSolid(
        sdf=_signed_distance(np.concatenate([surface.triangles, filling]), vertices[sheets], thickness or 0.0, winding),
        center=(float(frame.center[0]), float(frame.center[1]), float(frame.center[2])),
        scale=frame.scale,
        sides=tuple(((high - low) / inner.scale).tolist()),
        volume=volume,
        digest=digest_surface(thick.triangles, thick.copies, thickness or 0.0 if len(sheets) else 0.0),
        notes=(*notes, *_hole_notes(opening.holes + closing.holes, closed, surface.triangles)),
    )


def _close(vertices: Vertices, faces: Faces) -> tuple[Faces, Closing, WindingNumber, Surface]:
    """Close the flat holes and find the surface; the holes stay open if their faces cross others at too many places.

    Returns:
        The faces of the mesh with those that close holes, these alone, the winding number, and the surface.

    Raises:
        TooComplexError: the faces of the mesh itself cross at too many places, or too many are near to each other.
    """
    parts = measure_parts(vertices, faces)
    closing = close_flat_holes(vertices, faces, parts.of_face, is_solid(parts))
    closed = np.concatenate([faces, closing.faces])
    try:
        crossings = np.bincount(find_crossings(vertices, closed).pairs.ravel()) if closing.holes else np.zeros(0)
        if crossings[len(faces) :].max(initial=0) <= _BUSY:
            winding = _winding_number(vertices, closed)
            return closed, closing, winding, solid_surface(vertices, closed, winding)
    except TooComplexError:
        if not closing.holes:
            raise
    winding = _winding_number(vertices, faces)
    return faces, Closing(faces[:0], 0), winding, solid_surface(vertices, faces, winding)


def _winding_number(vertices: Vertices, faces: Faces) -> WindingNumber:
    """The winding number of a mesh, with trees of its closed parts."""
    of_face, is_open = label_solids(faces)
    return WindingNumber(vertices, faces, np.where(is_open[of_face], -1, of_face))


def check_thickness(thickness: float | None) -> None:
    """Refuse a thickness of open surfaces that no solid can have.

    Args:
        thickness: the thickness in unit coordinates; None is allowed.

    Raises:
        InputError: it is not between 0 and 1.
    """
    if thickness is not None and not 0 < thickness < 1:
        raise InputError(f"the thickness is {thickness}; give a length between 0 and 1, in unit coordinates.")


def _clean(name: str, parts: Sequence[MeshPart], least: int) -> tuple[Vertices, Faces, int, Frame]:
    """Join the parts of a file, drop what has no area, and transform the rest to unit coordinates.

    Returns:
        The vertices, the faces, how many copies of faces were dropped, and the transform.
    """
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    if fit_frame(vertices[faces.ravel()]) is None:
        raise InputError(f"{name} has no extent, or one that is not finite; give a mesh of a finite size.")
    vertices, faces, copies = weld(vertices, faces)
    vertices, faces = drop_unused(vertices, with_area(vertices, faces))
    frame = fit_frame(vertices) if len(faces) else None
    number = 0
    if frame is not None:
        vertices = frame.to_unit(vertices)
        number = int((2 * face_areas(vertices[faces]) > _NO_AREA).sum())
    if frame is None or number < least:
        raise InputError(
            f"{name} has too few faces with an area: {number}, at least {least} make a solid; give a closed mesh."
        )
    return *weld_cracks(vertices, faces, _CRACK), copies, frame


def _fit(solid: Vertices, sheets: Vertices, thickness: float) -> tuple[Frame, Vertices, Vertices]:
    """Fit the box of a solid and of sheets of a thickness; returns its lowest and highest corner as well.

    The thickness is one of the resulting unit coordinates, so the box is found by iteration.
    """
    frame = Frame(np.zeros(3), 1.0)
    for _ in range(1 if len(sheets) == 0 else 60):
        margin = thickness * frame.scale / 2
        corners = np.concatenate([solid, sheets - margin, sheets + margin])
        frame = fit_frame(corners) or frame
    return frame, corners.min(0), corners.max(0)


def _volume(surface: Surface, caps: Triangles, frame: Frame, rounded: bool) -> float | None:
    """The volume of a solid in file units cubed, with the digits that are known; None if none is.

    Args:
        surface: the surface of the solid, in unit coordinates.
        caps: the caps (c, 3, 3) that close its holes.
        frame: the transform to the file.
        rounded: whether coordinates were rounded to the grid.
    """
    precision = _GRID if rounded else float(np.spacing(1 + np.abs(frame.center / frame.scale).max()))
    error = precision * float(face_areas(surface.triangles).sum())
    unit = frame.scale * frame.scale * frame.scale
    volume = round_volume(enclosed_volume(surface, caps) * unit, error * unit)
    return volume if 0 < volume < np.inf else None


def _no_volume(name: str, one_sided: bool = False) -> str:
    reason = ", because a surface of it has one side only, as a Klein bottle" if one_sided else ""
    return (
        f"{name} encloses no volume{reason}; close the surface and make its faces point outwards, or give open"
        " surfaces a thickness, such as thickness=0.02."
    )


def _hole_notes(number: int, closed: Triangles, triangles: Triangles) -> list[str]:
    """A note on the holes that are closed, if there are any, with the share of the surface that closes them."""
    if not number:
        return []
    percent = 100 * float(face_areas(closed).sum() / max(face_areas(closed).sum(), face_areas(triangles).sum()))
    share = f"{percent:.{0 if percent >= 1 else 2}f} % of the surface"
    near = "distances near it are" if number == 1 else "distances near them are"
    return [f"{counted(number, 'hole')} ({share}) {was(number)} closed; {near} approximate."]


def _open_notes(name: str, mesh: Repaired, thickness: float | None) -> list[str]:
    """A note on the open surfaces that bound nothing, if there are any."""
    if not mesh.num_sheets:
        return []
    surfaces, verb = counted(mesh.num_sheets, "open surface"), was(mesh.num_sheets)
    percent = 100 * mesh.open_share
    share = f"{percent:.{0 if percent >= 1 else 2}f} % of the area"
    if thickness is not None:
        return [f"{surfaces} ({share}) {verb} given a thickness of {thickness:g}."]
    if len(mesh.faces) == 0:
        raise InputError(_no_volume(name, mesh.num_one_sided > 0))
    if mesh.open_share > MAX_OPEN_SHARE:
        raise InputError(
            f"{name} has open surfaces with {share}, and at most {100 * MAX_OPEN_SHARE:.0f} % are dropped; close them,"
            " or give them a thickness, such as thickness=0.02."
        )
    return [f"{surfaces} ({share}) {verb} dropped."]


def _with_sheets(surface: Surface, sheets: Triangles) -> Surface:
    """Add the triangles of open surfaces."""
    return Surface(np.concatenate([surface.triangles, sheets]), np.append(surface.copies, np.ones(len(sheets))))


def _signed_distance(triangles: Triangles, sheets: Triangles, thickness: float, winding: WindingNumber) -> Sdf:
    """The signed distance of the solid inside of triangles, and of all points within half a thickness of sheets."""
    to_solid, to_sheets = TriangleDistance(triangles), TriangleDistance(sheets)

    def sdf(points: Tensor) -> Tensor:
        queries = points.detach().cpu().numpy().astype(np.float64)
        distances = to_solid(queries)
        distances = np.where(winding(queries) > 0.5, -distances, distances)
        return points.new_tensor(np.minimum(distances, to_sheets(queries) - thickness / 2))

    return sdf
