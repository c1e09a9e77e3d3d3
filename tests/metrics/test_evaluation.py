"""`weightgpt evaluate` from files to figures: copies fail the guard, new shapes pass it, mistakes are one sentence."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image
from weightgpt.metrics.from_files import equal_sets, read_source, table

from tests import fakes
from tests.fakes import fitted_sphere, tiny_config
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, save_fields
from weightgpt.shapes.sampling import uniform_points

QUICK = ("--resolution", "24", "--points", "128")
SETS = ("--train", "train.safetensors", "--held-out", "held.safetensors")


def ball_fields(offsets: list[float]) -> Fields:
    """Balls of different sizes: the last bias moves the level."""
    flat = fitted_sphere().repeat(len(offsets), 1)
    flat[:, -1] += torch.tensor(offsets)
    return Fields(tiny_config(), flat)


def save(path: Path, fields: Fields) -> None:
    names = [f"{path.stem}-{i}" for i in range(len(fields))]
    save_fields(path, fields, ShapeMetadata.plain(names, ["ball"] * len(fields), fields.config.in_features))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fields and meshes to learn from, held out, copied, new, empty."""
    folder = tmp_path_factory.mktemp("evaluate")
    train, held = [-0.16, -0.12, -0.08, -0.04, 0.0], [-0.14, -0.1, -0.06, -0.02]
    for name, offsets in {
        "train": train,
        "held": held,
        "new": [-0.18, -0.142, -0.021, 0.02],
        "empty": [9.0, 9.0],
    }.items():
        save(folder / f"{name}.safetensors", ball_fields(offsets))
    save(folder / "planar.safetensors", Fields(FieldConfig(in_features=2, hidden=(4,)), torch.rand(2, 81)))
    for name, widths in {"train": (0.3, 0.5, 0.7, 0.9), "held": (0.4, 0.6, 0.8), "new": (0.45, 0.65, 0.85)}.items():
        (folder / name).mkdir()
        for width in widths:
            trimesh.creation.box((1.0, width, 0.5)).export(folder / name / f"{width}.stl")
    (folder / "new" / "wrong.stl").write_text("not a mesh")
    (folder / "new" / "weights.pkl").write_text("no mesh at all")
    return folder


@pytest.fixture(autouse=True)
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


command = partial(fakes.command, "evaluate")


def test_copies_fail_the_guard(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    output, picture = tmp_path / "figures.json", tmp_path / "near.png"
    written = ("-o", str(output), "--picture", str(picture), "--json")
    assert command("train.safetensors", *SETS, *QUICK, *written, "--max-memorized", "0.05") == 1
    streams = capsys.readouterr()
    rows = json.loads(streams.out)
    assert rows == json.loads(output.read_text())
    assert list(rows) == ["limit", "generated"]
    assert rows["generated"]["memorized_share"] == 1
    assert rows["generated"]["nearest_train_ratio"] < 0.1
    assert rows["generated"]["nearest_weights"] == 0 < rows["generated"]["nearest_weights_held_out"]
    assert rows["limit"]["memorized_share"] is None
    took, sentence = streams.err.splitlines()
    assert took == "took 4 of 5 generated, of 4 held-out and of 5 training shapes."
    assert "a share of 1.0000 of the samples" in sentence
    assert Image.open(picture).size == (8 * 128, 128 + 20)


def test_new_shapes_pass_the_guard_and_a_table_has_both_rows(capsys: pytest.CaptureFixture[str]):
    assert command("new.safetensors", *SETS, *QUICK, "--max-memorized", "0.5") == 0
    head, counts, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["limit", "generated"]
    assert counts.split() == ["shapes", "(compared)", "4", "(4)", "4", "(4)"]
    (mmd,) = (line for line in lines if line.startswith("MMD, lower"))
    assert mmd.count("[") == 2
    (memorized,) = (line for line in lines if line.startswith("memorized"))
    assert memorized.split()[-2] == "–"


def test_held_out_shapes_themselves_are_matched_and_seeds_repeat(capsys: pytest.CaptureFixture[str]):
    assert command("held.safetensors", *SETS, *QUICK, "--count", "3", "--seed", "5", "--json") == 0
    first = capsys.readouterr().out
    assert json.loads(first)["generated"]["count"] == 3
    assert command("held.safetensors", *SETS, *QUICK, "--count", "3", "--seed", "5", "--json") == 0
    assert capsys.readouterr().out == first
    assert command("held.safetensors", *SETS, *QUICK, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    whole = rows["generated"]
    assert whole["mmd"] < rows["limit"]["mmd"]  # no 0: the points of equal surfaces are draws of their own
    assert whole["cov"] >= 0.75
    assert whole["one_nna"] == 0


def test_meshes_and_a_broken_one(capsys: pytest.CaptureFixture[str]):
    assert command("new", "--train", "train", "--held-out", "held", *QUICK, "--json") == 0
    streams = capsys.readouterr()
    generated = json.loads(streams.out)["generated"]
    assert "nearest_weights" not in generated
    assert generated["one_piece"] + generated["broken"] == 1
    assert streams.err.count("broken: ") == 2
    assert "took 3 of 4 generated, of 3 held-out and of 4 training shapes." in streams.err
    source = read_source("new", generated=True)
    assert [shape.name for shape in source.shapes] == ["0.45", "0.65", "0.85", "wrong"]
    points = uniform_points(16, 3, 0)
    assert source.at(points).isnan().any(1).tolist() == [False, False, False, True]
    assert len(read_source("new").shapes) == 3


def test_empty_samples_prove_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    picture = tmp_path / "near.png"
    assert command("empty.safetensors", *SETS, *QUICK, "--max-memorized", "1", "--picture", str(picture)) == 1
    streams = capsys.readouterr()
    assert not picture.exists()
    assert "no sample has a surface, so that none can be said to be new." in streams.err
    (empty,) = (line for line in streams.out.splitlines() if line.startswith("empty"))
    assert empty.split() == ["empty", "0.0000", "1.0000"]


def test_sets_are_taken_without_replacement_and_their_fields_with_them():
    sources = [read_source(f"{name}.safetensors") for name in ("train", "new", "held")]
    points = uniform_points(8, 3, 0)
    taken = equal_sets(sources, 3, 0)
    assert [len({shape.name for shape in part.shapes}) for part in taken] == [3, 3, 3]
    for part in taken:
        assert torch.allclose(part.at(points), torch.stack([sdf(points) for sdf in part.sdfs]), atol=1e-6)
    assert {tuple(shape.name for shape in equal_sets(sources, 3, seed)[0].shapes) for seed in range(9)} > {
        tuple(shape.name for shape in taken[0].shapes)
    }


def test_the_earth_movers_distance_is_asked_for(capsys: pytest.CaptureFixture[str]):
    assert command("new.safetensors", *SETS, *QUICK, "--emd", "3") == 0
    lines = {line[:37].strip(): line[37:].split() for line in capsys.readouterr().out.splitlines()}
    assert all(0 < float(value) < 0.2 for value in lines["MMD, earth mover's distance"])
    assert {"COV, earth mover's distance", "1-NNA, earth mover's distance"} < set(lines)
    assert command("new.safetensors", *SETS, *QUICK) == 0
    assert "earth mover" not in capsys.readouterr().out


def test_the_table_by_hand():
    rows = {"limit": {"count": 4, "compared": 3, "mmd": 0.25, "mmd_interval": (0.125, 0.5), "empty": 0.0}}
    assert [line.split() for line in table(rows)] == [
        ["limit"],
        ["shapes", "(compared)", "4", "(3)"],
        ["MMD,", "lower", "is", "better", "0.2500", "[0.1250,", "0.5000]"],
        ["empty", "0.0000"],
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("absent --train train --held-out held", "neither a folder"),
        ("absent.safetensors --train train --held-out held", "does not exist"),
        ("new.safetensors --train planar.safetensors --held-out held", "holds no solids"),
        ("new.safetensors --train train.safetensors --held-out empty.safetensors", "no held-out shape"),
        ("new.safetensors --train train.safetensors", "held-out"),
        ("new.safetensors --train train --held-out held --count 1", "count"),
        ("new.safetensors --train train --held-out held --max-memorized 2", "max-memorized"),
        ("new.safetensors --train train.safetensors --held-out held.safetensors --emd 1", "give 0 or 2 up"),
        ("new.safetensors --train train --held-out held -o x.txt", ".json"),
        ("new.safetensors --train train --held-out held --picture x.jpg", ".png"),
    ],
)
def test_a_mistake_is_one_sentence(line: str, told: str, world: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(world.rglob("*"))
    assert command(*line.split(), *QUICK) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (sentence,) = streams.err.splitlines()
    assert told in sentence
    assert sorted(world.rglob("*")) == before
