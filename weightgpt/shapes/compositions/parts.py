"""The parts of compositions, as rows of one structured array: six kinds of primitives in any pose, and cuts.

A part is described in its own frame:

- `BOX`: half sides a, b and c, and the radius of its edges.
- `CYLINDER` about y: radius, half height, and the radius of its edges; a capsule where that is the radius.
- `ELLIPSOID`: half axes a, b and c.
- `TORUS` about y: radius of the ring, radius of the tube, and half of the angle of the arc, which is symmetric about x;
  π for a whole ring. An arc has round ends.
- `EXTRUDED`: a polygon (x, y), counter-clockwise, along z from -h to h; its size is h.
- `REVOLVED`: a polygon (r, y) about y. Edges on the axis are no surface.

A row with a host is a cut: it is subtracted from that part and from no other. So a composition is a union of parts less
their cuts, and no tree is needed. Mirrored parts have axes that form a mirrored frame.

Dimensions: P parts, C copies, K corners of a polygon.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

BOX, CYLINDER, ELLIPSOID, TORUS, EXTRUDED, REVOLVED = range(6)

NUM_CORNERS = 8
"""K. A polygon with fewer corners repeats its last corner."""
PART = np.dtype(
    [
        ("kind", np.int64),
        ("host", np.int64),
        ("axes", np.float64, (3, 3)),
        ("center", np.float64, (3,)),
        ("size", np.float64, (4,)),
        ("outline", np.float64, (NUM_CORNERS, 2)),
    ]
)
"""A part: its kind; the row that it is cut from, or -1; its axes as rows, its center, its sizes and its polygon. A
point p has the coordinates axes @ (p - center) in the frame of the part."""

Array = NDArray[np.float64]
Parts = np.ndarray[tuple[int], np.dtype[np.void]]
"""P rows of `PART`."""


def make_part(
    kind: int,
    size: Sequence[float] | Array = (),
    outline: Array | None = None,
    center: Sequence[float] | Array = (0.0, 0.0, 0.0),
    host: int = -1,
) -> Parts:
    """One part whose frame is that of the composition.

    Args:
        kind: one of the six kinds.
        size: its sizes.
        outline: (k, 2) its polygon, of at most K corners.
        center: its center.
        host: the row that it is cut from, or -1.
    """
    part = np.zeros(1, PART)
    part["kind"], part["host"], part["axes"], part["center"] = kind, host, np.eye(3), center
    part["size"][0, : len(size)] = size
    if outline is not None:
        part["outline"][0, : len(outline)] = outline
        part["outline"][0, len(outline) :] = outline[-1]
    return part


def join_parts(blocks: Sequence[Parts]) -> Parts:
    """Join blocks of parts; the hosts of each block are rows of that block.

    Args:
        blocks: one block or more.
    """
    ends = list(accumulate(len(block) for block in blocks))
    joined: Parts = np.empty(ends[-1], PART)
    for block, end in zip(blocks, ends, strict=True):
        first = end - len(block)
        joined[first:end] = block
        if first:
            joined["host"][first:end] += np.where(block["host"] >= 0, first, 0)
    return joined


def place_parts(parts: Parts, turns: Array, shifts: Array) -> Parts:
    """Copy parts; each copy is turned or mirrored about the origin, and then moved.

    Args:
        parts: P parts.
        turns: (C, 3, 3) an orthogonal matrix for each copy.
        shifts: (C, 3).

    Returns:
        C P parts, copy by copy; the hosts of each copy are rows of that copy.
    """
    count = len(parts)
    placed: Parts = np.empty(len(turns) * count, PART)
    rows = placed.reshape(len(turns), count)
    rows[:] = parts
    back = turns.transpose(0, 2, 1)
    rows["axes"] = parts["axes"] @ back[:, None]
    rows["center"] = parts["center"] @ back + shifts[:, None]
    rows["host"] += np.where(parts["host"] >= 0, np.arange(0, len(placed), count)[:, None], 0)
    return placed


def scale_parts(parts: Parts, scale: float) -> Parts:
    """Scale parts about the origin.

    Args:
        parts: the parts.
        scale: the factor.

    Returns:
        New parts.
    """
    scaled: Parts = parts.copy()
    scaled["center"] *= scale
    scaled["outline"] *= scale
    angles = parts["size"][:, 2]
    scaled["size"] *= scale
    scaled["size"][:, 2] = np.where(parts["kind"] == TORUS, angles, scaled["size"][:, 2])
    return scaled


def bounding_box(parts: Parts) -> tuple[Array, Array]:
    """The box of the parts without their cuts; that of an arc is right to a thousandth of its radius.

    Args:
        parts: the parts, at least one without a host.

    Returns:
        Its lower and its upper corner, (3,) each.
    """
    solid = parts[parts["host"] < 0]
    corners = []
    for kind in np.unique(solid["kind"]):
        rows = solid[solid["kind"] == kind]
        points, radius = _hull(int(kind), rows)
        world = np.einsum("pki,pij->pkj", points, rows["axes"]) + rows["center"][:, None]
        corners += [(world - radius).reshape(-1, 3), (world + radius).reshape(-1, 3)]
    points = np.concatenate(corners)
    return points.min(axis=0), points.max(axis=0)


def _hull(kind: int, rows: Parts) -> tuple[Array, Array]:
    """Points (P, k, 3) in the frames of parts, and radii (P, k or 1, 3 or 1) about them that reach the box of each."""
    size, axes, zero = rows["size"], rows["axes"], np.zeros((len(rows), 1))
    across = np.sqrt(np.clip(1.0 - axes[:, 1] ** 2, 0.0, None))[:, None]  # of circles about y, along each world axis
    if kind == BOX:
        return _SIGNS * (size[:, None, :3] - size[:, None, 3:]), size[:, 3:, None]
    if kind == CYLINDER:
        height = size[:, 1] - size[:, 2]
        points = np.stack([np.stack([zero[:, 0], sign * height, zero[:, 0]], axis=1) for sign in (-1, 1)], axis=1)
        return points, across * (size[:, :1] - size[:, 2:3])[..., None] + size[:, 2:3, None]
    if kind == ELLIPSOID:
        return np.zeros((len(rows), 1, 3)), np.sqrt(((axes * size[:, :3, None]) ** 2).sum(axis=1))[:, None]
    if kind == TORUS:
        angles = size[:, 2:3] * _ARC
        ring = np.stack([np.cos(angles), 0.0 * angles, np.sin(angles)], axis=2) * size[:, :1, None]
        return ring, size[:, 1:2, None]
    outline = rows["outline"]
    if kind == EXTRUDED:
        depth = np.broadcast_to(size[:, :1], outline.shape[:2])
        return np.concatenate([np.dstack([outline, -depth]), np.dstack([outline, depth])], axis=1), zero[..., None]
    heights = outline[..., 1]
    return np.stack([0.0 * heights, heights, 0.0 * heights], axis=2), across * outline[..., :1]


_SIGNS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_ARC = np.linspace(-1.0, 1.0, 97)
