"""`evaluate` from files and objects to rows: inputs of all forms, equal sets, tables, pictures, objections."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.fakes import sphere_shape
from tests.metrics.conftest import OFFSETS, ball_fields
from weightgpt.errors import InputError
from weightgpt.metrics.evaluation import TITLES, EvaluationReport, evaluate, rows_table
from weightgpt.metrics.shape_sources import equal_sets, load_set
from weightgpt.shapes.meshes import load_shapes
from weightgpt.shapes.sampling import uniform_points

QUICK = {"resolution": 24, "points": 128}


def evaluate_fields(world: Path, samples: str, **options: int) -> EvaluationReport:
    return evaluate(
        world / f"{samples}.safetensors",
        train=world / "train.safetensors",
        held_out=str(world / "held.safetensors"),
        **QUICK,
        **options,
    )


def test_fault_55_copies_fail_the_memorization_check(world: Path):
    report = evaluate_fields(world, "train")
    assert list(report.to_dict()) == ["reference", "samples"]
    samples, reference = report.rows["samples"], report.rows["reference"]
    assert samples["memorized_share"] == 1
    assert samples["nearest_train_ratio"] < 0.1
    assert samples["nearest_weights"] == 0 < samples["nearest_weights_held_out"]
    assert (reference["memorized_share"], reference["nearest_weights"]) == (None, None)
    assert report.available == {"samples": 5, "held-out": 4, "training": 5}
    assert len(report.names) == 4
    assert "a share of 1.0000 of the samples is memorized, but only 0.05 is" in report.memorization_objection(0.05)
    assert report.memorization_objection(1.0) is None


def test_new_shapes_pass_the_memorization_check(world: Path):
    assert evaluate_fields(world, "new").memorization_objection(0.5) is None


def test_paths_fields_and_generated_shapes_give_the_same_rows(world: Path):
    train, held_out, new = (ball_fields(OFFSETS[name]) for name in ("train", "held", "new"))
    generated = SimpleNamespace(fields=new, labels=["ball"] * 4)
    from_paths = evaluate_fields(world, "new").rows
    assert evaluate(new, train=train, held_out=held_out, **QUICK).rows == from_paths
    report = evaluate(generated, train=train, held_out=held_out, **QUICK)
    assert report.rows == from_paths
    assert report.names == ["0000-ball", "0001-ball", "0002-ball", "0003-ball"]


def test_lists_of_shapes_are_compared_without_their_weights():
    train, held_out, new = (
        [sphere_shape(radius) for radius in radii] for radii in ((0.3, 0.5, 0.7), (0.4, 0.6), (0.45, 0.65))
    )
    row = evaluate(new, train=train, held_out=held_out, **QUICK).rows["samples"]
    assert row["compared"] == 2
    assert "nearest_weights" not in row


def test_equal_seeds_give_equal_rows(world: Path):
    first, again = (evaluate_fields(world, "held", count=3, seed=5).rows for _ in range(2))
    assert first == again
    assert first["samples"]["count"] == 3
    assert first != evaluate_fields(world, "held", count=3, seed=6).rows


def test_held_out_shapes_as_samples_are_nearer_than_the_reference(world: Path):
    rows = evaluate_fields(world, "held").rows
    assert 0 < rows["samples"]["mmd"] < rows["reference"]["mmd"]  # not 0: the points of equal surfaces differ
    assert rows["samples"]["cov"] >= 0.75
    assert rows["samples"]["one_nna"] == 0


def test_an_unreadable_mesh_is_a_broken_sample(world: Path):
    report = evaluate(world / "new", train=world / "train", held_out=world / "held", **QUICK)
    row = report.rows["samples"]
    assert "nearest_weights" not in row
    assert row["one_piece"] + row["broken"] == 1
    assert [len(report.refused[name]) for name in ("samples", "held-out", "training")] == [2, 0, 0]
    train, held_out, new = (load_shapes(world / name) for name in ("train", "held", "new"))
    assert evaluate(new, train=train, held_out=held_out, **QUICK).rows == report.rows
    samples = load_set(world / "new", keep_unreadable=True)
    assert [shape.name for shape in samples.shapes] == ["0.45", "0.65", "0.85", "wrong"]
    points = uniform_points(16, 3, 0)
    assert samples.sdf_at(points).isnan().any(1).tolist() == [False, False, False, True]
    assert len(load_set(world / "new").shapes) == 3


def test_fault_60_empty_samples_do_not_pass_the_memorization_check(world: Path):
    report = evaluate_fields(world, "empty")
    assert (report.rows["reference"]["empty"], report.rows["samples"]["empty"]) == (0.0, 1.0)
    assert "no sample has a surface" in report.memorization_objection(1.0)
    with pytest.raises(InputError, match="nothing to draw"):
        report.picture()


def test_the_picture_shows_each_sample_with_its_nearest_training_shape(world: Path, monkeypatch: pytest.MonkeyPatch):
    captions = []

    def recorded(pictures, texts):
        captions.extend(texts)
        return pictures

    monkeypatch.setattr("weightgpt.metrics.evaluation.contact_sheet", recorded)
    pictures = evaluate_fields(world, "new").picture(size=32)
    assert len(pictures) == len(captions) == 8
    distances = [float(text.split()[0]) for text in captions[1::2]]
    assert distances == sorted(distances)
    assert {text.split()[1] for text in captions[1::2]} <= {f"train-{i}" for i in range(5)}


def test_sets_are_selected_without_replacement_and_their_fields_with_them(world: Path):
    sets = [load_set(world / f"{name}.safetensors") for name in ("train", "new", "held")]
    points = uniform_points(8, 3, 0)
    selected = equal_sets(sets, 3, 0)
    assert [len({shape.name for shape in part.shapes}) for part in selected] == [3, 3, 3]
    for part in selected:
        assert torch.allclose(part.sdf_at(points), torch.stack([sdf(points) for sdf in part.sdfs]), atol=1e-6)
    draws = {tuple(shape.name for shape in equal_sets(sets, 3, seed)[0].shapes) for seed in range(9)}
    assert draws > {tuple(shape.name for shape in selected[0].shapes)}


def test_the_earth_movers_distance_is_optional(world: Path):
    report = evaluate_fields(world, "new", emd=3)
    assert all(0 < row["mmd_emd"] < 0.2 and row["emd_compared"] == 3 for row in report.rows.values())
    assert "earth mover" in report.table()
    assert "earth mover" not in evaluate_fields(world, "new").table()


def test_the_table_by_hand():
    rows = {"reference": {"count": 4, "compared": 3, "mmd": 0.25, "mmd_interval": (0.125, 0.5), "empty": 0.0}}
    assert [line.split() for line in rows_table(rows).splitlines() if not line.startswith("-")] == [
        ["metric", "reference"],
        ["shapes", "(compared)", "4", "(3)"],
        ["MMD", "(lower", "is", "better)", "0.25", "[0.125,", "0.5]"],
        ["share", "empty", "0"],
    ]


def test_every_title_belongs_to_a_key_of_the_rows(world: Path):
    assert set(TITLES) <= set(evaluate_fields(world, "new").rows["samples"])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (("absent", "train", "held"), "neither a folder"),
        (("absent.safetensors", "train", "held"), "does not exist"),
        (("new.safetensors", "planar.safetensors", "held"), "holds no solids"),
        (("new.safetensors", "train.safetensors", "empty.safetensors"), "no held-out shape"),
    ],
)
def test_fault_60_sets_that_cannot_be_evaluated_are_refused(world: Path, sources: tuple[str, str, str], message: str):
    samples, train, held_out = (world / name for name in sources)
    with pytest.raises(InputError, match=message):
        evaluate(samples, train=train, held_out=held_out, **QUICK)


@pytest.mark.parametrize("samples", [[1, 2], 3])
def test_objects_that_are_no_shapes_are_refused(samples):
    with pytest.raises(InputError, match="cannot be read from a"):
        evaluate(samples, train=[sphere_shape(0.5)], held_out=[sphere_shape(0.5)])


def test_fault_60_a_count_or_a_number_of_emd_shapes_of_one_is_refused(world: Path):
    with pytest.raises(InputError, match="count is 1; give 2 or more"):
        evaluate_fields(world, "new", count=1)
    with pytest.raises(InputError, match="give 0 or 2 up"):
        evaluate_fields(world, "new", emd=1)
