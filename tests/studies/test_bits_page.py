"""The program of the study of bits, its rows, its page and its plot."""

from pathlib import Path

import pytest

from studies.bits import __main__ as bits
from studies.bits import page
from tests.studies.sequence_fakes import random_sequences, write_measured, write_run
from weightgpt import __version__
from weightgpt.io import read_json

SHORT = ["--model-size=nano", "--max-epochs=1"]


@pytest.fixture
def run(monkeypatch):
    def run_program(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["bits", *arguments])
        return bits.main()

    return run_program


def make_row(train_shapes: int, gpt_bits: float, **changes: object) -> dict:
    """A row of drawn shapes."""
    row = {
        "training_set": page.BUILT_IN_SHAPES,
        "corpus": "balls",
        "tokenizer": "tiny",
        "fingerprint": "f",
        "version": "0.2.0",
    }
    row |= {"settings": {"max_train_flops": 1e9}, "model_size": "nano", "train_shapes": train_shapes}
    row |= {"gpt_bits_per_field": gpt_bits, "independent_bits_per_field": 14.0, "bits_per_field": 18.0}
    return {**row, "gpt_bits_fraction": gpt_bits / 18, **changes}


def test_a_measured_tokenizer_gets_a_row_and_is_trained_once(tmp_path: Path, monkeypatch, run, capsys):
    measured, output = tmp_path / "tokenizers", tmp_path / "bits"
    write_measured(measured, random_sequences((60, 4, 24)))
    arguments = [f"--measurements={measured}", "--corpus=balls", f"--output={output}", *SHORT]
    assert run(*arguments) == 0
    (row,) = read_json(output / page.ROWS_FILE)["rows"]
    assert (row["corpus"], row["tokenizer"], row["iou_ratio"], row["train_shapes"]) == ("balls", "tiny", 0.75, 60)
    assert row["version"] == __version__
    assert page.markdown_rows([row]) in capsys.readouterr().out
    text = (output / page.PAGE_FILE).read_text()
    assert row["command"] in text
    assert page.markdown_rows([row]) in text
    monkeypatch.setattr(bits, "pretrain", None)  # would fail if a GPT were trained again
    assert run(*arguments) == 0
    assert read_json(output / page.ROWS_FILE)["rows"] == [row]


def test_a_run_is_measured_without_a_folder_of_tokenizers(tmp_path: Path, run):
    write_run(tmp_path / "run", (40, 8, 16))
    assert run(f"--run={tmp_path / 'run'}", f"--output={tmp_path / 'out'}", *SHORT) == 0
    (row,) = read_json(tmp_path / "out" / page.ROWS_FILE)["rows"]
    assert (row["train_shapes"], row["validation_shapes"], row["held_out"]) == (40, 8, 16)


def test_each_size_is_a_row_of_the_first_shapes(tmp_path: Path, run):
    write_measured(tmp_path, random_sequences((60, 4, 24)))
    arguments = [f"--measurements={tmp_path}", "--corpus=balls", f"--output={tmp_path / 'out'}", *SHORT]
    assert run(*arguments, "--tokenizers", "tiny", "--num-held-out", "16", "--sizes", "32", "64") == 0
    rows = read_json(tmp_path / "out" / page.ROWS_FILE)["rows"]
    assert [(row["train_shapes"], row["held_out"]) for row in rows] == [(32, 16), (64, 16)]
    assert f"({page.PLOT_FILE})" in (tmp_path / "out" / page.PAGE_FILE).read_text()
    assert (tmp_path / "out" / page.PLOT_FILE).is_file()
    best = min(rows, key=lambda row: row["gpt_bits_per_field"])
    measured, other = read_json(tmp_path / "tokenizers.json")["rows"]
    assert (measured["gpt_bits_per_field"], measured["gpt_train_shapes"]) == (
        best["gpt_bits_per_field"],
        best["train_shapes"],
    )
    assert "gpt_bits_per_field" not in other


def test_a_row_replaces_the_row_that_measured_the_same(tmp_path: Path):
    page.add_rows(tmp_path, [make_row(32, 12.0), make_row(64, 10.0)], None)
    page.add_rows(tmp_path, [make_row(32, 11.0), make_row(32, 9.0, settings={"max_train_flops": 2e9})], None)
    rows = read_json(tmp_path / page.ROWS_FILE)["rows"]
    assert [(row["train_shapes"], row["gpt_bits_per_field"]) for row in rows] == [(64, 10), (32, 11), (32, 9)]


def test_a_tokenizer_without_bits_gets_none():
    assert page.fewest_bits([make_row(32, 12.0)], None) == {}


def test_the_chart_shows_gpts_independent_codes_and_uniform_codes():
    (chart,) = page.plot_bits([make_row(32, 12.0), make_row(64, 10.0)]).axes
    points = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in chart.lines}
    assert points["tiny, nano GPT, budget 1.0e+09 FLOPs"] == [(32, 12), (64, 10)]
    assert points["independent codes"] == [(32, 14), (64, 14)]
    assert {y for _, y in points["uniform codes"]} == {18}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--corpus=cubes"], "has no tokenizers; measure them"),
        (["--corpus=balls", "--tokenizers", "other"], "has no tokenizers other"),
        (["--corpus=balls", "--max-epochs=0"], "error: max_epochs is 0.0; give a number above 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(tmp_path: Path, run, capsys, arguments, sentence):
    write_measured(tmp_path, random_sequences((60, 4, 24)))
    assert run(f"--measurements={tmp_path}", f"--output={tmp_path / 'out'}", *arguments) == 2
    assert sentence in capsys.readouterr().err
