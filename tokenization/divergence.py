"""Training of a quantizer that breaks: go back to the last good state, and go on with a lower rate.

Decisions:
- The mean loss of about fifty parts of the training is compared with the loss of the first step and with the lowest
  mean so far. A loss that leaps stays high, so a part is short enough.
- The state before the part that leaped may be spoiled already, so we go back one part further.
- After the first return the gradients are clipped, relative to the median of the last norms. A sound training is not
  clipped: its numbers stay what they are.
"""

import math
import statistics
import sys
from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from weightgpt.errors import InputError

RATE_SHARE = 0.3
"""Learning rate after a return, as a share of the rate before."""
MAX_RETURNS = 4
"""Returns to an earlier state before we give up."""
LEAP = 3.0
"""Largest mean loss of a part, as a multiple of the lowest one so far."""
WORST = 2.0
"""Largest mean loss of a part, as a multiple of the loss of the first step."""
CLIP = 2.0
"""Largest norm of a gradient after a return, as a multiple of the median of the last norms."""
NUM_NORMS = 100
"""Norms that the median is taken over."""


class StateKeeper:
    """The last two good states of a training, and its learning rate.

    Args:
        module: all parameters and buffers that the training changes.
        optimizers: their optimizers.
    """

    def __init__(self, module: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.module, self.optimizers = module, optimizers
        self.rate_share = 1.0
        self.num_returns = 0
        self.norms: deque[float] = deque(maxlen=NUM_NORMS)
        self.first_loss = math.inf
        self.means: list[float] = []
        self.states: deque[tuple[int, int, Any]] = deque(maxlen=2)
        self._store(0)

    @property
    def max_norm(self) -> float | None:
        """Largest norm of a gradient at the next step; None for no limit."""
        return CLIP * statistics.median(self.norms) if self.norms else None

    def record_norm(self, norm: float | None) -> None:
        """Record the norm of a gradient after a return.

        Args:
            norm: the norm before it was clipped; None if it was not measured.
        """
        if norm is not None and math.isfinite(norm):
            self.norms.append(norm)

    def is_sound(self, mean: float) -> bool:
        """Whether the mean loss of a part is finite and has not leaped.

        Args:
            mean: the mean loss.
        """
        return math.isfinite(mean) and mean <= min(LEAP * min(self.means, default=math.inf), WORST * self.first_loss)

    def accept(self, step: int, mean: float) -> None:
        """Store the state after a sound part.

        Args:
            step: number of the next step.
            mean: the mean loss of the part.
        """
        self.means.append(mean)
        self._store(step)

    def go_back(self, step: int, mean: float) -> int:
        """Restore the older of the two states, with a lower learning rate.

        Args:
            step: number of the step at which the loss broke.
            mean: the mean loss that broke.

        Returns:
            The number of the step to go on with.

        Raises:
            InputError: the loss broke too often.
        """
        self.num_returns += 1
        if self.num_returns > MAX_RETURNS:
            raise InputError(
                f"the loss of the quantizer leaps to {mean:.3g} at step {step}, also with {self.rate_share:.2g} times"
                " the learning rate; start again with a lower learning_rate of the codebook."
            )
        self.rate_share *= RATE_SHARE
        start, num_means, state = self.states[0]
        module, optimizers = deepcopy(state)
        self.module.load_state_dict(module)
        for optimizer, values in zip(self.optimizers, optimizers, strict=True):
            optimizer.load_state_dict(values)
        del self.means[num_means:]
        self.states = deque([self.states[0]], maxlen=2)
        print(
            f"the loss leaps to {mean:.3g} at step {step}; going back to step {start} with {self.rate_share:.2g} times"
            " the learning rate.",
            file=sys.stderr,
        )
        return start

    def _store(self, step: int) -> None:
        """Copy the state before a step."""
        state = self.module.state_dict(), [optimizer.state_dict() for optimizer in self.optimizers]
        self.states.append((step, len(self.means), deepcopy(state)))
