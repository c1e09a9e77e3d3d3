"""`SetEvaluator`: balls whose nearest neighbors are known, empty shapes, several sets, earth mover's distances."""

from dataclasses import replace

import numpy as np
import pytest

from tests.fakes import box_shape
from tests.metrics.spheres import HELD_OUT_RADII, TRAINING_RADII, balls, broken, empty, training_balls, two_balls
from weightgpt.errors import InputError
from weightgpt.metrics import evaluator as evaluator_module
from weightgpt.metrics.emd import emd
from weightgpt.metrics.evaluator import EMD_POINTS, EMPTY_METRICS, SetEvaluator
from weightgpt.metrics.set_metrics import set_metrics
from weightgpt.metrics.shape_set import ShapeSet, mesh_shapes


def mesh_balls(radii: list[float], seed: int = 0) -> ShapeSet:
    return mesh_shapes(balls(radii), seed=seed, resolution=32, points=256)


@pytest.fixture(scope="module")
def evaluator() -> SetEvaluator:
    return SetEvaluator.create(mesh_balls(HELD_OUT_RADII, seed=1), training_balls(TRAINING_RADII))


def test_copies_of_training_shapes_are_memorized_and_new_shapes_are_not(evaluator):
    copies = evaluator.evaluate(mesh_balls(TRAINING_RADII)).memorization
    assert copies.memorized_share == 1
    assert copies.nearest_train_ratio < 0.5
    new = evaluator.evaluate(mesh_balls([0.2, 0.46, 0.54, 0.75])).memorization
    assert new.memorized_share <= 0.5
    assert new.nearest_train_ratio > 0.8


def test_an_evaluation_names_the_nearest_training_shapes(evaluator):
    evaluation = evaluator.evaluate(mesh_balls([0.41, 0.58]))
    assert evaluation.nearest.index == [1, 3]
    assert evaluator.evaluate(mesh_balls([0.41, 0.58]), check_memorization=False).nearest is None


def test_held_out_shapes_as_samples_score_as_copies(evaluator):
    row = evaluator.evaluate(evaluator.held_out, check_memorization=False).to_row()
    assert (row["mmd"], row["cov"], row["one_nna"], row["mmd_squared"]) == (0.0, 1.0, 0.0, 0.0)
    assert row["memorized_share"] is None
    assert (row["one_piece"], row["empty"], row["broken"], row["thin_share"]) == (1.0, 0.0, 0.0, 0.0)


def test_fault_60_empty_and_broken_shapes_are_counted_and_the_sets_stay_equal(evaluator):
    samples = mesh_shapes([two_balls, empty, broken, *balls([0.5])], seed=0, resolution=32, points=256)
    row = evaluator.evaluate(samples).to_row()
    assert (row["count"], row["compared"], row["empty"], row["broken"]) == (4, 2, 0.25, 0.25)
    assert 0 <= row["one_nna"] <= 1
    row = evaluator.evaluate(mesh_shapes([empty, empty], seed=0, resolution=16, points=64)).to_row()
    assert (row["mmd"], row["memorized_share"], row["empty"]) == (None, None, 1)


def test_every_row_has_the_same_keys_and_plain_values(evaluator):
    row = evaluator.evaluate(mesh_balls([0.5, 0.6])).to_row()
    none = evaluator.evaluate(mesh_shapes([empty], seed=0, resolution=16)).to_row()
    assert list(row) == list(none)
    assert list(row)[6:] == list(EMPTY_METRICS)
    assert all(not isinstance(value, np.generic) for value in row.values())
    with_values = evaluator.evaluate(mesh_balls([0.5, 0.6])).to_row(per_shape_values=True)
    assert [key for key in with_values if key not in row] == ["per_shape_values"]
    assert np.mean(with_values["per_shape_values"]["mmd"]) == pytest.approx(row["mmd"], abs=1e-6)


def test_the_recall_of_thin_parts_needs_the_true_shapes(evaluator):
    plate = box_shape((1.6, 0.1, 1.6)).sdf
    truth = mesh_shapes([plate] * 2, seed=0, resolution=32, points=256)
    copies = mesh_shapes([plate] * 2, seed=3, resolution=32, points=256, dense=True)
    assert evaluator.evaluate(copies, check_memorization=False).thin_recall is None
    assert evaluator.evaluate(copies, check_memorization=False, truth=truth).thin_recall > 0.98


def test_metrics_under_the_earth_movers_distance_follow_their_definitions(evaluator):
    """MMD, COV and 1-NNA of the first three of four shapes, shape by shape."""
    samples = mesh_balls([0.36, 0.44, 0.6, 0.9])
    row = replace(evaluator, emd=3).evaluate(samples).to_row()
    generated, held_out = (
        [cloud[:EMD_POINTS] for cloud in part.surfaces[:3]] for part in (samples, evaluator.held_out)
    )
    assert row["emd_compared"] == 3
    assert row["mmd_emd"] == pytest.approx(sum(min(emd(g, h) for g in generated) for h in held_out) / 3)
    assert row["cov_emd"] == len({min(range(3), key=lambda i: emd(g, held_out[i])) for g in generated}) / 3
    both = [*generated, *held_out]
    nearest = [min((emd(x, y), j) for j, y in enumerate(both) if j != i)[1] for i, x in enumerate(both)]
    assert row["one_nna_emd"] == sum((i < 3) == (j < 3) for i, j in enumerate(nearest)) / 6
    without = evaluator.evaluate(samples).to_row()
    changed = {name for name in row if row[name] != without[name]}
    assert changed == {"emd_compared", "mmd_emd", "cov_emd", "one_nna_emd"}
    assert without["mmd_emd"] is None


def test_fewer_surfaces_are_compared_with_as_many_first_held_out_shapes(evaluator):
    with_emd = replace(evaluator, emd=4)
    assert with_emd.evaluate(evaluator.held_out).emd.mmd == 0
    row = with_emd.evaluate(evaluator.held_out.select(slice(0, 2))).to_row()
    assert (row["emd_compared"], row["mmd_emd"], row["cov_emd"], row["one_nna_emd"]) == (2, 0, 1, 0)
    for wrong in (-1, 1):
        with pytest.raises(InputError, match="give 0 or 2 up"):
            replace(evaluator, emd=wrong)


def test_the_same_shapes_of_a_reused_held_out_set_are_compared(evaluator, monkeypatch):
    """The second set has an empty sample, so one held-out shape is left out: the same one for both sets."""
    calls = []

    def recorded(*pairs, **options):
        calls.append((pairs, options["same_held_out"]))
        return set_metrics(*pairs, **options)

    monkeypatch.setattr(evaluator_module, "set_metrics", recorded)
    sdfs = [*balls([0.3, 0.4, 0.5, 0.6]), empty, *balls([0.7, 0.8, 0.9])]
    samples = mesh_shapes(sdfs, seed=0, resolution=32, points=256)
    for seed in range(8):
        assert replace(evaluator, size=4, seed=seed).evaluate(samples, check_memorization=False).compared == 6
    assert len(calls) == 16
    for (first, second), same_held_out in calls:
        assert same_held_out
        assert len(first[0]) == len(second[0]) == 3
        assert (first[2] == second[2]).all()


def test_metrics_of_several_sets_are_means_over_the_sets(evaluator):
    """Shapes left over are left out of the set metrics and count in the rates."""
    samples = mesh_balls([0.36, 0.44, 0.6, 0.9, 0.5])
    held_out = [evaluator.held_out.select(slice(0, 2)), evaluator.held_out.select(slice(2, 4))]
    single = [
        replace(evaluator, held_out=held_out[i]).evaluate(
            samples.select(slice(2 * i, 2 * i + 2)), check_memorization=False
        )
        for i in (0, 1)
    ]
    row = replace(evaluator, size=2).evaluate(samples).to_row()
    assert (row["count"], row["compared"]) == (5, 4)
    for name in ("mmd", "cov", "one_nna", "mmd_squared", "frechet"):
        assert row[name] == pytest.approx(sum(part.to_row()[name] for part in single) / 2)


def test_held_out_sets_are_reused_if_they_are_fewer_than_the_sample_sets(evaluator):
    parts = [evaluator.held_out.select(slice(0, 2)), evaluator.held_out.select(slice(2, 4))]
    first_only = replace(evaluator, held_out=parts[0])
    reused = replace(first_only, size=2).evaluate(evaluator.held_out, check_memorization=False)
    with_itself, with_others = (first_only.evaluate(part, check_memorization=False) for part in parts)
    assert (with_itself.chamfer.mmd, reused.chamfer.cov) == (0, (1 + with_others.chamfer.cov) / 2)


def test_a_size_above_the_number_of_shapes_changes_nothing(evaluator):
    samples = mesh_balls([0.36, 0.44])
    large, plain = (part.evaluate(samples).to_row() for part in (replace(evaluator, size=9), evaluator))
    assert large == plain
    with pytest.raises(InputError, match="size of 2"):
        replace(evaluator, size=1)


def test_fewer_held_out_shapes_leave_the_memorization_check_as_it_is(evaluator):
    samples = mesh_balls([0.36, 0.44])
    fewer = evaluator.with_first_held_out(2)
    assert len(fewer.held_out) == 2
    assert fewer.evaluate(samples).memorization == evaluator.evaluate(samples).memorization


def test_no_training_shapes_mean_no_memorization_check(evaluator):
    assert replace(evaluator, training=None).evaluate(mesh_balls([0.5, 0.6])).memorization is None
