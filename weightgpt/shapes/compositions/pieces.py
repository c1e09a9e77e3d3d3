"""Single pieces of compositions: a plate, a rod or a block of any kind, with its cuts and its faces.

Decisions:

- A cut never reaches an edge of the box of its part, so the box of a composition is that of its parts.
- The faces that a cut goes through take no other part, and the sides of a hollow part are as deep as its wall. So
  nothing is attached where there is nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from weightgpt.shapes.compositions.faces import (
    Faces,
    arc_faces,
    box_faces,
    cylinder_faces,
    ellipsoid_faces,
    extruded_faces,
    revolved_faces,
    ring_faces,
)
from weightgpt.shapes.compositions.parts import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    EXTRUDED,
    REVOLVED,
    TORUS,
    Array,
    Parts,
    make_part,
)
from weightgpt.shapes.compositions.profiles import Rng, draw_outline, draw_profile, pick, room_about

PLATE, ROD, BLOCK = range(3)


@dataclass(frozen=True)
class Style:
    """What a composition prefers."""

    kinds: tuple[float, ...]
    """How likely each of the six kinds is."""
    forms: tuple[float, ...]
    """How likely plates, rods and blocks are."""
    thin: float
    """Typical thickness of plates and rods, as a share of their length."""
    cuts: float
    """Share of the parts that have a cut."""
    tilt: float
    """Share of the parts that are attached at an angle."""
    order: float
    """From 0 to 1: how often parts are flush with the corners of others, and mirrored, as in furniture."""


class Piece(NamedTuple):
    """A part with its cuts, in its own frame."""

    parts: Parts
    """The part, and then its cuts."""
    faces: Faces
    """Where other parts can be attached to it."""
    mirrors: tuple[int, ...]
    """The axes across which it is its own mirror image."""
    is_round: bool
    """Whether it can be turned about y by any angle."""


def draw_piece(rng: Rng, style: Style, length: float, form: int) -> Piece:
    """Draw a piece.

    Args:
        rng: source of the random numbers.
        style: what is preferred.
        length: about its longest side.
        form: `PLATE`, `ROD` or `BLOCK`.
    """
    kind = pick(rng, style.kinds)
    half = _draw_half(rng, style, length, form)
    cut = rng.random() < style.cuts
    if kind == CYLINDER:
        return _draw_cylinder(rng, half, form, cut)
    if kind == TORUS:
        return _draw_ring(rng, length / 2, style.thin, form)
    if kind == ELLIPSOID and form != PLATE:
        half = np.maximum(half, 0.25 * half.max())  # the depth of flatter ellipsoids would be far too small
        part = make_part(ELLIPSOID, half)
        return Piece(part, ellipsoid_faces(half), (0, 1, 2), False)
    if kind == EXTRUDED and form != ROD:
        return _draw_extruded(rng, half, cut)
    if kind == REVOLVED and form != PLATE:
        return _draw_revolved(rng, half)
    return _draw_box(rng, half, cut)


def _draw_half(rng: Rng, style: Style, length: float, form: int) -> Array:
    """Half of the sides of a piece; plates are thin along z and rods are long along y."""
    thin = style.thin * np.exp(rng.uniform(-0.7, 0.7))
    if form == PLATE:
        sides = np.array([1.0, rng.uniform(0.35, 1.0), thin])
    elif form == ROD:
        sides = np.array([thin, 1.0, thin * rng.uniform(0.5, 2.0) if rng.random() < 0.4 else thin])
    else:
        sides = np.exp(rng.uniform(-1.0, 0.0, 3))
        if rng.random() < 0.3:
            sides[2] = sides[0]
    half: Array = length / 2 * np.clip(sides, 0.02, 1.0)
    return half


def _draw_box(rng: Rng, half: Array, cut: bool) -> Piece:
    """A box, sharp or rounded; hollow and open at one or two ends, or with holes, if it has cuts."""
    radius = float(half.min()) * (rng.uniform(0.1, 1.0) if rng.random() < 0.35 else 0.0)
    faces = box_faces(half)
    if not cut:
        faces["reach"] = np.maximum(faces["reach"] - radius, 0.0)
        return Piece(make_part(BOX, (*half, radius)), faces, (0, 1, 2), False)
    axis = int(half.argmin()) if rng.random() < 0.7 else int(rng.integers(3))
    across = [i for i in range(3) if i != axis]
    if rng.random() < 0.5:
        return _draw_hollow(rng, half, axis, across)
    room, holes = _draw_holes(rng, half, axis, across)
    faces["depth"] = 0.2 * room  # the rim beside a hole
    faces = np.delete(faces, [2 * axis, 2 * axis + 1])
    return Piece(np.concatenate([make_part(BOX, half), *holes]), faces, tuple(across), False)


def _draw_hollow(rng: Rng, half: Array, axis: int, across: list[int]) -> Piece:
    """A box that is open at one or both ends of an axis, some with shelves."""
    wall = float(min(half[across])) * rng.uniform(0.12, 0.4)
    floor = max(wall, 0.2 * float(half[axis]))
    is_tube = rng.random() < 0.35
    inner, center = half - wall, np.zeros(3)
    inner[axis] = half[axis] * (1.1 if is_tube else 1.0)
    center[axis] = 0.0 if is_tube else floor
    parts = [make_part(BOX, half), make_part(BOX, inner, center=center, host=0)]
    if rng.random() < 0.4:
        parts += _shelves(rng, half, axis, wall)
    faces = box_faces(half)
    faces["depth"] = wall
    faces["depth"][2 * axis + 1] = floor
    faces = np.delete(faces, [2 * axis, 2 * axis + 1] if is_tube else [2 * axis])
    return Piece(np.concatenate(parts), faces, tuple(across), False)


def _shelves(rng: Rng, half: Array, axis: int, wall: float) -> list[Parts]:
    """Plates inside a hollow box, from wall to wall."""
    along, count = int((axis + 1 + rng.integers(2)) % 3), int(rng.integers(1, 4))
    size = half - wall / 2
    size[along] = 0.35 * wall
    size[axis] = half[axis] * rng.uniform(0.6, 0.8)
    shelves = []
    for place in (np.arange(count) + 1) / (count + 1) * 2 - 1:
        center = np.zeros(3)
        center[along], center[axis] = place * half[along], size[axis] - half[axis]
        shelves.append(make_part(BOX, (*size, 0.0), center=center))
    return shelves


def _draw_holes(rng: Rng, half: Array, axis: int, across: list[int]) -> tuple[float, list[Parts]]:
    """A hole, or a row of holes, through a box; round or square. The room is what each hole could fill at most."""
    wide, narrow = across if half[across[0]] > half[across[1]] else across[::-1]
    count = int(rng.integers(1, 6)) if half[wide] > 1.6 * half[narrow] else 1
    room = float(min(half[narrow], half[wide] / count))
    size, depth, is_round = room * rng.uniform(0.35, 0.8), 1.2 * half[axis], rng.random() < 0.5
    sides = np.full(3, size)
    sides[axis] = depth
    hole = make_part(CYLINDER, (size, depth), host=0) if is_round else make_part(BOX, sides, host=0)
    if is_round:
        hole["axes"][0] = np.roll(np.eye(3), axis - 1, axis=1)
    holes = []
    for place in (np.arange(count) + 0.5) / count * 2 - 1:
        holes.append(hole.copy())
        holes[-1]["center"][0, wide] = place * half[wide]
    return room, holes


def _draw_cylinder(rng: Rng, half: Array, form: int, cut: bool) -> Piece:
    radius, height = (half[0], half[2]) if form == PLATE else (min(half[0], half[2]), half[1])
    edge = float(rng.choice([0.0, 0.0, rng.uniform(0.1, 0.6), 1.0])) * min(radius, height)
    faces = cylinder_faces(radius, height)
    if not cut:
        faces["reach"] = np.maximum(faces["reach"] - edge, 0.0)
        return Piece(make_part(CYLINDER, (radius, height, edge)), faces, (0, 1, 2), True)
    inner, is_tube = radius * rng.uniform(0.4, 0.9), rng.random() < 0.5
    center = (0.0, 0.0 if is_tube else 0.4 * height, 0.0)
    hole = make_part(CYLINDER, (inner, height * (1.2 if is_tube else 1.0)), center=center, host=0)
    faces["depth"] = radius - inner
    faces["depth"][3] = 0.4 * height
    faces = np.delete(faces, [2, 3] if is_tube else [2])
    return Piece(np.concatenate([make_part(CYLINDER, (radius, height)), hole]), faces, (0, 2), True)


def _draw_ring(rng: Rng, radius: float, thin: float, form: int) -> Piece:
    tube = radius * (np.clip(thin, 0.03, 0.2) if form != BLOCK else rng.uniform(0.15, 0.4))
    ring = radius - tube
    if rng.random() < 0.5:
        return Piece(make_part(TORUS, (ring, tube, np.pi)), ring_faces(ring, tube), (0, 1, 2), True)
    angle = rng.uniform(0.2, 0.8) * np.pi
    return Piece(make_part(TORUS, (ring, tube, angle)), arc_faces(ring, tube, angle), (1, 2), False)


def _draw_extruded(rng: Rng, half: Array, cut: bool) -> Piece:
    outline, core = draw_outline(rng)
    outline, core = outline * half[:2], core * half[:2]
    room, edge = room_about(outline, core), int(rng.integers(1, len(outline)))
    part, faces = make_part(EXTRUDED, (half[2],), outline), extruded_faces(outline, core, room, half[2], edge)
    if not cut:
        return Piece(part, faces, (2,), False)
    hole = make_part(CYLINDER, (room * rng.uniform(0.4, 0.8), 1.2 * half[2]), center=(*core, 0.0), host=0)
    hole["axes"][0] = np.eye(3)[[0, 2, 1]]
    faces["depth"][2:] = 0.2 * room
    return Piece(np.concatenate([part, hole]), faces[2:], (2,), False)


def _draw_revolved(rng: Rng, half: Array) -> Piece:
    outline, depth = draw_profile(rng)
    radius = min(half[0], half[2])
    outline = outline * np.array([radius, half[1]])
    edge = int((outline[:-1, 0] + outline[1:, 0]).argmax())
    faces = revolved_faces(outline, depth * min(radius, half[1]), edge)
    return Piece(make_part(REVOLVED, (), outline), faces, (0, 2), True)
