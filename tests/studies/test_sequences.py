"""Sequences come from a measured tokenizer, from a run, or from new built-in shapes."""

from pathlib import Path

import pytest
import torch

from studies import sequences
from studies.sequences import draw_sequences, load_measured, load_run
from tests.fakes import tiny_tokenizer
from tests.studies.sequence_fakes import random_sequences, to_ids, write_measured, write_run
from weightgpt.errors import InputError


def test_a_measured_tokenizer_validates_on_the_last_training_shapes(tmp_path: Path):
    written = random_sequences((60, 4, 24))
    write_measured(tmp_path, written)
    source = load_measured(tmp_path / "balls" / "tiny-1234")
    assert (source.corpus, source.name, source.reconstruction) == ("balls", "tiny", {"iou_ratio": 0.75})
    for part in ("train", "validation", "held_out"):
        assert getattr(source.sequences, part).equal(getattr(written, part))


def test_a_measured_tokenizer_without_a_row_is_called_after_its_folder(tmp_path: Path):
    write_measured(tmp_path, random_sequences((60, 4, 24)))
    (tmp_path / "tokenizers.json").unlink()
    source = load_measured(tmp_path / "balls" / "tiny-1234")
    assert (source.name, source.reconstruction) == ("tiny-1234", {})


def test_the_splits_of_a_run_stay_as_they_are(tmp_path: Path):
    write_run(tmp_path / "run", (40, 8, 16))
    source = load_run(tmp_path / "run")
    assert (source.corpus, source.name) == ("balls", "fsq of run")
    assert source.reconstruction == {"iou": 0.5, "iou_ratio": 0.625}
    assert [len(part) for part in vars(source.sequences).values()] == [40, 8, 16]
    assert source.sequences.held_out.equal(to_ids((torch.arange(48, 64) % 8)[:, None, None].expand(16, 3, 2)))


def test_a_larger_number_of_shapes_begins_with_those_of_a_smaller(tmp_path: Path):
    tokenizer = tiny_tokenizer()
    few, many = draw_sequences(tokenizer, 4, 6, 0, tmp_path), draw_sequences(tokenizer, 10, 6, 0, tmp_path)
    assert many.train[:4].equal(few.train)
    assert tokenizer.class_names(many.train[:3]) == ["chair", "table", "chair"]


def test_the_parts_and_the_seeds_of_shapes_differ(tmp_path: Path):
    first, second = (draw_sequences(tiny_tokenizer(), 6, 6, seed, tmp_path) for seed in (0, 1))
    parts = [*vars(first).values(), *vars(second).values()]
    assert all(not a.equal(b) for i, a in enumerate(parts) for b in parts[:i])


def test_shapes_are_encoded_once(tmp_path: Path, monkeypatch):
    first = draw_sequences(tiny_tokenizer(), 4, 2, 0, tmp_path)
    monkeypatch.setattr(sequences, "draw_shapes", None)  # would fail if shapes were drawn again
    assert draw_sequences(tiny_tokenizer(), 4, 2, 0, tmp_path).train.equal(first.train)


def test_classes_that_are_no_families_cannot_be_generated(tmp_path: Path):
    with pytest.raises(InputError, match="shapes of ball cannot be drawn"):
        draw_sequences(tiny_tokenizer(("ball",)), 4, 2, 0, tmp_path)
