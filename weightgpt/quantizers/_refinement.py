"""Refinement of latents, used by the RVQ autoencoder alone.

Decisions:

- Adam changes the latents only. They are decoded through the quantizer (straight-through), so that the loss is that of
  the codes, and compared with the signed distances of the shape.
- The best codes so far are the result, so refinement never makes codes worse at the points of comparison.
- Shapes of a corpus share their points; other shapes have points of their own. Or points are drawn for each shape, a
  share of them near its surface. Thin parts need that: they are a small share of the volume.
- The codes of a shape do not depend on the other shapes (see `weightgpt.fields.reproducible`).

Dimensions: B shapes, M points, n points of a step, E width of the encoded points, C chunks, Q num_quantizers, r latent
width.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from weightgpt.fields.functional import evaluate_encoded
from weightgpt.fields.optimization import cosine_rate, minimize, point_slices, truncated_loss
from weightgpt.fields.reproducible import encode_points, in_blocks
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.codebook import Codebook
from weightgpt.shapes.sampling import sample_point_indices

INTERVAL = 50
"""Steps between two comparisons of the codes with the best ones."""
COMPARED = slice(4096)
"""Points at which codes are compared."""

Loss = Callable[[Tensor, slice], Tensor]
"""Latents (B, C, r) and the points of a step to the loss (B,)."""


class Refinement:
    """Refines latents of B shapes.

    Args:
        codebook: quantizes and decodes latents.
        points: (M, D) points at which all shapes are sampled, or (B, M, D), those of each shape.
        config: how latents are refined.
    """

    def __init__(
        self, codebook: Codebook, points: Float[Tensor, "M D"] | Float[Tensor, "B M D"], config: EncodeConfig
    ) -> None:
        self.codebook, self.config = codebook, config
        self.field_config = codebook.field_config
        self.encoded = encode_points(self.field_config, points)

    def choose_nearer(
        self, first: Float[Tensor, "B C r"], second: Float[Tensor, "B C r"], sdf: Float[Tensor, "B M"]
    ) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r): for each shape `second` where its loss is smaller, otherwise `first`.

        Args:
            first: (B, C, r).
            second: (B, C, r).
            sdf: (B, M) signed distances of the shapes.
        """
        losses = [self._loss(latents, self.encoded, sdf) for latents in (first, second)]
        return torch.where((losses[1] < losses[0])[:, None, None], second, first)

    def refine(self, start: Float[Tensor, "B C r"], sdf: Float[Tensor, "B M"]) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of refined latents.

        Args:
            start: (B, C, r) latents to start from.
            sdf: (B, M) signed distances of the shapes.
        """
        codebook, config = self.codebook, self.config
        codes = self._quantize(start)
        if not config.steps:
            return codes
        loss = self._losses(sdf)
        latents = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([latents], lr=config.learning_rate, betas=(0.9, 0.95))
        best = self._compare(codes, loss)
        slices = point_slices(sdf.shape[1], config.points_per_step, config.steps, config.seed)
        for step, points in enumerate(slices):
            with torch.no_grad():
                error = codebook.latents(self._quantize(latents)) - latents
            minimize(loss(latents + error, points).sum(), [optimizer], cosine_rate(step, config.steps))
            if (step + 1) % INTERVAL == 0 or step + 1 == config.steps:
                candidates = self._quantize(latents.detach())
                losses = self._compare(candidates, loss)
                codes = torch.where((losses < best)[:, None, None], candidates, codes)
                best = torch.minimum(losses, best)
        return codes

    def _quantize(self, latents: Tensor) -> Tensor:
        """Codes (B, C, Q) of latents."""
        return in_blocks(self.codebook.quantize, latents)

    @torch.no_grad()
    def _compare(self, codes: Tensor, loss: Loss) -> Tensor:
        """Loss (B,) of codes."""
        return loss(self.codebook.latents(codes), COMPARED)

    def _loss(self, latents: Tensor, encoded: Tensor, sdf: Tensor) -> Tensor:
        """Loss (B,) at encoded points, (E + 1, n) or (B, E + 1, n)."""
        weights = in_blocks(self.codebook.weights, latents)
        values = evaluate_encoded(self.field_config, weights, encoded)[..., 0]
        return truncated_loss(values, sdf)

    def _losses(self, sdf: Tensor) -> Loss:
        """The loss at a slice of the points: as they are, or points that each shape draws from shared ones."""
        config, total = self.config, sdf.shape[1]
        if not config.surface_fraction:
            return lambda latents, points: self._loss(latents, self.encoded[..., points], sdf[:, points])
        shared, order = self.encoded.flatten(0, -2), torch.empty_like(sdf, dtype=torch.long)
        for row, distances in enumerate(sdf):  # one shape at a time, so that codes do not depend on the batch
            generator = torch.Generator().manual_seed(config.seed)
            indices = sample_point_indices(
                distances[None], total, config.surface_fraction, config.surface_bandwidth, generator, balance_sides=True
            )[0]
            order[row] = indices[torch.randperm(total, generator=generator)]

        def loss(latents: Tensor, points: slice) -> Tensor:
            indices = order[:, points]
            encoded = shared[:, indices].transpose(0, 1).contiguous()
            return self._loss(latents, encoded, sdf.gather(1, indices))

        return loss
