"""Evaluation and the guard: spheres whose nearest neighbors are known, empty shapes counted and left out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.fakes import box_shape, sphere_shape
from weightgpt.errors import InputError
from weightgpt.metrics import evaluator as evaluation
from weightgpt.metrics import set_metrics
from weightgpt.metrics.emd import emd
from weightgpt.metrics.evaluator import EMD_POINTS, SetEvaluator, mesh_all
from weightgpt.metrics.memorization import (
    TrainingShapes,
    memorization_stats,
    nearest_weights,
    surface_cloud,
    surface_distance,
)
from weightgpt.shapes.primitives import box, union
from weightgpt.shapes.sampling import uniform_points


def balls(radii: list[float]):
    return [sphere_shape(radius).sdf for radius in radii]


def training(radii: list[float]) -> TrainingShapes:
    probes = uniform_points(256, 3, 0)
    return TrainingShapes(balls(radii), probes, torch.stack([sdf(probes) for sdf in balls(radii)]))


def two_balls(points: torch.Tensor) -> torch.Tensor:
    sides = torch.tensor([[0.6, 0, 0], [-0.6, 0, 0]])
    return torch.stack([(points - side).norm(dim=-1) - 0.3 for side in sides]).amin(0)


@pytest.fixture(scope="module")
def judge() -> SetEvaluator:
    held = mesh_all(balls([0.35, 0.45, 0.55, 0.65]), seed=1, resolution=32, points=256)
    return SetEvaluator.of(held, training([0.3, 0.4, 0.5, 0.6]))


def test_copies_of_training_shapes_are_memorized_and_new_ones_are_not(judge):
    copied = judge.row(mesh_all(balls([0.3, 0.4, 0.5, 0.6]), seed=0, resolution=32, points=256))
    assert copied["memorized_share"] == 1
    assert copied["nearest_train_ratio"] < 0.5
    new = judge.row(mesh_all(balls([0.2, 0.46, 0.54, 0.75]), seed=0, resolution=32, points=256))
    assert new["memorized_share"] <= 0.5
    assert new["nearest_train_ratio"] > 0.8


def test_the_nearest_training_shape_of_a_ball_is_the_ball_of_the_nearest_radius(judge):
    found = judge.training.nearest(balls([0.41, 0.58]))
    assert found.index == [1, 3]
    assert found.distance == pytest.approx([0.01, 0.02], abs=1e-4)


def test_copies_are_known_where_training_shapes_are_many_and_alike():
    """New balls lie 0.005 from their nearest, far less than points of one surface lie from each other."""
    known = [0.3 + 0.01 * i for i in range(30)]
    guard, new = training(known), balls([radius + 0.005 for radius in known])
    assert guard.nearest(new).distance == pytest.approx([0.005] * 30, abs=1e-4)
    found = memorization_stats(guard.nearest(balls(known)).distance, guard.nearest(new).distance)
    assert found.memorized_share == 1
    assert found.nearest_train_ratio < 0.05


def test_the_distance_of_two_surfaces_by_hand():
    """Moved balls: |cos| of the angle to the shift is 1/2 in the mean. A steeper field is the same surface."""
    still, moved = sphere_shape(0.5).sdf, lambda points: 3 * sphere_shape(0.5).sdf(points - torch.tensor([0.02, 0, 0]))
    found = surface_distance(still, surface_cloud(still, 3), moved, surface_cloud(moved, 3))
    assert found == pytest.approx(0.01, rel=0.05)


def test_held_out_shapes_themselves_score_as_a_copy(judge):
    row = judge.row(judge.held, guard=False)
    assert (row["mmd"], row["cov"], row["one_nna"], row["mmd_squared"]) == (0.0, 1.0, 0.0, 0.0)
    assert row["memorized_share"] is None
    assert (row["one_piece"], row["empty"], row["broken"]) == (1.0, 0.0, 0.0)
    assert row["thin_share"] == 0


def test_a_plate_is_thin_and_its_edges_are_not(judge):
    """Faces of 1.6 x 1.6, twice, and edges of 0.1 x 6.4."""
    row = judge.row(mesh_all([box_shape((1.6, 0.1, 1.6)).sdf] * 2, seed=0, resolution=64, points=2048), guard=False)
    assert row["thin_share"] == pytest.approx(5.12 / (5.12 + 0.64), abs=0.03)


def test_empty_broken_and_split_shapes_are_counted_and_the_sets_stay_equal(judge):
    def empty(points: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(points))

    def broken(points: torch.Tensor) -> torch.Tensor:
        return torch.full((len(points),), torch.nan)

    row = judge.row(mesh_all([two_balls, empty, broken, *balls([0.5])], seed=0, resolution=32, points=256))
    assert (row["one_piece"], row["empty"], row["broken"]) == (0.25, 0.25, 0.25)
    assert row["compared"] == 2
    assert 0 <= row["one_nna"] <= 1
    none = judge.row(mesh_all([empty, empty], seed=0, resolution=16, points=64))
    assert none["mmd"] is None
    assert none["empty"] == 1


def test_the_verdict_by_hand():
    held_out = [float(value) for value in range(1, 101)]  # its 5 % quantile is 5.95
    found = memorization_stats([1.0, 5.0, 60.0, 101.0], held_out)
    assert found.memorized_share == 0.5
    assert found.nearest_train_ratio == pytest.approx(32.5 / 50.5)
    assert memorization_stats(held_out, held_out).memorized_share == 0.05
    with pytest.raises(InputError, match="give one of each"):
        memorization_stats([], held_out)


def test_nearest_weights_by_hand():
    train = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert nearest_weights(torch.tensor([[3.0, 4.5], [0.0, 1.0]]), train).tolist() == pytest.approx([0.1, 0.0])
    with pytest.raises(InputError, match="one kind"):
        nearest_weights(torch.zeros(1, 3), train)


def test_training_shapes_need_a_row_each():
    with pytest.raises(InputError, match="a row for each"):
        TrainingShapes(balls([0.5]), uniform_points(8, 3, 0), torch.zeros(2, 8))


def test_figures_are_plain_numbers(judge):
    row = judge.row(mesh_all(balls([0.5, 0.6]), seed=0, resolution=32, points=64))
    assert all(not isinstance(value, np.generic) for value in row.values())


def test_like_meshes_get_points_of_their_own():
    """With one seed for all, the distance of two draws from one surface would be 0."""
    twice = mesh_all(balls([0.5, 0.5]), seed=0, resolution=32, points=256)
    other = mesh_all(balls([0.5]), seed=1, resolution=32, points=256)
    assert not np.array_equal(twice.surfaces[0], twice.surfaces[1])
    assert not np.array_equal(twice.surfaces[0], other.surfaces[0])
    again = mesh_all(balls([0.5, 0.5]), seed=0, resolution=32, points=256)
    assert np.array_equal(twice.surfaces[1], again.surfaces[1])


def test_a_table_without_legs_keeps_none_of_its_thin_parts():
    """The true shapes are two tables and a ball, which has nothing thin; one of the tables is lost as a whole."""
    top = box(1.4, 0.3, 1.4).moved(y=0.5)
    table = union(top, box(0.12, 1.2, 0.12).moved(x=0.6, y=-0.1, z=0.6).mirrored("xz"))
    ball = sphere_shape(0.5).sdf

    def empty(points: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(points))

    truth = mesh_all([table, table, ball], seed=0)
    kept, legless = (mesh_all(sdfs, seed=1, dense=True) for sdfs in ([table, empty, ball], [top, empty, top]))
    assert kept.thin_recall(truth) == pytest.approx(0.5, abs=0.005)
    assert legless.thin_recall(truth) < 0.05
    assert kept.thin_recall(mesh_all([ball] * 3, seed=0)) is None
    with pytest.raises(InputError, match="2 true ones"):
        kept.thin_recall(truth.first(2))
    with pytest.raises(InputError, match="dense=True"):
        truth.thin_recall(truth)


def test_the_recall_stands_in_the_row_of_samples_whose_truth_is_known(judge):
    plate = mesh_all([box_shape((1.6, 0.1, 1.6)).sdf] * 2, seed=0, resolution=32, points=256)
    again = mesh_all([box_shape((1.6, 0.1, 1.6)).sdf] * 2, seed=3, resolution=32, points=256, dense=True)
    assert judge.row(again, guard=False)["thin_recall"] is None
    assert judge.row(again, guard=False, truth=plate)["thin_recall"] > 0.98


def test_figures_under_the_earth_movers_distance_are_those_of_their_definitions(judge):
    """MMD, COV and 1-NNA of the first three of four, shape by shape."""
    samples = mesh_all(balls([0.36, 0.44, 0.6, 0.9]), seed=0, resolution=32, points=256)
    row = replace(judge, emd=3).row(samples)
    mine, theirs = ([cloud[:EMD_POINTS] for cloud in part.surfaces[:3]] for part in (samples, judge.held))
    assert row["emd_compared"] == 3
    assert row["mmd_emd"] == pytest.approx(sum(min(emd(g, r) for g in mine) for r in theirs) / 3)
    assert row["cov_emd"] == len({min(range(3), key=lambda i: emd(g, theirs[i])) for g in mine}) / 3
    both = [*mine, *theirs]
    nearest = [min((emd(x, y), j) for j, y in enumerate(both) if j != i)[1] for i, x in enumerate(both)]
    assert row["one_nna_emd"] == sum((i < 3) == (j < 3) for i, j in enumerate(nearest)) / 6
    plain = judge.row(samples)
    assert {name for name in row if row[name] != plain[name]} == {"emd_compared", "mmd_emd", "cov_emd", "one_nna_emd"}
    assert plain["mmd_emd"] is None


def test_fewer_surfaces_are_compared_with_as_many_first_ones(judge):
    movers, some = replace(judge, emd=4), judge.held.first(2)
    assert movers.row(judge.held)["mmd_emd"] == 0
    row = movers.row(some)
    assert (row["emd_compared"], row["mmd_emd"], row["cov_emd"], row["one_nna_emd"]) == (2, 0, 1, 0)
    for wrong in (-1, 1):
        with pytest.raises(InputError, match="give 0 or 2 up"):
            replace(judge, emd=wrong)


def test_held_out_shapes_that_serve_again_are_the_same_in_every_set(judge, monkeypatch):
    """The second set has an empty sample, so that one held-out shape is left out: of both sets the same one."""
    calls = []

    def noted(*pairs, **kind):
        calls.append((pairs, kind["same_held"]))
        return set_metrics.set_metrics(*pairs, **kind)

    monkeypatch.setattr(evaluation, "set_metrics", noted)
    sdfs = [*balls([0.3, 0.4, 0.5, 0.6]), lambda points: torch.ones(len(points)), *balls([0.7, 0.8, 0.9])]
    samples = mesh_all(sdfs, seed=0, resolution=32, points=256)
    for seed in range(8):
        row = replace(judge, size=4, seed=seed).row(samples, guard=False)
        assert row["compared"] == 6
    assert len(calls) == 16
    for (first, second), same in calls:
        assert same
        assert len(first[0]) == len(second[0]) == 3
        assert (first[2] == second[2]).all()


def test_sets_of_a_size_are_compared_one_by_one_and_held_out_ones_serve_again(judge):
    """Means over the sets by hand; shapes left over are left out of the set metrics and stay in the rates."""
    samples = mesh_all(balls([0.36, 0.44, 0.6, 0.9, 0.5]), seed=0, resolution=32, points=256)
    parts = [judge.held.some(slice(0, 2)), judge.held.some(slice(2, 4))]
    each = [replace(judge, held=parts[i]).row(samples.some(slice(2 * i, 2 * i + 2)), guard=False) for i in (0, 1)]
    row = replace(judge, size=2).row(samples)
    assert (row["count"], row["compared"]) == (5, 4)
    for name in ("mmd", "cov", "one_nna", "mmd_squared", "frechet"):
        assert row[name] == pytest.approx((each[0][name] + each[1][name]) / 2)
    again = replace(judge, held=parts[0], size=2).row(judge.held, guard=False)
    with_itself, with_others = (replace(judge, held=parts[0]).row(part, guard=False) for part in parts)
    assert (with_itself["mmd"], again["cov"]) == (0, (1 + with_others["cov"]) / 2)
    assert replace(judge, size=9).row(samples, guard=False) == judge.row(samples, guard=False)
    with pytest.raises(InputError, match="size of 2"):
        replace(judge, size=1)
