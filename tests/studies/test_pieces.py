"""The study of thin parts: how pieces are counted, and how codebooks of every loss are measured once."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from studies import pieces
from tests.fakes import fitted_sphere, tiny_config
from tests.tokenization.measure.fakes import tiny_benchmark
from weightgpt.fields.field import Fields
from weightgpt.formatting import markdown_table
from weightgpt.io import read_json


def test_a_ball_is_in_one_piece_and_an_empty_field_is_not():
    ball, empty = fitted_sphere(), torch.zeros_like(fitted_sphere())
    empty[-1] = 1.0  # the bias of the output: outside everywhere
    assert pieces.in_one_piece(Fields(tiny_config(), torch.stack([ball, empty])), resolution=32).tolist() == [1, 0]


def test_the_losses_are_all_pairs_of_sides_and_squares_and_differ_in_nothing_else():
    configs = pieces.codebook_configs(steps=7)
    assert {(config.balance_sides, config.squared_weight) for config in configs} == {
        (sides, weight) for sides in (False, True) for weight in (0.0, 4.0)
    }
    others = [{**vars(config), "balance_sides": None, "squared_weight": None} for config in configs]
    assert all(other == others[0] for other in others)
    assert (configs[0].steps, configs[0].num_quantizers, configs[0].num_trained) == (7, 5, 8)


SMALL = {
    "latent_width": 4,
    "coefficients": 4,
    "latent_decoder_width": 8,
    "num_quantizers": 2,
    "codebook_size": 8,
    "neurons_per_chunk": 6,
    "num_probes": 64,
}


def test_every_loss_is_learned_once_and_only_chairs_count_as_chairs(tmp_path: Path, monkeypatch):
    configs = [replace(config, **SMALL) for config in pieces.codebook_configs(steps=20)]
    monkeypatch.setattr(pieces, "codebook_configs", lambda steps: configs)
    monkeypatch.setattr(pieces, "prepare_benchmark", lambda config, folder: tiny_benchmark())
    monkeypatch.setattr(sys, "argv", ["pieces", f"--output={tmp_path}", "--num-seeds=1", "--num-shapes=12"])
    chairs = torch.tensor([shape.label == "chair" for shape in pieces.draw_shapes(12, pieces.NEW_SHAPES_SEED)])
    monkeypatch.setattr(pieces, "in_one_piece", lambda fields: chairs.float())
    learn_codebook, learned = pieces.learn_codebook, []

    def record(corpus, config, *, progress):
        learned.append(config)
        return learn_codebook(corpus, config)

    monkeypatch.setattr(pieces, "learn_codebook", record)
    assert pieces.main() == 0
    rows = read_json(tmp_path / pieces.ROWS_FILE)["rows"]
    assert [(row["balance_sides"], row["squared_weight"], row["seed"]) for row in rows] == [
        (False, 0.0, 0),
        (True, 0.0, 0),
        (False, 4.0, 0),
        (True, 4.0, 0),
    ]
    assert all(row["one_piece_chairs"] == row["one_piece_chairs_noise"] == 1 for row in rows)
    assert all(row["one_piece"] == pytest.approx(float(chairs.float().mean())) for row in rows)
    assert learned == configs
    text = (tmp_path / pieces.PAGE_FILE).read_text()
    assert markdown_table(pieces.HEADERS, pieces.table_rows(rows)) in text
    assert pieces.main() == 0
    assert len(learned) == len(configs)
    assert (tmp_path / pieces.PAGE_FILE).read_text() == text
