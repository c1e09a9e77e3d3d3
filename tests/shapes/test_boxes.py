"""Unions of oriented boxes: exact distances, the frame of mesh files, digests, and corners that are refused."""

import numpy as np
import pytest
import torch

from weightgpt.errors import InputError
from weightgpt.shapes.boxes import BoxUnion, digest_boxes, shape_from_boxes
from weightgpt.shapes.sampling import uniform_points

UNIT = np.array([[number >> axis & 1 for axis in range(3)] for number in range(8)]) - 0.5


def turned(seed: int) -> np.ndarray:
    """A random rotation."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def box(center=(0.0, 0.0, 0.0), sides=(1.0, 1.0, 1.0), seed: int | None = None) -> np.ndarray:
    corners = UNIT * np.array(sides)
    return (corners if seed is None else corners @ turned(seed).T) + np.array(center)


def brute_distance(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distances of one box, by its faces: the axes and the clamped coordinates in double precision."""
    edges = corners[[1, 2, 4]] - corners[0]
    sides = np.linalg.norm(edges, axis=1)
    local = (points - corners.mean(0)) @ (edges / sides[:, None]).T
    nearest = np.clip(local, -sides / 2, sides / 2)
    outside = np.linalg.norm(local - nearest, axis=1)
    depth = (sides / 2 - np.abs(local)).min(1)
    return np.where(outside > 0, outside, -depth)


def test_the_distance_of_one_box_is_exact():
    corners, points = box((0.1, -0.2, 0.05), (0.8, 0.3, 0.02), seed=1), uniform_points(4000, 3, 0)
    distances = BoxUnion.from_corners(corners[None])(points).numpy()
    assert np.abs(distances - brute_distance(corners, points.numpy().astype(float))).max() < 1e-6


def test_the_distance_of_a_union_is_exact_outside_and_a_lower_bound_of_the_depth_inside():
    overlapping = np.stack([box((0.4, 0, 0)), box((-0.4, 0, 0))])
    points = uniform_points(4000, 3, 1)
    distances = BoxUnion.from_corners(overlapping)(points)
    whole = brute_distance(box(sides=(1.8, 1, 1)), points.numpy().astype(float))
    outside = whole > 0
    assert np.abs(distances.numpy() - whole)[outside].max() < 1e-6
    assert (np.sign(distances.numpy()) == np.sign(whole)).all()
    assert (distances.numpy() >= whole - 1e-6).all()
    assert (distances.numpy() > whole + 0.05).any()


def test_many_points_are_evaluated_in_blocks():
    union = BoxUnion.from_corners(np.stack([box(seed=seed, center=(seed / 9, 0, 0)) for seed in range(5)]))
    points = uniform_points(20_000, 3, 2)
    assert torch.equal(union(points)[9000:9100], union(points[9000:9100]))


def test_a_gradient_exists_everywhere():
    points = torch.zeros(2, 3, requires_grad=True)
    BoxUnion.from_corners(box()[None])(points).sum().backward()
    assert torch.isfinite(points.grad).all()


def test_a_shape_has_the_frame_of_mesh_files():
    shape = shape_from_boxes(box((5.0, 6.0, 7.0), (4.0, 2.0, 1.0))[None], "a", "chair")
    assert (shape.label, shape.center, shape.scale) == ("chair", (5.0, 6.0, 7.0), pytest.approx(4 / 1.8))
    assert shape.sides == pytest.approx((1.8, 0.9, 0.45))
    assert shape.sdf(torch.tensor([[0.9, 0.0, 0.0], [1.0, 0.0, 0.0]])).tolist() == pytest.approx([0, 0.1], abs=1e-6)


def test_the_digest_is_that_of_near_duplicates_and_of_no_others():
    boxes = np.stack([box((0, 0, 0), (2, 0.31, 2)), box((0, 0.7, -0.8), (2, 1.23, 0.2))])
    same = digest_boxes(boxes)
    assert digest_boxes(boxes[::-1] * 3 + 7) == same
    assert digest_boxes(boxes[:, [0, 2, 1, 3, 4, 6, 5, 7]]) == same
    assert digest_boxes(boxes * 1.002) == same
    boxes[1, :, 1] += 0.4
    assert digest_boxes(boxes) != same


SHEARED = box()
SHEARED = SHEARED + 0.2 * SHEARED[:, [1, 0, 2]] * np.array([1, 0, 0])


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (np.zeros((0, 8, 3)), r"have corners of shape \(0, 8, 3\); give 8 for each box"),
        (np.zeros((2, 4, 3)), r"have corners of shape \(2, 4, 3\)"),
        (np.full((1, 8, 3), np.nan), "box 0 of shape 'a' has a corner that is NaN"),
        (np.stack([box(), box(sides=(1, 0, 1))]), "box 1 of shape 'a' has a side of length 0"),
        (SHEARED[None], "box 0 of shape 'a' has no right angles"),
        (box()[[1, 0, 2, 3, 4, 5, 6, 7]][None], "has no right angles"),
    ],
)
def test_corners_that_are_no_boxes_are_refused(corners, message):
    with pytest.raises(InputError, match=message):
        shape_from_boxes(corners, "a")
