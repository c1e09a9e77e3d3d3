"""The program: what it leaves, what it reads again, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.fakes import sphere_shape, tiny_codebook, tiny_corpus, tiny_graph
from tests.pictures import picture_size, read_picture
from tests.tokenization.measure.fakes import SMALL
from tokenization.measure import __main__ as program
from tokenization.measure import page, pictures
from tokenization.measure.benchmark import prepare_benchmark
from tokenization.measure.pictures import shown_shapes
from weightgpt.fields import fitting
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.io import read_tensors
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.graph import INITIALIZATION_SEED, GraphQuantizer
from weightgpt.tokens.tokenizer import WeightTokenizer

NAMES = ("rvq-ae", "delta-lloyd-max")
TILE_SIZE = 48
"""Pixels of a shape; small pictures are drawn fast."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A small measurement and its rows."""
    config = replace(SMALL, corpus="six-families", num_held_out=12, num_train=12, tokenizers=NAMES)
    config = replace(config, output=tmp_path_factory.mktemp("measured"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "TILE_SIZE", TILE_SIZE)
        return config, program.measure_tokenizers(config, "python -m tokenization.measure")


def test_a_measurement_leaves_a_row_for_the_plain_fits_and_for_every_tokenizer(measured):
    config, rows = measured
    assert json.loads((config.output / "tokenizers.json").read_text())["rows"] == rows
    assert [row["tokenizer"] for row in rows] == ["plain-fit", *NAMES]
    for row in rows:
        assert {"tokens_per_field", "bits_per_field", "iou", "iou_ratio", "chamfer_ratio"} <= set(row)
        assert len(row["by_class"]) == 6
    assert rows[2]["iou_ratio"] > 0.9


def test_the_page_is_made_from_the_rows_alone(measured, monkeypatch):
    config, rows = measured
    text = (config.output / "tokenizers.md").read_text()
    assert page.main_table(rows) in text
    (config.output / "tokenizers.md").unlink()
    monkeypatch.setattr("sys.argv", ["page", "--output", str(config.output)])
    assert page.main() == 0
    assert (config.output / "tokenizers.md").read_text() == text


def test_the_picture_has_a_line_of_shapes_for_every_row(measured):
    config, rows = measured
    name = f"tokenizers-{config.full_corpus_name}.png"
    assert name in (config.output / "tokenizers.md").read_text()
    picture = read_picture(config.output / name)
    lines = np.split(picture[:, TILE_SIZE:], len(rows) + 1)  # true shapes, plain fits and tokenizers, without names
    assert picture.shape[1] == 7 * TILE_SIZE
    assert lines[0][:TILE_SIZE].std() > 10  # the true shapes are drawn
    assert all(not np.array_equal(line, lines[0]) for line in lines[1:])
    assert picture_size(config.output / f"rate-distortion-{config.full_corpus_name}.png")[0] > 500


def test_a_gpt_can_be_trained_from_the_folder_of_a_tokenizer(measured):
    config, rows = measured
    folder = config.output / config.full_corpus_name / rows[1]["folder"]
    tokenizer, ids = WeightTokenizer.from_pretrained(folder), read_tensors(folder / "ids.safetensors")
    assert tokenizer.quantizer.fingerprint == rows[1]["fingerprint"]
    shapes = json.loads((folder / "settings.json").read_text())["shapes"]
    assert {part: len(rows) for part, rows in ids.items()} == {"train": 4, "held_out": 12}
    for part in ids:
        labels = [shape["label"] for shape in shapes[part]][: len(ids[part])]
        assert tokenizer.class_names(ids[part].long()) == labels


def test_a_tokenizer_that_was_learned_before_is_read(measured, monkeypatch):
    config, rows = measured
    monkeypatch.setattr(program, "learn_quantizer", lambda *_, **__: pytest.fail("learned again"))
    monkeypatch.setattr(program, "write_strip", lambda *_, **__: None)  # slow
    assert program.measure_tokenizers(config, "python -m tokenization.measure") == rows


def test_a_graph_is_measured_on_random_init_fits(tmp_path, monkeypatch):
    encoded, encode = [], GraphQuantizer.encode

    def record(self, fields, *rest, **options):
        encoded.append(fields)
        return encode(self, fields, *rest, **options)

    monkeypatch.setattr(GraphQuantizer, "encode", record)
    monkeypatch.setattr(program, "write_strip", lambda *_, **__: None)  # slow
    config = replace(SMALL, tokenizers=("graph",), output=tmp_path)
    _, graph = program.measure_tokenizers(config, "command")
    assert (graph["num_quantizers"], graph["codebook_size"]) == (2, 8)
    prepared = prepare_benchmark(config, tmp_path / "chairs" / "shared")
    for fields, shared_init_fits in zip(encoded, (prepared.corpus.fits, prepared.plain_fits), strict=True):
        distance = (fields.flat - shared_init_fits.flat).square().sum(1)
        assert (distance > 4 * (shared_init_fits.flat - prepared.corpus.shared_init).square().sum(1)).all()


def test_the_graph_quantizer_encodes_fields_of_random_initializations_and_not_the_plain_fits():
    quantizer, corpus = tiny_graph(tiny_codebook()), tiny_corpus(24)
    samples = corpus.samples.select(slice(0, 3))
    codes = quantizer.encode_fits(samples, corpus.fits.select(slice(0, 3)), EncodeConfig())
    starts = fitting.own_initializations(quantizer.field_config, samples.sdf, INITIALIZATION_SEED)
    options = FitConfig(seed=INITIALIZATION_SEED)
    random_init_fits = fit(quantizer.field_config, samples, options, shared_init=starts).fields
    assert torch.equal(codes, quantizer.encode(random_init_fits))
    assert not any(torch.equal(starts[0], starts[i]) for i in (1, 2))


def test_six_shapes_are_shown_from_the_classes_in_turn():
    shapes = [sphere_shape(0.5, label=label) for label in "aaaaabbbc"]
    assert shown_shapes(shapes) == [0, 5, 8, 1, 6, 2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["built-in", "--tokenizers", "vq"], "no tokenizer 'vq'"),
        (["mesh-files", "--corpus", "EMPTY"], "error:"),
        (["built-in", "--num-train", "0"], "num_train is 0; give 1 or more"),
        (["built-in", "--codebook-steps", "3"], "codebook-steps"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(tmp_path, monkeypatch, capsys, arguments, sentence):
    (tmp_path / "EMPTY").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["measure", *arguments, "--output", "out"])
    assert program.main() == 2
    assert sentence in capsys.readouterr().err
