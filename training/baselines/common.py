"""What all rivals share: the fields they learn, the one loop that trains them to a budget, and what comes out.

Decisions:
- A rival sees weights and classes, nothing of the shapes. In a comparison the weights are those that our tokens decode
  to, so that all learn the very same fields.
- The budget is in floating-point operations of training (forward and backward), as torch's `FlopCounterMode` counts
  them: matrix products and attention, a multiplication and an addition as two, causal attention as the full square.
  One step is measured, and the number of steps follows; elementwise work and the optimizer's are not counted for any.
- One loop for all: AdamW, 3 % warm-up, a cosine to zero over exactly those steps, gradients clipped to norm 1, and,
  where a rival asks for it, an exponential average of the weights in place of the last ones.

Dimensions: N training fields, V held-out fields, P parameters of a field, B fields of a batch.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from transformers import PreTrainedModel

from training.pretrain import has_bf16
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.tokens.quasirandom import stratified_labels

WARM_UP, POINTS = 0.03, 100


@dataclass(frozen=True)
class FieldSets:
    """The fields that every rival learns."""

    config: FieldConfig
    train: Tensor
    """(N, P) weights."""
    validation: Tensor
    """(V, P) weights of held-out shapes, for the loss that is reported; nothing is chosen by it."""
    labels: tuple[str, ...]
    """N class names of the training fields."""
    shared_init: Tensor
    """(P,) the field that all fits started from."""

    def __post_init__(self) -> None:
        parameters = self.config.parameters
        for name, weights in (
            ("training", self.train),
            ("held-out", self.validation),
            ("shared_init", self.shared_init[None]),
        ):
            if weights.ndim != 2 or weights.shape[1] != parameters or not len(weights):
                raise InputError(
                    f"the {name} fields have shape {tuple(weights.shape)}; give rows of {parameters} weights."
                )
            if not torch.isfinite(weights).all():
                raise InputError(f"the {name} fields have NaN or infinite weights; leave those fields out.")
        if len(self.labels) != len(self.train):
            raise InputError(f"{len(self.train)} training fields have {len(self.labels)} labels; give one for each.")

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def class_index(self) -> Tensor:
        """(N,) the place of each training field's class in `classes`."""
        place = {name: i for i, name in enumerate(self.classes)}
        return torch.tensor([place[label] for label in self.labels])

    def draw_classes(self, n: int, seed: int) -> Tensor:
        """(n,) classes, as often as they occur in training (see `drawing.even_labels`)."""
        place = {name: i for i, name in enumerate(self.classes)}
        return torch.tensor([place[label] for label in stratified_labels(self.labels, n, seed)])


@dataclass(frozen=True)
class Trained:
    """A trained rival and what it cost."""

    config: FieldConfig
    draw: Callable[[int, int], Tensor]
    """(n, seed) -> (n, P) weights."""
    label: Callable[[int, int], list[str]]
    """(n, seed) -> the classes of what `draw` draws; "none" for a rival that knows no classes."""
    settings: dict[str, Any]
    """The rival's configuration as JSON values."""
    parameters: int
    """Of all that is needed to sample."""
    train_flops: float
    sample_flops: float
    """For one shape."""
    seconds: float
    """Of training, on the threads it was given."""
    bytes: int
    """Of the model file: all parameters and buffers, in float32 unless they are smaller."""
    steps: int
    history: list[tuple[int, float]]
    """(step, training loss), each the mean since the one before."""
    held_out_loss: float | None
    """The training loss, of the final weights on held-out fields; None for rivals that need their classes."""

    def sample(self, n: int, seed: int) -> Fields:
        """n new fields.

        Raises:
            InputError: n is below 1.
        """
        if n < 1:
            raise InputError(f"{n} samples were asked for; ask for 1 or more.")
        return Fields(self.config, self.draw(n, seed))


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a model is trained."""

    batch: int = 32
    """Fields of a step."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW."""
    weight_decay: float = 0.01
    """Of all parameters."""
    average: float = 0.0
    """Time constant of the exponential average of the weights, as a share of the steps; 0 for none."""


@dataclass(frozen=True)
class BudgetedRun:
    """What a training cost."""

    steps: int
    flops: float
    seconds: float
    history: list[tuple[int, float]]


def half() -> AbstractContextManager[None]:
    """bfloat16 for the matrix products where the device computes in it."""
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(kind, torch.bfloat16, enabled=has_bf16())


def count_flops(work: Callable[[], Any]) -> float:
    """Floating-point operations of `work`, without torch's fused attention and fused layers: none would be counted."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return float(counter.get_total_flops())


def one_at_a_time(model: PreTrainedModel) -> None:
    """Make a transformer ready to be sampled: one query over a long cache is where fused attention is the slower."""
    model.set_attn_implementation("eager")


def size_of(*modules: nn.Module) -> tuple[int, int]:
    """Parameters and bytes (buffers included) of all that is needed to sample."""
    parts = [tensor for module in modules for tensor in module.state_dict().values()]
    return sum(p.numel() for m in modules for p in m.parameters()), sum(t.numel() * t.element_size() for t in parts)


def train_to_budget(
    model: nn.Module,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    count: int,
    options: OptimizerConfig,
    budget_flops: float,
    seed: int,
    progress: bool,
) -> BudgetedRun:
    """Train `model` in place until the budget is spent.

    Args:
        loss: (rows (B,) of the training set, source of noise) -> mean loss.
        count: N rows to draw from, in shuffled passes.

    Raises:
        InputError: the budget does not pay for one step.
    """
    noise = torch.Generator().manual_seed(seed)
    batch = min(options.batch, count)
    spent = count_flops(lambda: loss(torch.arange(batch), torch.Generator().manual_seed(0)).backward())
    steps = int(budget_flops // spent)
    if steps < 1:
        raise InputError(f"one step costs {spent:.3g} operations, the budget is {budget_flops:.3g}; give more.")
    average = None
    if options.average:
        decay = math.exp(-1 / max(options.average * steps, 1))
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    rates = (options.learning_rate, options.weight_decay)
    optimizer = torch.optim.AdamW(model.parameters(), rates[0], (0.9, 0.95), weight_decay=rates[1])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    begun, history, total, since = time.perf_counter(), [], 0.0, 0
    model.train()
    order = torch.empty(0, dtype=torch.long)
    for step in tqdm(range(1, steps + 1), "training", disable=not progress, unit="step", mininterval=5):
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(count, generator=noise)])
        rows, order = order[:batch], order[batch:]
        optimizer.zero_grad(set_to_none=True)
        value = loss(rows, noise)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if average is not None:
            average.update_parameters(model)
        total, since = total + float(value.detach()), since + 1
        if step * POINTS // steps > (step - 1) * POINTS // steps:
            history.append((step, total / since))
            total, since = 0.0, 0
    if average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval()
    return BudgetedRun(steps, steps * spent, time.perf_counter() - begun, history)


def _rate(step: int, steps: int) -> float:
    """Share of the peak rate: 3 % warm-up, then a cosine to zero."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
