"""Sets of meshed shapes: rates, seeds of the points, and thin parts."""

import numpy as np
import pytest

from tests.fakes import box_shape, sphere_shape
from tests.metrics.spheres import balls, broken, empty, two_balls
from weightgpt.errors import InputError
from weightgpt.metrics.shape_set import mesh_shapes
from weightgpt.shapes.primitives import box, union


def test_rates_by_hand():
    rates = mesh_shapes([two_balls, empty, broken, *balls([0.5])], seed=0, resolution=32, points=64).rates()
    assert (rates.one_piece, rates.empty, rates.broken) == (0.25, 0.25, 0.25)


def test_a_plate_is_thin_and_its_edges_are_not():
    """Faces of 1.6 x 1.6, twice, and edges of 0.1 x 6.4."""
    shapes = mesh_shapes([box_shape((1.6, 0.1, 1.6)).sdf] * 2, seed=0, resolution=64, points=2048)
    assert shapes.rates().thin_share == pytest.approx(5.12 / (5.12 + 0.64), abs=0.03)


def test_equal_meshes_get_different_points():
    """With one seed for all, the distance between two point clouds of one surface would be 0."""
    pair = mesh_shapes(balls([0.5, 0.5]), seed=0, resolution=32, points=256)
    other = mesh_shapes(balls([0.5]), seed=1, resolution=32, points=256)
    assert not np.array_equal(pair.surfaces[0], pair.surfaces[1])
    assert not np.array_equal(pair.surfaces[0], other.surfaces[0])
    again = mesh_shapes(balls([0.5, 0.5]), seed=0, resolution=32, points=256)
    assert np.array_equal(pair.surfaces[1], again.surfaces[1])


def test_sets_of_one_size_leave_the_rest_out():
    shapes = mesh_shapes(balls([0.3, 0.4, 0.5]), seed=0, resolution=16, points=16)
    assert [len(part) for part in shapes.split(2)] == [2]
    assert [len(part) for part in shapes.split(None)] == [3]
    assert [len(part) for part in shapes.split(9)] == [3]


def test_a_table_without_legs_loses_its_thin_parts():
    """The true shapes are two tables and a ball without thin parts; one copy of a table is empty."""
    top = box(1.4, 0.3, 1.4).translate(y=0.5)
    table = union(top, box(0.12, 1.2, 0.12).translate(x=0.6, y=-0.1, z=0.6).mirror("xz"))
    ball = sphere_shape(0.5).sdf
    truth = mesh_shapes([table, table, ball], seed=0)
    one_empty, legless = (mesh_shapes(sdfs, seed=1, dense=True) for sdfs in ([table, empty, ball], [top, empty, top]))
    assert one_empty.thin_recall(truth) == pytest.approx(0.5, abs=0.005)
    assert legless.thin_recall(truth) < 0.05
    assert one_empty.thin_recall(mesh_shapes([ball] * 3, seed=0)) is None
    with pytest.raises(InputError, match="2 true ones"):
        one_empty.thin_recall(truth.select(slice(0, 2)))
    with pytest.raises(InputError, match="dense=True"):
        truth.thin_recall(truth)
