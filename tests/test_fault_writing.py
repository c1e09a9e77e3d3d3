"""Faults of the disk and of other processes while a file is written."""

import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.fakes import tiny_config, tiny_gpt, tiny_tokenizer
from tests.test_io import names
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import save_fields
from weightgpt.io import atomic_write, write_json, write_tensors
from weightgpt.model import WeightGPT


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes; the error is EFBIG, which every writer meets as it meets ENOSPC."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def killed(write: object) -> int:
    """Run a function in a child process that kills itself; returns the number of the process."""
    child = os.fork()
    if child == 0:
        try:
            write()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return child


def write_half(target: Path, folder: bool) -> None:
    with atomic_write(target) as draft:
        if folder:
            draft.mkdir()
        (draft / "half" if folder else draft).write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("folder", [False, True])
def test_fault_04_drafts_of_killed_writers_go_at_the_next_write(tmp_path: Path, folder: bool):
    child = killed(lambda: write_half(tmp_path / "target", folder))
    (draft,) = names(tmp_path)
    assert f"-{child}-" in draft
    write_json(tmp_path / "another.json", 1)
    assert names(tmp_path) == ["another.json"]


def test_fault_04_drafts_of_living_writers_stay(tmp_path: Path):
    living = f".wg-{'0' * 8}-{os.getpid()}-{'0' * 8}.tmp"  # the same number on another machine
    (tmp_path / living).write_text("half")
    with atomic_write(tmp_path / "slow") as draft:
        draft.write_text("half")
        write_json(tmp_path / "quick.json", 1)
        assert draft.read_text() == "half"
    parent = draft.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    (tmp_path / parent).write_text("half")
    write_json(tmp_path / "quick.json", 2)
    assert names(tmp_path) == sorted([living, parent, "quick.json", "slow"])


def test_fault_04_a_draft_of_an_earlier_process_with_the_same_number_goes(tmp_path: Path):
    with atomic_write(tmp_path / "a") as draft:
        draft.write_text("a")
    (tmp_path / (draft.name[:-12] + "00000000.tmp")).write_text("half")
    write_json(tmp_path / "b.json", 1)
    assert names(tmp_path) == ["a", "b.json"]


def write_model(path: Path) -> None:
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(path)


def write_fields(path: Path) -> None:
    save_fields(path, Fields(tiny_config(), torch.zeros(40, tiny_config().parameters)))


@pytest.mark.parametrize(
    "write",
    [
        write_fields,
        lambda path: write_json(path, list(range(2000))),
        lambda path: write_tensors(path, {"a": torch.zeros(2000)}),
    ],
)
@pytest.mark.parametrize("size", [0, 1024])
def test_fault_06_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path: Path, write: object, size: int):
    (tmp_path / "file").write_text("old")
    with full_disk(size), pytest.raises(InputError, match=r"cannot write .*; free space on the disk or choose another"):
        write(tmp_path / "file")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("size", [0, 500, 2048, 8192])
def test_fault_06_a_full_disk_leaves_the_old_model(tmp_path: Path, size: int):
    write_model(tmp_path / "model")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full_disk(size), pytest.raises(InputError, match="cannot write"):
        write_model(tmp_path / "model")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert WeightGPT.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("mask", [0o022, 0o007, 0o077])
def test_fault_11_files_have_the_permissions_of_new_files(tmp_path: Path, mask: int):
    old = os.umask(mask)
    try:
        write_model(tmp_path / "model")
        write_fields(tmp_path / "fields.safetensors")
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~mask}


def test_fault_17_file_and_folder_are_on_the_disk_before_the_write_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    events: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(number: int) -> None:
        events.append("file" if stat.S_ISREG(os.fstat(number).st_mode) else "folder")
        real_sync(number)

    def replace(source: Path, target: Path) -> None:
        events.append("rename")
        real_replace(source, target)

    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr("os.replace", replace)
    write_json(tmp_path / "a.json", 1)
    assert events == ["file", "rename", "folder"]
    events.clear()
    with atomic_write(tmp_path / "box") as draft:
        draft.mkdir()
        for name in "ab":
            (draft / name).write_text(name)
    assert events == ["file", "file", "folder", "rename", "folder"]


def test_fault_72_long_names_and_names_that_no_system_has(tmp_path: Path):
    longest = "x" * 250 + ".json"
    write_json(tmp_path / longest, 1)
    assert names(tmp_path) == [longest]
    for name in ("y" * 256, "a\0b", "y" * 256 + "/a.json"):
        with pytest.raises(InputError, match="cannot write"):
            write_json(tmp_path / name, 1)
    assert names(tmp_path) == [longest]


def test_fault_08_drafts_lie_beside_their_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A rename between two disks is a copy, so the folder for temporary files may lie anywhere."""
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    monkeypatch.setattr("tempfile.tempdir", None)
    with atomic_write(tmp_path / "deeper" / "a") as draft:
        assert draft.parent == tmp_path / "deeper"
        draft.write_text("a")
    write_model(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir() if path.name.startswith(".")) == []
