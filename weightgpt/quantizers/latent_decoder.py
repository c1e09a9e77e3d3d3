"""The latent decoder: from the latents of a field to the coefficients of its chunks, and back.

Decisions:

- All chunks of a field are decoded together, because the chunks of a shape depend on each other: a wider seat must move
  all four legs. This also makes codes robust: a sampled code that does not quite fit the others still decodes to
  weights near those of true shapes.
- `invert` computes its Jacobian as a product of matrices. `torch.func.jacrev` and `jacfwd` under `vmap` give the same
  numbers up to rounding, but take 14 times as long, because they do not exploit that the two layers are linear. Only
  the slope of the GELU comes from automatic differentiation.

Dimensions: B fields, C chunks, r latent width, k coefficients of a chunk, h hidden width.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LatentDecoder(nn.Module):
    """A perceptron with one hidden layer: latents (B, C, r) to coefficients (B, C, k).

    Args:
        num_chunks: C.
        latent_width: r.
        width: h.
        num_coefficients: k.
    """

    def __init__(self, num_chunks: int, latent_width: int, width: int, num_coefficients: int) -> None:
        super().__init__()
        self.num_chunks, self.latent_width, self.num_coefficients = num_chunks, latent_width, num_coefficients
        self.inner = nn.Linear(num_chunks * latent_width, width)
        self.outer = nn.Linear(width, num_chunks * num_coefficients)

    def forward(self, latents: Float[Tensor, "B C r"]) -> Float[Tensor, "B C k"]:
        """Coefficients (B, C, k) of latents.

        Args:
            latents: (B, C, r).
        """
        coefficients: Tensor = self.outer(F.gelu(self.inner(latents.flatten(1))))
        return coefficients.view(-1, self.num_chunks, self.num_coefficients)

    @torch.no_grad()
    def invert(
        self,
        coefficients: Float[Tensor, "B C k"],
        metric: Float[Tensor, "C k k"],
        start: Float[Tensor, "B C r"],
        iterations: int = 30,
    ) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) whose coefficients are nearest to `coefficients`.

        Nearest means the least Σ_c |metric_c (decoder(z)_c - coefficients_c)|². The search takes damped Gauss-Newton
        steps (Levenberg 1944, Marquardt 1963) in double precision. A step is taken only for fields that it brings
        nearer.

        Args:
            coefficients: (B, C, k).
            metric: (C, k, k) weighs the differences of the coefficients of each chunk.
            start: (B, C, r) where the search begins.
            iterations: number of steps.
        """
        exact = deepcopy(self).double()
        outer = (metric.double() @ exact.outer.weight.unflatten(0, coefficients.shape[1:])).flatten(0, 1)

        def residual(latents: Tensor) -> tuple[Tensor, Tensor]:
            difference = exact(latents.view(start.shape)) - coefficients
            return exact.inner(latents), torch.einsum("cij,bcj->bci", metric.double(), difference).flatten(1)

        latents = start.flatten(1).double()
        damping = latents.new_full((len(start), 1, 1), 1e-3)
        hidden, rest = residual(latents)
        for _ in range(iterations):
            jacobian = (outer * _gelu_slope(hidden)[:, None]) @ exact.inner.weight
            normal = jacobian.mT @ jacobian
            scale = torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1e-12)
            step = torch.linalg.solve(normal + damping * scale, jacobian.mT @ rest[..., None])[..., 0]
            new_hidden, new_rest = residual(latents - step)
            nearer = (new_rest.square().sum(1) < rest.square().sum(1))[:, None]
            latents = torch.where(nearer, latents - step, latents)
            hidden, rest = torch.where(nearer, new_hidden, hidden), torch.where(nearer, new_rest, rest)
            damping = torch.where(nearer[..., None], damping / 10, damping * 10).clamp(1e-9, 1e9)
        return latents.to(start).view_as(start)


def _gelu_slope(values: Tensor) -> Tensor:
    """The derivative of GELU at each value."""
    slope: Tensor = torch.func.jvp(F.gelu, (values,), (torch.ones_like(values),))[1]
    return slope
