"""Every class gives held-out shapes, and augmented shapes are stretched and mirrored copies."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import box_shape, sphere_shape
from weightgpt.errors import InputError
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import augment, duplicate_groups, split_shapes

SHAPES = [sphere_shape(0.3 + 0.01 * i, label="ab"[i % 2]) for i in range(40)]


def test_every_class_is_held_out_and_no_shape_twice():
    split = split_shapes(SHAPES, 0.2, 0)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [32, 4, 4]
    assert sorted(shape.name for shape in split.all) == sorted(shape.name for shape in SHAPES)
    for part in (split.validation, split.test):
        assert {shape.label for shape in part} == {"a", "b"}
    assert [shape.name for shape in split_shapes(SHAPES, 0.2, 0).all] == [shape.name for shape in split.all]


def test_too_few_shapes_are_refused():
    with pytest.raises(InputError, match="give at least 3 different ones of a class"):
        split_shapes(SHAPES[:2], 0.5, 0)


def copies_of(digest: str, count: int, label: str = "a") -> list[Shape]:
    return [replace(sphere_shape(0.4, label=label), name=f"{digest}-{i}", digest=digest) for i in range(count)]


def test_fault_35_equal_shapes_are_found_by_their_digest():
    shapes = [*copies_of("x", 1), SHAPES[0], *copies_of("y", 2), *copies_of("x", 2, "b"), SHAPES[0]]
    groups = [[shape.name for shape in group] for group in duplicate_groups(shapes)]
    assert groups == [["x-0", "x-0", "x-1"], ["y-0", "y-1"]]
    assert duplicate_groups(SHAPES) == []


@pytest.mark.parametrize("seed", range(5))
def test_case_40_equal_shapes_stay_on_one_side_of_the_split(seed):
    shapes = [shape for i in range(5) for shape in copies_of(f"chair-{i}", 3)]
    shapes += [*copies_of("chair-0", 2, "b"), *(replace(shape, label="b") for shape in SHAPES[:10])]
    split = split_shapes(shapes, 0.2, seed)
    sides = [{shape.digest for shape in part} - {None} for part in (split.train, split.validation, split.test)]
    assert sum(len(side) for side in sides) == 5
    assert len(set.union(*sides)) == 5
    assert all(len(part) > 0 for part in (split.train, split.validation, split.test))
    assert len(split.all) == len(shapes)


def test_case_40_two_different_shapes_in_many_copies_are_too_few():
    with pytest.raises(InputError, match="3 different ones"):
        split_shapes(copies_of("x", 20) + copies_of("y", 20), 0.2, 0)


def test_a_class_of_a_large_group_of_equal_shapes_gives_shapes_to_every_set():
    split = split_shapes([*copies_of("x", 100), *copies_of("y", 1), *copies_of("z", 1)], 0.2, 0)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [100, 1, 1]


def test_copies_do_not_have_the_digest_of_the_shape():
    assert [shape.digest for shape in augment(copies_of("x", 1), 2, seed=0)] == ["x", None, None]


def test_copies_of_a_shape_of_unknown_sides_are_smaller_and_have_its_class_and_sign():
    copies = augment(SHAPES[:3], 2, seed=0)
    assert copies[:3] == SHAPES[:3]
    assert [shape.name for shape in copies[3:5]] == ["sphere-0.3~1", "sphere-0.31~1"]
    points = torch.rand(2000, 3) * 2 - 1
    for copy in copies[3:]:
        inside = copy.sdf(points) < 0
        assert copy.sdf(torch.zeros(1, 3)) < 0
        assert not (inside & (points.norm(dim=-1) > 0.32)).any()


def test_copies_are_mirrored_in_x_or_in_every_axis():
    corner = sphere_shape(0.3)
    corner = replace(corner, sdf=lambda points: (points - 0.5).norm(dim=-1) - 0.3)
    corners = torch.cartesian_prod(*[torch.tensor([-0.45, 0.45])] * 3)
    copies = [augment([corner], 60, seed=0, mirror_all_axes=mirrored)[1:] for mirrored in (False, True)]
    corner_sets = [{int((copy.sdf(corners) < 0).nonzero()) for copy in group} for group in copies]
    assert corner_sets == [{3, 7}, set(range(8))]


def test_copies_of_shapes_without_a_front_are_also_turned_by_a_quarter_about_the_vertical():
    bar = replace(box_shape((1.5, 0.9, 0.4)), sides=(1.5, 0.9, 0.4))
    ends = torch.tensor([[0.7, 0.0, 0.0], [0.0, 0.0, 0.7], [0.0, 0.7, 0.0]])
    inside_ends = [
        {tuple((copy.sdf(ends) < 0).tolist()) for copy in augment([bar], 40, seed=0, mirror_all_axes=mirrored)[1:]}
        for mirrored in (False, True)
    ]
    assert inside_ends == [{(True, False, False)}, {(True, False, False), (False, True, False)}]


@pytest.mark.parametrize("mirrored", [False, True])
def test_copies_of_a_shape_of_known_sides_have_the_same_longest_side(mirrored):
    brick = replace(box_shape((1.5, 1.4, 0.6)), sides=(1.5, 1.4, 0.6))
    grid = torch.cartesian_prod(*[torch.linspace(-0.95, 0.95, 77)] * 3)
    for copy in augment([brick], 12, seed=0, mirror_all_axes=mirrored)[1:]:
        inside = grid[copy.sdf(grid) < 0]
        extent = inside.amax(0) - inside.amin(0)
        assert copy.sides is not None
        assert max(copy.sides) == pytest.approx(1.5)
        assert extent.tolist() == pytest.approx(copy.sides, abs=0.06)
