"""Held-out shapes come out of every class and stay out; augmented ones are the same shapes, stretched."""

import pytest
import torch

from tests.fakes import box_shape, sphere_shape
from weightgpt.files import InputError
from weightgpt.splits import augment, split_shapes

SHAPES = [sphere_shape(0.3 + 0.01 * i, label="ab"[i % 2]) for i in range(40)]


def test_every_class_is_held_out_and_no_shape_twice():
    split = split_shapes(SHAPES, 0.2, 0)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [32, 4, 4]
    assert sorted(shape.name for shape in split.all) == sorted(shape.name for shape in SHAPES)
    for part in (split.validation, split.test):
        assert {shape.label for shape in part} == {"a", "b"}
    assert [shape.name for shape in split_shapes(SHAPES, 0.2, 0).all] == [shape.name for shape in split.all]


def test_too_few_shapes_are_refused():
    with pytest.raises(InputError, match="give at least 3 of one class"):
        split_shapes(SHAPES[:2], 0.5, 0)


def test_copies_are_smaller_and_keep_class_and_sign():
    copies = augment(SHAPES[:3], 2, seed=0)
    assert copies[:3] == SHAPES[:3]
    assert [shape.name for shape in copies[3:5]] == ["sphere-0.3~1", "sphere-0.31~1"]
    points = torch.rand(2000, 3) * 2 - 1
    for copy in copies[3:]:
        inside = copy.sdf(points) < 0
        assert copy.sdf(torch.zeros(1, 3)) < 0
        assert not (inside & (points.norm(dim=-1) > 0.32)).any()


def test_turned_copies_are_put_in_positions_of_the_cube():
    brick = box_shape((1.4, 0.8, 0.4))
    copies = augment([brick], 60, seed=0, turned=True)[1:]
    grid = torch.cartesian_prod(*[torch.linspace(-0.95, 0.95, 39)] * 3)
    longest = set()
    for copy in copies:
        sides = (grid[copy.sdf(grid) < 0].amax(0) - grid[copy.sdf(grid) < 0].amin(0)) / 2
        longest.add(int(sides.argmax()))
        assert 0.75 * 0.7 - 0.05 <= float(sides.max()) <= 0.7
    assert longest == {0, 1, 2}
