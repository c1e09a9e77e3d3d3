"""The shared parts of every optimization of fields: the loss, the learning rate, the points of a step, and one step.

Dimensions: B fields, n points of a step.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

DEFAULT_TRUNCATION = 5.0
"""t of `truncated_loss`, in 1/units: distances beyond about 2/t = 0.4 count as equally far."""


def truncated_loss(
    values: Float[Tensor, "*B n"],
    sdf: Float[Tensor, "*B n"],
    truncation: float = DEFAULT_TRUNCATION,
    squared: float = 0.0,
) -> Float[Tensor, "*B"]:
    """Compute the mean error e = |tanh(t·values) - tanh(t·sdf)| of each field over the points.

    Args:
        values: (B, n) values of the fields.
        sdf: (B, n) true signed distances.
        truncation: t, in 1/units.
        squared: weight of e² in the mean of e + squared · e². With it, few large errors, such as a missing leg, weigh
            more than many small ones.

    Returns:
        (B,).
    """
    error = (torch.tanh(truncation * values) - torch.tanh(truncation * sdf)).abs()
    return (error + squared * error.square() if squared else error).mean(-1)


def cosine_rate(step: int, steps: int, warm_up: float = 0.05) -> float:
    """Compute the share of the peak learning rate: a linear warm-up, and then a cosine that ends at zero.

    Args:
        step: number of the step, from 0.
        steps: number of steps in all.
        warm_up: share of the steps in which the rate rises.
    """
    done = (step + 0.5) / steps
    if done < warm_up:
        return done / warm_up
    return float(0.5 * (1 + torch.cos(torch.tensor(torch.pi * (done - warm_up) / (1 - warm_up)))))


def point_slices(total: int, size: int, steps: int, seed: int) -> list[slice]:
    """Choose one contiguous slice of the shuffled points for each step; all fields use the same slices.

    Args:
        total: number of points.
        size: points of a step, at most `total`.
        steps: number of slices.
        seed: equal seeds give equal slices.
    """
    size = min(size, total)
    starts = torch.randint(0, total - size + 1, (steps,), generator=torch.Generator().manual_seed(seed))
    return [slice(start, start + size) for start in starts.tolist()]


def minimize(
    loss: Float[Tensor, ""],
    optimizers: Iterable[torch.optim.Optimizer],
    rate: float,
    *,
    max_norm: float | None = None,
) -> float | None:
    """Take one step of all optimizers down the gradient of a loss.

    Args:
        loss: the scalar to minimize.
        optimizers: one or more optimizers. The learning rate that a parameter group was created with is its peak.
        rate: share of the peak learning rates at this step, see `cosine_rate`.
        max_norm: largest norm of all dense gradients together; longer ones are scaled down to it. None measures none.

    Returns:
        The norm before it was scaled; None if `max_norm` is None.

    Examples:
        >>> x = torch.tensor([3.0], requires_grad=True)
        >>> optimizer = torch.optim.SGD([x], lr=0.5)
        >>> for step in range(200):
        ...     norm = minimize((x - 1).square().sum(), [optimizer], cosine_rate(step, 200))
        >>> round(x.item(), 3)
        1.0
    """
    optimizers = list(optimizers)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * rate
        optimizer.zero_grad()
    loss.backward()
    norm = None
    if max_norm is not None:
        parameters = [
            value for optimizer in optimizers for group in optimizer.param_groups for value in group["params"]
        ]
        dense = [value for value in parameters if value.grad is not None and not value.grad.is_sparse]
        norm = float(torch.nn.utils.clip_grad_norm_(dense, max_norm))
    for optimizer in optimizers:
        optimizer.step()
    return norm
