"""Every command works from end to end; every mistake ends in one sentence, exit code 2 and no file."""

import io
import json
import math
import runpy
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh
from safetensors.torch import load_file, save_file

from tests.fakes import command, tiny_gpt, tiny_tokenizer
from tests.pictures import picture_size
from weightgpt import cli, cli_io
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.model import WeightGPT
from weightgpt.shapes.meshes import load_shape
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


def test_fault_82_many_samples_go_to_several_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli_io, "BATCH", 10)
    monkeypatch.setattr(cli_io, "BATCHES_OF_PART", 1)
    output = tmp_path / "many"
    arguments = ("sample", "model", "-n", "25", "--seed", "3", "--meshes", "2", "--resolution", "8", "-o", str(output))
    assert command(*arguments) == 0
    streams = capsys.readouterr()
    assert "samples: 25" in streams.out
    assert "the first 2 of 25 shapes were meshed" in streams.err
    names = ["fields-0000.safetensors", "fields-0001.safetensors", "fields-0002.safetensors"]
    names += ["samples.png", "tokens-0000.json", "tokens-0001.json", "tokens-0002.json"]
    assert sorted(path.name for path in output.iterdir() if path.suffix != ".glb") == names
    parts = [load_fields(output / name) for name in names[:3]]
    assert [len(fields) for fields, _ in parts] == [10, 10, 5]
    assert [metadata.names[0] for _, metadata in parts] == ["0000-chair", "0010-chair", "0020-chair"]
    shapes = WeightGPT(tiny_gpt(tiny_tokenizer().vocabulary), tiny_tokenizer()).generate(25, seed=3)
    assert torch.equal(torch.cat([fields.flat for fields, _ in parts]), shapes.fields.flat)
    assert torch.equal(torch.cat([load_tokens(output / name).ids for name in names[4:]]), shapes.ids)


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


def test_fault_72_an_empty_label_is_refused(capsys: pytest.CaptureFixture[str]):
    assert command("sample", "model", "-o", "x", "--label", "") == 2
    assert "the class is empty; choose one of none, chair, table." in capsys.readouterr().err


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
    assert command("info", "model") == 0
    assert "classes: [" in capsys.readouterr().out


MISTAKES = {
    "fit absent.glb -o x.safetensors": "absent.glb is not a file",
    "fit meshes/broken.stl -o x.safetensors": "meshes/broken.stl cannot be read as a mesh",
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
    "sample model -o x -n 1000001": "less than or equal to 1000000",
    "sample model -o x --meshes -1": "'--meshes'",
    "fit meshes -o x.safetensors --steps 9999999999": "less than or equal to 1000000",
    f"fit meshes -o x.safetensors --hidden {','.join(['9'] * 17)}": "give 1 to 16 widths",
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

    monkeypatch.setattr("weightgpt.cli_inputs.describe", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "model"])


def test_a_failure_during_the_work_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def full(*_: object) -> None:
        raise InputError("the disk is full; make room.")

    monkeypatch.setattr("weightgpt.cli_io.write_meshes", full)
    assert command("sample", "model", "-n", "1", "-o", str(tmp_path / "out")) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_fault_05_a_signal_ends_in_one_line_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: Path, number: int, code: int, word: str
):
    before = sorted(world.rglob("*"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start a background job that ignores it
    monkeypatch.setattr("weightgpt.fields.fitting._fit_batch", lambda *_: signal.raise_signal(number))
    assert command("fit", "meshes/ball.stl", "-o", "x.safetensors") == code
    assert capsys.readouterr() == ("", f"{word}; no unfinished file is left.\n")
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


def test_refused_files_do_not_stop_the_others(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "notes.bin").write_bytes(b"\x00")
    for line in ("fit {0} {1} {2} -o {3} --hidden 4 --steps 1", "encode {0} {1} {2} -m model -o {4} --steps 0"):
        output = [str(tmp_path / name) for name in ("notes.bin", "x.safetensors", "x.json")]
        words = line.format("meshes/ball.stl", output[0], "meshes/chair/one.glb", *output[1:]).split()
        assert command(*words, "--json") == 2
        streams = capsys.readouterr()
        (sentence,) = streams.err.splitlines()
        assert "notes.bin is a file of another format" in sentence
        values = json.loads(streams.out)
        assert values["refused"] == 1
        assert values.get("fields", values.get("shapes")) == 2
    assert load_fields(tmp_path / "x.safetensors")[1].names == ("ball", "one")
    assert load_tokens(tmp_path / "x.json").metadata.names == ("ball", "one")
    assert command("fit", "absent.glb", "none.glb", "-o", str(tmp_path / "y.safetensors")) == 2
    assert "none of the 2 inputs can be read" in capsys.readouterr().err
    assert not (tmp_path / "y.safetensors").exists()


def test_fault_37_and_42_one_bad_shape_is_refused_by_name_and_the_others_are_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    good = load_shape("meshes/ball.stl")
    bad = replace(good, name="bad", sdf=lambda points: points[:, 0] * torch.nan)
    monkeypatch.setattr("weightgpt.shapes.meshes.load_shape", lambda path, **_: bad if "bad" in path else good)
    path = str(tmp_path / "x.safetensors")
    assert command("fit", "a", "bad", "b", "-o", path, "--hidden", "4", "--steps", "1") == 2
    assert "refused: the distances of shape 'bad' hold NaN" in capsys.readouterr().err
    assert load_fields(path)[1].names == ("ball", "ball-2")


def test_case_32_files_of_equal_names_all_stay(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        shutil.copy("meshes/ball.stl", tmp_path / name / "chair.stl")
    inputs = [str(tmp_path / name / "chair.stl") for name in ("x", "y")]
    values = results(capsys, "fit", *inputs, "-o", str(tmp_path / "f.safetensors"), "--hidden", "4", "--steps", "1")
    assert values["fields"] == 2
    assert load_fields(tmp_path / "f.safetensors")[1].names == ("chair", "chair-2")


def test_case_47_info_tells_the_volume_of_the_mesh_and_what_was_repaired(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    note = "2 of 5 parts were inside out and were flipped."
    shape = replace(load_shape("meshes/ball.stl"), volume=0.0123456, notes=(note,))
    monkeypatch.setattr("weightgpt.shapes.meshes.load_shape", lambda path, **_: shape)
    values = results(capsys, "info", "ball.stl")
    assert (values["volume"], values["notes"]) == (0.0123456, [note])
    arguments = ("ball.stl", "-o", str(tmp_path / "x.safetensors"), "--hidden", "4", "--steps", "1")
    assert command("fit", *arguments, "--json") == 0
    streams = capsys.readouterr()
    assert streams.err == f"ball: {note}\n"
    assert json.loads(streams.out)["notes"] == {"ball": [note]}
    monkeypatch.setattr("weightgpt.shapes.meshes.load_shape", lambda path, **_: replace(shape, volume=None))
    assert results(capsys, "info", "ball.stl")["volume"] is None


@pytest.mark.parametrize("sides", [(2, 1, 1), (2, 2, 0.02), (0.01, 0.01, 3)])
def test_case_47_info_tells_the_volume_of_a_box(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sides: tuple[float, float, float]
):
    trimesh.creation.box(sides).export(tmp_path / "box.obj")
    assert results(capsys, "info", str(tmp_path / "box.obj"))["volume"] == pytest.approx(math.prod(sides), rel=1e-6)


def test_an_open_sheet_is_refused_or_gets_a_thickness(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    sheet = tmp_path / "sheet.obj"
    sheet.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv .5 .5 0\nf 1 2 5\nf 2 3 5\nf 3 4 5\nf 4 1 5\n")
    arguments = ("fit", str(sheet), "-o", str(tmp_path / "x.safetensors"), "--hidden", "4", "--steps", "1")
    assert command(*arguments) == 2
    assert "give open surfaces a thickness" in capsys.readouterr().err
    values = results(capsys, *arguments, "--thickness", "0.1")
    assert "1 open surface (100 % of the area) was given a thickness of 0.1." in values["notes"]["sheet"]


def test_info_names_fields_without_a_surface(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    config = FieldConfig(hidden=(4,), num_frequencies=0)
    flat = torch.zeros(2, config.parameters)
    flat[:, -1] = torch.tensor([1.0, -1.0])
    save_fields(tmp_path / "odd.safetensors", Fields(config, flat), ShapeMetadata.plain(["up", "down"], ["a", "a"]))
    assert command("info", str(tmp_path / "odd.safetensors"), "--json") == 0
    streams = capsys.readouterr()
    values = json.loads(streams.out)
    assert (values["empty"], values["full"], values["nonfinite"]) == (1, 1, 0)
    assert "field up is empty" in streams.err


def test_fault_72_and_74_names_do_not_control_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    config = FieldConfig(hidden=(4,), num_frequencies=0)
    fields = Fields(config, torch.zeros(2, config.parameters))
    names = ["\x1b[31mred\x07", "x" * 1_000]
    save_fields(tmp_path / "odd.safetensors", fields, ShapeMetadata.plain(names, ["\x1b]0;a", "b"]))
    for line in ("info {0}", "mesh {0} -o {1} --resolution 8", "render {0} -o {2} --size 16"):
        words = line.format(*(tmp_path / name for name in ("odd.safetensors", "out", "x.png"))).split()
        assert command(*words) == 0
        streams = capsys.readouterr()
        assert not set(streams.out + streams.err) & {"\x1b", "\x07"}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_fault_63_a_terminal_without_unicode_gets_escapes(encoding: str, monkeypatch: pytest.MonkeyPatch):
    bytes_out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_out, encoding=encoding, write_through=True))
    cli_io.tolerate_any_terminal()
    cli_io.print_results({"name": "Stuhl – ü"}, as_json=False)
    assert bytes_out.getvalue().decode(encoding) in ("name: Stuhl \\u2013 \\xfc\n", "name: Stuhl \\u2013 ü\n")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "x"), PermissionError(13, "Denied")])
def test_fault_06_and_07_an_error_of_the_system_is_one_line(
    error: OSError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("weightgpt.cli_inputs.describe", fail)
    assert command("info", "model") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cannot read or write")
    assert error.strerror in line


def test_fault_82_a_sheet_shows_256_fields_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    config = FieldConfig(in_features=2, out_features=1, hidden=(2,), num_frequencies=0)
    fields = Fields(config, torch.zeros(300, config.parameters))
    save_fields(tmp_path / "many.safetensors", fields, ShapeMetadata.plain(["a"] * 300, ["a"] * 300, 2))
    assert command("render", str(tmp_path / "many.safetensors"), "-o", str(tmp_path / "x.png"), "--size", "16") == 0
    assert "x.png shows the first 256 of 300 fields." in capsys.readouterr().err
    with pytest.raises(InputError, match="a sheet of 300 pictures is too large; give 256"):
        fields.render(16)


def test_fault_29_a_revision_pins_a_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    calls = []

    def load(name: str, revision: str | None = None) -> WeightGPT:
        calls.append((name, revision))
        raise InputError("asked.")

    monkeypatch.setattr(WeightGPT, "from_pretrained", load)
    for line in (
        "info a/b",
        "sample a/b -o x",
        "encode meshes -m a/b -o x.json",
        "decode tokens.json -m a/b -o x.safetensors",
    ):
        assert command(*line.split(), "--revision", "abc123") == 2
    assert calls == [("a/b", "abc123")] * 4
