"""The report on neurons in another order: its figures by hand, and the whole of it on very little."""

import json
import sys

import pytest
import torch

from studies import symmetry
from tests.fakes import tiny_config, tiny_corpus, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.symmetry import permute, random_permutations
from weightgpt.shapes.sampling import Samples, uniform_points


def test_a_shuffled_table_loses_the_shape_and_alignment_brings_it_back():
    """The fields are ones that the tables write without error, so aligned ones decode to themselves exactly."""
    quantizer = tiny_weight_vq()
    codes = torch.randint(8, (6, quantizer.num_chunks, 2), generator=torch.Generator().manual_seed(0))
    fields = quantizer.decode(codes)
    points = uniform_points(2048, 3, 0)
    judged = Samples(points, fields(points)[..., 0])
    rows = symmetry.round_trips("tables", quantizer, {"own": fields, "strangers": fields}, judged)
    found = {row["source"]: row for row in rows}
    assert {row["iou_of_the_fit"] for row in rows} == {1.0}
    assert found["as fitted"]["iou_without"] > 0.9
    assert found["shuffled"]["iou_without"] < 0.8
    assert found["shuffled"]["iou_aligned"] == found["as fitted"]["iou_aligned"]
    assert found["shuffled"]["gained"] == found["shuffled"]["iou_aligned"] - found["shuffled"]["iou_without"]


def test_exact_recovery_is_counted_and_distances_are_means():
    corpus = tiny_corpus()
    found = symmetry.permuted(corpus.fits, corpus.shared_init)
    assert (found["fields"], found["exact"]) == (24, 24)
    assert found["distance_from_fit_aligned"] == 0 < found["distance_from_fit_shuffled"]
    assert found["distance_aligned"] == found["distance_as_fitted"] < found["distance_shuffled"]
    twice = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert symmetry.distance(twice, torch.zeros(2)) == 3


def test_a_field_that_comes_back_with_one_other_weight_is_not_exact(monkeypatch):
    corpus = tiny_corpus()

    def nearly(config, flat, reference):
        wrong = corpus.fits.flat.clone()
        wrong[3, 5] += 1e-6
        return wrong, []

    monkeypatch.setattr(symmetry, "align", nearly)
    assert symmetry.permuted(corpus.fits, corpus.shared_init)["exact"] == 23


def test_strangers_come_nearer_and_their_function_stays():
    corpus = tiny_corpus()
    flat = permute(tiny_config(), corpus.fits.flat, random_permutations(tiny_config(), 24, 5))
    found = symmetry.distances(Fields(tiny_config(), flat), corpus.shared_init)
    assert found["ratio"] == found["distance_aligned"] / found["distance_before"] < 0.5
    difference = symmetry.function(corpus.fits, uniform_points(256, 3, 0))
    assert 0 <= difference["double"] < 1e-13
    assert difference["double"] < difference["single"] < 1e-4


@pytest.mark.slow
def test_a_quick_report_goes_on_where_it_stopped_and_refuses_other_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["symmetry", "--quick", "--output", str(tmp_path)])
    assert symmetry.main() == 0
    found = json.loads((tmp_path / "symmetry.json").read_text())
    assert [row["tokenizer"] for row in found["round_trips"]] == ["scalar table"] * 3 + ["residual table"] * 3
    assert found["permuted"]["exact"] == 16
    assert (tmp_path / "symmetry.md").read_text() in capsys.readouterr().out
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert symmetry.main() == 0
    assert json.loads((tmp_path / "symmetry.json").read_text()) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == made
    with pytest.raises(InputError, match="other settings"):
        symmetry.measure(symmetry.Settings(), [], tmp_path, "")
