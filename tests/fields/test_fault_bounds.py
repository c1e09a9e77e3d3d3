"""Names, scales and positions of a file of fields have bounds."""

from pathlib import Path

import pytest
import torch

from tests.fakes import tiny_config
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields


def test_fault_74_a_scale_or_a_name_beyond_all_bounds_is_refused(tmp_path: Path):
    for scale in (1e300, 1e31, 1e-300):
        with pytest.raises(InputError, match="give shapes of an ordinary size"):
            ShapeMetadata(("a",), ("b",), torch.zeros(1, 3).double(), torch.tensor([scale], dtype=torch.float64))
    with pytest.raises(InputError, match="more than 1000 characters"):
        ShapeMetadata.plain(["x" * 10**6], ["none"])
    save_fields(
        tmp_path / "f.safetensors", Fields(tiny_config(), torch.zeros(1, 109)), ShapeMetadata.plain(["\x1b[2J"], ["a"])
    )
    assert load_fields(tmp_path / "f.safetensors")[1].names == ("\ufffd[2J",)
