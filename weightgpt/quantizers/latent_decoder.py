"""From the latents of a field to the coefficients of its chunks, and back.

A chunk alone cannot know what the others do: a wider seat must move all four legs. So the latents of a field pass
together through one small perceptron, whose outputs are the coefficients of the chunks on their bases. It makes codes
robust as well: a sampled code that does not quite fit the others still decodes to weights near those of true shapes.

Dimensions: B fields, C chunks, r latent width, k coefficients of a chunk, h hidden width.
"""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn


class LatentDecoder(nn.Module):
    """A perceptron with one hidden layer: latents (B, C, r) to coefficients (B, C, k)."""

    def __init__(self, chunks: int, latent_width: int, width: int, coefficients: int) -> None:
        super().__init__()
        self.num_chunks, self.latent_width, self.coefficients = chunks, latent_width, coefficients
        self.inner = nn.Linear(chunks * latent_width, width)
        self.outer = nn.Linear(width, chunks * coefficients)

    def forward(self, latents: Tensor) -> Tensor:
        """Coefficients (B, C, k) of latents (B, C, r)."""
        mixed: Tensor = self.outer(nn.functional.gelu(self.inner(latents.flatten(1))))
        return mixed.view(-1, self.num_chunks, self.coefficients)

    @torch.no_grad()
    def invert(self, wanted: Tensor, metric: Tensor, start: Tensor, iterations: int = 30) -> Tensor:
        """Latents (B, C, r) whose coefficients are nearest to `wanted` (B, C, k), searched from `start` (B, C, r).

        Nearest means the least Σ_c |metric_c (mixer(z)_c - wanted_c)|², with `metric` (C, k, k). The search takes
        damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963) in double precision, each only where it helps.
        """
        exact = deepcopy(self).double()
        outer = (metric.double() @ exact.outer.weight.unflatten(0, wanted.shape[1:])).flatten(0, 1)

        def error(latents: Tensor) -> tuple[Tensor, Tensor]:
            mixed = exact(latents.view(start.shape)) - wanted
            return exact.inner(latents), torch.einsum("cij,bcj->bci", metric.double(), mixed).flatten(1)

        latents, damping = start.flatten(1).double(), torch.full((len(start), 1, 1), 1e-3, dtype=torch.float64)
        hidden, rest = error(latents)
        for _ in range(iterations):
            jacobian = (outer * _gelu_slope(hidden)[:, None]) @ exact.inner.weight
            normal = jacobian.mT @ jacobian
            scale = torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1e-12)
            step = torch.linalg.solve(normal + damping * scale, jacobian.mT @ rest[..., None])[..., 0]
            tried, left = error(latents - step)
            better = left.square().sum(1) < rest.square().sum(1)
            latents = torch.where(better[:, None], latents - step, latents)
            hidden, rest = torch.where(better[:, None], tried, hidden), torch.where(better[:, None], left, rest)
            damping = torch.where(better[:, None, None], damping / 10, damping * 10).clamp(1e-9, 1e9)
        found: Tensor = latents.to(start).view_as(start)
        return found


def _gelu_slope(values: Tensor) -> Tensor:
    """The derivative of GELU: Φ(x) + x φ(x)."""
    slope: Tensor = torch.special.ndtr(values) + values * torch.exp(-values.square() / 2) / math.sqrt(2 * math.pi)
    return slope
