"""Volumes have the digits that are known, and only parts that meet are rounded."""

import numpy as np
import pytest

from tests.shapes.solids.pieces import box, solid
from weightgpt.shapes.solids.rounding import round_neighbors, round_volume

PLATE = box((-1, -1, 0), (1, 1, 1e-4))
ABOVE = box((-1, -1, 1), (1, 1, 1 + 1e-4))
LARGE, BESIDE = box((-1e3,) * 3, (1e3,) * 3), box((1999, -1, -1), (2001, 1, 1))
PAIRS = {
    "apart": ((box(), box((4, -1, -1), (6, 1, 1))), 16.0),
    "thin plates apart": ((PLATE, ABOVE), 8e-4),
    "small beside large": ((LARGE, BESIDE), 8e9 + 8),
    "overlap by a third": ((box((0, 0, 0), (2, 1, 1)), box((1, 0, 0), (3, 1, 1))), 3.0),
    "overlap in decimals": ((box((0, 0, 0), (0.7, 0.3, 0.1)), box((0.5, 0, 0), (0.9, 0.3, 0.1))), 0.027),
}


@pytest.mark.parametrize("name", PAIRS)
def test_case_47_the_volume_of_two_parts_is_right_to_its_last_digit(name: str) -> None:
    parts, volume = PAIRS[name]
    assert solid(*parts).volume == volume


def test_only_parts_that_meet_are_rounded() -> None:
    near, far = box((0, 0, 0), (0.31, 0.31, 0.31)), box((0.67, 0.67, 0.67), (0.88, 0.88, 0.88))
    pieces = [near, box((0.31, 0, 0), (0.44, 0.3, 0.3)), far]
    vertices = np.concatenate([piece.vertices for piece in pieces])
    faces = np.concatenate([piece.faces + 8 * number for number, piece in enumerate(pieces)])
    after, rounded = round_neighbors(vertices, faces, np.repeat(np.arange(3), 12), 0.1)
    assert rounded
    assert np.allclose(after[:16] * 10, np.rint(after[:16] * 10))
    assert np.array_equal(after[16:], far.vertices)


def test_parts_in_a_grid_are_apart() -> None:
    corners = [(x, y, z) for x in (-0.9, 0.1) for y in (-0.9, 0.1) for z in (-0.9, 0.1)]
    pieces = [box(low, tuple(np.add(low, 0.33))) for low in corners]
    vertices = np.concatenate([piece.vertices for piece in pieces])
    faces = np.concatenate([piece.faces + 8 * number for number, piece in enumerate(pieces)])
    after, rounded = round_neighbors(vertices, faces, np.repeat(np.arange(8), 12), 1e-5)
    assert not rounded
    assert np.array_equal(after, vertices)


@pytest.mark.parametrize(
    ("volume", "error", "rounded"), [(2.99999, 3e-5, 3.0), (7.99e36, 1e33, 7.99e36), (4e-9, 1e-8, 0.0)]
)
def test_a_volume_has_the_digits_that_its_error_leaves(volume: float, error: float, rounded: float) -> None:
    assert round_volume(volume, error) == rounded
