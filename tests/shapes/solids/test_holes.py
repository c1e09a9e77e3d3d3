"""Holes are closed, the distance includes what closes them, and a note tells how much of the surface that is."""

import numpy as np
import pytest
import trimesh

from tests.shapes.solids.pieces import CUBE, box, box_distances, distances, part, points, solid, square, without
from weightgpt.shapes.solids.holes import cap_holes, fill_holes
from weightgpt.shapes.solids.parts import measure_parts
from weightgpt.shapes.solids.winding import WindingNumber

QUERIES = points()
POST = (-0.5, -0.5, -0.5), (0.5, 0.5, 3)


def union_distances(*boxes: tuple[tuple[float, ...], tuple[float, ...]]) -> np.ndarray:
    """The exact distance outside of a union of boxes, and a bound inside."""
    return np.min([box_distances(QUERIES, *corners) for corners in boxes], 0)


def test_a_cube_without_a_side_is_a_cube() -> None:
    cube = solid(without(box(), 2, 1.0))
    assert np.abs(distances(cube, QUERIES) - box_distances(QUERIES)).max() < 1e-5
    assert cube.volume == pytest.approx(8, rel=1e-9)
    assert cube.notes == ("1 hole (17 % of the surface) was closed; distances near it are approximate.",)


def test_a_ball_with_a_hole_is_a_ball_with_a_flat_place() -> None:
    ball = trimesh.creation.icosphere(4)
    ball.update_faces(ball.triangles_center[:, 2] < 0.97)
    shape = solid(part(ball))
    assert shape.volume == pytest.approx(4 / 3 * np.pi, rel=0.01)
    assert len(shape.notes) == 1
    assert "1 hole (" in shape.notes[0]
    rim = ball.vertices[np.unique(ball.edges[trimesh.grouping.group_rows(ball.edges_sorted, 1)])][:, 2].mean()
    assert distances(shape, np.array([[0, 0, 1.2], [0, 0, rim], [0, 0, 0.9]])) == pytest.approx(
        [1.2 - rim, 0, 0.9 - rim], abs=0.015
    )


@pytest.mark.parametrize("missing", ["inside the cube", "outside the cube", "of the cube"])
def test_a_union_of_parts_with_holes_is_that_of_whole_parts(missing: str) -> None:
    cube, post = box(), box(*POST)
    if missing == "of the cube":
        cube = without(cube, 2, -1.0)
    else:
        post = without(post, 2, -0.5 if missing == "inside the cube" else 3.0)
    shape, truth = solid(cube, post), solid(box(), box(*POST))
    assert np.abs(distances(shape, QUERIES) - distances(truth, QUERIES)).max() < 1e-4
    outside = union_distances(CUBE, POST)
    assert np.abs(distances(shape, QUERIES) - outside)[outside > 0].max() < 1e-4
    assert shape.volume == pytest.approx(10, rel=1e-4)


def test_boxes_without_floors_that_stand_in_each_other_have_one_flat_floor() -> None:
    """The sum of their winding numbers exceeds 1/2 below the floor, where there is nothing."""
    inner = [((-0.9 + 0.3 * i, -0.7, -1.0), (-0.7 + 0.3 * i, 0.7, 0.8)) for i in range(6)]
    tower = solid(*(without(box(*corners), 2, -1.0) for corners in [CUBE, *inner]))
    assert np.abs(distances(tower, QUERIES) - box_distances(QUERIES)).max() < 1e-4
    assert tower.volume == pytest.approx(8, rel=1e-4)


def test_a_hole_that_is_not_flat_is_filled_where_the_winding_number_is_one_half() -> None:
    ball = trimesh.creation.icosphere(4)
    ball.update_faces(ball.triangles_center[:, 2] < 0.6 + 0.3 * ball.triangles_center[:, 0] ** 2)
    vertices, faces = np.array(ball.vertices), np.array(ball.faces, np.int64)
    winding = WindingNumber(vertices, faces)
    filling = fill_holes(cap_holes(vertices, faces, measure_parts(vertices, faces).of_face), winding)
    assert len(filling) > 500
    assert np.abs(winding(filling.mean(1)) - 0.5).max() < 0.1
    shape = solid(part(ball))
    middles = filling.mean(1)
    assert np.abs(distances(shape, middles)).max() < 5e-3


def test_a_tube_through_a_block_stays_open() -> None:
    """The ends of its wall are no holes to close, because they lead through a solid."""
    block = trimesh.creation.annulus(0.4, 1.0, 2.0, sections=48)
    shape = solid(part(block))
    assert distances(shape, np.array([[0, 0, 0.0], [0.7, 0, 0]])) == pytest.approx([0.4, -0.3], abs=5e-3)
    assert shape.notes == ()


def test_a_ceiling_of_its_own_closes_a_hollow_block_that_has_other_holes() -> None:
    """Other holes lift the winding number at the ceiling, which is still a surface."""
    outer, inner = box((-1, -1, -1), (1, 1, 1)), box((-0.8, -0.8, -1), (0.8, 0.8, 0.6))
    walls = without(inner, 2, -1.0)
    walls = without(type(walls)(walls.vertices, walls.faces[:, ::-1].copy()), 2, 0.6)
    ceiling = square(-0.8, 0.8, 2, 0.6)
    ceiling = type(ceiling)(ceiling.vertices, ceiling.faces[:, ::-1].copy())
    rim = [
        type(outer)(np.array([[*a, -1.0], [*b, -1.0], [*c, -1.0], [*d, -1.0]]), np.array([[0, 2, 1], [0, 3, 2]]))
        for a, b, c, d in (
            ((-1, -1), (1, -1), (0.8, -0.8), (-0.8, -0.8)),
            ((1, -1), (1, 1), (0.8, 0.8), (0.8, -0.8)),
            ((1, 1), (-1, 1), (-0.8, 0.8), (0.8, 0.8)),
            ((-1, 1), (-1, -1), (-0.8, -0.8), (-0.8, 0.8)),
        )
    ]
    hollow = solid(without(outer, 2, -1.0), walls, ceiling, *rim)
    queries = np.array([[0, 0, 0], [0, 0, 0.8], [0.9, 0, 0]])
    assert distances(hollow, queries) == pytest.approx([0.6, -0.2, -0.1], abs=1e-3)


def test_a_bottom_of_two_sheets_stays_where_posts_cover_the_centers_of_its_faces() -> None:
    frame = [
        box((-1, -1, -1), (1, -0.8, 1)),
        box((-1, 0.8, -1), (1, 1, 1)),
        box((-1, -0.8, -1), (-0.8, 0.8, 1)),
        box((0.8, -0.8, -1), (1, 0.8, 1)),
    ]
    below, above = square(-0.8, 0.8, 2, -1.0), square(-0.8, 0.8, 2, -0.9)
    below = type(below)(below.vertices, below.faces[:, ::-1].copy())
    posts = [box((x - 0.2, y - 0.2, -0.95), (x + 0.2, y + 0.2, 0.5)) for x, y in ((0.27, -0.27), (-0.27, 0.27))]
    crate, bottom = solid(*frame, below, above, *posts), box((-0.8, -0.8, -1), (0.8, 0.8, -0.9))
    truth = solid(*frame, bottom, *posts)
    inside = np.array([[0.6, 0.6, -0.95], [-0.6, -0.6, -0.92], [0.6, 0.6, -0.6], [0.27, -0.27, 0.0]])
    assert distances(crate, inside) == pytest.approx(distances(truth, inside), abs=0.02)
    assert (distances(truth, inside) < 0).tolist() == [True, True, False, True]
