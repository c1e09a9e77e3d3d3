"""Polygons of profiles: outlines to extrude, and outlines to revolve, at most eight corners each.

Dimensions: k corners.
"""

from collections.abc import Callable, Sequence

import numpy as np

from weightgpt.shapes.compositions.parts import Array

Rng = np.random.Generator
Corners = list[tuple[float, float]]


def pick(rng: Rng, weights: Sequence[float] | Array) -> int:
    """Draw a number from 0 on.

    Args:
        rng: source of the random numbers.
        weights: how likely each number is; their sum may be any.
    """
    sums = np.cumsum(weights)
    return int(np.searchsorted(sums[:-1], rng.random() * sums[-1]))


def draw_outline(rng: Rng) -> tuple[Array, Array]:
    """Draw a polygon to extrude: wedges, regular polygons, letters, arches, stars and others.

    Args:
        rng: source of the random numbers.

    Returns:
        (k, 2) corners within [-1, 1]^2, counter-clockwise, the first edge at the bottom; and (2,) a point inside,
        far from the edges.
    """
    a, b, c = rng.uniform(0.25, 0.75, 3)
    corners, core = _OUTLINES[int(rng.integers(len(_OUTLINES)))](a, b, c)
    return np.array(corners), np.array(core)


def room_about(outline: Array, point: Array) -> float:
    """The distance of a point from the edges of a polygon.

    Args:
        outline: (k, 2) the polygon.
        point: (2,).
    """
    edges = np.roll(outline, -1, axis=0) - outline
    along = np.clip(((point - outline) * edges).sum(1) / (edges**2).sum(1), 0.0, 1.0)
    return float(np.sqrt(((outline + along[:, None] * edges - point) ** 2).sum(1).min()))


def draw_profile(rng: Rng) -> tuple[Array, float]:
    """Draw a polygon to revolve about y: cones, domes, vases, bowls, spools, rings, knobs and others.

    Args:
        rng: source of the random numbers.

    Returns:
        (k, 2) corners (r, y) with r in [0, 1] and y in [-1, 1], counter-clockwise from the bottom; and the thickness of
        the solid below its surface.
    """
    a, b, c = rng.uniform(0.25, 0.75, 3)
    corners, depth = _PROFILES[int(rng.integers(len(_PROFILES)))](a, b, c)
    return np.array(corners), depth


def _regular(sides: int, a: float, b: float, c: float) -> tuple[Corners, tuple[float, float]]:
    angles = np.pi * (np.arange(sides) * 2 - 1) / sides - np.pi / 2
    return list(zip(np.cos(angles), np.sin(angles), strict=True)), (0.0, 0.0)


def _arch(a: float, b: float, c: float) -> tuple[Corners, tuple[float, float]]:
    low = 2 * a - 1.5
    arc = [(float(np.cos(t)), low + (1 - low) * float(np.sin(t))) for t in np.linspace(0.0, np.pi, 6)]
    return [(-1, -1), (1, -1), *arc], (0.0, (low + b - 1) / 2)


def _star(a: float, b: float, c: float) -> tuple[Corners, tuple[float, float]]:
    angles = np.pi / 4 * np.arange(8) - 3 * np.pi / 4
    radii = np.where(np.arange(8) % 2, 0.4 + 0.4 * a, 1.0)
    return list(zip(radii * np.cos(angles), radii * np.sin(angles), strict=True)), (0.0, 0.0)


_Outline = Callable[[float, float, float], tuple[Corners, tuple[float, float]]]
_OUTLINES: list[_Outline] = [
    lambda a, b, c: ([(-1, -1), (1, -1), (-1, 1)], (-0.45, -0.45)),  # wedge
    lambda a, b, c: ([(-1, -1), (1, -1), (2 * a - 1, 1)], ((2 * a - 1) / 3, -0.3)),  # roof
    lambda a, b, c: ([(-1, -1), (1, -1), (a, 1), (-b, 1)], (0.0, -0.1)),  # trapezoid
    lambda a, b, c: ([(-1, -1), (a, -1), (1, 1), (-a, 1)], (0.0, 0.0)),  # slanted
    lambda a, b, c: ([(-1, -1), (1, -1), (1, b), (0, 1), (-1, b)], (0.0, -0.2)),  # house
    lambda a, b, c: ([(-1, -1), (1, -1), (1, -a), (b - 1, -a), (b - 1, 1), (-1, 1)], (b / 2 - 1, -(1 + a) / 2)),  # L
    lambda a, b, c: (  # T
        [(-a / 2, -1), (a / 2, -1), (a / 2, b), (1, b), (1, 1), (-1, 1), (-1, b), (-a / 2, b)],
        (0.0, (1 + b) / 2),
    ),
    lambda a, b, c: (  # U
        [(-1, -1), (1, -1), (1, 1), (1 - a / 1.5, 1), (1 - a / 1.5, -b), (b - 1, -b), (b - 1, 1), (-1, 1)],
        (0.0, -(1 + b) / 2),
    ),
    lambda a, b, c: (  # step
        [(-1, -1), (1, -1), (1, -a), (c - 0.2, -a), (c - 0.2, b - 0.2), (-c, b - 0.2), (-c, 1), (-1, 1)],
        (-0.2, -0.8),
    ),
    lambda a, b, c: (  # arrow
        [(-a / 1.5, -1), (a / 1.5, -1), (a / 1.5, b - 0.4), (1, b - 0.4), (0, 1), (-1, b - 0.4), (-a / 1.5, b - 0.4)],
        (0.0, b - 0.3),
    ),
    lambda a, b, c: _regular(5, a, b, c),
    lambda a, b, c: _regular(6, a, b, c),
    lambda a, b, c: _regular(8, a, b, c),
    _arch,
    _arch,
    _star,
]

_Profile = Callable[[float, float, float], tuple[Corners, float]]
_PROFILES: list[_Profile] = [
    lambda a, b, c: ([(0, -1), (1, -1), (a, 1), (0, 1)], 0.5),  # frustum
    lambda a, b, c: ([(0, -1), (a, -1), (1, 1), (0, 1)], 0.5),
    lambda a, b, c: ([(0, -1), (1, -1), (0.05, 1), (0, 1)], 0.4),  # cone
    lambda a, b, c: ([(0, -1), (1, -1), (0.95, -0.4), (0.8, 0.2), (0.6, 0.6), (0.3, 0.9), (0, 1)], 0.5),  # dome
    lambda a, b, c: (  # vase
        [(0, -1), (a, -1), (1, 0.2 - a), (0.8, 0.7 - a), (b / 2, 0.6), (b / 2 + 0.2, 1), (0, 1)],
        0.3,
    ),
    lambda a, b, c: (  # bowl
        [(0, -1), (a, -1), (0.85, -0.3), (1, 1), (0.9, 1), (0.75, -0.2), (a - 0.1, -0.8), (0, -0.8)],
        0.1,
    ),
    lambda a, b, c: (  # cup
        [(0, -1), (a + 0.2, -1), (1, 1), (0.85, 1), (a + 0.05, -0.8), (0, -0.8)],
        0.14,
    ),
    lambda a, b, c: (  # spool
        [(0, -1), (1, -1), (1, a - 1.1), (b, a - 1), (b, 1 - c), (1, 1.1 - c), (1, 1), (0, 1)],
        0.25,
    ),
    lambda a, b, c: ([(0, -1), (a / 2, -1), (a / 2, b - 0.4), (1, b - 0.4), (0.7, 0.8), (0, 1)], 0.2),  # mushroom
    lambda a, b, c: ([(0, -1), (1, -1), (a / 2, -b + 0.2), (1, 1), (0, 1)], 0.2),  # hourglass
    lambda a, b, c: ([(0.3 + 0.6 * a, -1), (1, -1), (1, 1), (0.3 + 0.6 * a, 1)], 0.15),  # ring
    lambda a, b, c: (  # tire
        [(0.4 + a / 4, -0.7), (0.7, -1), (0.9, -1), (1, -0.5), (1, 0.5), (0.9, 1), (0.7, 1), (0.4 + a / 4, 0.7)],
        0.2,
    ),
    lambda a, b, c: (  # bottle
        [(0, -1), (1, -1), (1, a - 0.4), (0.7, a), (b / 2, a + 0.15), (b / 2, 1), (0, 1)],
        0.2,
    ),
    lambda a, b, c: (  # knob
        [(0, -1), (b, -1), (a / 2, -0.6), (a / 2, -0.1), (0.9, 0.2), (1, 0.6), (0.6, 1), (0, 1)],
        0.15,
    ),
]
