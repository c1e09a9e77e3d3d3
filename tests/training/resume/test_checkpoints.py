"""Training goes on from the newest whole checkpoint, to the same weights as an undisturbed training."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from tests.training.test_pretrain import NANO, patterned_corpus, train_and_validation
from training import pretrain as module
from training.data.corpus import sequence_dataset
from training.pretrain import pretrain
from training.resume.checkpoints import RECORD, CheckpointRecorder, find_fault, foreign_code, newest_whole_checkpoint

CONFIG = dataclasses.replace(NANO, epochs=4, num_evaluations=4, dropout=0.1)
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


class Stopped(BaseException):
    """In place of a signal."""


class StopAt(TrainerCallback):
    """Stops the training when a checkpoint is written."""

    def __init__(self, step):
        self.step = step

    def on_save(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Stopped


def train(folder, config=CONFIG, stop_at=None, monkeypatch=None, sequences=None):
    """Train, or stop after the checkpoint of a step."""
    tokenizer, corpus = patterned_corpus()
    train_rows, validation = sequences or train_and_validation(corpus)
    if stop_at is None:
        pretrain(train_rows, validation, tokenizer, folder, config)
        return
    real = module._new_trainer

    def with_stop(*arguments):
        trainer = real(*arguments)
        trainer.add_callback(StopAt(stop_at))
        return trainer

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(module, "_new_trainer", with_stop)
        pretrain(train_rows, validation, tokenizer, folder, config)


def newest(folder):
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "gpt"
    train(folder)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A training that was stopped after its third checkpoint."""
    folder = tmp_path_factory.mktemp("stopped") / "gpt"
    with pytest.MonkeyPatch.context() as monkeypatch:
        train(folder, stop_at=12, monkeypatch=monkeypatch)
    assert newest(folder).name == "checkpoint-12"
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "untouched": lambda folder: None,
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
    "no record": lambda folder: (folder / RECORD).unlink(),
    "a record of another place": lambda folder: (folder / RECORD).write_text(
        json.dumps({"files": {"../x": {"bytes": 1, "sha256": ""}}})
    ),
    **{f"{name} cut": lambda folder, name=name: cut(folder / name) for name in (*FILES, RECORD)},
    **{f"{name} missing": lambda folder, name=name: (folder / name).unlink() for name in FILES},
    "one bit": lambda folder: flip(folder / "model.safetensors"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_fault_15_a_broken_checkpoint_is_passed_over_with_a_word(undisturbed, stopped, tmp_path, capsys, damage):
    folder = tmp_path / "gpt"
    shutil.copytree(stopped, folder)
    DAMAGES[damage](newest(folder))
    checkpoint = newest_whole_checkpoint(folder)
    assert checkpoint == folder / ("checkpoint-12" if damage == "untouched" else "checkpoint-8")
    lines = [line for line in capsys.readouterr().err.splitlines() if "checkpoint-12" in line]
    assert len(lines) == (damage != "untouched")
    if damage in ("untouched", "optimizer.pt missing", "empty"):
        train(folder)
        assert weights(folder) == weights(undisturbed)


def test_case_38_a_moved_run_with_a_cut_checkpoint_goes_on_from_the_one_before(stopped, undisturbed, tmp_path):
    """The state of the Trainer holds the path of the best checkpoint in the old place, which is gone here."""
    shutil.copytree(stopped, tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    (newest(tmp_path / "new") / "trainer_state.json").unlink()
    (tmp_path / "new" / "checkpoint-9999").mkdir()
    train(tmp_path / "new")
    assert weights(tmp_path / "new") == weights(undisturbed)
    assert not (tmp_path / "new" / "checkpoint-9999").exists()


def test_fault_02_a_stop_before_the_first_checkpoint_starts_again(undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / "gpt"
    monkeypatch.setattr(CheckpointRecorder, "on_save", lambda *_, **__: None)  # stopped before the record is written
    train(folder, stop_at=4, monkeypatch=monkeypatch)
    monkeypatch.undo()
    assert newest_whole_checkpoint(folder) is None
    train(folder)
    assert weights(folder) == weights(undisturbed)


def test_fault_02b_early_stopping_remembers_its_patience(tmp_path, monkeypatch):
    """On random codes the validation loss soon rises; stopped anywhere, training ends at the same step."""
    tokenizer, _ = patterned_corpus(8)
    vocabulary, generator = tokenizer.vocabulary, torch.Generator().manual_seed(0)

    def drawn(count):
        size = (count, vocabulary.num_chunks, vocabulary.num_quantizers)
        codes = torch.randint(0, vocabulary.codebook_size, size, generator=generator)
        return sequence_dataset(vocabulary.ids(codes, ["chair"] * count))

    sequences, config = (drawn(32), drawn(16)), dataclasses.replace(NANO, epochs=40, num_evaluations=40)
    monkeypatch.setattr(module, "PATIENCE", 3)

    def last_step(folder):
        return json.loads((folder / "history.json").read_text())["log"][-1]["step"]

    train(tmp_path / "whole", config, sequences=sequences)
    end = last_step(tmp_path / "whole")
    assert end < 40 * 4
    saved = [int(path.name.split("-")[1]) for path in (tmp_path / "whole").glob("checkpoint-*")]
    assert max(saved) < end  # no checkpoint where it stops
    for step in (end - 4, end - 8):
        folder = tmp_path / f"stopped-{step}"
        train(folder, config, stop_at=step, monkeypatch=monkeypatch, sequences=sequences)
        train(folder, config, sequences=sequences)
        assert last_step(folder) == end
        assert weights(folder) == weights(tmp_path / "whole")


def test_the_best_checkpoint_stays_and_the_number_of_checkpoints_is_bounded(undisturbed):
    names = {path.name for path in undisturbed.glob("checkpoint-*")}
    assert "checkpoint-16" in names
    assert len(names) <= 4
    assert all(find_fault(undisturbed / name) is None for name in names)


class Code:
    """An object whose file would call a function when it is read."""

    def __reduce__(self):
        return (print, ("code of a file was run",))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_fault_18_a_checkpoint_that_holds_code_is_refused_unread(stopped, tmp_path, capsys, name):
    from training.resume.checkpoints import record_checkpoint

    folder = tmp_path / "gpt"
    shutil.copytree(stopped, folder)
    torch.save({"state": Code()}, newest(folder) / name)
    assert foreign_code(newest(folder) / name) == ["builtins.print"]
    record_checkpoint(newest(folder))  # even if somebody wrote a right record
    assert newest_whole_checkpoint(folder) == folder / "checkpoint-8"
    said = capsys.readouterr()
    assert "names code that is not allowed" in said.err
    assert "code of a file was run" not in said.out + said.err


def test_fault_18_the_pickled_arguments_are_deleted(stopped):
    assert list(stopped.rglob("*.bin")) == []


def test_fault_49_a_checkpoint_has_finite_weights(undisturbed):
    for path in undisturbed.glob("checkpoint-*/model.safetensors"):
        assert all(torch.isfinite(value).all() for value in load_file(path).values())
