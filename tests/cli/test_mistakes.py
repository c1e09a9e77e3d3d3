"""Every mistake ends in one sentence, exit code 2 and no file."""

import json
import runpy
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.fakes import command
from weightgpt import cli
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.io import write_tensors
from weightgpt.tokens.storage import load_tokens, save_tokens

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
    write_tensors(world / "newer.safetensors", tensors, {"weightgpt": json.dumps(newer)})
    write_tensors(world / "nan.safetensors", nan, {"weightgpt": json.dumps(header)})
    write_tensors(world / "headless.safetensors", tensors, {"weightgpt": "{}"})
    (world / "broken.safetensors").write_bytes(path.read_bytes()[:200])
    other = Fields(FieldConfig(hidden=(4,), num_frequencies=0), torch.zeros(1, 21))
    save_fields(world / "other.safetensors", other, ShapeMetadata.plain(["a"], ["none"]))
    tokens = json.loads((world / "tokens.json").read_text())
    (world / "foreign.json").write_text(json.dumps({**tokens, "codebook_fingerprint": "0" * 16}))
    stored = load_tokens(world / "tokens.json")
    save_tokens(world / "illegal.json", replace(stored, ids=torch.ones(2, 9, dtype=torch.long)))
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
