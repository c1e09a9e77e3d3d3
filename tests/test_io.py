"""Files are written as a whole or not at all, and unreadable files give an error of one sentence."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from weightgpt.errors import InputError
from weightgpt.io import (
    atomic_write,
    check_neighbors,
    neighbor_digests,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def names(folder: Path) -> list[str]:
    """Everything in `folder`, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def write_half(target: Path, error: type[BaseException], folder: bool = False) -> None:
    """Write half of a file, or of a folder with a file, and raise an error."""
    with atomic_write(target) as draft:
        if folder:
            draft.mkdir()
        (draft / "half" if folder else draft).write_text("half")
        raise error


def test_the_old_file_stays_until_the_block_ends(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_write(target) as draft:
        draft.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_old_file_and_no_draft(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_in_the_block_leaves_no_new_file(tmp_path):
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "a.txt", RuntimeError)
    assert names(tmp_path) == []


def test_a_folder_replaces_the_old_folder_as_a_whole(tmp_path):
    target = tmp_path / "box"
    target.mkdir()
    (target / "gone").write_text("old")
    with atomic_write(target) as draft:
        draft.mkdir()
        (draft / "here").write_text("new")
    assert names(tmp_path) == ["box"]
    assert names(target) == ["here"]


def test_an_error_in_the_block_leaves_the_old_folder_and_no_draft(tmp_path):
    target = tmp_path / "box"
    target.mkdir()
    (target / "content").write_text("old")
    with pytest.raises(RuntimeError):
        write_half(target, RuntimeError, folder=True)
    assert names(tmp_path) == ["box"]
    assert names(target) == ["content"]


def test_missing_parents_are_created(tmp_path):
    write_json(tmp_path / "a" / "b" / "c.json", [1])
    assert read_json(tmp_path / "a" / "b" / "c.json") == [1]


@pytest.mark.parametrize("within", ["a.json", "deeper/a.json"])
def test_a_parent_that_is_a_file_is_refused(tmp_path, within):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        write_json(tmp_path / "file" / within, 1)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="Permission denied"):
        write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == []


def test_a_folder_with_the_name_of_the_file_is_refused_and_stays(tmp_path):
    (tmp_path / "a.json").mkdir()
    (tmp_path / "a.json" / "content").write_text("old")
    with pytest.raises(InputError, match="cannot write"):
        write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == ["a.json"]
    assert names(tmp_path / "a.json") == ["content"]


def test_a_file_with_the_name_of_the_folder_is_refused_and_stays(tmp_path):
    (tmp_path / "box").write_text("old")
    with pytest.raises(InputError, match="cannot write"), atomic_write(tmp_path / "box") as draft:
        draft.mkdir()
    assert names(tmp_path) == ["box"]
    assert (tmp_path / "box").read_text() == "old"


def test_a_path_without_a_name_is_refused():
    with pytest.raises(InputError, match="no name"), atomic_write("."):
        pass


@given(value=JSON)
@settings(max_examples=40, deadline=None)
def test_json_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert json.loads(path.read_text(encoding="utf-8")) == value


def test_nan_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert names(tmp_path) == []


def test_a_cut_json_file_is_refused_at_every_length(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"names": ["a", "ü"], "numbers": [1, 2.5]})
    content = path.read_bytes()
    for size in range(len(content.rstrip())):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="not valid JSON"):
            read_json(path)


def test_paths_that_are_no_json_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(tmp_path / "deep.json")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.bool])
def test_tensors_are_read_back_bit_for_bit(tmp_path, dtype):
    tensors = {"a": (torch.randn(3, 4) * 9).to(dtype).T, "empty": torch.zeros(0, 2, dtype=dtype)}
    write_tensors(tmp_path / "a.safetensors", tensors)
    again = read_tensors(tmp_path / "a.safetensors")
    assert set(again) == set(tensors)
    for name, tensor in tensors.items():
        assert again[name].dtype == dtype
        assert torch.equal(again[name], tensor)


def test_cut_tensor_files_are_refused_at_many_lengths(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.arange(64.0)})
    content = path.read_bytes()
    for size in (0, 1, 7, 8, 9, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="not a whole safetensors file"):
            read_tensors(path)


def test_a_missing_tensor_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_tensors(tmp_path / "absent.safetensors")


class Bomb:
    """Creates a file when an instance is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("dump", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_a_pickle_is_refused_and_never_run(tmp_path, dump):
    dump(Bomb(tmp_path / "mark"), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        read_tensors(tmp_path / "a.safetensors")
    assert not (tmp_path / "mark").exists()


def test_fault_14_a_file_that_has_lost_its_checksum_is_refused(tmp_path):
    """Only a file of transformers may have none; a file with the checksum of another one is not of transformers."""
    path, tensors = tmp_path / "a.safetensors", {"a": torch.arange(4.0)}
    for metadata in (None, {"format": "pt"}, {"sha256:b.json": "0" * 64}):
        save_file(tensors, path, metadata)
        with pytest.raises(InputError, match="has no checksum, so a change would not be noticed; make or download it"):
            read_tensors(path)
    for metadata in (None, {"format": "np"}, {"format": "pt", "sha256:b.json": "0" * 64}):
        save_file(tensors, path, metadata)
        with pytest.raises(InputError, match="has no checksum"):
            read_tensors(path, needs_checksum=False)
    save_file(tensors, path, {"format": "pt"})
    assert torch.equal(read_tensors(path, needs_checksum=False)["a"], tensors["a"])


def test_fault_14_a_file_without_the_checksum_of_its_neighbor_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_json(tmp_path / "b.json", [])
    write_tensors(path, {"a": torch.arange(4.0)}, neighbor_digests(tmp_path, ["b.json"]))
    check_neighbors(path, ["b.json", "absent.json"])
    write_tensors(path, {"a": torch.arange(4.0)})
    with pytest.raises(InputError, match=r"b\.json is not the one that a\.safetensors was saved with"):
        check_neighbors(path, ["b.json"])
