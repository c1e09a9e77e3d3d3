"""The metrics of a run: values by hand, and the same rows as `weightgpt evaluate`."""

import math
from pathlib import Path

import pytest
import torch
from datasets import Dataset

from tests.fakes import box_shape, sphere_shape, tiny_gpt, tiny_tokenizer
from training.report.measure import evaluate_samples, gpt_metrics, reconstruction_metrics
from training.report.samples import decode_rate, numbered_names
from weightgpt.errors import InputError
from weightgpt.fields.storage import load_fields
from weightgpt.io import read_json
from weightgpt.metrics.evaluation import evaluate
from weightgpt.metrics.memorization import TrainingShapes
from weightgpt.metrics.shape_set import mesh_shapes
from weightgpt.shapes.sampling import sample_sdf, uniform_points


def test_a_run_and_the_evaluate_command_give_the_same_rows():
    """Sets of one size, so that both compare the same shapes; the probes differ, so the memorization check may too."""
    samples, held_out = (
        [sphere_shape(radius) for radius in (0.33, 0.5, 0.62)],
        [box_shape((s, 1, 1)) for s in (1, 1.2, 1.4)],
    )
    train = [sphere_shape(0.4), box_shape((1.1, 1, 1)), sphere_shape(0.6)]
    probes = uniform_points(64, 3, 0)
    training = TrainingShapes([shape.sdf for shape in train], probes, sample_sdf(train, probes).sdf)
    rows, nearest = evaluate_samples(
        mesh_shapes([shape.sdf for shape in samples], seed=0, resolution=24),
        [shape.sdf for shape in train],
        [shape.sdf for shape in held_out],
        training,
        24,
    )
    assert rows == evaluate(samples, train=train, held_out=held_out, resolution=24).rows
    assert len(nearest.index) == 3
    assert nearest.index[2] == 2  # the ball of radius 0.62 is nearest to that of 0.6


def test_the_rows_of_a_run_describe_its_files(finished: Path):
    metrics = read_json(finished / "metrics.json")
    fields, _ = load_fields(finished / "samples" / "fields.safetensors")
    shapes = mesh_shapes(fields.sdfs(), seed=0, resolution=24)
    assert metrics["samples"]["count"] == metrics["reference"]["count"] == len(fields) == 4
    assert metrics["samples"]["one_piece"] == shapes.rates().one_piece
    assert len(list((finished / "samples").glob("*.glb"))) == len(shapes.with_surface)
    assert metrics["reference"]["memorized_share"] is None
    assert metrics["held_out"] == metrics["shapes"]["test"] == 6


def test_reconstruction_by_hand():
    test = Dataset.from_dict({"iou": [0.4, 0.6, 0.8], "iou_plain_fit": [0.5, 0.7, 1.0], "label": ["a", "a", "b"]})
    train = Dataset.from_dict({"iou": [0.25, 0.75, None]})
    metrics = reconstruction_metrics(train, test)
    assert metrics["iou"] == pytest.approx(0.6)
    assert metrics["iou_ratio"] == pytest.approx(1.8 / 2.2)
    assert metrics["by_class"]["a"] == pytest.approx({"iou": 0.5, "iou_plain_fit": 0.6})
    assert metrics["train"] == {"iou": 0.5}


def test_gpt_metrics_agree_with_each_other():
    vocabulary = tiny_tokenizer().vocabulary
    shape = (3, vocabulary.num_chunks, vocabulary.num_quantizers)
    ids = vocabulary.ids(torch.zeros(shape, dtype=torch.long), ["chair"] * 3)
    metrics = gpt_metrics(tiny_gpt(vocabulary), ids, 8)
    assert metrics["gpt_bits_per_token"] == pytest.approx(metrics["gpt_loss"] / math.log(2))
    assert metrics["gpt_bits_fraction"] == pytest.approx(metrics["gpt_bits_per_token"] / 3)
    assert metrics["uniform_bits_per_token"] == 3


def test_a_sequence_that_does_not_decode_lowers_the_rate(capsys: pytest.CaptureFixture[str]):
    class Tokenizer:
        def decode(self, ids: torch.Tensor) -> None:
            if ids[0, 0] == 1:
                raise InputError("no field.")

    assert decode_rate(Tokenizer(), torch.tensor([[0], [1], [0], [0]])) == 0.75
    assert capsys.readouterr().err == "does not decode: no field.\n"


def test_names_are_numbered_within_each_class():
    assert numbered_names(["mug", "lamp", "mug"]) == ["mug-001", "lamp-001", "mug-002"]
