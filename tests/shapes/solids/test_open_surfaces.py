"""Surfaces that bound nothing do not count, wherever they lie and however they are twisted."""

import numpy as np
import pytest

from tests.shapes.solids.pieces import box, box_distances, distances, points, solid
from weightgpt.errors import InputError
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.solids.orientation import is_one_sided


def wall(low: float, high: float) -> MeshPart:
    """A strip in the plane x = 0, between two values of y."""
    corners = np.array([[0, low, -0.5], [0, high, -0.5], [0, high, 0.5], [0, low, 0.5]])
    return MeshPart(corners, np.array([[0, 1, 2], [0, 2, 3]]))


def moebius(segments: int = 60) -> MeshPart:
    """A strip that is closed after half a turn."""
    turn = 2 * np.pi * np.arange(segments) / segments
    edges = [
        np.stack([(1 + w * np.cos(turn / 2)) * f(turn) for f in (np.cos, np.sin)] + [w * np.sin(turn / 2)], 1)
        for w in (-0.3, 0.3)
    ]
    vertices = np.stack(edges, 1).reshape(-1, 3)
    rows = np.arange(2 * segments).reshape(-1, 2)
    after = np.concatenate([rows[1:], rows[:1, ::-1]])
    faces = np.concatenate([np.stack([rows[:, 0], after[:, 0], rows[:, 1]], 1), np.stack([rows[:, 1], *after.T], 1)])
    return MeshPart(vertices, faces)


@pytest.mark.parametrize(("low", "high"), [(-3, 3), (-3, 5), (0, 3), (-1, 3), (1, 3)])
def test_case_25_a_wall_that_sticks_out_of_a_cube_does_not_count(low: float, high: float) -> None:
    shape = solid(box(), wall(low, high))
    assert shape.sides == pytest.approx((1.8, 1.8, 1.8))
    assert shape.volume == 8.0
    assert np.abs(distances(shape, points()) - box_distances(points())).max() < 1e-3


def test_a_strip_with_one_side_bounds_nothing() -> None:
    with pytest.raises(InputError, match="encloses no volume"):
        solid(moebius())
    strip = moebius()
    shape = solid(box((-3, -3, -3), (3, 3, 3)), MeshPart(strip.vertices + np.array([10, 0, 0]), strip.faces))
    assert shape.notes == ("1 open surface (2 % of the area) was dropped.",)
    assert shape.volume == 216.0


def test_only_the_twisted_strip_has_one_side() -> None:
    strip, cube = moebius(), box()
    faces = np.concatenate([strip.faces, cube.faces + len(strip.vertices)])
    of_face = np.repeat([0, 1], [len(strip.faces), len(cube.faces)])
    assert is_one_sided(faces, of_face).tolist() == [True, False]


def klein_bottle(along: int = 48, around: int = 24) -> MeshPart:
    """A figure eight that is carried around a circle and makes half a turn: closed, with one side."""
    u, v = np.meshgrid(2 * np.pi * np.arange(along) / along, 2 * np.pi * np.arange(around) / around, indexing="ij")
    radius = 2 + np.cos(u / 2) * np.sin(v) - np.sin(u / 2) * np.sin(2 * v)
    height = np.sin(u / 2) * np.sin(v) + np.cos(u / 2) * np.sin(2 * v)
    vertices = np.stack([radius * np.cos(u), radius * np.sin(u), height], -1).reshape(-1, 3)
    i, j = (index.ravel() for index in np.meshgrid(np.arange(along), np.arange(around), indexing="ij"))

    def number(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return np.where(i < along, i * around + j % around, -j % around)

    a, b, c, d = number(i, j), number(i + 1, j), number(i + 1, j + 1), number(i, j + 1)
    return MeshPart(vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))


def test_a_closed_surface_with_one_side_bounds_nothing() -> None:
    bottle = klein_bottle()
    with pytest.raises(InputError, match="encloses no volume, because a surface of it has one side only, as a Klein"):
        solid(bottle)
    assert solid(bottle, thickness=0.05).volume is None
    shape = solid(box((-4, -4, -4), (4, 4, 4)), MeshPart(bottle.vertices + np.array([10, 0, 0]), bottle.faces))
    assert shape.volume == 512.0
    assert shape.notes[0] == "1 surface with one side only, as a Klein bottle, was read as open."
    assert shape.notes[1].startswith("1 open surface (")
    assert shape.notes[1].endswith("was dropped.")
    assert len(shape.notes) == 2
