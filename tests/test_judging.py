"""`weightgpt evaluate`: copies are told from new shapes, and a mistake is one sentence."""

import json
from pathlib import Path

import pytest
import torch
import trimesh

from tests.fakes import fitted_sphere, tiny_config
from weightgpt.cli import main
from weightgpt.field import FieldConfig, Fields
from weightgpt.files import InputError
from weightgpt.judging import read_set
from weightgpt.store import Catalogue, save_fields

SMALL = ["--points", "512", "--resolution", "24"]


def spheres(path: Path, shifts: list[float]) -> Path:
    """Rough spheres of other radii: the output's bias, moved."""
    flat = fitted_sphere().repeat(len(shifts), 1)
    flat[:, -1] += torch.tensor(shifts)
    names = [str(i) for i in range(len(shifts))]
    save_fields(path, Fields(tiny_config(), flat), Catalogue.plain(names, ["none"] * len(names)))
    return path


def leave(*arguments: str) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    train = spheres(tmp_path / "train.safetensors", [-0.1, -0.06, -0.02, 0.02, 0.06, 0.1])
    held = spheres(tmp_path / "held.safetensors", [-0.08, -0.04, 0.0, 0.04])
    return ["--train", str(train), "--held-out", str(held), *SMALL]


def test_new_shapes_pass_and_copies_do_not(tmp_path: Path, sets: list[str], capsys):
    new = spheres(tmp_path / "new.safetensors", [-0.081, -0.039, 0.001, 0.039])
    out, picture = tmp_path / "figures.json", tmp_path / "near.png"
    assert leave("evaluate", str(new), *sets, "--max-memorised", "0.5", "-o", str(out), "--picture", str(picture)) == 0
    told = capsys.readouterr().out
    assert "limit" in told
    assert "generated" in told
    rows = json.loads(out.read_text())
    assert rows["generated"]["memorised_share"] <= 0.5
    assert rows["generated"]["count"] == rows["limit"]["count"] == 4
    assert rows["generated"]["nearest_train_weights"]["samples"] > 0
    assert rows["limit"]["memorised_share"] is None
    assert picture.stat().st_size > 1000
    copies = spheres(tmp_path / "copies.safetensors", [-0.1, -0.02, 0.02, 0.1])
    assert leave("evaluate", str(copies), *sets, "--max-memorised", "0.5", "--json") == 1
    seen = capsys.readouterr()
    assert json.loads(seen.out)["generated"]["memorised_share"] == 1
    assert "100% of the samples are memorised" in seen.err


def test_meshes_are_read_and_refused_ones_counted(tmp_path: Path):
    trimesh.creation.icosphere().export(tmp_path / "ball.ply")
    (tmp_path / "broken.obj").write_text("nothing")
    found = read_set(tmp_path)
    assert len(found.sdfs) == 1
    assert len(found.refused) == 1
    assert found.weights is None


def test_mistakes_are_one_sentence(tmp_path: Path, sets: list[str], capsys):
    one = spheres(tmp_path / "one.safetensors", [0.0])
    for given, reason in ((str(one), "give two or more"), (str(tmp_path / "none"), "is not a folder")):
        assert leave("evaluate", given, *sets) == 2
        assert reason in capsys.readouterr().err
    planar = FieldConfig(in_features=2, hidden=(6,), octaves=1)
    path = tmp_path / "planar.safetensors"
    save_fields(path, Fields(planar, torch.zeros(1, planar.parameters)), Catalogue.plain(["a"], ["none"], 2))
    with pytest.raises(InputError, match="holds no solids"):
        read_set(path)
