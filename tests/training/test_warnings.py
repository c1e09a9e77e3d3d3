"""Values that mean that something is wrong are said in words; a sound run says nothing."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from training.report.html import Report, write_report
from training.report.warnings import run_warnings
from weightgpt.io import read_json

SOUND: dict[str, Any] = {
    "iou": 0.917,
    "iou_plain_fit": 0.922,
    "iou_ratio": 0.994,
    "by_class": {"chair": {"iou": 0.861, "iou_plain_fit": 0.886}, "mug": {"iou": 0.936, "iou_plain_fit": 0.932}},
    "iou_gain_last_quarter": 0.003,
    "codebook_size": 256,
    "dead_codes": [0, 0],
    "perplexity": [231.7, 222.1],
    "gpt_bits_fraction": 0.34,
    "gpt_bits_per_token": 2.7,
    "uniform_bits_per_token": 8.0,
    "decode_rate": 1.0,
    "samples_equal_to_training": 0,
    "held_out": 96,
    "samples": {"count": 96, "one_piece": 0.97, "nearest_train_ratio": 1.1, "memorized_share": 0.04},
    "reference": {"one_piece": 1.0},
}
"""The values of the demo."""


def changed(path: str, value: object) -> dict[str, Any]:
    metrics = copy.deepcopy(SOUND)
    *folders, name = path.split(".")
    target = metrics
    for folder in folders:
        target = target[folder]
    target[name] = value
    return metrics


def test_a_sound_run_says_nothing():
    assert run_warnings(SOUND) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("samples.nearest_train_ratio", 0.42, "copies of training shapes: they lie at 0.42"),
        ("samples.memorized_share", 0.6, "and 60 % of them are nearer than 95 % of held-out shapes"),
        ("iou_ratio", 0.71, "The tokens lose much of the shapes"),
        ("by_class.mug.iou", 0.45, "lose much of the class mug: after them the IoU is 0.45, and 0.93 without tokens"),
        ("iou_plain_fit", 0.3, "The plain fits are far from the shapes"),
        ("held_out", 3, "held-out test shapes is only 3"),
        ("gpt_bits_fraction", 0.99, "The GPT has learned little"),
        ("decode_rate", 0.5, "Only 50 % of the samples decode"),
        ("samples.one_piece", 0.2, "Only 20 % of the samples are one piece, and 100 % of the true shapes"),
    ],
)
def test_a_value_that_means_that_something_is_wrong_is_said(path, value, words):
    warnings = run_warnings(changed(path, value))
    assert len(warnings) == 1
    assert words in warnings[0]


def test_fault_40_fits_that_have_not_converged_are_said():
    (warning,) = run_warnings(changed("iou_gain_last_quarter", 0.1))
    assert "have not converged: their IoU gained 0.1" in warning


@pytest.mark.parametrize(("key", "values"), [("perplexity", [200.0, 9.0]), ("dead_codes", [0, 200])])
def test_fault_44_a_collapsed_codebook_is_said(key, values):
    (warning,) = run_warnings(changed(key, values))
    assert "has collapsed at level 2" in warning


def test_fault_55_samples_equal_to_a_training_sequence_are_said():
    (warning,) = run_warnings(changed("samples_equal_to_training", 5))
    assert "5 of 96 samples have exactly the tokens of a training shape" in warning


def test_a_small_corpus_of_copies_says_so_although_its_set_metrics_look_good():
    """293 files of two classes: 1-NNA .40 and COV .62 look perfect, but the samples are copies."""
    metrics = copy.deepcopy(SOUND)
    metrics |= {"iou": 0.639, "iou_plain_fit": 0.9, "iou_ratio": 0.71, "held_out": 29}
    metrics["by_class"] = {
        "tree": {"iou": 0.432, "iou_plain_fit": 0.9},  # .48 of the plain fit
        "building": {"iou": 0.81, "iou_plain_fit": 0.9},
    }
    metrics["samples"] |= {"one_nna": 0.4, "cov": 0.62, "nearest_train_ratio": 0.42, "memorized_share": 0.5}
    copies, tokens, of_class = run_warnings(metrics)
    assert "they lie at 0.42 of the distance at which held-out shapes lie" in copies
    assert "1-NNA and COV look good for copies" in copies
    assert "after them the IoU is 0.64, and 0.9 without tokens" in tokens
    assert "the class tree: after them the IoU is 0.43, and 0.9 without tokens" in of_class


def test_the_figures_of_the_demo_are_no_warning():
    """As the page of the demo has them, and not as this file repeats them."""
    page = (Path(__file__).parents[2] / "docs" / "results" / "demo.md").read_text(encoding="utf-8")
    metrics: dict[str, Any] = {}
    for key, text in re.findall(r"^\| `([\w.]+)` +\| (.+?) +\|$", page, re.MULTILINE):
        values = [float(part.replace(",", "")) for part in text.split(", ") if re.fullmatch(r"[\d,]+(\.\d+)?", part)]
        *folders, name = key.split(".")
        target = metrics
        for folder in folders:
            target = target.setdefault(folder, {})
        target[name] = values[0] if len(values) == 1 else values
    assert metrics["samples"]["nearest_train_ratio"] > 0.7
    assert run_warnings(metrics) == []


def test_values_that_do_not_exist_are_no_warning():
    metrics = changed("samples.nearest_train_ratio", None)
    metrics["samples"] |= {"memorized_share": None, "one_piece": None}
    assert run_warnings(metrics) == []


def test_a_run_stores_its_warnings_and_shows_them_at_the_top_of_the_report(finished):
    warnings = read_json(finished / "metrics.json")["warnings"]
    assert any("held-out test shapes" in warning for warning in warnings)
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.index(warnings[-1]) < page.index("Generated shapes")


def test_warnings_are_escaped_and_a_report_without_any_has_an_empty_list(tmp_path):
    write_report(tmp_path, Report(title="t", summary="s", warnings=["<b>"]))
    assert "<li>&lt;b&gt;</li>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    write_report(tmp_path, Report(title="t", summary="s"))
    assert '<ul class="warnings card"></ul>' in (tmp_path / "report.html").read_text(encoding="utf-8")
