"""Refused files, odd names, bad fields and a terminal without Unicode."""

import io
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh

from tests.cli.running import results
from tests.fakes import command
from weightgpt import cli_io
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.model import WeightGPT
from weightgpt.shapes.meshes import load_shape
from weightgpt.tokens.storage import load_tokens


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
