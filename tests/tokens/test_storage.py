"""Files of tokens are read as they were written, and files with a fault are refused."""

import json
from pathlib import Path

import pytest
import torch

from weightgpt.errors import InputError
from weightgpt.fields.storage import ShapeMetadata
from weightgpt.tokens.storage import Tokens, load_tokens, save_tokens

METADATA = ShapeMetadata(
    ("a", "b"), ("chair", "none"), torch.tensor([[1.0, 2.0, 0.1]] * 2).double(), torch.tensor([0.1, 3.0]).double()
)
TOKENS = Tokens(torch.tensor([[1, 4, 7, 2], [1, 5, 2**40, 2]]), "0123456789abcdef", METADATA)


def test_tokens_are_read_as_they_were_written(tmp_path: Path):
    save_tokens(tmp_path / "tokens.json", TOKENS)
    loaded = load_tokens(tmp_path / "tokens.json")
    assert torch.equal(loaded.ids, TOKENS.ids)
    assert loaded.fingerprint == TOKENS.fingerprint
    assert (loaded.metadata.names, loaded.metadata.labels) == (METADATA.names, METADATA.labels)
    assert torch.equal(loaded.metadata.center, METADATA.center)
    assert torch.equal(loaded.metadata.scale, METADATA.scale)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "weightgpt.fields"}, "is weightgpt.fields, not weightgpt.tokens"),
        ({"version": 2}, "is of version 2"),
        ({"ids": [[1, 4, 7, 2]]}, "1 shapes have 2 names"),
        ({"ids": [[1, 4], [1]]}, "is not a whole file of tokens"),
        ({"ids": [[1.0, 4], [1, 4]]}, "an id is not a whole number"),
        ({"ids": [[True, 4], [1, 4]]}, "an id is not a whole number"),
        ({"ids": None}, "is not a whole file of tokens"),
        ({"names": ["a", 1]}, "names and labels are not lists of text"),
        ({"scale": [1.0, 0.0]}, "a scale is not positive"),
        ({"center": [[1.0, 2.0, 3.0]]}, "2 names need"),
    ],
)
def test_a_file_with_a_fault_is_refused(tmp_path: Path, change: dict, message: str):
    path = tmp_path / "tokens.json"
    save_tokens(path, TOKENS)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_tokens(path)


@pytest.mark.parametrize("key", ["ids", "names", "labels", "center", "scale", "codebook_fingerprint"])
def test_a_file_without_one_of_its_keys_is_refused(tmp_path: Path, key: str):
    path = tmp_path / "tokens.json"
    save_tokens(path, TOKENS)
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    with pytest.raises(InputError, match=f"is not a whole file of tokens .*{key}"):
        load_tokens(path)


def test_metadata_of_another_number_of_shapes_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="1 shapes have 2 names"):
        save_tokens(tmp_path / "tokens.json", Tokens(TOKENS.ids[:1], TOKENS.fingerprint, METADATA))
    assert list(tmp_path.iterdir()) == []
