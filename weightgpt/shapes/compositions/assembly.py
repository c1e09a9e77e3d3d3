"""Pieces attached to pieces: single, mirrored, in rows, in grids and round a circle, aligned or at an angle.

Decisions:

- A composition grows as a tree, from its largest piece outwards, and a copied piece takes what is attached to it along.
- A face of the new piece is laid on a face of the old one and sunk into it, so that a composition is one solid. Copies
  keep to places where the old piece is the same: across its planes of symmetry, along a flat face, about its axis.

Dimensions: C copies.
"""

import numpy as np

from weightgpt.shapes.compositions.parts import Array, Parts, join_parts, place_parts
from weightgpt.shapes.compositions.pieces import Piece, Style, draw_piece
from weightgpt.shapes.compositions.profiles import Rng, pick

MAX_ROWS = 40
"""Most rows of a composition, copies and cuts included."""

_IDENTITY, _UP = np.eye(3), np.array([0.0, 1.0, 0.0])
Copies = list[tuple[Array, Array]]
"""An orthogonal matrix (3, 3) and a shift (3,) of each copy; the first is the identity."""


def assemble(rng: Rng, style: Style, length: float, budget: int, max_rows: int, form: int) -> tuple[Parts, Piece]:
    """Draw a piece and attach others to it.

    Args:
        rng: source of the random numbers.
        style: what is preferred.
        length: about the longest side of the piece.
        budget: number of pieces, copies not counted.
        max_rows: most rows.
        form: the form of the piece.

    Returns:
        All parts, in the frame of the piece; and the piece.
    """
    piece = draw_piece(rng, style, length, form)
    blocks, rows = [piece.parts], len(piece.parts)
    budget -= 1
    while budget > 0 and rows < max_rows:
        share = 1 if rng.random() < 0.65 else min(budget, int(rng.integers(2, 6)))
        size = length * float(np.exp(rng.uniform(style.order - 2.3, 0.1 if len(blocks) == 1 else -0.3)))
        parts, child = assemble(rng, style, size, share, max_rows - rows, pick(rng, style.forms))
        turn, shift, copies = _attach(rng, style, piece, child)
        most = max(1, (max_rows - rows) // len(parts))
        turns, shifts = (np.array(arrays[:most]) for arrays in zip(*copies, strict=True))
        blocks.append(place_parts(parts, turns @ turn, turns @ shift + shifts))
        rows += len(blocks[-1])
        budget -= share
    return join_parts(blocks), piece


def _attach(rng: Rng, style: Style, piece: Piece, child: Piece) -> tuple[Array, Array, Copies]:
    """Lay a face of the child on a face of the piece: how the child is turned and moved, and its copies."""
    sizes = piece.faces["reach"].sum(1) + 0.1 * piece.faces["reach"].max() + 1e-3
    face = piece.faces[pick(rng, sizes)]
    foot = child.faces[pick(rng, child.faces["weight"] + 1e-6)]
    frame, own = face["frame"], foot["frame"]
    spin = int(rng.integers(4))
    first = [own[1], own[2], -own[1], -own[2]][spin]
    second = [own[2], -own[1], -own[2], own[1]][spin]
    turn = -np.outer(frame[0], own[0]) + np.outer(frame[1], first) + np.outer(frame[2], second)
    wide = foot["reach"][::-1] if spin % 2 else foot["reach"]
    place = _draw_place(rng, style, face["reach"], wide)
    if rng.random() < style.tilt:
        turn = _tilt(rng, frame[1 + int(rng.integers(2))]) @ turn
    sink = 0.5 * min(face["depth"], max(foot["depth"], 0.5 * face["depth"])) * rng.uniform(0.25, 1.0)
    target = face["point"] + place @ frame[1:] - sink * frame[0]
    return turn, target - turn @ foot["point"], _draw_copies(rng, style, piece, face, place, wide)


def _draw_place(rng: Rng, style: Style, reach: Array, wide: Array) -> Array:
    """Where on a face the middle of the foot goes (2,): the middle, a corner, the middle of an edge, or anywhere."""
    place, mode = np.maximum(reach - wide, 0.0), rng.random()
    if mode < 0.35 - 0.15 * style.order:
        place *= 0.0
    elif mode < 0.6 + 0.3 * style.order:
        place *= rng.choice([-1.0, 1.0], 2)
    elif mode < 0.75 + 0.2 * style.order:
        place *= [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]][int(rng.integers(4))]
    else:
        place[:] = reach * rng.uniform(-0.95, 0.95, 2)
    return place


def _tilt(rng: Rng, axis: Array) -> Array:
    """A turn by up to 60 degrees about an axis, or any small or large turn."""
    if rng.random() < 0.25:
        axis = rng.normal(size=3)
    return turn_about(axis / np.linalg.norm(axis), float(rng.uniform(-1.0, 1.0)) * np.pi / 3)


def turn_about(axis: Array, angle: float) -> Array:
    """The rotation matrix (3, 3) about an axis.

    Args:
        axis: (3,) a unit vector.
        angle: in radians.
    """
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: Array = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return turned


def _draw_copies(rng: Rng, style: Style, piece: Piece, face: np.void, place: Array, wide: Array) -> Copies:
    """The copies of what is attached to a face: none, mirrored, in a row or a grid, or round a circle."""
    mode, stay = rng.random(), np.zeros(3)
    if mode < 0.3 - 0.2 * style.order:
        return [(_IDENTITY, stay)]
    if piece.is_round and mode < 0.55:
        count = int(rng.integers(2, 7))
        return [(turn_about(_UP, 2 * np.pi * k / count), stay) for k in range(count)]
    if mode > 0.85 and face["reach"].max() > 0:
        return _draw_rows(rng, face, place, wide)
    middle = place @ face["frame"][1:] + face["point"]
    copies: Copies = [(_IDENTITY, stay)]
    for axis in piece.mirrors:
        # A part in a plane of symmetry, which is nearly its own image, gets no copy.
        if rng.random() < 0.35 + 0.5 * style.order and abs(middle[axis]) > 1e-6:
            mirror = _IDENTITY.copy()
            mirror[axis, axis] = -1.0
            copies += [(mirror @ turn, stay) for turn, _ in copies]
        if rng.random() < 0.3:
            break
    return copies


def _draw_rows(rng: Rng, face: np.void, place: Array, wide: Array) -> Copies:
    """Shifts along one or both directions of a face, from where the first copy is to the other side."""
    steps = []
    long = int(face["reach"].argmax())
    for along in range(2):
        room = 2 * face["reach"][along] * 0.95
        fits = int(room / (2.5 * wide[along] + 0.05 * face["reach"].max() + 1e-9))
        count = int(rng.integers(2, 6)) if along == long else int(rng.integers(1, 4))
        count = max(1, min(count, fits + 1))
        start = place[along]
        end = face["reach"][along] * 0.95 * (-1.0 if start > 0 else 1.0)
        steps.append(np.linspace(0.0, end - start, count) if count > 1 else np.zeros(1))
    return [(_IDENTITY, a * face["frame"][1] + b * face["frame"][2]) for a in steps[0] for b in steps[1]]
