"""The training steps that the RVQ autoencoder and the graph encoder share.

A step encodes a batch of shapes to latents, quantizes the latents, decodes them to fields, and compares the fields with
the signed distances of the shapes. Gradients pass the quantizer unchanged (straight-through estimator, van den Oord et
al. 2017, section 3.2).

Decisions:
- The loss compares signed distances, never weights: many weights describe the same shape.
- Part of the points of a step lie near the surface of each shape. We do this because thin parts fill a small share of
  the volume, and uniform points alone let them disappear.

Dimensions: B shapes of a step, M points of a shape, n points of a step, D encoded coordinates, P parameters, C chunks,
r latent width.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tokenization.divergence import StateKeeper
from weightgpt.errors import check_at_least, check_at_most, check_positive, check_share, check_types
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.functional import evaluate_encoded
from weightgpt.fields.optimization import DEFAULT_TRUNCATION, cosine_rate, minimize, truncated_loss
from weightgpt.shapes.sampling import sample_point_indices

COMMITMENT_WEIGHT = 0.1
"""Weight of the squared distance between a latent and its quantized value. This number is not an option because the
results of VQ-VAE are the same for all weights from 0.1 to 2.0 (van den Oord et al. 2017, section 3.2)."""
MAX_STEPS = 100_000_000
"""Most steps, and most shapes and points of a step."""
HISTORY_ENTRIES = 50
"""Number of entries of a training history, about."""

History = list[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """How an encoder is trained through a quantizer."""

    steps: int = 12_000
    """Steps of Adam."""
    batch_size: int = 32
    """B, shapes of a step."""
    points_per_step: int = 384
    """n, points of a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of Adam; the rate warms up and then falls to zero on a cosine."""
    surface_fraction: float = 0.5
    """Share of the points of a step that lie near the surface of each shape; the rest is uniform over all points."""
    surface_bandwidth: float = 0.03
    """Distance scale of "near": the chance of a point falls as exp(-|sdf| / surface_bandwidth)."""
    balance_sides: bool = False
    """Whether half of the points near the surface lie inside. Thin parts need it: few points lie inside of them."""
    truncation: float = DEFAULT_TRUNCATION
    """Factor t of the loss, as in `FitConfig.truncation`."""
    squared_weight: float = 0.0
    """Weight of squared errors in the loss. With a weight of 0, decoded shapes more often lose a part, such as the
    column of a chair."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, 1, "steps", "batch_size", "points_per_step")
        check_at_most(self, MAX_STEPS, "steps", "batch_size", "points_per_step")
        check_positive(self, "learning_rate", "surface_bandwidth", "truncation")
        check_share(self, "surface_fraction")
        check_at_least(self, 0, "squared_weight")


def straight_through(latents: Tensor, quantize: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Quantize latents so that gradients pass to them as if they were not quantized.

    Args:
        latents: (B, C, r) latents of an encoder.
        quantize: maps latents to quantized latents of the same shape.

    Returns:
        The quantized latents twice: as a function of `latents` with slope one, and as constants.
    """
    with torch.no_grad():
        quantized = quantize(latents.detach())
    return latents + (quantized - latents).detach(), quantized


def commitment_penalty(latents: Tensor, quantized: Tensor) -> Tensor:
    """Weighted squared distance between latents and their quantized values, both (B, C, r)."""
    return COMMITMENT_WEIGHT * (latents - quantized).square().mean()


def reconstruction_loss(
    config: AutoencoderConfig,
    field_config: FieldConfig,
    flat: Tensor,
    point_features: Tensor,
    sdf: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Mean truncated error of decoded fields at random points of each shape.

    Args:
        config: how points are drawn and how errors count.
        field_config: the architecture of the fields.
        flat: (B, P) weights of the decoded fields.
        point_features: (D, M) Fourier features of the points, shared by all shapes.
        sdf: (B, M) signed distances of the shapes at these points.
        generator: draws the points.
    """
    index = sample_point_indices(
        sdf,
        config.points_per_step,
        config.surface_fraction,
        config.surface_bandwidth,
        generator,
        config.balance_sides,
    )
    features = point_features[:, index].transpose(0, 1).contiguous()
    values = evaluate_encoded(field_config, flat, features)[..., 0]
    return truncated_loss(values, sdf.gather(1, index), config.truncation, config.squared_weight).mean()


def optimize(
    steps: int,
    step_function: Callable[[int], tuple[Tensor, Tensor]],
    optimizers: Sequence[torch.optim.Optimizer],
    module: nn.Module,
    *,
    title: str | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> History:
    """Run gradient steps with a learning rate that warms up and then falls along a cosine.

    If the loss leaps, training goes back to an earlier state and on with a lower rate (see `tokenization.divergence`).

    Args:
        steps: the number of steps.
        step_function: called with the number of a step; returns the reconstruction loss, which the history shows, and
            the penalties, which are minimized with it.
        optimizers: each parameter group starts with its peak learning rate.
        module: all that the steps change.
        title: title of the progress bar; None shows no bar.
        callback: called with (step, mean loss) at every entry of the history.

    Returns:
        (step, mean loss since the last entry) for about fifty steps.

    Raises:
        InputError: the loss leaps with low rates as well.
    """
    history: History = []
    losses: list[float] = []
    keeper, step, interval = StateKeeper(module, optimizers), 0, max(1, steps // HISTORY_ENTRIES)
    with tqdm(total=steps, desc=title, unit="step", disable=title is None) as bar:
        while step < steps:
            loss, penalty = step_function(step)
            rate = keeper.rate_share * cosine_rate(step, steps)
            clip = keeper.max_norm or (math.inf if keeper.num_returns else None)
            keeper.record_norm(minimize(loss + penalty, optimizers, rate, max_norm=clip))
            losses.append(loss.item())
            if step == 0:
                keeper.first_loss = losses[0]
            step += 1
            if step % interval and step < steps and math.isfinite(losses[-1]):
                continue
            mean = sum(losses) / len(losses)
            losses.clear()
            if not keeper.is_sound(mean):
                step = keeper.go_back(step, mean)
                history = [entry for entry in history if entry[0] <= step]
            elif step % interval == 0:
                keeper.accept(step, mean)
                history.append((step, mean))
                if callback:
                    callback(*history[-1])
            bar.update(step - bar.n)
    return history
