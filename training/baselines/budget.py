"""Training to a budget of floating-point operations, and counting them.

Decisions:
- The budget covers the forward and backward passes of training. torch's `FlopCounterMode` counts matrix products and
  attention, a multiplication and an addition as two operations, and causal attention as the full square. We count one
  step, and the budget divided by that count is the number of steps. We count elementwise work and the optimizer for no
  model.
- Every baseline is trained in the same way: AdamW, 3 % warm-up, a cosine to zero over exactly those steps, gradients
  clipped to norm 1. A baseline may end with an exponential moving average of its weights.
- Training stops at a loss that is not finite, so that samples come from the last finite weights.

Dimensions: N training rows, B rows of a batch.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from training.pretrain import has_bf16
from weightgpt.errors import InputError
from weightgpt.fields.optimization import cosine_rate

WARMUP = 0.03
"""Share of the steps in which the learning rate rises."""
HISTORY_POINTS = 100
"""Most points of a loss curve."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a model is trained."""

    batch_size: int = 32
    """Rows of a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Weight decay of all parameters."""
    ema_fraction: float = 0.0
    """Time constant of the moving average of the weights, as a share of the steps; 0 for no average."""


@dataclass(frozen=True)
class BudgetedRun:
    """What a training cost, and its loss curve."""

    steps: int
    """Number of steps."""
    flops: float
    """Floating-point operations of these steps."""
    seconds: float
    """Seconds of training, on the threads of this process."""
    history: list[tuple[int, float]]
    """(step, mean training loss since the previous entry)."""


def bf16_autocast() -> AbstractContextManager[None]:
    """A context that computes matrix products in bfloat16 where the device has instructions for it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=has_bf16())


def count_flops(work: Callable[[], Any]) -> float:
    """Count the floating-point operations of a function.

    We switch off fused attention and fused layers while counting, because the counter does not see inside them.

    Args:
        work: the function; its result is ignored.

    Example:
        >>> layer, x = nn.Linear(8, 4), torch.zeros(5, 8)
        >>> count_flops(lambda: layer(x))  # 2 * 5 * 8 * 4
        320.0
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return float(counter.get_total_flops())


def affordable_steps(step_flops: float, budget_flops: float) -> int:
    """The number of steps that a budget pays for.

    Args:
        step_flops: floating-point operations of one step.
        budget_flops: floating-point operations of the whole training.

    Raises:
        InputError: the budget does not pay for one step.
    """
    steps = int(budget_flops // step_flops)
    if steps < 1:
        raise InputError(
            f"one step costs {step_flops:.3g} operations, the budget is {budget_flops:.3g}; give a larger budget."
        )
    return steps


def train_to_budget(
    model: nn.Module,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    num_rows: int,
    options: OptimizerConfig,
    budget_flops: float,
    seed: int,
    progress: bool,
) -> BudgetedRun:
    """Train `model` in place on shuffled rows until the budget is spent; the model is in evaluation mode afterwards.

    Args:
        model: the model.
        loss: (rows (B,) of the training set, source of noise) -> mean loss.
        num_rows: N, the size of the training set.
        options: how to train.
        budget_flops: floating-point operations of the training.
        seed: seed of the order of the rows and of the noise.
        progress: whether to show a progress bar.

    Raises:
        InputError: the budget does not pay for one step.
    """
    noise, batch_size = torch.Generator().manual_seed(seed), min(options.batch_size, num_rows)
    step_flops = count_flops(lambda: loss(torch.arange(batch_size), torch.Generator().manual_seed(0)).backward())
    steps = affordable_steps(step_flops, budget_flops)
    average = None
    if options.ema_fraction:
        decay = math.exp(-1 / max(options.ema_fraction * steps, 1))
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    rows = shuffled_rows(num_rows, batch_size, noise)
    model.train()
    run = train_steps(
        model,
        lambda: loss(next(rows), noise),
        steps,
        step_flops,
        options,
        after_step=None if average is None else lambda: average.update_parameters(model),
        title="training" if progress else None,
    )
    if average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval()
    return run


def train_steps(
    model: nn.Module,
    loss: Callable[[], Tensor],
    steps: int,
    step_flops: float,
    options: OptimizerConfig,
    after_step: Callable[[], None] | None = None,
    title: str | None = None,
) -> BudgetedRun:
    """Train the parameters of `model` that need a gradient, in place, for a number of steps.

    Args:
        model: the model, in training mode.
        loss: draws a batch and returns its mean loss.
        steps: number of steps; fewer are done if a loss is not finite.
        step_flops: floating-point operations of one step.
        options: how to train; `batch_size` and `ema_fraction` are up to the caller.
        after_step: called after each step of the optimizer.
        title: title of the progress bar; no bar when None.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, options.learning_rate, (0.9, 0.95), weight_decay=options.weight_decay)
    schedule = LambdaLR(optimizer, lambda step: cosine_rate(step, steps, WARMUP))
    start, done = time.perf_counter(), 0
    history: list[tuple[int, float]] = []
    losses: list[float] = []
    for step in tqdm(range(1, steps + 1), title, disable=title is None, unit="step", mininterval=5):
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        if not value.isfinite():
            break
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if after_step is not None:
            after_step()
        done = step
        losses.append(float(value.detach()))
        if step * HISTORY_POINTS // steps > (step - 1) * HISTORY_POINTS // steps:
            history.append((step, sum(losses) / len(losses)))
            losses = []
    return BudgetedRun(done, done * step_flops, time.perf_counter() - start, history)


def shuffled_rows(num_rows: int, batch_size: int, source: torch.Generator) -> Iterator[Tensor]:
    """Indices (B,) of batches, in shuffled passes over all rows, without end.

    Args:
        num_rows: N.
        batch_size: B.
        source: source of the order.
    """
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(num_rows, generator=source)])
        batch, order = order[:batch_size], order[batch_size:]
        yield batch
