"""Training of the GPT that breaks: stop at once, go back to the newest checkpoint, and go on with a lower rate.

Decisions:
- A loss that is not finite, or far above the loss so far, stops the training before the next checkpoint is written. So
  every checkpoint holds finite weights.
- Training then goes on from the newest whole checkpoint, or from the start, with a tenth of the learning rate. After
  `MAX_RETRIES` retries we give up.
- The rate of a checkpoint is stored in it, so an interrupted run goes on with the lower rate.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from training.resume.checkpoints import is_writing_error, newest_whole_checkpoint
from weightgpt.errors import InputError
from weightgpt.io import writing_error

RATE_SHARE = 0.1
"""Learning rate after a retry, as a share of the rate before."""
MAX_RETRIES = 2
"""Retries with a lower rate."""
WORST_LOSS = 2.0
"""Largest training loss, as a multiple of that of the untrained model."""
LEAP = 0.5
"""Largest rise of the training loss above its lowest value, as a multiple of the loss of uniform tokens."""
LEARNED = 0.75
"""Loss of a model that has learned, as a share of the loss of uniform tokens. The loss of the first steps falls from
that of the untrained model and swings, so before a model has learned, the rise is a multiple of the larger one."""


class DivergenceError(Exception):
    """The loss of the GPT is not finite, or far above the loss so far."""


class PatientStop(EarlyStoppingCallback):
    """Early stopping that writes no checkpoint where it stops.

    A run that is stopped right after such a checkpoint would train on from there. Without it, the run repeats the last
    steps and stops at the same place.
    """

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """Count evaluations without a better loss.

        Args:
            args: the arguments of the Trainer.
            state: the state of the Trainer.
            control: tells the Trainer to stop.
            metrics: the validation loss.
            **kwargs: unused.
        """
        super().on_evaluate(args, state, control, metrics, **kwargs)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_save = False


class DivergenceWatch(TrainerCallback):
    """Sets the learning rate of a retry, and raises `DivergenceError` when the loss breaks.

    Args:
        uniform_loss: loss of uniform tokens, in nats.
        untrained_loss: loss of the untrained model, in nats. Its embeddings may be large, and its loss then is too.
        rate: peak learning rate of a retry; None for that of the settings or of the checkpoint.
    """

    def __init__(self, uniform_loss: float, untrained_loss: float, rate: float | None = None) -> None:
        self.uniform_loss, self.untrained_loss, self.rate = uniform_loss, untrained_loss, rate

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the learning rate, after the Trainer has read the checkpoint.

        Args:
            args: unused.
            state: unused.
            control: unused.
            **kwargs: the optimizer and the schedule of the Trainer.
        """
        optimizer, scheduler = kwargs["optimizer"], kwargs["lr_scheduler"]
        old = float(scheduler.base_lrs[0])
        if self.rate is None:
            self.rate = old
        for group in optimizer.param_groups:
            group["lr"] *= self.rate / old
            group["initial_lr"] = self.rate
        scheduler.base_lrs = [self.rate] * len(scheduler.base_lrs)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Compare the newest loss with the losses so far.

        Args:
            args: unused.
            state: the state of the Trainer.
            control: unused.
            logs: the logged values by name.
            **kwargs: unused.

        Raises:
            DivergenceError: the loss is not finite, or too high.
        """
        values = [logs[name] for name in ("loss", "eval_loss") if name in (logs or {})]
        lowest = min((row["loss"] for row in state.log_history if "loss" in row), default=math.inf)
        first = max(self.uniform_loss, self.untrained_loss)
        rise = LEAP * (self.uniform_loss if lowest < LEARNED * self.uniform_loss else first)
        highest = min(WORST_LOSS * first, lowest + rise)
        if not all(map(math.isfinite, values)) or (logs or {}).get("loss", 0.0) > highest:
            raise DivergenceError(f"{values[0]:.3g} at step {state.global_step}")

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check the weights before a checkpoint is written.

        Args:
            args: unused.
            state: the state of the Trainer.
            control: unused.
            **kwargs: the model of the Trainer.

        Raises:
            DivergenceError: a weight is not finite.
        """
        if not all(torch.isfinite(value).all() for value in kwargs["model"].parameters()):
            raise DivergenceError(f"not finite at step {state.global_step}")


def close_progress_bars(trainer: Trainer) -> None:
    """Close the progress bars of a training that has ended or failed, so that none writes after the error.

    Args:
        trainer: the Trainer.
    """
    for callback in trainer.callback_handler.callbacks:
        for bar in (getattr(callback, name, None) for name in ("prediction_bar", "training_bar")):
            if bar is not None:
                bar.close()


def train_with_retries(
    new_trainer: Callable[[DivergenceWatch], Trainer], folder: Path, uniform_loss: float, untrained_loss: float
) -> Trainer:
    """Train from the newest whole checkpoint; if the loss breaks, go back and go on with a lower rate.

    Args:
        new_trainer: creates a Trainer of an untrained model with one more callback.
        folder: the folder of the checkpoints.
        uniform_loss: loss of uniform tokens, in nats.
        untrained_loss: loss of the untrained model, in nats.

    Returns:
        The Trainer after the training.

    Raises:
        InputError: the loss breaks with the lowest rate as well, or a checkpoint cannot be written.
    """
    rate: float | None = None
    rates: list[float] = []
    for _ in range(MAX_RETRIES + 1):
        watch = DivergenceWatch(uniform_loss, untrained_loss, rate)
        trainer = new_trainer(watch)
        with trainer.args.main_process_first(local=False):
            checkpoint = newest_whole_checkpoint(folder, trainer.args.world_size)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            return trainer
        except DivergenceError as error:
            rates.append(watch.rate or trainer.args.learning_rate)
            rate = RATE_SHARE * rates[-1]
            end = f"; going back with a learning rate of {rate:.3g}." if len(rates) <= MAX_RETRIES else "."
            print(f"the loss of the GPT is {error}{end}", file=sys.stderr)
        except Exception as error:
            if is_writing_error(error):  # training writes nothing but checkpoints
                raise writing_error(folder, error) from error
            raise
        finally:
            close_progress_bars(trainer)
    tried = ", ".join(f"{value:.3g}" for value in rates)
    raise InputError(
        f"the loss of the GPT breaks with learning rates of {tried}; start again with a learning_rate far below"
        f" {min(rates):.3g}."
    )
