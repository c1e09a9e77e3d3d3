"""The stream of compositions: equal draws, the size, one piece, all kinds of parts, and its speed is measured."""

import json

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from benchmarks import drawing_speed
from weightgpt.errors import InputError
from weightgpt.shapes.compositions.parts import bounding_box
from weightgpt.shapes.compositions.stream import draw_parts, lazy_compositions
from weightgpt.shapes.sampling import uniform_points

POINTS = uniform_points(2048, 3, 0)


def test_a_shape_depends_on_the_seed_and_its_number_alone():
    many, few = lazy_compositions(0, 100, seed=4), lazy_compositions(30, 5, seed=4)
    assert [shape.name for shape in few] == [f"composition-{i:05d}" for i in range(30, 35)]
    assert {shape.label for shape in few} == {"none"}
    for i in (4, 0):
        assert torch.equal(few[i].sdf(POINTS), many[30 + i].sdf(POINTS))
    assert not torch.equal(lazy_compositions(30, 1, seed=5)[0].sdf(POINTS), few[0].sdf(POINTS))
    assert lazy_compositions(0, 10**9, seed=0)[10**9 - 1].name == "composition-999999999"


def test_compositions_have_the_size_of_the_families_and_hold_all_kinds_of_parts():
    rng, kinds, counts, cuts = np.random.default_rng(0), set(), [], 0
    for _ in range(300):
        parts = draw_parts(rng)
        low, high = bounding_box(parts)
        assert np.abs(low + high).max() < 1e-9
        assert 1.65 - 1e-9 <= (high - low).max() <= 1.8 + 1e-9
        kinds |= set(parts["kind"].tolist())
        counts.append(int((parts["host"] < 0).sum()))
        cuts += bool((parts["host"] >= 0).any())
        assert np.allclose(parts["axes"] @ parts["axes"].transpose(0, 2, 1), np.eye(3))
    assert kinds == set(range(6))
    assert min(counts) == 1
    assert max(counts) > 30
    assert 50 < cuts < 200


@pytest.mark.slow
def test_compositions_are_in_one_piece():
    """On a grid, where a part thinner than a cell counts as one."""
    axis = torch.linspace(-0.95, 0.95, 64)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)
    for shape in lazy_compositions(0, 16, seed=2):
        values = shape.sdf(grid).view(64, 64, 64)
        near = (values < 0.9 * (axis[1] - axis[0])).numpy()
        pieces = label(near, structure=np.ones((3, 3, 3)))[0]
        # Far from the solid, beside a cut, a lower bound can be small too; no point of such a piece is inside.
        assert len(np.unique(pieces[values.numpy() < 0])) == 1, shape.name
        assert not near[[0, -1]].any()


@pytest.mark.parametrize("numbers", [(-1, 3, 0), (0, -3, 0), (0, 3, -1)])
def test_negative_numbers_are_refused(numbers):
    with pytest.raises(InputError, match="give numbers of at least 0"):
        lazy_compositions(*numbers)


def test_the_speed_is_measured(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["drawing_speed", "--num-shapes", "20", "--num-points", "64"])
    assert drawing_speed.main() == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["shapes"], figures["points"]) == (20, 64)
    assert figures["shapes_per_second"] > 20
