"""Every command does its work from end to end, and every mistake ends in one sentence, exit code 2 and no file."""

import json
import runpy
import signal
import sys
from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.fakes import command, tiny_gpt, tiny_tokenizer
from weightgpt import cli
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.model import Bundle
from weightgpt.tokens.storage import Tokens, load_tokens, save_tokens

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, meshes, and the fields and tokens of tiny shapes."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = tiny_tokenizer()
    Bundle(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(folder / "bundle")
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
    save_fields(folder / "fields.safetensors", tokenizer.decode(ids), metadata)
    save_tokens(folder / "tokens.json", Tokens(ids, tokenizer.quantizer.fingerprint, metadata))
    return folder


@pytest.fixture(autouse=True)
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """What a command prints with --json: one object and nothing else."""
    assert command(*arguments, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_fit_encode_decode_mesh(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    fields, ids, again = (str(tmp_path / name) for name in ("f.safetensors", "i.json", "g.safetensors"))
    values = told(capsys, "fit", "meshes", "-o", fields, "--model", "bundle", "--steps", "60")
    assert (values["fields"], values["parameters"]) == (2, 109)
    loaded, metadata = load_fields(fields)
    assert loaded.config.hidden == (6, 6)
    assert metadata.names == ("ball", "chair-one")
    assert metadata.labels == ("none", "chair")
    values = told(capsys, "encode", fields, "-m", "bundle", "-o", ids, "--steps", "2")
    assert (values["shapes"], values["tokens"]) == (2, 9)
    assert 0 <= values["iou"] <= 1
    assert told(capsys, "decode", ids, "-m", "bundle", "-o", again)["fields"] == 2
    decoded, kept = load_fields(again)
    assert torch.equal(decoded.flat, tiny_tokenizer().decode(load_tokens(ids).ids).flat)
    assert (kept.names, kept.labels) == (metadata.names, metadata.labels)
    assert torch.equal(kept.center[1], torch.tensor([5.0, 6.0, 7.0]).double())
    values = told(capsys, "mesh", fields, "-o", str(tmp_path / "out"), "--resolution", "24", "--format", "ply")
    assert values["meshes"] == len(list((tmp_path / "out").glob("*.ply")))


def test_encode_meshes(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = str(tmp_path / "ids.json")
    assert (
        told(capsys, "encode", "meshes/ball.stl", "meshes", "-m", "bundle", "-o", path, "--steps", "0")["shapes"] == 3
    )
    assert tiny_tokenizer().labels(load_tokens(path).ids) == ["none", "none", "chair"]


def test_fit_from_random_starts(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    first, second = (str(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    told(capsys, "fit", "meshes/ball.stl", "-o", first, "--hidden", "8,4", "--steps", "3")
    assert load_fields(first)[0].config.hidden == (8, 4)
    told(capsys, "fit", "meshes/ball.stl", "-o", second, "--initial", first, "--steps", "3")
    assert load_fields(second)[0].config.hidden == (8, 4)


def test_sample(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    arguments = ("sample", "bundle", "-n", "5", "--seed", "3", "--resolution", "16", "-o")
    values = told(capsys, *arguments, str(tmp_path / "a"))
    assert (values["samples"], values["decode_rate"]) == (5, 1.0)
    meshes = sorted(path.name for path in (tmp_path / "a").glob("*.glb"))
    assert values["meshes"] == len(meshes)
    assert values["meshes"] + values["empty"] + values["full"] + values["nonfinite"] == 5
    assert set(meshes) <= {"0000-chair.glb", "0001-table.glb", "0002-chair.glb", "0003-table.glb", "0004-chair.glb"}
    assert Image.open(tmp_path / "a" / "samples.png").size[0] == 5 * 160
    told(capsys, *arguments, str(tmp_path / "b"))
    for name in ("fields.safetensors", "ids.json", *meshes):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    fields, ids = load_fields(tmp_path / "a" / "fields.safetensors")[0], load_tokens(tmp_path / "a" / "ids.json").ids
    assert torch.equal(fields.flat, tiny_tokenizer().decode(ids).flat)


def test_meshes_are_in_file_units_and_stay_in_their_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    told(capsys, "mesh", "fields.safetensors", "-o", str(tmp_path / "in" / "out"), "--resolution", "24")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert {path.name for path in (tmp_path / "in" / "out").iterdir()} <= {"a.glb", "b.glb"}
    bounds = trimesh.load_mesh(tmp_path / "in" / "out" / "a.glb").bounds
    assert (abs(bounds - [1.0, 2.0, 3.0]) <= 10.001).all()
    assert abs(bounds - [1.0, 2.0, 3.0]).max() > 2


def test_render(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    planar = Fields(FieldConfig(in_features=2, out_features=3, hidden=(4,), num_frequencies=0), torch.rand(2, 27))
    save_fields(tmp_path / "planar.safetensors", planar, ShapeMetadata.plain(["a", "b"], ["none", "none"], 2))
    for fields in ("fields.safetensors", str(tmp_path / "planar.safetensors")):
        assert told(capsys, "render", fields, "-o", str(tmp_path / "sheet.png"), "--size", "24")["fields"] == 2
        assert Image.open(tmp_path / "sheet.png").size[0] == 48
    assert command("mesh", str(tmp_path / "planar.safetensors"), "-o", str(tmp_path / "out")) == 2


def test_info(capsys: pytest.CaptureFixture[str]):
    bundle = told(capsys, "info", "bundle")
    assert bundle["kind"] == "bundle"
    assert bundle["classes"] == ["none", "chair", "table"]
    assert bundle["codebook"] == tiny_tokenizer().quantizer.fingerprint
    assert (bundle["tokens"], bundle["vocabulary"], bundle["field"]["parameters"]) == (9, 23, 109)
    assert told(capsys, "info", "fields.safetensors")["labels"] == {"chair": 1, "sofa": 1}
    assert told(capsys, "info", "tokens.json")["sequences"] == 2
    box = told(capsys, "info", "meshes/chair/one.glb")
    assert box["longest_side"] == pytest.approx(2)
    assert box["volume"] == pytest.approx(2, rel=0.1)
    assert command("info", "bundle") == 0
    assert "classes: [" in capsys.readouterr().out


MISTAKES = [
    "fit absent.glb -o x.safetensors",
    "fit meshes/broken.stl -o x.safetensors",
    "fit meshes -o x.txt",
    "fit meshes -o x.safetensors --hidden 8,a",
    "fit meshes -o x.safetensors --steps 0",
    "fit meshes -o x.safetensors --model bundle --hidden 8,8",
    "fit meshes -o tokens.json/x.safetensors",
    "fit -o x.safetensors",
    "encode meshes -m absent/bundle/name -o x.json",
    "encode tokens.json -m bundle -o x.json",
    "encode broken.safetensors -m bundle -o x.json",
    "encode other.safetensors -m bundle -o x.json",
    "decode absent.json -m bundle -o x.safetensors",
    "decode fields.safetensors -m bundle -o x.safetensors",
    "decode foreign.json -m bundle -o x.safetensors",
    "decode illegal.json -m bundle -o x.safetensors",
    "decode words.json -m bundle -o x.safetensors",
    "decode tokens.json -m bundle -o x.safetensors --levels 3",
    "sample bundle -o x --label sofa",
    "sample bundle -o x --temperature 0",
    "sample bundle -o x --top-p 1.5",
    "sample bundle -o x -n 0",
    "sample bundle -o meshes",
    "sample bundle -o tokens.json",
    "sample bundle",
    "mesh fields.safetensors -o x --resolution 4",
    "mesh fields.safetensors -o x --format fbx",
    "mesh nan.safetensors -o x",
    "mesh newer.safetensors -o x",
    "mesh headless.safetensors -o x",
    "mesh bundle/model.safetensors -o x",
    "render fields.safetensors -o x.jpg",
    "render fields.safetensors -o meshes",
    "info absent/file/name",
    "info meshes",
    "absent",
    "sample bundle -o x --absent",
]


@pytest.fixture(scope="module")
def faulty(world: Path) -> None:
    """Files that are nearly right."""
    path = world / "fields.safetensors"
    tensors, config = load_file(path), load_fields(path)[0].config.to_dict()
    header = {"format": "weightgpt.fields", "version": 1, "field": config, "names": ["a", "b"], "labels": ["", ""]}
    newer, nan = {**header, "version": 2}, {**tensors, "flat": tensors["flat"] * torch.nan}
    save_file(tensors, world / "newer.safetensors", {"weightgpt": json.dumps(newer)})
    save_file(nan, world / "nan.safetensors", {"weightgpt": json.dumps(header)})
    save_file(tensors, world / "headless.safetensors", {"weightgpt": "{}"})
    (world / "broken.safetensors").write_bytes(path.read_bytes()[:200])
    other = Fields(FieldConfig(hidden=(4,), num_frequencies=0), torch.zeros(1, 21))
    save_fields(world / "other.safetensors", other, ShapeMetadata.plain(["a"], ["none"]))
    tokens = json.loads((world / "tokens.json").read_text())
    (world / "foreign.json").write_text(json.dumps({**tokens, "codebook": "0" * 16}))
    (world / "illegal.json").write_text(json.dumps({**tokens, "ids": [[1] * 9] * 2}))
    (world / "words.json").write_text(json.dumps({**tokens, "ids": [["w1"] * 9] * 2}))


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence(line: str, world: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(world.rglob("*"))
    assert command(*line.split()) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (sentence,) = streams.err.splitlines()
    assert len(sentence) > 20
    assert sorted(world.rglob("*")) == before


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("weightgpt.cli_io.description", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "bundle"])


def test_a_failure_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def full(*_: object) -> None:
        raise InputError("the disk is full; make room.")

    monkeypatch.setattr("weightgpt.cli_io.write_meshes", full)
    assert command("sample", "bundle", "-n", "1", "-o", str(tmp_path / "out")) == 2
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: Path):
    before = sorted(world.rglob("*"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started deaf to it
    monkeypatch.setattr("weightgpt.fields.fitting._fit_batch", lambda *_: signal.raise_signal(signal.SIGINT))
    assert command("fit", "meshes/ball.stl", "-o", "x.safetensors") == 130
    assert capsys.readouterr() == ("", "interrupted; nothing half-written is left behind.\n")
    assert sorted(world.rglob("*")) == before


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["weightgpt", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("weightgpt", run_name="__main__")
    assert "Draw new shapes from a model." in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fit", "encode", "decode", "sample", "mesh", "render", "evaluate", "info"])
def test_help_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]):
    assert command(name, "--help") == 0
    assert f"Example: weightgpt {name} " in " ".join(capsys.readouterr().out.split())


def test_examples(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Both scripts run as they stand, the second on what the first wrote."""
    tuned = str(tmp_path / "tuned")
    with torch.random.fork_rng():
        for arguments in (["finetune.py", "bundle", "meshes", tuned, "3"], ["sample.py", tuned, str(tmp_path / "new")]):
            monkeypatch.setattr(sys, "argv", arguments)
            runpy.run_path(str(ROOT / "examples" / arguments[0]), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1].startswith("7 table ")
    name = "transformer.wte.weight"
    before, after = (load_file(Path(folder) / "model.safetensors")[name] for folder in ("bundle", tuned))
    assert not torch.equal(before, after)
