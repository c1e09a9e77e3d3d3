"""Rows of several measurements come together, and the published rows can be read."""

import shlex
from dataclasses import replace
from pathlib import Path

from tests.tokenization.measure.fakes import SMALL, tiny_benchmark
from tokenization.measure.config import PRESETS, MeasureConfig
from tokenization.measure.page import main_table
from tokenization.measure.rows import (
    Row,
    add_rows,
    comparable_rows,
    identity,
    make_row,
    read_rows,
    settings_changes,
    unique_titles,
)
from weightgpt import __version__
from weightgpt._programs import parse

RESULTS = Path(__file__).parents[3] / "docs" / "results"
FINER = replace(
    SMALL, tokenizer=replace(SMALL.tokenizer, codebook=replace(SMALL.tokenizer.codebook, num_quantizers=16))
)


def row(tokenizer: str, config: MeasureConfig = SMALL, **values: object) -> Row:
    return {"corpus": "chairs", "tokenizer": tokenizer, "settings": config.settings(tokenizer), **values}


def test_a_row_shows_its_settings_and_the_version_that_measured_it():
    new = make_row(tiny_benchmark(), "bins", "command", {"iou": 0.5})
    assert new["version"] == __version__
    assert new["settings"] == SMALL.settings("bins")
    assert (new["iou"], new["held_out"], new["parameters_per_field"]) == (0.5, 4, 109)


def test_rows_of_several_measurements_come_together_and_equal_settings_replace_a_row(tmp_path):
    add_rows(tmp_path, [row("bins", iou=0.5), row("rvq-ae", iou=0.5)])
    add_rows(tmp_path, [row("bins", iou=0.75), row("rvq-ae", FINER, iou=0.5), row("bins", replace(SMALL, seed=1))])
    rows = read_rows(tmp_path)
    assert [(r["tokenizer"], r["settings"]["benchmark"]["seed"], r.get("iou")) for r in rows] == [
        ("rvq-ae", 0, 0.5),
        ("bins", 0, 0.75),
        ("rvq-ae", 0, 0.5),
        ("bins", 1, None),
    ]


def test_rows_are_comparable_where_shapes_and_fits_are_equal():
    rows = [row("rvq-ae"), row("bins", replace(SMALL, seed=1)), row("rvq-ae", FINER), row("bins")]
    assert comparable_rows(rows) == [rows[0], rows[2], rows[3]]


def test_two_rows_of_one_tokenizer_differ_by_their_tokens():
    rows = [row("rvq-ae", tokens_per_field=8), row("bins", tokens_per_field=8), row("rvq-ae", tokens_per_field=64)]
    assert unique_titles(rows) == ["rvq-ae-8", "bins", "rvq-ae-64"]


def test_changes_of_a_preset_are_named_and_equal_settings_are_not():
    preset = PRESETS["built-in"]
    assert settings_changes(row("rvq-ae", preset)) == ""
    codebook = replace(preset.tokenizer.codebook, num_quantizers=8, squared_weight=0.0)
    tokenizer = replace(preset.tokenizer, num_init_fits=512, codebook=codebook)
    changes = settings_changes(row("rvq-ae", replace(preset, tokenizer=tokenizer)))
    assert set(changes.split(", ")) == {
        "num_init_fits=512",
        "codebook.num_quantizers=8",
        "codebook.squared_weight=0.0",
    }
    assert settings_changes(row("bins", replace(preset, tokenizer=tokenizer))) == "num_init_fits=512"


def test_gpt_bits_stay_while_the_quantizer_is_the_same(tmp_path):
    add_rows(tmp_path, [row("bins", fingerprint="a", gpt_bits_fraction=0.5)])
    add_rows(tmp_path, [row("bins", fingerprint="a", gpt_bits_fraction=None)])
    assert read_rows(tmp_path)[0]["gpt_bits_fraction"] == 0.5
    add_rows(tmp_path, [row("bins", fingerprint="b", gpt_bits_fraction=None)])
    assert read_rows(tmp_path)[0]["gpt_bits_fraction"] is None


def test_published_rows_differ_in_their_settings_and_fill_the_table():
    rows = read_rows(RESULTS)
    assert len({identity(r) for r in rows}) == len(rows)
    assert main_table(rows).count("\n") == len(rows) + 1
    assert main_table(rows) in (RESULTS / "tokenizers.md").read_text()


def test_the_commands_of_published_rows_give_the_corpus_and_the_tokenizer_of_the_row():
    for published in read_rows(RESULTS):
        config = parse(PRESETS, "tokenization.measure", shlex.split(published["command"])[3:])
        assert config.full_corpus_name == published["corpus"]
        assert config.num_train == published["train_shapes"]
        assert published["tokenizer"] in ("plain-fit", *config.tokenizers)
