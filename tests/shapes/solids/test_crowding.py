"""The work that large and odd meshes cost, by counts: nested parts, crowded faces, and parts that cross themselves."""

import manifold3d
import numpy as np
import pytest

from tests.shapes.solids.pieces import box, box_distances, distances, inverted, points, solid
from weightgpt.errors import InputError
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.solids import crowding, nesting, union, winding
from weightgpt.shapes.solids.winding import WindingNumber

QUERIES = points(2000)


def nested_boxes(number: int) -> list[MeshPart]:
    """Boxes inside each other, of which every second faces inward, the largest outward."""
    boxes = [box((-size,) * 3, (size,) * 3) for size in np.linspace(0.1, 1, number)]
    return [piece if (number - i) % 2 else inverted(piece) for i, piece in enumerate(boxes)]


def fan(number: int) -> MeshPart:
    """Triangles around one edge that all have."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, number)
    tips = np.stack([np.cos(angle), np.sin(angle), np.full(number, 0.5)], 1)
    faces = np.stack([np.zeros(number), np.ones(number), np.arange(number) + 2], 1).astype(np.int64)
    return MeshPart(np.concatenate([[[0, 0, 0], [0, 0, 1]], tips]), faces)


class CountedWinding(WindingNumber):
    """A winding number that counts the points it is taken at."""

    points = 0

    def __call__(self, points):
        CountedWinding.points += len(points)
        return super().__call__(points)


def points_tested(monkeypatch: pytest.MonkeyPatch, number: int) -> int:
    """Points that are tested to sort nested boxes."""
    monkeypatch.setattr(nesting, "WindingNumber", CountedWinding)
    CountedWinding.points = 0
    solid(*nested_boxes(number))
    return CountedWinding.points


def test_fault_33_nested_parts_cost_as_much_as_there_are_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = points_tested(monkeypatch, 20), points_tested(monkeypatch, 80)
    assert few > 0
    assert many <= 4.5 * few


def test_nested_parts_remain_solids_and_cavities() -> None:
    sizes = np.linspace(0.1, 1, 12)
    truth = 8 * ((-1.0) ** np.arange(12)[::-1] * sizes**3).sum()
    assert solid(*nested_boxes(12)).volume == pytest.approx(truth, rel=1e-4)
    assert solid(*map(inverted, nested_boxes(12))).volume == pytest.approx(truth, rel=1e-4)


def test_fault_33_too_many_parts_in_the_boxes_of_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nesting, "MAX_PAIRS", 10)
    with pytest.raises(InputError, match="in the box of the other; give a mesh of fewer parts"):
        solid(*nested_boxes(8))


def test_fault_33_one_edge_of_thousands_of_faces_is_refused_before_the_winding_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WindingNumber, "__call__", lambda self, points: pytest.fail("it is taken"))
    for thickness in (None, 0.02):
        with pytest.raises(InputError, match=r"about 225 million comparisons .* at most 5 million are made; give"):
            solid(fan(5000), thickness=thickness)


def test_faces_whose_boxes_overlap_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "MAX_PAIRS", 100)
    with pytest.raises(InputError, match="that overlap or nearly do"):
        solid(box(), *(box((at,) * 3, (at + 1,) * 3) for at in np.linspace(-0.7, 0.7, 9)))


def test_unions_of_parts_are_searched_for_crossings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    find = union.find_crossings
    monkeypatch.setattr(union, "find_crossings", lambda *mesh: calls.append(len(mesh[1])) or find(*mesh))
    chain = [box((at, 0, 0), (at + 1.5, 1, 1)) for at in (0, 1, 4, 5)]
    assert solid(*chain).volume == pytest.approx(5, rel=1e-4)
    assert calls == [48]


def horseshoe(spike: float) -> MeshPart:
    """A horseshoe of many faces, one vertex of whose left arm lies at x = `spike`; the right arm begins at 2."""
    gap = manifold3d.Manifold.cube((1, 2, 2)).translate((1, -0.5, 1))
    mesh = (manifold3d.Manifold.cube((3, 1, 3)) - gap).refine(12).to_mesh64()
    corners = np.array(mesh.vert_properties)[:, :3]
    corners[np.linalg.norm(corners - (1, 0.5, 2), axis=1).argmin(), 0] = spike
    return MeshPart(corners, np.array(mesh.tri_verts, np.int64))


@pytest.mark.parametrize(("spike", "united"), [(2.4, True), (-0.5, False)])
def test_a_part_that_crosses_itself_at_few_places_is_united_with_others(
    spike: float, united: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = []
    cut = union.cut_faces
    monkeypatch.setattr(union, "cut_faces", lambda *mesh: pairs.append(len(mesh[2].pairs)) or cut(*mesh))
    pieces = horseshoe(spike), box((-1, 0.2, 0.3), (4, 0.8, 2.7))
    fast = solid(*pieces)
    fast_pairs = pairs[-1]
    monkeypatch.setattr(union, "_is_nearly_simple", lambda *part: False)
    slow = solid(*pieces)
    assert (fast_pairs < pairs[-1] / 4) == united
    queries = 1.5 * QUERIES + (1.5, 0.5, 1.5)
    assert np.abs(distances(fast, queries) - distances(slow, queries)).max() < 1e-5
    assert fast.volume == pytest.approx(slow.volume, rel=1e-3)


def test_points_outside_of_the_box_of_a_closed_part_are_not_compared_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [box((at, 0, 0), (at + 0.5, 1, 1)) for at in np.linspace(-1, 1, 9)]
    vertices = np.concatenate([piece.vertices for piece in pieces])
    faces = np.concatenate([piece.faces + 8 * i for i, piece in enumerate(pieces)])
    closed = np.where(np.arange(9) < 8, np.arange(9), -1).repeat(12)
    whole, parted = WindingNumber(vertices, faces), WindingNumber(vertices, faces, closed)
    counts = []
    query = winding._query_tree
    monkeypatch.setattr(winding, "_query_tree", lambda *args: counts.append(len(args[1])) or query(*args))
    inside = np.sum([box_distances(QUERIES, (at, 0, 0), (at + 0.5, 1, 1)) < 0 for at in np.linspace(-1, 1, 9)], 0)
    assert (np.rint(parted(QUERIES)) == inside).all()
    assert sum(counts) < 3 * len(QUERIES)
    assert np.abs(parted(QUERIES) - whole(QUERIES)).max() < 0.03
