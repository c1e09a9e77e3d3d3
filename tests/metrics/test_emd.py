"""The earth mover's distance: hand values, brute force over all assignments, and translations."""

from itertools import permutations

import numpy as np
import pytest

from weightgpt.errors import InputError
from weightgpt.metrics.emd import emd, emd_matrix
from weightgpt.metrics.pairwise import chamfer


def on_axis(*x: float) -> np.ndarray:
    """A cloud on the x axis."""
    return np.array([[value, 0.0, 0.0] for value in x])


def clouds(seed: int, count: int, points: int = 5) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).uniform(-1, 1, (count, points, 3)))


def test_the_distance_to_a_shifted_cloud_is_the_length_of_the_shift():
    cloud, shift = clouds(0, 1, points=40)[0], np.array([0.3, -0.4, 1.2])
    assert emd(cloud, cloud + shift) == pytest.approx(1.3)


def test_the_order_of_the_points_does_not_matter():
    cloud = clouds(1, 1, points=30)[0]
    assert emd(cloud, cloud[::-1]) == 0


def test_every_point_is_paired_with_a_different_point():
    """Two of three points lie at 0, in the other cloud one: Chamfer is 0, but one point must move by 3."""
    a, b = on_axis(0, 0, 3), on_axis(0, 3, 3)
    assert chamfer(a, b) == 0
    assert emd(a, b) == pytest.approx(1)


def test_the_optimal_partner_is_not_always_the_nearest_point():
    """0 -> -2 and 1 -> 0.4 cost 2.6; taking 0's nearest, 0.4, first would cost 3.4."""
    assert emd(on_axis(0, 1), on_axis(0.4, -2)) == pytest.approx(2.6 / 2)


def test_fault_61_no_other_assignment_is_better():
    for a, b in zip(clouds(2, 4), clouds(3, 4), strict=True):
        best = min(np.linalg.norm(a - b[list(order)], axis=1).mean() for order in permutations(range(5)))
        assert emd(a, b) == pytest.approx(best)


def test_the_matrix_holds_each_pair():
    a, b = clouds(4, 3), clouds(5, 2)
    assert emd_matrix(a, b) == pytest.approx(np.array([[emd(x, y) for y in b] for x in a]))
    assert emd_matrix(a, a) == pytest.approx(emd_matrix(a, list(a)))


@pytest.mark.parametrize(
    ("a", "message"),
    [(on_axis(0, 1, 2), "2 and 3 points"), (np.zeros((2, 2)), "shape"), (on_axis(0, np.nan), "finite")],
)
def test_clouds_that_cannot_be_paired_are_refused(a, message):
    with pytest.raises(InputError, match=message):
        emd(a, on_axis(0, 1))
