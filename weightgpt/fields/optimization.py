"""The loss, the learning rate and the batches of points that all learning of fields shares.

Dimensions: B fields, n points of a step.
"""

import torch
from torch import Tensor


def truncated_loss(values: Tensor, sdf: Tensor, truncation: float, squared: float = 0.0) -> Tensor:
    """(B,) mean error e = |tanh(t·values) - tanh(t·sdf)| over points; both arguments (B, n).

    With `squared` it is the mean of e + squared · e², in which few large errors, as of a lost leg, weigh more.
    """
    error = (torch.tanh(truncation * values) - torch.tanh(truncation * sdf)).abs()
    return (error + squared * error.square() if squared else error).mean(-1)


def cosine_rate(step: int, steps: int, warm_up: float = 0.05) -> float:
    """Share of the peak learning rate at `step`: linear warm-up, then a cosine that ends at zero."""
    done = (step + 0.5) / steps
    if done < warm_up:
        return done / warm_up
    return float(0.5 * (1 + torch.cos(torch.tensor(torch.pi * (done - warm_up) / (1 - warm_up)))))


def point_slices(total: int, size: int, steps: int, seed: int) -> list[slice]:
    """`steps` contiguous slices of a shuffled schedule of `total` points, the same for every field."""
    size = min(size, total)
    starts = torch.randint(0, total - size + 1, (steps,), generator=torch.Generator().manual_seed(seed))
    return [slice(start, start + size) for start in starts.tolist()]
