"""Checkpoints of the `Trainer` that are whole: written to the end, not changed since, and without code.

The `Trainer` writes a checkpoint in place, one file after another, and takes the newest folder by its name. A process
that is stopped in between leaves a checkpoint that cannot be read, or one that trains on with other random numbers.

Decisions:
- After the `Trainer` has written a checkpoint, we write `complete.json` with the size and SHA-256 of each file. Only a
  checkpoint that has all files as recorded there is resumed from.
- A checkpoint without `complete.json` was never finished and is deleted. One whose files have changed is moved aside.
- We delete old checkpoints ourselves: the `Trainer` would delete them before the new one has its record. We always
  leave the two newest ones, and the best one of each.
- The optimizer, the schedule and the random numbers are files that may hold code. The `Trainer` reads them with
  `weights_only`; we look at the names in them before, so that the error is one sentence.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import TrainerCallback
from transformers.trainer_pt_utils import safe_globals

from training.resume.digests import are_records, differing, flush_to_disk, records
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

RECORD = "complete.json"
"""Name of the file that is written last."""
REQUIRED = ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")
"""Files that every checkpoint has, next to one file of random numbers for each process."""
NUM_NEWEST = 2
"""Newest checkpoints that stay."""


class CheckpointRecorder(TrainerCallback):
    """Records every checkpoint, deletes old ones, and finds the best one where the folder is now."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the path of the best checkpoint from its number, because a run may have been moved.

        Args:
            args: the arguments of the Trainer.
            state: the state of the Trainer.
            control: unused.
            **kwargs: unused.
        """
        best = checkpoint_path(Path(args.output_dir), state.best_global_step or 0)
        state.best_model_checkpoint = str(best) if best.is_dir() else None

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the record of the newest checkpoint.

        Args:
            args: the arguments of the Trainer.
            state: the state of the Trainer.
            control: unused.
            **kwargs: unused.
        """
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # every process writes its random numbers
        if state.is_world_process_zero:
            record_checkpoint(checkpoint_path(Path(args.output_dir), state.global_step))
            delete_old_checkpoints(Path(args.output_dir))


def is_writing_error(error: Exception) -> bool:
    """Whether the `Trainer` could not write a checkpoint, by the error of the library that writes the file.

    Args:
        error: what a training raised.
    """
    # torch.save has no error of its own: its writer says where in the file it is, or that it failed to write.
    texts = ("PytorchStreamWriter", "inline_container", "unexpected pos")
    return isinstance(error, (OSError, SafetensorError)) or any(text in str(error) for text in texts)


def checkpoint_path(folder: Path, step: int) -> Path:
    """The folder of the checkpoint at a step.

    Args:
        folder: the folder of all checkpoints.
        step: number of the step.
    """
    return folder / f"checkpoint-{step}"


def record_checkpoint(checkpoint: Path) -> None:
    """Write `complete.json`, after all files of the checkpoint are on the disk.

    Args:
        checkpoint: the folder of the checkpoint.
    """
    (checkpoint / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing reads
    files = [path for path in checkpoint.iterdir() if path.is_file() and path.name != RECORD]
    for path in files:
        flush_to_disk(path)
    write_json(checkpoint / RECORD, {"files": records(checkpoint, files)})
    for path in (checkpoint / RECORD, checkpoint, checkpoint.parent):
        flush_to_disk(path)


def delete_old_checkpoints(folder: Path) -> None:
    """Delete all checkpoints but the newest ones and the best one of each of them.

    Args:
        folder: the folder of all checkpoints.
    """
    checkpoints = _newest_first(folder)
    stay = set(checkpoints[:NUM_NEWEST])
    stay |= {best for checkpoint in checkpoints[:NUM_NEWEST] if (best := best_checkpoint(checkpoint)) is not None}
    for checkpoint in checkpoints:
        if checkpoint not in stay:
            _delete(checkpoint)


def newest_whole_checkpoint(folder: Path, num_processes: int = 1) -> Path | None:
    """The newest checkpoint that training can go on from; None if there is none.

    Checkpoints that were not finished are deleted and broken ones are moved aside, with one line on stderr for each.

    Args:
        folder: the folder of all checkpoints; it may be missing.
        num_processes: number of processes that train; each has its own file of random numbers.
    """
    whole = []
    for checkpoint in _newest_first(folder):
        reason = find_fault(checkpoint, num_processes)
        if reason is None:
            whole.append(checkpoint)
        elif not (checkpoint / RECORD).is_file():
            print(f"{checkpoint} was not finished and is deleted.", file=sys.stderr)
            _delete(checkpoint)
        else:
            aside = checkpoint.with_name(f"broken-{checkpoint.name}")
            print(f"{checkpoint} {reason}; it is moved to {aside.name}.", file=sys.stderr)
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.rename(aside)
    return next((checkpoint for checkpoint in whole if best_checkpoint(checkpoint) in (None, *whole)), None)


def find_fault(checkpoint: Path, num_processes: int = 1) -> str | None:
    """Say in a few words why a checkpoint cannot be used; None if it is whole.

    Args:
        checkpoint: the folder of the checkpoint.
        num_processes: number of processes that train.
    """
    try:
        recorded = read_json(checkpoint / RECORD)["files"]
    except (InputError, KeyError, TypeError):
        return f"has no readable {RECORD}"
    if not are_records(recorded):
        return f"has no readable {RECORD}"
    changed = differing(checkpoint, recorded)
    random_states = [f"rng_state_{i}.pth" for i in range(num_processes)] if num_processes > 1 else ["rng_state.pth"]
    if missing := sorted({*REQUIRED, *random_states} - set(recorded)):
        return f"lacks {', '.join(missing)}"
    if changed:
        return f"has other bytes than were written ({', '.join(changed)})"
    for name in recorded:
        if name.endswith((".pt", ".pth", ".bin")) and (code := foreign_code(checkpoint / name)):
            return f"names code that is not allowed in {name} ({', '.join(code[:3])})"
    return None


def foreign_code(path: Path) -> list[str]:
    """The names of functions in a file of PyTorch that `weights_only` refuses; nothing in the file is run.

    Args:
        path: a .pt or .pth file.
    """
    try:
        with safe_globals():
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception as error:  # a broken archive raises errors of many types
        return [f"unreadable, {type(error).__name__}"]


def best_checkpoint(checkpoint: Path) -> Path | None:
    """The best checkpoint so far when a checkpoint was written; None if there was none.

    Args:
        checkpoint: the folder of the checkpoint.
    """
    try:
        step = read_json(checkpoint / "trainer_state.json")["best_global_step"]
    except (InputError, KeyError, TypeError):
        return None
    return checkpoint_path(checkpoint.parent, step) if step else None


def _newest_first(folder: Path) -> list[Path]:
    numbered = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(numbered, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)


def _delete(checkpoint: Path) -> None:
    """Delete a checkpoint, its record first, so that a part of it never counts as whole."""
    (checkpoint / RECORD).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)
