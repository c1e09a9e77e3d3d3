"""The distance of a mesh is that of its solid, and each repair has a note."""

import numpy as np
import pytest
import trimesh

from tests.shapes.solids.pieces import (
    box,
    box_distances,
    distances,
    inverted,
    part,
    points,
    solid,
    soup,
    square,
    without,
)
from weightgpt.errors import InputError
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.solids import arrangement, union
from weightgpt.shapes.solids.connectivity import find_edges

QUERIES = points()
HALVES = box((-1, -1, -1), (0, 1, 1)), box((0, -1, -1), (1, 1, 1))
WALL = square(-1, 1, 0, 0.0)
SMALL = box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))
MIRRORED = MeshPart(HALVES[0].vertices * [-1, 1, 1], HALVES[0].faces[:, ::-1].copy())
CUT_HALVES = tuple(without(half, 0, 0.0) for half in HALVES)

CUBES = {
    "clean": ([box()], ()),
    "touching halves": (HALVES, ()),
    "touching halves, other diagonals": ((HALVES[0], MIRRORED), ()),
    "touching halves without common vertices": ([soup(*HALVES)], ()),
    "one half inside out": ((HALVES[0], inverted(HALVES[1])), ("1 of 2 parts was inside out and was flipped.",)),
    "a wall": ([box(), WALL], ()),
    "a wall that shares edges": ([soup(*CUT_HALVES, WALL)], ()),
    "inside out": ([inverted(box())], ("1 of 1 part was inside out and was flipped.",)),
    "twice": ([box(), box()], ("12 faces were there twice; the copies were dropped.",)),
    "both ways": ([box(), inverted(box())], ("12 faces were there twice; the copies were dropped.",)),
    "another inside": ([box(), SMALL], ()),
    "another inside, all inside out": (
        [inverted(box()), inverted(SMALL)],
        ("2 of 2 parts were inside out and were flipped.",),
    ),
}


@pytest.mark.parametrize("name", CUBES)
def test_case_25_a_cube_is_a_cube_however_it_is_made(name: str) -> None:
    pieces, notes = CUBES[name]
    cube = solid(*pieces)
    assert np.abs(distances(cube, QUERIES) - box_distances(QUERIES)).max() < 1e-5
    assert cube.volume == pytest.approx(8, rel=1e-9)
    assert cube.notes == notes
    assert cube.digest == solid(box()).digest


@pytest.mark.parametrize("turned", [1, 2, 3, 4, 6])
def test_case_22_faces_that_face_the_other_way_than_their_neighbors_are_turned(turned: int) -> None:
    faces = box().faces.copy()
    faces[:turned] = faces[:turned, ::-1]
    cube = solid(MeshPart(box().vertices, faces))
    assert np.abs(distances(cube, QUERIES) - box_distances(QUERIES)).max() < 1e-5
    assert len(cube.notes) == 1
    assert cube.notes[0].startswith(f"{turned} of 12 faces faced the other way than the faces next to them")


def test_case_21_each_part_is_turned_outward_on_its_own() -> None:
    far = box((2, -1, -1), (4, 1, 1))
    pair = solid(box(), inverted(far))
    truth = np.minimum(box_distances(QUERIES), box_distances(QUERIES, (2, -1, -1), (4, 1, 1)))
    assert np.abs(distances(pair, QUERIES) - truth).max() < 1e-4
    assert pair.notes == ("1 of 2 parts was inside out and was flipped.",)
    legs = [box((x, y, -3), (x + 0.4, y + 0.4, -0.9)) for x in (-1, 0.6) for y in (-1, 0.6)]
    table = solid(box((-1, -1, -1), (1, 1, -0.6)), legs[0], inverted(legs[1]), inverted(legs[2]), legs[3])
    middles = np.array([leg.vertices.mean(0) for leg in legs])
    assert distances(table, middles) == pytest.approx([-0.2] * 4, abs=1e-4)
    assert table.notes == ("2 of 5 parts were inside out and were flipped.",)


@pytest.mark.parametrize("outward", [True, False])
def test_fault_32_a_cavity_stays_a_cavity(outward: bool) -> None:
    shells = [box(), inverted(SMALL)] if outward else [inverted(box()), SMALL]
    truth = np.maximum(box_distances(QUERIES), -box_distances(QUERIES, SMALL.vertices.min(0), SMALL.vertices.max(0)))
    hollow = solid(*shells)
    assert np.abs(distances(hollow, QUERIES) - truth).max() < 1e-4
    assert hollow.volume == pytest.approx(7, rel=1e-4)
    assert (hollow.notes == ()) == outward
    core = box((-0.2, -0.2, -0.2), (0.2, 0.2, 0.2))
    with_core = solid(*shells, inverted(core) if outward else core)
    assert distances(with_core, np.array([[0, 0, 0], [0, 0, 0.35]])) == pytest.approx([-0.2, 0.15], abs=1e-4)


def random_boxes(count: int) -> list[MeshPart]:
    rng = np.random.default_rng(count)
    boxes = [trimesh.creation.box(rng.uniform(0.3, 1.2, 3)) for _ in range(count)]
    for mesh in boxes:
        mesh.apply_transform(trimesh.transformations.random_rotation_matrix(rng.random(3)))
        mesh.apply_translation(rng.uniform(-0.5, 0.5, 3))
    return [part(mesh) for mesh in boxes]


CROSSING = {
    "a post in a cube": [box(), box((-0.5, -0.5, -0.5), (0.5, 0.5, 3))],
    "a box on a box": [box(), box((-0.3, -0.3, 1), (0.3, 0.3, 2))],
    "boxes with sides in one plane": [box(), box((-0.3, -1, 0), (0.3, 1, 2))],
    "boxes with three sides in one plane": [box(), box((0, -1, -1), (2, 1, 1))],
    "six boxes": random_boxes(6),
    "balls": [part(trimesh.creation.icosphere(2, 0.6 - 0.1 * i).apply_translation([0.5 * i, 0, 0])) for i in range(3)],
}


@pytest.mark.parametrize("name", CROSSING)
def test_case_25_cut_faces_give_the_solid_that_the_boolean_union_gives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two ways to unite parts share no code, except for the test of which side of a face is inside."""
    united = solid(*CROSSING[name])
    monkeypatch.setattr(union, "_unite_parts", lambda vertices, parts: None)
    cut = solid(*CROSSING[name])
    queries = np.array(united.center) + points() * united.scale
    assert np.abs(distances(united, queries) - distances(cut, queries)).max() < 1e-5
    assert cut.volume == pytest.approx(united.volume, rel=1e-6)


def test_case_25_the_distance_in_a_cube_with_a_post_by_hand() -> None:
    queries = [[0, 0, -0.5], [0, 0, -0.45], [0.5, 0, 0.2], [0.8, 0, 0], [0, 0, 2]]
    post = solid(*CROSSING["a post in a cube"])
    assert distances(post, np.array(queries)) == pytest.approx([-0.5, -0.55, -0.5, -0.2, -0.5], abs=1e-4)
    assert post.volume == pytest.approx(10, rel=1e-4)


def coil(start: float, end: float, steps: int, sections: int = 12) -> MeshPart:
    """A tube of radius 0.2 along a helix whose turns are 0.25 apart, so that neighboring turns overlap."""
    turn = np.linspace(start, end, steps)[:, None]
    around = np.linspace(0, 2 * np.pi, sections, endpoint=False)
    axis = np.concatenate([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn), 0 * turn], 1)
    middle = 0.6 * axis + [0, 0, 0.25] * turn
    rings = middle[:, None] + 0.2 * (np.cos(around)[:, None] * axis[:, None] + np.sin(around)[:, None] * [0, 0, 1])
    vertices = np.concatenate([rings.reshape(-1, 3), middle[[0, -1]]])
    number = np.arange(steps * sections).reshape(steps, sections)
    a, b = number[:-1], number[1:]
    c, d = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    ends = [
        (len(vertices) - 2, number[0], np.roll(number[0], -1)),
        (len(vertices) - 1, np.roll(number[-1], -1), number[-1]),
    ]
    caps = [np.stack([np.full(sections, center), first, second], 1) for center, first, second in ends]
    walls = [np.stack(corners, -1).reshape(-1, 3) for corners in ((a, b, c), (c, b, d))]
    return MeshPart(vertices, np.concatenate([*walls, *caps]))


def test_a_part_that_crosses_itself_is_the_union_of_its_turns() -> None:
    whole, turns = solid(coil(0, 2, 81)), solid(coil(0, 1, 41), coil(1, 2, 41))
    queries = np.array(whole.center) + points() * whole.scale
    error = distances(whole, queries) - distances(turns, queries)
    assert np.abs(error).max() < 1e-4
    assert whole.volume == pytest.approx(turns.volume, rel=1e-4)
    assert whole.volume < 0.95 * 2 * solid(coil(0, 1, 41)).volume
    assert whole.notes == ()


def test_open_surfaces_are_dropped_with_a_note_or_refused() -> None:
    plate = square(-1.5, 1.5, 2, -1.3)
    cube = solid(box(), plate)
    assert np.abs(distances(cube, QUERIES) - box_distances(QUERIES)).max() < 1e-5
    assert cube.notes == ("1 open surface (27 % of the area) was dropped.",)
    assert cube.sides == pytest.approx((1.8, 1.8, 1.8))
    with pytest.raises(InputError, match=r"81 % of the area, and at most 50 % .* such as thickness=0\.02"):
        solid(box(), square(-5, 5, 2, -1.3))
    with pytest.raises(InputError, match=r"encloses no volume; .*thickness"):
        solid(square(-5, 5, 2, -1.3), square(-5, 5, 2, 1.3 * 9))


def test_open_surfaces_get_a_thickness() -> None:
    card = solid(square(-1, 1, 2, 0.5), thickness=0.1)
    assert card.sides == pytest.approx((1.8, 1.8, 0.1))
    unit = np.array([[0, 0, 0], [0, 0, 0.05], [0.2, 0.3, 0.2], [0.95, 0, 0]])
    queries = np.array(card.center) + unit * card.scale
    assert distances(card, queries) / card.scale == pytest.approx([-0.05, 0, 0.15, 0.05], abs=1e-5)
    assert card.notes == ("1 open surface (100 % of the area) was given a thickness of 0.1.",)
    assert card.volume is None
    assert card.digest != solid(square(-1, 1, 2, 0.5), thickness=0.05).digest
    both = solid(box(), square(-3, 3, 2, -1.5), thickness=0.05)
    assert distances(both, np.array([[0, 0, 0], [2.5, 0, -1.5], [2.5, 0, -1.3]])) == pytest.approx(
        [-1, -0.025 * both.scale, 0.2 - 0.025 * both.scale], abs=1e-4
    )
    assert solid(box(), thickness=0.05).notes == ()
    for wrong in (0.0, -1.0, 1.0, np.nan):
        with pytest.raises(InputError, match="give a length between 0 and 1"):
            solid(box(), thickness=wrong)


@pytest.mark.parametrize("flipped", [(), (0,), (1, 4), (0, 2, 3)])
def test_six_squares_that_do_not_quite_meet_are_a_cube(flipped: tuple[int, ...]) -> None:
    sides = [square(-0.999, 0.999, axis, at) for axis in range(3) for at in (-1.0, 1.0)]
    outward = [(1, -1)[axis == 1] * at < 0 for axis in range(3) for at in (-1, 1)]
    sides = [inverted(side) if turn else side for side, turn in zip(sides, outward, strict=True)]
    cube = solid(*(inverted(side) if i in flipped else side for i, side in enumerate(sides)))
    error = np.abs(distances(cube, QUERIES) - box_distances(QUERIES))
    assert error.max() < 2e-3
    assert (cube.notes == ()) == (not flipped)


def test_case_09_what_has_no_area_does_not_change_the_box() -> None:
    triangle = np.array([[0, 1, 2]])
    point = MeshPart(np.array([[3e4, 0, 0]] * 3, float), triangle)
    line = MeshPart(np.array([[50, 0, 0], [60, 7, 0], [70, 14, 0]], float), triangle)
    speck = MeshPart(box().vertices * 1e-9 + [50, 0, 0], box().faces)
    hidden = MeshPart(box().vertices * 0 + [50, 0, 0], box().faces)
    for stray in (point, line, speck, hidden):
        cube = solid(box(), stray)
        assert cube.scale * 1.8 == pytest.approx(2)
        assert cube.notes == ()
        assert cube.digest == solid(box()).digest


def test_solids_that_touch_along_an_edge_are_parts_of_their_own() -> None:
    first, second = box((-1, -1, -1), (0, 0, 1)), box((0, 0, -1), (1, 1, 1))
    truth = np.minimum(box_distances(QUERIES, (-1, -1, -1), (0, 0, 1)), box_distances(QUERIES, (0, 0, -1), (1, 1, 1)))
    for other in (second, inverted(second)):
        pair = solid(soup(first, other))
        assert np.abs(distances(pair, QUERIES) - truth).max() < 1e-5
        assert pair.volume == pytest.approx(4)


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (trimesh.creation.box([2, 1, 1]), 2.0),
        (trimesh.creation.box([2, 2, 0.02]), 0.08),
        (trimesh.creation.cylinder(0.004, 2, sections=32), 9.98862e-05),
    ],
)
def test_case_47_the_volume_is_that_of_the_mesh(mesh: trimesh.Trimesh, volume: float) -> None:
    assert solid(part(mesh)).volume == pytest.approx(volume, rel=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_fault_34_scale_and_offset_do_not_change_the_distances(scale: float, offset: float) -> None:
    moved = MeshPart(box().vertices * scale + offset * scale, box().faces)
    shape = solid(moved, MeshPart(SMALL.vertices * scale + (offset + 0.7) * scale, SMALL.faces))
    plain = solid(box(), MeshPart(SMALL.vertices + 0.7, SMALL.faces))
    for query in np.split(QUERIES, 40):
        assert np.abs(distances(shape, query * scale + offset * scale) / scale - distances(plain, query)).max() < 2e-4
    assert shape.volume == pytest.approx(plain.volume * scale**3, rel=1e-4)


@pytest.mark.parametrize("limit", ["MAX_PAIRS", "MAX_PIECES"])
def test_fault_33_too_many_crossings_are_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrangement, limit, 10)
    monkeypatch.setattr(union, "_unite_parts", lambda vertices, parts: None)
    with pytest.raises(InputError, match=r"cross each other at too many places to unite them; unite them"):
        solid(*random_boxes(6))


def test_fault_33_many_parts_that_cross_everywhere_are_refused_quickly() -> None:
    slabs = []
    for axis in range(3):
        for at in np.linspace(-1, 1, 100):
            low, high = np.full(3, -1.0), np.full(3, 1.0)
            low[axis], high[axis] = at, at + 1e-3
            slabs.append(box(low, high))
    with pytest.raises(InputError, match="too many places"):
        solid(*slabs)


def test_edges_of_very_large_numbers_are_those_of_small_ones() -> None:
    large, small = find_edges(box().faces + 2**40), find_edges(box().faces)
    assert (large.ends - 2**40 == small.ends).all()
    assert (large.of_face == small.of_face).all()
    assert (large.balance == 0).all()
