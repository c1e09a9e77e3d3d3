"""Set metrics: hand values, sets from one distribution, and the width of intervals."""

import numpy as np
import pytest

from weightgpt.errors import InputError
from weightgpt.metrics.set_metrics import LOWER_IS_BETTER, Distances, SetMetrics, paired_difference_ci, set_metrics


def distances(samples: list[float], references: list[float]) -> Distances:
    """Distances of numbers: the distance of two numbers is their difference."""
    a, b = np.array(samples, dtype=float), np.array(references, dtype=float)
    within, cross, held = (np.abs(x[:, None] - y[None]) for x, y in ((a, a), (a, b), (b, b)))
    return within, cross, held


def metrics_of(samples: list[float], references: list[float]) -> SetMetrics:
    """The metrics of one pair of sets."""
    return set_metrics(distances(samples, references))


def test_metrics_by_hand():
    computed = metrics_of([0.0, 1.0], [0.5, 4.0])
    assert computed.mmd == pytest.approx((0.5 + 3.0) / 2)
    assert computed.cov == 0.5  # both samples are nearest to 0.5
    assert computed.one_nna == 0.0  # 0 -> 0.5, 1 -> 0.5, 0.5 -> 0 and 4 -> 1: all of the other set


def test_one_nna_is_1_for_distant_sets_and_0_for_copies():
    apart = metrics_of([0.0, 0.1, 0.2], [9.0, 9.1, 9.2])
    assert apart.one_nna == 1
    assert apart.cov == pytest.approx(1 / 3)
    copy = metrics_of([0.0, 0.1, 0.3], [0.0, 0.1, 0.3])
    assert (copy.mmd, copy.cov, copy.one_nna) == (0.0, 1.0, 0.0)


def test_intervals_contain_the_metric_and_shrink_with_the_square_root_of_the_size():
    rng = np.random.default_rng(0)
    few, many = (metrics_of(rng.normal(size=n).tolist(), rng.normal(size=n).tolist()) for n in (40, 640))
    for computed in (few, many):
        for name in ("mmd", "cov", "one_nna"):
            low, high = getattr(computed, f"{name}_interval")
            assert low <= getattr(computed, name) <= high
        assert 0.3 < computed.one_nna < 0.7
    widths = [computed.one_nna_interval[1] - computed.one_nna_interval[0] for computed in (few, many)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)
    # 1,280 indicators with mean m have a standard error of sqrt(m (1 - m) / 1280)
    expected = 2 * 1.96 * np.sqrt(many.one_nna * (1 - many.one_nna) / 1280)
    assert widths[1] == pytest.approx(expected, rel=0.1)


def test_several_pairs_of_sets_are_compared_separately_and_averaged():
    near, far = distances([0.0, 1.0], [0.5, 4.0]), distances([10.0, 11.0, 12.0], [10.0, 11.0, 22.0])
    computed = set_metrics(near, far)
    assert computed.mmd == pytest.approx((0.5 + 3.0 + 0 + 0 + 10) / 5)
    assert computed.cov == pytest.approx((1 + 3 - 1) / 5)  # 12 is nearest to 11
    assert computed.one_nna == pytest.approx((0 + 1) / 10)  # of all ten shapes only 12 has no neighbor in the other set
    rng = np.random.default_rng(1)
    sets = [distances(rng.normal(size=40).tolist(), rng.normal(size=40).tolist()) for _ in range(16)]
    one, many = set_metrics(sets[0]), set_metrics(*sets)
    widths = [computed.one_nna_interval[1] - computed.one_nna_interval[0] for computed in (one, many)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)
    assert many.mmd == pytest.approx(np.mean([set_metrics(pair).mmd for pair in sets]))


def test_repeated_sets_against_one_held_out_set_do_not_shrink_the_interval():
    rng = np.random.default_rng(2)
    held = rng.normal(size=40).tolist()
    sets = [distances(held[::-1], held) for _ in range(16)]  # the same samples repeated: no new information
    one, again = set_metrics(sets[0]), set_metrics(*sets, same_held_out=True)
    assert (again.one_nna, again.mmd) == pytest.approx((one.one_nna, one.mmd))
    assert again.cov_interval == one.cov_interval
    far = [distances(rng.normal(size=40).tolist(), held) for _ in range(16)]
    shared, apart = set_metrics(*far, same_held_out=True), set_metrics(*far)
    widths = [computed.mmd_interval[1] - computed.mmd_interval[0] for computed in (shared, apart)]
    assert shared.mmd == pytest.approx(apart.mmd)
    assert widths[1] < 0.5 * widths[0]


def test_equal_seeds_give_equal_intervals():
    samples, references = list(range(9)), [x + 0.4 for x in range(9)]
    assert metrics_of(samples, references) == metrics_of(samples, references)


@pytest.mark.parametrize(("samples", "references"), [(2, 3), (1, 1), (0, 0)])
def test_sets_must_have_one_size(samples: int, references: int):
    with pytest.raises(InputError, match="same size"):
        metrics_of(list(range(samples)), list(range(references)))


def test_a_distance_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="not finite"):
        metrics_of([0.0, np.nan], [0.0, 1.0])


def test_the_paired_difference_excludes_zero_if_every_held_out_shape_agrees():
    rng = np.random.default_rng(0)
    held = rng.normal(size=60).tolist()
    near, far = ([distances((rng.normal(size=60) * s).tolist(), held) for _ in range(4)] for s in (1.0, 3.0))
    first, second = (set_metrics(*sets, same_held_out=True) for sets in (near, far))
    assert [len(first.per_shape_values[name]) for name in ("mmd", "cov", "one_nna")] == [60, 60, 120]
    assert np.mean(first.per_shape_values["cov"]) == pytest.approx(first.cov, abs=1e-6)
    computed = paired_difference_ci(first.per_shape_values, second.per_shape_values)
    assert computed["cov"][0] > 0
    assert computed["one_nna"][0] > 0
    for name, loss in LOWER_IS_BETTER.items():
        low, high = computed[name]
        assert low <= loss(getattr(second, name)) - loss(getattr(first, name)) <= high
        assert paired_difference_ci(first.per_shape_values, first.per_shape_values)[name] == (0.0, 0.0)
    assert (
        paired_difference_ci(first.per_shape_values, {name: part[1:] for name, part in second.per_shape_values.items()})
        == {}
    )
    assert set_metrics(*near).per_shape_values == {}
