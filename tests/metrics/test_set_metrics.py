"""Set metrics: hand values, sets from one source, and intervals that hold what they say."""

import numpy as np
import pytest

from weightgpt.errors import InputError
from weightgpt.metrics.set_metrics import LOWER_IS_BETTER, Distances, SetMetrics, paired_difference_ci, set_metrics


def distances(samples: list[float], references: list[float]) -> Distances:
    """Of numbers, the distance of two being their difference."""
    a, b = np.array(samples, dtype=float), np.array(references, dtype=float)
    within, cross, held = (np.abs(x[:, None] - y[None]) for x, y in ((a, a), (a, b), (b, b)))
    return within, cross, held


def figures(samples: list[float], references: list[float]) -> SetMetrics:
    """Of one pair of sets."""
    return set_metrics(distances(samples, references))


def test_by_hand():
    found = figures([0.0, 1.0], [0.5, 4.0])
    assert found.mmd == pytest.approx((0.5 + 3.0) / 2)
    assert found.cov == 0.5  # both samples are nearest to 0.5
    assert found.one_nna == 0.0  # 0 -> 0.5, 1 -> 0.5, 0.5 -> 0 and 4 -> 1: all of the other set


def test_two_sets_far_apart_are_told_apart_and_a_copy_is_seen():
    apart = figures([0.0, 0.1, 0.2], [9.0, 9.1, 9.2])
    assert apart.one_nna == 1
    assert apart.cov == pytest.approx(1 / 3)
    copy = figures([0.0, 0.1, 0.3], [0.0, 0.1, 0.3])
    assert (copy.mmd, copy.cov, copy.one_nna) == (0.0, 1.0, 0.0)


def test_intervals_hold_the_figure_and_shrink_with_the_root_of_the_size():
    rng = np.random.default_rng(0)
    few, many = (figures(rng.normal(size=n).tolist(), rng.normal(size=n).tolist()) for n in (40, 640))
    for found in (few, many):
        for name in ("mmd", "cov", "one_nna"):
            low, high = getattr(found, f"{name}_interval")
            assert low <= getattr(found, name) <= high
        assert 0.3 < found.one_nna < 0.7
    widths = [found.one_nna_interval[1] - found.one_nna_interval[0] for found in (few, many)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)
    # 1,280 indicators with mean m have a standard error of sqrt(m (1 - m) / 1280)
    expected = 2 * 1.96 * np.sqrt(many.one_nna * (1 - many.one_nna) / 1280)
    assert widths[1] == pytest.approx(expected, rel=0.1)


def test_pairs_of_sets_are_compared_each_for_itself_and_averaged():
    near, far = distances([0.0, 1.0], [0.5, 4.0]), distances([10.0, 11.0, 12.0], [10.0, 11.0, 22.0])
    found = set_metrics(near, far)
    assert found.mmd == pytest.approx((0.5 + 3.0 + 0 + 0 + 10) / 5)
    assert found.cov == pytest.approx((1 + 3 - 1) / 5)  # 12 is nearest to 11
    assert found.one_nna == pytest.approx((0 + 1) / 10)  # of all ten only 12 may have its neighbor in its own set
    rng = np.random.default_rng(1)
    sets = [distances(rng.normal(size=40).tolist(), rng.normal(size=40).tolist()) for _ in range(16)]
    one, many = set_metrics(sets[0]), set_metrics(*sets)
    widths = [found.one_nna_interval[1] - found.one_nna_interval[0] for found in (one, many)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)
    assert many.mmd == pytest.approx(np.mean([set_metrics(pair).mmd for pair in sets]))


def test_sets_beside_the_same_held_out_shapes_tell_no_more_of_those():
    rng = np.random.default_rng(2)
    held = rng.normal(size=40).tolist()
    sets = [distances(held[::-1], held) for _ in range(16)]  # the same samples again and again: nothing is learned
    one, again = set_metrics(sets[0]), set_metrics(*sets, same_held=True)
    assert (again.one_nna, again.mmd) == pytest.approx((one.one_nna, one.mmd))
    assert again.cov_interval == one.cov_interval
    far = [distances(rng.normal(size=40).tolist(), held) for _ in range(16)]
    shared, apart = set_metrics(*far, same_held=True), set_metrics(*far)
    widths = [found.mmd_interval[1] - found.mmd_interval[0] for found in (shared, apart)]
    assert shared.mmd == pytest.approx(apart.mmd)
    assert widths[1] < 0.5 * widths[0]


def test_one_seed_gives_one_interval():
    samples, references = list(range(9)), [x + 0.4 for x in range(9)]
    assert figures(samples, references) == figures(samples, references)


@pytest.mark.parametrize(("samples", "references"), [(2, 3), (1, 1), (0, 0)])
def test_sets_must_have_one_size(samples: int, references: int):
    with pytest.raises(InputError, match="same size"):
        figures(list(range(samples)), list(range(references)))


def test_a_distance_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="not finite"):
        figures([0.0, np.nan], [0.0, 1.0])


def test_a_lead_is_clear_of_chance_where_every_held_out_shape_agrees():
    rng = np.random.default_rng(0)
    held = rng.normal(size=60).tolist()
    near, far = ([distances((rng.normal(size=60) * s).tolist(), held) for _ in range(4)] for s in (1.0, 3.0))
    first, second = (set_metrics(*sets, same_held=True) for sets in (near, far))
    assert [len(first.per_shape_values[name]) for name in ("mmd", "cov", "one_nna")] == [60, 60, 120]
    assert np.mean(first.per_shape_values["cov"]) == pytest.approx(first.cov, abs=1e-6)
    found = paired_difference_ci(first.per_shape_values, second.per_shape_values)
    assert found["cov"][0] > 0
    assert found["one_nna"][0] > 0
    for name, loss in LOWER_IS_BETTER.items():
        low, high = found[name]
        assert low <= loss(getattr(second, name)) - loss(getattr(first, name)) <= high
        assert paired_difference_ci(first.per_shape_values, first.per_shape_values)[name] == (0.0, 0.0)
    assert (
        paired_difference_ci(first.per_shape_values, {name: part[1:] for name, part in second.per_shape_values.items()})
        == {}
    )
    assert set_metrics(*near).per_shape_values == {}
