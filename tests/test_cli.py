"""Every command works from end to end; every mistake ends in one sentence, exit code 2 and no file."""

import json
import runpy
import signal
import sys
from pathlib import Path

import pytest
import torch
import trimesh
from safetensors.torch import load_file, save_file

from tests.fakes import command, tiny_gpt, tiny_tokenizer
from tests.pictures import picture_size
from weightgpt import cli
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.model import WeightGPT
from weightgpt.tokens.storage import Tokens, load_tokens, save_tokens


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, meshes, and the fields and tokens of tiny shapes."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(folder / "model")
    (folder / "meshes" / "chair").mkdir(parents=True)
    box = trimesh.creation.box((2.0, 1.0, 1.0))
    box.apply_translation((5.0, 6.0, 7.0))
    box.export(folder / "meshes" / "chair" / "one.glb")
    trimesh.creation.icosphere(subdivisions=2).export(folder / "meshes" / "ball.stl")
    (folder / "meshes" / "broken.stl").write_text("not a mesh")
    codes = torch.tensor([[[2, 1], [3, 4], [2, 5]], [[7, 6], [5, 4], [3, 2]]])
    ids = tokenizer.vocabulary.ids(codes, ["chair", "none"])
    metadata = ShapeMetadata(
        ("a", "../../b"),
        ("chair", "sofa"),
        torch.tensor([[1.0, 2.0, 3.0]] * 2).double(),
        torch.tensor([10.0, 1.0]).double(),
    )
    save_fields(folder / "fields.safetensors", tokenizer.batch_decode(ids), metadata)
    save_tokens(folder / "tokens.json", Tokens(ids, tokenizer.quantizer.fingerprint, metadata))
    return folder


@pytest.fixture(autouse=True)
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def results(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """The one JSON object, and nothing else, that a command prints with --json."""
    assert command(*arguments, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_meshes_become_fields_tokens_fields_and_meshes(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    fields, ids, again = (str(tmp_path / name) for name in ("f.safetensors", "i.json", "g.safetensors"))
    values = results(capsys, "fit", "meshes", "-o", fields, "--shared-init", "model", "--steps", "60")
    assert (values["fields"], values["parameters"]) == (2, 109)
    loaded, metadata = load_fields(fields)
    assert loaded.config.hidden == (6, 6)
    assert metadata.names == ("ball", "chair-one")
    assert metadata.labels == ("none", "chair")
    values = results(capsys, "encode", fields, "-m", "model", "-o", ids, "--steps", "2")
    assert (values["shapes"], values["tokens"]) == (2, 9)
    assert 0 <= values["iou"] <= 1
    assert results(capsys, "decode", ids, "-m", "model", "-o", again)["fields"] == 2
    decoded, decoded_metadata = load_fields(again)
    assert torch.equal(decoded.flat, tiny_tokenizer().batch_decode(load_tokens(ids).ids).flat)
    assert (decoded_metadata.names, decoded_metadata.labels) == (metadata.names, metadata.labels)
    assert torch.equal(decoded_metadata.center[1], torch.tensor([5.0, 6.0, 7.0]).double())
    values = results(capsys, "mesh", fields, "-o", str(tmp_path / "out"), "--resolution", "24", "--format", "ply")
    assert values["meshes"] == len(list((tmp_path / "out").glob("*.ply")))


def test_encode_takes_files_and_folders(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = str(tmp_path / "tokens.json")
    values = results(capsys, "encode", "meshes/ball.stl", "meshes", "-m", "model", "-o", path, "--steps", "0")
    assert values["shapes"] == 3
    assert tiny_tokenizer().class_names(load_tokens(path).ids) == ["none", "none", "chair"]


def test_fit_from_random_weights_and_from_the_first_field_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    first, second = (str(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    results(capsys, "fit", "meshes/ball.stl", "-o", first, "--hidden", "8,4", "--steps", "3")
    assert load_fields(first)[0].config.hidden == (8, 4)
    results(capsys, "fit", "meshes/ball.stl", "-o", second, "--shared-init", first, "--steps", "3")
    assert load_fields(second)[0].config.hidden == (8, 4)


def test_sample_writes_equal_files_for_equal_seeds(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    arguments = ("sample", "model", "-n", "5", "--seed", "3", "--resolution", "16", "-o")
    values = results(capsys, *arguments, str(tmp_path / "a"))
    assert (values["samples"], values["decode_rate"]) == (5, 1.0)
    meshes = sorted(path.name for path in (tmp_path / "a").glob("*.glb"))
    assert values["meshes"] == len(meshes)
    assert values["meshes"] + values["empty"] + values["full"] + values["nonfinite"] == 5
    assert set(meshes) <= {"0000-chair.glb", "0001-table.glb", "0002-chair.glb", "0003-table.glb", "0004-chair.glb"}
    assert picture_size(tmp_path / "a" / "samples.png")[0] == 5 * 160
    results(capsys, *arguments, str(tmp_path / "b"))
    for name in ("fields.safetensors", "tokens.json", *meshes):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    fields, ids = load_fields(tmp_path / "a" / "fields.safetensors")[0], load_tokens(tmp_path / "a" / "tokens.json").ids
    assert torch.equal(fields.flat, tiny_tokenizer().batch_decode(ids).flat)


def test_meshes_have_their_original_place_and_size_and_stay_in_their_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    results(capsys, "mesh", "fields.safetensors", "-o", str(tmp_path / "in" / "out"), "--resolution", "24")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert {path.name for path in (tmp_path / "in" / "out").iterdir()} <= {"a.glb", "b.glb"}
    bounds = trimesh.load_mesh(tmp_path / "in" / "out" / "a.glb").bounds
    assert (abs(bounds - [1.0, 2.0, 3.0]) <= 10.001).all()
    assert abs(bounds - [1.0, 2.0, 3.0]).max() > 2


def test_render_draws_solids_and_images_and_mesh_refuses_images(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    planar = Fields(FieldConfig(in_features=2, out_features=3, hidden=(4,), num_frequencies=0), torch.rand(2, 27))
    save_fields(tmp_path / "planar.safetensors", planar, ShapeMetadata.plain(["a", "b"], ["none", "none"], 2))
    for fields in ("fields.safetensors", str(tmp_path / "planar.safetensors")):
        assert results(capsys, "render", fields, "-o", str(tmp_path / "sheet.png"), "--size", "24")["fields"] == 2
        assert picture_size(tmp_path / "sheet.png")[0] == 48
    assert command("mesh", str(tmp_path / "planar.safetensors"), "-o", str(tmp_path / "out")) == 2


def test_info_describes_models_fields_tokens_and_meshes(capsys: pytest.CaptureFixture[str]):
    model = results(capsys, "info", "model")
    assert model["kind"] == "model"
    assert model["classes"] == ["none", "chair", "table"]
    assert model["codebook_fingerprint"] == tiny_tokenizer().quantizer.fingerprint
    assert (model["tokens"], model["vocab_size"], model["field"]["parameters"]) == (9, 23, 109)
    assert results(capsys, "info", "fields.safetensors")["labels"] == {"chair": 1, "sofa": 1}
    assert results(capsys, "info", "tokens.json")["sequences"] == 2
    box = results(capsys, "info", "meshes/chair/one.glb")
    assert box["longest_side"] == pytest.approx(2)
    assert box["volume"] == pytest.approx(2, rel=0.1)
    assert command("info", "model") == 0
    assert "classes: [" in capsys.readouterr().out


MISTAKES = {
    "fit absent.glb -o x.safetensors": "absent.glb is not a file",
    "fit meshes/broken.stl -o x.safetensors": "meshes/broken.stl has no faces",
    "fit meshes -o x.txt": "x.txt is not a .safetensors file",
    "fit meshes -o x.safetensors --hidden 8,a": "hidden is '8,a'",
    "fit meshes -o x.safetensors --steps 0": "'--steps'",
    "fit meshes -o x.safetensors --shared-init model --hidden 8,8": "leave out --hidden",
    "fit meshes -o tokens.json/x.safetensors": "tokens.json is not a folder",
    "fit -o x.safetensors": "inputs",
    "encode meshes -m absent/model/name -o x.json": "absent/model/name is neither a folder",
    "encode tokens.json -m model -o x.json": "tokens.json is a file of another format",
    "encode broken.safetensors -m model -o x.json": "broken.safetensors is not a whole safetensors file",
    "encode other.safetensors -m model -o x.json": "learned for this architecture",
    "decode absent.json -m model -o x.safetensors": "absent.json does not exist",
    "decode fields.safetensors -m model -o x.safetensors": "fields.safetensors is not valid JSON",
    "decode foreign.json -m model -o x.safetensors": "was written with codebook 0000000000000000",
    "decode illegal.json -m model -o x.safetensors": "sequence 0 has id 1 at position 1",
    "decode words.json -m model -o x.safetensors": "an id is not a whole number",
    "decode tokens.json -m model -o x.safetensors --num-quantizers 3": "num_quantizers is 3",
    "sample model -o x --label sofa": "class 'sofa' is unknown",
    "sample model -o x --temperature 0": "temperature is 0",
    "sample model -o x --top-p 1.5": "top_p is 1.5",
    "sample model -o x -n 0": "'-n'",
    "sample model -o meshes": "meshes is a folder with content",
    "sample model -o tokens.json": "tokens.json is a file",
    "sample model": "'--output'",
    "mesh fields.safetensors -o x --resolution 4": "'--resolution'",
    "mesh fields.safetensors -o x --format fbx": "format is 'fbx'",
    "mesh nan.safetensors -o x": "NaN or infinite values in row 0",
    "mesh newer.safetensors -o x": "version 2",
    "mesh headless.safetensors -o x": "headless.safetensors is of an unknown format",
    "mesh model/model.safetensors -o x": "model.safetensors is of an unknown format",
    "render fields.safetensors -o x.jpg": "x.jpg is not a .png file",
    "render fields.safetensors -o meshes": "meshes is not a .png file",
    "info absent/file/name": "absent/file/name is neither a folder",
    "info meshes": "it has no config.json",
    "absent": "'absent'",
    "sample model -o x --absent": "--absent",
}
"""Command lines, and what the sentence on stderr says among other things."""


@pytest.fixture(scope="module")
def faulty(world: Path) -> None:
    """Files with one fault each."""
    path = world / "fields.safetensors"
    tensors, config = load_file(path), load_fields(path)[0].config.to_dict()
    names = {"names": ["a", "b"], "labels": ["", ""]}
    header = {"format": "weightgpt.fields", "version": 1, "field_config": config, **names}
    newer, nan = {**header, "version": 2}, {**tensors, "flat": tensors["flat"] * torch.nan}
    save_file(tensors, world / "newer.safetensors", {"weightgpt": json.dumps(newer)})
    save_file(nan, world / "nan.safetensors", {"weightgpt": json.dumps(header)})
    save_file(tensors, world / "headless.safetensors", {"weightgpt": "{}"})
    (world / "broken.safetensors").write_bytes(path.read_bytes()[:200])
    other = Fields(FieldConfig(hidden=(4,), num_frequencies=0), torch.zeros(1, 21))
    save_fields(world / "other.safetensors", other, ShapeMetadata.plain(["a"], ["none"]))
    tokens = json.loads((world / "tokens.json").read_text())
    (world / "foreign.json").write_text(json.dumps({**tokens, "codebook_fingerprint": "0" * 16}))
    (world / "illegal.json").write_text(json.dumps({**tokens, "ids": [[1] * 9] * 2, "sha256": None}))
    (world / "words.json").write_text(json.dumps({**tokens, "ids": [["w1"] * 9] * 2}))


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_it(line: str, world: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(world.rglob("*"))
    assert command(*line.split()) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (sentence,) = streams.err.splitlines()
    assert MISTAKES[line] in sentence
    assert sorted(world.rglob("*")) == before


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("weightgpt.cli_io.describe", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "model"])


def test_a_failure_during_the_work_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def full(*_: object) -> None:
        raise InputError("the disk is full; make room.")

    monkeypatch.setattr("weightgpt.cli_io.write_meshes", full)
    assert command("sample", "model", "-n", "1", "-o", str(tmp_path / "out")) == 2
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_in_one_line_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: Path
):
    before = sorted(world.rglob("*"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start a background job that ignores it
    monkeypatch.setattr("weightgpt.fields.fitting._fit_batch", lambda *_: signal.raise_signal(signal.SIGINT))
    assert command("fit", "meshes/ball.stl", "-o", "x.safetensors") == 130
    assert capsys.readouterr() == ("", "interrupted; no unfinished file is left.\n")
    assert sorted(world.rglob("*")) == before


def test_the_package_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["weightgpt", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("weightgpt", run_name="__main__")
    assert "Generate new shapes with a model." in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fit", "encode", "decode", "sample", "mesh", "render", "evaluate", "info"])
def test_help_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]):
    assert command(name, "--help") == 0
    assert f"Example: weightgpt {name} " in " ".join(capsys.readouterr().out.split())
