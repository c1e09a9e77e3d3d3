"""The experiments: one setting changes at a time, fewer levels are the first levels, and results are measured once."""

import pytest
import torch

from studies.experiments import __main__ as program
from studies.experiments import page, trials
from studies.experiments.trials import AXES, Trial, list_trials, use_first_levels
from studies.sequences import Sequences
from tests.fakes import generator, tiny_tokenizer
from weightgpt.errors import InputError
from weightgpt.io import read_json

FIGURES = {
    "version": "0.2.0",
    "command": "python -m studies.experiments",
    "count": 4,
    "mmd": 0.05,
    "cov": 0.5,
    "one_nna": 0.6,
    "frechet": 1.0,
    "one_piece": 0.9,
    "cov_interval": [0.4, 0.6],
    "one_nna_interval": [0.5, 0.75],
}
TRAINING = {
    "tokens_per_field": 8,
    "gpt_parameters": 1000,
    "steps": 5,
    "train_flops": 1e9,
    "gpt_bits_fraction": 0.7,
}
REFERENCE_ROW = {"axis": page.REFERENCE, **FIGURES, "one_nna": 0.5}


def trial_row(num_shapes: int, **changes: object) -> dict:
    """A row of the axis of training shapes."""
    return {"axis": "num_shapes", "num_shapes": num_shapes, **FIGURES, **TRAINING, **changes}


def test_one_setting_changes_at_a_time():
    base = Trial(max_steps=500)
    changed = list_trials(base, ["max_steps", "num_quantizers"], num_quantizers=3)
    assert [trial.max_steps for axis, trial in changed if axis == "max_steps"] == [*AXES["max_steps"], 500]
    assert [trial.num_quantizers for axis, trial in changed if axis == "num_quantizers"] == [1, 2, None]
    for axis, trial in changed:
        assert [name for name in vars(base) if getattr(trial, name) != getattr(base, name)] in ([], [axis])


def test_an_unknown_axis_is_refused():
    with pytest.raises(InputError, match="no axis 'luck'"):
        list_trials(Trial(), ["luck"], num_quantizers=3)


def test_the_training_takes_the_steps_of_the_trial():
    trial = Trial(max_steps=300, batch_size=16, num_shapes=1200, learning_rate=5e-3, dropout=0.25)
    config = trial.pretrain_config
    assert config.epochs * trial.num_shapes / config.batch_size == 300
    assert (config.learning_rate, config.dropout, config.model_size) == (5e-3, 0.25, "tiny")


def test_fewer_tokens_are_the_first_levels():
    tokenizer = tiny_tokenizer()
    vocabulary = tokenizer.vocabulary
    shape = (5, vocabulary.num_chunks, vocabulary.num_quantizers)
    codes = torch.randint(vocabulary.codebook_size, shape, generator=generator(0))
    ids = vocabulary.ids(codes, ["chair"] * 5)
    sequences = Sequences(ids, ids[:2], ids[:1])
    short, cut = use_first_levels(tokenizer, sequences, 1)
    assert torch.equal(short.vocabulary.parse(cut.train)[0], codes[..., :1])
    assert torch.equal(short.decode(cut.train).flat, tokenizer.decode(ids, num_quantizers=1).flat)
    assert (len(cut.validation), len(cut.held_out)) == (2, 1)
    assert use_first_levels(tokenizer, sequences, None) == (tokenizer, sequences)


def test_each_axis_has_a_table_that_starts_with_the_reference():
    empty = dict.fromkeys(["mmd", "cov", "one_nna", "cov_interval", "one_nna_interval"])
    rows = [REFERENCE_ROW, trial_row(256), trial_row(1024), trial_row(64, **empty)]
    rows.append({"axis": "num_quantizers", "num_quantizers": None, **FIGURES, **TRAINING})
    text = page.render_page({"num_shapes": 1024, "num_quantizers": None}, rows, has_plot=False)
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [page.TITLES["num_shapes"], page.TITLES["num_quantizers"]]
    tables = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    first_cells = [cells[0] for cells in tables if not set(cells[0]) <= set("-:")]
    assert first_cells == ["num_shapes", "reference", "256", "1,024", "64", "num_quantizers", "reference", "all"]
    values = ["1,000", "5", "1.0e+09", "0.700", "–", "–", "–", "1.00", "0.900"]
    assert ["64", "8", *values] in tables
    assert page.PLOT_FILE not in text


def test_the_chart_shows_the_trials_with_their_intervals_and_the_reference():
    without_metrics = {"one_nna": None, "cov": None}
    rows = [REFERENCE_ROW, trial_row(1024), trial_row(256, one_nna=0.7), trial_row(64, **without_metrics)]
    figure = page.plot_scaling(rows)
    top, bottom = figure.axes
    (container,) = top.containers
    points, (segments,) = container[0], container[2]
    assert list(zip(*points.get_data(), strict=True)) == [(256, 0.7), (1024, 0.6)]
    assert [segment[:, 1].tolist() for segment in segments.get_segments()] == [[0.5, 0.75], [0.5, 0.75]]
    assert top.lines[-1].get_ydata() == pytest.approx([0.5, 0.5])
    assert bottom.containers[0][0].get_ydata() == pytest.approx([0.5, 0.5])


def test_an_axis_with_one_trial_has_no_chart():
    assert page.plot_scaling([REFERENCE_ROW, trial_row(256)]) is None


@pytest.mark.slow
def test_the_same_command_measures_once_and_another_axis_adds_rows(tmp_path, monkeypatch):
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    options = ["--num-samples=4", "--num-shapes=64", "--model-size=nano", "--max-steps=4"]

    def run(output: str, *axes: str) -> list[dict]:
        arguments = [f"--tokenizer={tmp_path / 'model'}", f"--output={tmp_path / output}", *options, "--axes", *axes]
        monkeypatch.setattr("sys.argv", ["experiments", *arguments])
        assert program.main() == 0
        return read_json(tmp_path / output / page.ROWS_FILE)["rows"]

    def without_commands(rows: list[dict]) -> list[dict]:
        return [{**row, "command": ""} for row in rows]

    rows = run("one", "num_quantizers", "temperature")
    assert [row["axis"] for row in rows] == ["reference", *["num_quantizers"] * 2, *["temperature"] * 3]
    assert list((tmp_path / "one").glob("gpt/gpt-*/runs/*/events*"))
    assert without_commands(run("two", "num_quantizers", "temperature")) == without_commands(rows)
    monkeypatch.setattr(trials, "pretrain", None)  # would fail if a GPT were trained again
    all_rows = run("one", "top_k")
    assert [row["axis"] for row in all_rows] == [*[row["axis"] for row in rows[1:]], "reference", *["top_k"] * 2]
    assert (tmp_path / "one" / page.PAGE_FILE).read_text().count("| reference ") == 3
