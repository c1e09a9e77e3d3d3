"""`weightgpt evaluate`: exit codes, files, and mistakes in one sentence."""

import inspect
import json
from functools import partial
from pathlib import Path

import pytest

from tests import fakes
from tests.pictures import picture_size
from weightgpt import cli
from weightgpt.metrics.evaluation import evaluate

QUICK = ("--resolution", "24", "--points", "128")
SETS = ("--train", "train.safetensors", "--held-out", "held.safetensors")

command = partial(fakes.command, "evaluate")


@pytest.fixture(autouse=True)
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def test_copies_end_with_exit_code_one(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    output, picture = tmp_path / "figures.json", tmp_path / "near.png"
    files = ("-o", str(output), "--picture", str(picture), "--json")
    assert command("train.safetensors", *SETS, *QUICK, *files, "--max-memorized", "0.05") == 1
    streams = capsys.readouterr()
    rows = json.loads(streams.out)
    assert rows == json.loads(output.read_text())
    assert list(rows) == ["reference", "samples"]
    counts, objection = streams.err.splitlines()
    assert counts == "compared 4 shapes of each set; the sets hold 5 samples, 4 held-out, 5 training shapes."
    assert "a share of 1.0000 of the samples is memorized" in objection
    assert picture_size(picture) == (8 * 128, 128 + 20)


def test_new_shapes_end_with_exit_code_zero_and_a_table(capsys: pytest.CaptureFixture[str]):
    assert command("new.safetensors", *SETS, *QUICK, "--max-memorized", "0.5") == 0
    head, _, counts, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["metric", "reference", "samples"]
    assert counts.split() == ["shapes", "(compared)", "4", "(4)", "4", "(4)"]
    (mmd,) = (line for line in lines if line.startswith("MMD (lower"))
    assert mmd.count("[") == 2
    (memorized,) = (line for line in lines if line.startswith("share memorized"))
    assert memorized.split()[-2] == "–"


def test_unreadable_meshes_are_reported(capsys: pytest.CaptureFixture[str]):
    assert command("new", "--train", "train", "--held-out", "held", *QUICK, "--json") == 0
    assert capsys.readouterr().err.count("broken: ") == 2


def test_empty_samples_fail_and_have_no_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    picture = tmp_path / "near.png"
    assert command("empty.safetensors", *SETS, *QUICK, "--max-memorized", "1", "--picture", str(picture)) == 1
    assert not picture.exists()
    assert "no sample has a surface" in capsys.readouterr().err


def test_the_command_and_the_library_have_the_same_defaults():
    command_options, arguments = (inspect.signature(part).parameters for part in (cli.evaluate, evaluate))
    for name in ("count", "points", "emd", "resolution", "seed"):
        assert command_options[name].default == arguments[name].default


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("absent --train train --held-out held", "neither a folder"),
        ("new.safetensors --train train.safetensors", "held-out"),
        ("new.safetensors --train train --held-out held --count 1", "count"),
        ("new.safetensors --train train --held-out held --max-memorized 2", "max-memorized"),
        ("new.safetensors --train train.safetensors --held-out held.safetensors --emd 1", "give 0 or 2 up"),
        ("new.safetensors --train train --held-out held -o x.txt", ".json"),
        ("new.safetensors --train train --held-out held --picture x.jpg", ".png"),
    ],
)
def test_a_mistake_is_one_sentence(
    line: str,
    message: str,
    world: Path,
    capsys: pytest.CaptureFixture[str],
):
    before = sorted(world.rglob("*"))
    assert command(*line.split(), *QUICK) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (sentence,) = streams.err.splitlines()
    assert message in sentence
    assert sorted(world.rglob("*")) == before
