"""Fitting fields to shapes, many at once.

Decisions:
- The loss compares truncated distances, |tanh(t·f) - tanh(t·sdf)|: near the surface it is a distance error, far away it
  only asks for the sign (after DeepSDF's clamped L1, Park et al. 2019, eq. 9, made smooth).
- Every field sees the same points in the same order. *Conditioned* fields start from one shared initial field,
  *unconditioned* ones from a random start of their own.
- Fields are fitted in small groups (their activations then stay in the cache) and each finished group is a file, so an
  interrupted fit goes on where it stopped.

Dimensions: B fields, P parameters, n points of a step, M points of the schedule.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from weightgpt.errors import InputError
from weightgpt.fields.field import Field, FieldConfig, Fields, evaluate, evaluate_encoded, fourier_features
from weightgpt.fields.optimization import cosine_rate, point_slices, truncated_loss
from weightgpt.io import read_tensors, write_tensors
from weightgpt.shapes.sampling import Samples


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How fields are fitted."""

    steps: int = 600
    """Adam steps for each field."""
    points_per_step: int = 1024
    """Points of a step, a contiguous slice of the shared schedule."""
    learning_rate: float = 5e-3
    """Peak rate; cosine to zero after a short warm-up."""
    truncation: float = 5.0
    """t of the loss, in 1/units: distances beyond about 2/t count as far."""
    eikonal: float = 0.0
    """Weight of (|∇f| - 1)² at the step's points (IGR, Gropp et al. 2020); 0 leaves it out."""
    batch_size: int = 16
    """Fields fitted at once."""
    seed: int = 0
    """Seed of the order of points and of random starts."""

    def __post_init__(self) -> None:
        if (
            min(self.steps, self.points_per_step, self.batch_size) < 1
            or self.learning_rate <= 0
            or self.truncation <= 0
        ):
            raise InputError(f"{self} cannot fit anything; steps, points, group, rate and truncation must be positive.")


@dataclass(frozen=True)
class Fits:
    """The result of a fit."""

    fields: Fields
    loss: Tensor
    """(B,) mean truncated loss over the last tenth of the steps."""
    at_three_quarters: Fields
    """The fields after three quarters of the steps: what they still gain tells whether the fit was long enough."""
    history: Tensor
    """(B, 20) mean loss in each twentieth of the steps, for a curve."""


def random_initializations(config: FieldConfig, fields: int, seed: int) -> Tensor:
    """(B, P) independent random initial weights, PyTorch's default for linear layers; row i follows `seed` + i."""
    rows = []
    with torch.random.fork_rng(devices=[]):
        for i in range(fields):
            torch.manual_seed(seed + i)
            rows.append(Field(config).flat().detach())
    return torch.stack(rows)


def fit_mean_initialization(config: FieldConfig, samples: Samples, options: FitConfig) -> Tensor:
    """(P,) the shared initial field "corpus mean": one field fitted to the mean truncated distance of all shapes."""
    mean = torch.tanh(options.truncation * samples.sdf).mean(0, keepdim=True)
    target = Samples(samples.points, torch.atanh(mean.clamp(-0.999, 0.999)) / options.truncation)
    return fit(config, target, options).fields.flat[0]


def fit(
    config: FieldConfig,
    samples: Samples,
    options: FitConfig,
    *,
    shared_init: Tensor | None = None,
    folder: Path | None = None,
    progress: str | None = None,
) -> Fits:
    """Fit one field to each shape.

    Args:
        samples: N shapes at shared points.
        initial: (P,) the shared initial field (conditioned), or None for random starts (unconditioned).
        folder: where finished groups are kept; an interrupted fit with the same arguments goes on from there.
        progress: title of a progress bar.

    Raises:
        InputError: a distance or the initial field is not finite, or `initial` is of another architecture.
    """
    if not torch.isfinite(samples.sdf).all() or (shared_init is not None and not torch.isfinite(shared_init).all()):
        raise InputError("distances or initial weights hold NaN or infinite values; leave those shapes out.")
    encoded, total = fourier_features(samples.points, config.num_frequencies), len(samples.sdf)
    groups: list[dict[str, Tensor]] = []
    with tqdm(total=total, desc=progress, unit="field", disable=progress is None) as bar:
        for first in range(0, total, options.batch_size):
            part = samples.select(slice(first, first + options.batch_size))
            path = folder / f"{first:06d}.safetensors" if folder else None
            if path and path.is_file():
                groups.append(read_tensors(path))
            else:
                start = (
                    random_initializations(config, len(part.sdf), options.seed + first)
                    if shared_init is None
                    else shared_init
                )
                groups.append(_fit_group(config, part, encoded, start.expand(len(part.sdf), -1), options))
                if path:
                    write_tensors(path, groups[-1])
            bar.update(len(part.sdf))
    joined = {name: torch.cat([group[name] for group in groups]) for name in groups[0]}
    flat, at_three_quarters = Fields(config, joined["flat"]), Fields(config, joined["earlier"])
    return Fits(flat, joined["loss"], at_three_quarters, joined["history"])


def _fit_group(
    config: FieldConfig, samples: Samples, encoded: Tensor, start: Tensor, options: FitConfig
) -> dict[str, Tensor]:
    flat = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([flat], lr=options.learning_rate, betas=(0.9, 0.95), fused=True)
    losses = torch.zeros(options.steps, len(flat))
    for step, part in enumerate(point_slices(encoded.shape[1], options.points_per_step, options.steps, options.seed)):
        optimizer.param_groups[0]["lr"] = options.learning_rate * cosine_rate(step, options.steps)
        values = evaluate_encoded(config, flat, encoded[:, part])[..., 0]
        loss = truncated_loss(values, samples.sdf[:, part], options.truncation)
        total = loss.sum()
        if options.eikonal:
            total = total + options.eikonal * _eikonal(config, flat, samples.points[part]).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses[step] = loss.detach()
        if step < 0.75 * options.steps:
            at_three_quarters = flat.detach().clone()
    history = F.adaptive_avg_pool1d(losses.T, 20)
    loss = losses[-max(1, options.steps // 10) :].mean(0)
    return {"flat": flat.detach(), "earlier": at_three_quarters, "loss": loss, "history": history}


def _eikonal(config: FieldConfig, flat: Tensor, points: Tensor) -> Tensor:
    points = points.expand(len(flat), -1, -1).clone().requires_grad_()
    values = evaluate(config, flat, points).sum()
    (gradient,) = torch.autograd.grad(values, points, create_graph=True)
    steepness: Tensor = gradient.norm(dim=-1)
    return (steepness - 1).square().mean(-1)
