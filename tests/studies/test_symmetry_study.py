"""The study of neuron order: its figures by hand, and a quick run of all of it."""

import json
import sys

import pytest
import torch

from studies.symmetry import __main__ as symmetry
from studies.symmetry.page import render_page
from tests.fakes import tiny_config, tiny_corpus, tiny_tokenizer, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.symmetry import permute, random_permutations
from weightgpt.shapes.sampling import Samples, uniform_points


def test_a_permuted_field_loses_its_shape_in_a_weight_vq_and_alignment_restores_it():
    """The weight VQ encodes these fields without error, so aligned fields decode to themselves exactly."""
    quantizer = tiny_weight_vq()
    codes = torch.randint(8, (6, quantizer.num_chunks, 2), generator=torch.Generator().manual_seed(0))
    fields = quantizer.decode(codes)
    points = uniform_points(2048, 3, 0)
    evaluation = Samples(points, fields(points)[..., 0])
    rows = symmetry.measure_round_trips("tables", quantizer, fields, fields, evaluation)
    by_source = {row["source"]: row for row in rows}
    assert {row["iou_plain_fit"] for row in rows} == {1.0}
    assert by_source["as fitted"]["iou"] > 0.9
    assert by_source["permuted"]["iou"] < 0.8
    assert by_source["permuted"]["iou_aligned"] == by_source["as fitted"]["iou_aligned"]
    assert by_source["permuted"]["gain"] == by_source["permuted"]["iou_aligned"] - by_source["permuted"]["iou"]


def test_restored_fits_are_counted_and_distances_are_means():
    corpus = tiny_corpus()
    figures = symmetry.measure_permuted_fits(corpus.fits, corpus.shared_init)
    assert (figures["fields"], figures["restored_exactly"]) == (24, 24)
    assert figures["distance_from_fit_aligned"] == 0 < figures["distance_from_fit_permuted"]
    assert figures["distance_aligned"] == figures["distance_as_fitted"] < figures["distance_permuted"]
    two_fields = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert symmetry.mean_distance(two_fields, torch.zeros(2)) == 3


def test_a_fit_with_one_changed_weight_is_not_restored(monkeypatch):
    corpus = tiny_corpus()

    def align_with_an_error(config, flat, reference):
        aligned = corpus.fits.flat.clone()
        aligned[3, 5] += 1e-6
        return aligned, []

    monkeypatch.setattr(symmetry, "align", align_with_an_error)
    assert symmetry.measure_permuted_fits(corpus.fits, corpus.shared_init)["restored_exactly"] == 23


def test_alignment_shortens_the_distance_and_keeps_the_function():
    corpus = tiny_corpus()
    flat = permute(tiny_config(), corpus.fits.flat, random_permutations(tiny_config(), 24, 5))
    figures = symmetry.measure_distances(Fields(tiny_config(), flat), corpus.shared_init)
    assert figures["ratio"] == figures["distance_aligned"] / figures["distance_before"] < 0.5
    difference = symmetry.measure_function(corpus.fits, uniform_points(256, 3, 0))
    assert 0 <= difference["double"] < 1e-13
    assert difference["double"] < difference["single"] < 1e-4


def test_a_tokenizer_of_another_architecture_is_refused(tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is not a tokenizer for fields of FieldConfig"):
        symmetry.load_quantizers([tmp_path], FieldConfig())


@pytest.mark.slow
def test_the_same_command_resumes_a_quick_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["symmetry", "quick", "--output", str(tmp_path)])
    assert symmetry.main() == 0
    result = json.loads((tmp_path / "symmetry.json").read_text())
    assert [row["tokenizer"] for row in result["round_trips"]] == ["scalar VQ"] * 3 + ["residual VQ"] * 3
    assert result["permuted"]["restored_exactly"] == 16
    assert (tmp_path / "symmetry.md").read_text() == render_page(result)
    assert render_page(result) in capsys.readouterr().out
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert symmetry.main() == 0
    assert json.loads((tmp_path / "symmetry.json").read_text()) == result
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == files
