"""Pieces are counted, and codebooks of every kind are learned and judged once."""

import sys
from pathlib import Path

import pytest
import torch

from studies import pieces
from tests.fakes import fitted_sphere, tiny_config
from weightgpt.fields.field import Fields


def test_a_ball_is_in_one_piece_and_nothing_is_in_none():
    ball, nothing = fitted_sphere(), torch.zeros_like(fitted_sphere())
    nothing[-1] = 1.0  # the bias of the output: outside everywhere
    assert pieces.in_one_piece(Fields(tiny_config(), torch.stack([ball, nothing])), resolution=32).tolist() == [1, 0]


@pytest.mark.slow
def test_the_program_learns_codebooks_of_every_kind_and_keeps_them(tmp_path: Path, monkeypatch):
    numbers = {"train": 128, "steps": 20, "seeds": 1, "count": 12}
    words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["pieces", "--output", str(tmp_path), *words])
    assert pieces.main() == 0
    text = (tmp_path / "pieces.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")][2:]
    assert [row[:3] for row in rows] == [
        [near, squared, "0"] for squared in ("0", "4") for near in ("as they come", "half inside")
    ]
    assert len({tuple(row[3:]) for row in rows}) > 1
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row[3:])
    monkeypatch.setattr(pieces, "measured", None)  # would fail if one were learned again
    assert pieces.main() == 0
    assert (tmp_path / "pieces.md").read_text() == text
