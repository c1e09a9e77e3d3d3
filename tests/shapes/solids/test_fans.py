"""Solids of thousands of flat sides, whose caps are fans of triangles, and convex solids."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.shapes.solids.pieces import box, distances, points, solid
from weightgpt.errors import InputError
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.solids import arrangement
from weightgpt.shapes.solids.convexity import is_convex
from weightgpt.shapes.solids.crowding import MAX_PAIRS
from weightgpt.shapes.solids.fans import LEAST, spread_fans

TURN = Rotation.from_euler("xyz", [0.5, 0.4, 0.2])


def prism(sides: int, around_middle: bool) -> MeshPart:
    """A prism of radius 1 and height 1, whose caps are fans around their middle or around a corner."""
    angle, i = 2 * np.pi * np.arange(sides) / sides, np.arange(sides)
    rim = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides)], 1)
    after, first = (i + 1) % sides, np.zeros(sides, np.int64)
    low, high = (first + 2 * sides, first + 2 * sides + 1) if around_middle else (first, first + sides)
    chosen = slice(None) if around_middle else slice(1, -1)
    faces = [
        np.stack([i, after, sides + after], 1),
        np.stack([i, sides + after, sides + i], 1),
        np.stack([low, after, i], 1)[chosen],
        np.stack([high, sides + i, sides + after], 1)[chosen],
    ]
    middles = np.array([[0, 0, 0], [0, 0, 1.0]])
    return MeshPart(np.concatenate([rim, rim + middles[1], middles]), np.concatenate(faces))


def prism_distances(queries: np.ndarray, sides: int) -> np.ndarray:
    """The exact signed distance of the prism."""
    half = np.pi / sides
    turned = np.arctan2(queries[:, 1], queries[:, 0]) % (2 * half) - half
    radius = np.linalg.norm(queries[:, :2], axis=1)
    out, along = radius * np.cos(turned) - np.cos(half), np.abs(radius * np.sin(turned)) - np.sin(half)
    flat = np.where((out > 0) & (along > 0), np.hypot(out, along), out)
    height = np.abs(queries[:, 2] - 0.5) - 0.5
    return np.hypot(np.maximum(flat, 0), np.maximum(height, 0)) + np.minimum(np.maximum(flat, height), 0)


def turned(piece: MeshPart) -> MeshPart:
    return MeshPart(TURN.apply(piece.vertices), piece.faces)


def volume(sides: int) -> float:
    return sides / 2 * float(np.sin(2 * np.pi / sides))


@pytest.mark.parametrize("around_middle", [True, False])
@pytest.mark.parametrize("single", [True, False])
def test_fault_33_a_prism_of_ten_thousand_sides_is_read(around_middle: bool, single: bool) -> None:
    piece = prism(10_000, around_middle)
    if single:  # as in an STL file
        piece = MeshPart(piece.vertices.astype(np.float32).astype(float), piece.faces)
    shape, queries = solid(piece), points(200)
    assert shape.volume == pytest.approx(volume(10_000), rel=1e-6)
    assert np.abs(distances(shape, queries) - prism_distances(queries, 10_000)).max() < 1e-5
    assert shape.notes == ()


def test_fault_33_a_turned_prism_of_thousands_of_sides_is_searched_for_no_crossings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrangement, "check_pairs", lambda *mesh: pytest.fail("pairs are counted"))
    shape, queries = solid(turned(prism(10_000, True))), points(200)
    assert shape.volume == pytest.approx(volume(10_000), rel=1e-9)
    assert np.abs(distances(shape, TURN.apply(queries)) - prism_distances(queries, 10_000)).max() < 1e-5


@pytest.mark.parametrize("around_middle", [True, False])
def test_spread_fans_have_the_area_and_the_outline_of_the_fans(around_middle: bool) -> None:
    piece = prism(1000, around_middle)
    spread = spread_fans(piece.vertices, piece.faces)
    assert np.bincount(spread.ravel()).max() < LEAST
    assert len(spread) == 4 * 1000 - 4
    edges = {tuple(edge) for face in spread for edge in (face[[0, 1]], face[[1, 2]], face[[2, 0]])}
    assert len(edges) == 3 * len(spread)
    assert edges == {(b, a) for a, b in edges}
    corners = piece.vertices[spread[2000:]]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    assert (np.sign(corners[:, 0, 2] - 0.5) == np.sign(areas[:, 2])).all()
    assert np.abs(areas[:, 2]).sum() == pytest.approx(2 * volume(1000), rel=1e-12)


def test_fans_that_are_small_or_not_flat_or_not_convex_stay() -> None:
    small = prism(LEAST // 2, True)
    cone = prism(500, True)
    cone.vertices[-2:, 2] += (-0.01, 0.01)
    star = prism(500, True)
    star.vertices[:-2:3, :2] *= 0.9
    for piece in (small, cone, star):
        np.testing.assert_array_equal(spread_fans(piece.vertices, piece.faces), piece.faces)


def test_convex_meshes_are_found() -> None:
    cases = [(prism(100, True), True), (turned(prism(100, False)), True), (box(), True)]
    dented = prism(100, True)
    dented.vertices[-1, 2] -= 0.01
    inside_out = MeshPart(box().vertices, box().faces[:, ::-1])
    open_box = MeshPart(box().vertices, box().faces[1:])
    two = MeshPart(np.concatenate([box().vertices, box().vertices + 3]), np.concatenate([box().faces, box().faces + 8]))
    cases += [(dented, False), (inside_out, False), (open_box, False), (two, False), (wound_twice(), False)]
    assert [is_convex(piece.vertices, piece.faces) for piece, _ in cases] == [convex for _, convex in cases]


def wound_twice() -> MeshPart:
    """A double cone whose sides go around the axis twice: it is convex at each edge, but not at its tips."""
    angle, i = 4 * np.pi * np.arange(21) / 21, np.arange(21)
    rim = np.stack([np.cos(angle), np.sin(angle), np.zeros(21)], 1)
    after = (i + 1) % 21
    tips = np.array([[0, 0, 1.0], [0, 0, -1.0]])
    faces = [np.stack([i, after, i * 0 + 21], 1), np.stack([after, i, i * 0 + 22], 1)]
    return MeshPart(np.concatenate([rim, tips]), np.concatenate(faces))


def test_parts_of_crowded_boxes_are_still_refused() -> None:
    turned_two = [MeshPart(turned(prism(9000, True)).vertices + at, prism(9000, True).faces) for at in (0, 0.5)]
    with pytest.raises(InputError, match=f"at most {MAX_PAIRS // 10**6} million are made"):
        solid(*turned_two)
