"""Shapes and plain fits of a measurement: disjoint parts, stored fits, fits that are long enough."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import trimesh

from tests.tokenization.measure.fakes import SMALL
from tokenization.measure import benchmark
from tokenization.measure.benchmark import load_shapes, prepare_benchmark, read_shapes
from weightgpt.errors import InputError
from weightgpt.fields import fitting
from weightgpt.fields.config import FieldConfig


def test_built_in_shapes_are_split_without_overlap():
    train, held_out = load_shapes(replace(SMALL, corpus="six-families", num_train=18, num_held_out=12))
    assert (len(train), len(held_out)) == (18, 12)
    assert not {shape.name for shape in train} & {shape.name for shape in held_out}


def test_files_are_augmented_and_copies_of_held_out_files_are_not_learned_from(tmp_path):
    (tmp_path / "brick").mkdir()
    for i in range(6):
        trimesh.creation.box().apply_scale([1, 1 + 0.1 * i, 1]).export(tmp_path / "brick" / f"{i}.ply")
    train, held_out = load_shapes(replace(SMALL, corpus=str(tmp_path), num_train=10, num_held_out=2))
    assert (len(train), len(held_out)) == (10, 2)
    assert not {shape.name.split("~")[0] for shape in train} & {shape.name for shape in held_out}


def test_some_classes_of_a_folder_are_the_same_shapes_as_in_the_whole_and_each_is_held_out(tmp_path):
    for label in ("ball", "brick", "other"):
        (tmp_path / label / "deep").mkdir(parents=True)
        for i in range(6):
            make = trimesh.creation.box if label == "brick" else partial(trimesh.creation.icosphere, subdivisions=1)
            make().apply_scale([1, 1 + 0.1 * i, 1]).export(tmp_path / label / ("deep" if i % 2 else "") / f"{i}.ply")
    config = replace(SMALL, corpus=str(tmp_path), classes=("ball", "brick"), num_train=8, num_held_out=4)
    train, held_out = load_shapes(config)
    assert sorted(shape.label for shape in held_out) == ["ball", "ball", "brick", "brick"]
    whole = {(shape.name, shape.label) for shape in read_shapes(tmp_path, ())}
    assert {(shape.name, shape.label) for shape in [*train, *held_out]} == {
        pair for pair in whole if pair[1] != "other"
    }
    with pytest.raises(InputError, match="not a folder"):
        load_shapes(replace(config, classes=("ball", "cube")))


def test_other_codebook_settings_reuse_the_fits_and_other_fields_need_new_ones(tmp_path, monkeypatch):
    fitted, fit_batch = [], fitting._fit_batch
    monkeypatch.setattr(fitting, "_fit_batch", lambda config, *rest: fitted.append(config) or fit_batch(config, *rest))
    first = prepare_benchmark(SMALL, tmp_path)
    assert fitted == [SMALL.tokenizer.field] * 3  # the shared initialization, the held-out shapes, the training shapes
    codebook = replace(SMALL.tokenizer.codebook, steps=7)
    again = prepare_benchmark(replace(SMALL, tokenizer=replace(SMALL.tokenizer, codebook=codebook)), tmp_path)
    assert len(fitted) == 3
    assert torch.equal(again.plain_fits.flat, first.plain_fits.flat)
    field = FieldConfig(hidden=(8,))
    other = prepare_benchmark(replace(SMALL, tokenizer=replace(SMALL.tokenizer, field=field)), tmp_path)
    assert fitted[3:] == [field] * 3
    assert other.plain_fits.config == field
    assert torch.equal(other.samples.sdf, first.samples.sdf)


def test_fits_get_more_steps_while_they_still_improve(tmp_path, monkeypatch):
    gains = iter([0.02, 0.006, 0.004])
    monkeypatch.setattr(benchmark, "iou_gain_last_quarter", lambda *_: next(gains))
    longest = prepare_benchmark(replace(SMALL, max_fit_steps=100), tmp_path)
    assert (longest.corpus.fit.steps, longest.iou_gain_last_quarter) == (8, 0.004)
    monkeypatch.setattr(benchmark, "iou_gain_last_quarter", lambda *_: 1.0)
    assert prepare_benchmark(replace(SMALL, max_fit_steps=5), tmp_path).corpus.fit.steps == 4


def test_the_seed_of_the_measurement_is_the_seed_of_fits_and_learning(tmp_path):
    prepared = prepare_benchmark(replace(SMALL, seed=3), tmp_path)
    assert prepared.corpus.seed == prepared.corpus.fit.seed == 3
