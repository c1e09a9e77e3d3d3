"""What learning a codebook shares among quantizers with latents: the residual quantizer, and the steps of training.

Decisions:
- Training starts without the quantizer, for `warmup_fraction` of the steps, because k-means on untrained latents gives
  useless code vectors.
- The residual quantizer is the one of vector-quantize-pytorch: it starts from k-means, learns by moving averages and
  replaces dead codes. Its training pass is the slowest part of a step, so it runs at every fourth step only. At the
  other steps its code vectors are applied as they are.

Dimensions: N shapes, B shapes of a step, P parameters of a field, C chunks, r latent width, Q quantizer levels, K codes
of a level.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from tokenization.autoencoder_training import (
    AutoencoderConfig,
    History,
    commitment_penalty,
    optimize,
    reconstruction_loss,
    straight_through,
)
from weightgpt.errors import InputError, check_at_least, check_at_most
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.functional import first_layer_inputs
from weightgpt.quantizers.codes import residual_decode, residual_encode
from weightgpt.quantizers.grid_encoder import GridEncoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples

LATENT_WEIGHT = 1e-3
"""Weight of squared latents, which keeps their scale bounded."""
UPDATE_INTERVAL = 4
"""Steps between training passes of the residual quantizer."""
EMA_DECAY = 0.99
"""Decay of the quantizer's moving averages, for each training pass."""
DEAD_CODE_SHARE = 0.02
"""A code that is used less often than this share of the average is replaced. The library's own threshold counts
vectors; with fewer vectors than codes in a pass, its default would replace most codes all the time."""
MAX_WIDTH = 65_536
"""Most codes, quantizer levels and probes, and largest width of a layer."""
KMEANS_SHAPES, KMEANS_LATENTS = 2048, 32_768
"""Most shapes, and most latents, that the k-means of the residual quantizer starts from."""


@dataclass(frozen=True, kw_only=True)
class LatentConfig(AutoencoderConfig):
    """How an autoencoder with a residual quantizer is learned."""

    latent_width: int = 64
    """r, length of the latent of a chunk."""
    num_quantizers: int = 8
    """Q, quantizer levels that are used; a field has C · Q tokens."""
    trained_quantizers: int | None = None
    """Quantizer levels that are trained, of which the first Q are used. None, or a number below Q, trains Q levels. A
    decoder that is trained with more levels than are used loses fewer thin parts."""
    codebook_size: int = 256
    """K, codes of a level."""
    warmup_fraction: float = 0.3
    """Share of the steps that run without the quantizer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("latent_width", "num_quantizers", "trained_quantizers", "codebook_size")
        check_at_least(self, 1, *sizes)
        check_at_most(self, MAX_WIDTH, *sizes)
        if not 0 <= self.warmup_fraction < 1:
            raise InputError(
                f"warmup_fraction is {self.warmup_fraction}; give a share from 0 to below 1, so that the quantizer is"
                " trained at all."
            )

    @property
    def num_trained(self) -> int:
        """Quantizer levels that are trained, at least those that are used."""
        return max(self.num_quantizers, self.trained_quantizers or 0)


class TrainableRVQ(nn.Module):
    """The residual quantizer of vector-quantize-pytorch: trained at some steps, applied at every step.

    Args:
        config: sizes.
        num_chunks: chunks of a field.
    """

    code_vectors: Tensor

    def __init__(self, config: LatentConfig, num_chunks: int) -> None:
        super().__init__()
        vectors = config.batch_size * num_chunks
        self.vq = ResidualVQ(
            dim=config.latent_width,
            num_quantizers=config.num_trained,
            codebook_size=config.codebook_size,
            kmeans_init=True,
            kmeans_iters=10,
            decay=EMA_DECAY,
            threshold_ema_dead_code=DEAD_CODE_SHARE * vectors / config.codebook_size,
            rotation_trick=False,
        )
        code_vectors = torch.zeros(config.num_trained, config.codebook_size, config.latent_width)
        self.register_buffer("code_vectors", code_vectors)

    @torch.no_grad()
    def update(self, latents: Tensor) -> None:
        """Run one training pass over latents (…, r); the first pass runs k-means."""
        self.vq.train()
        self.vq(latents.reshape(1, -1, latents.shape[-1]))
        self.code_vectors = torch.stack([layer._codebook.embed[0] for layer in self.vq.layers])

    @torch.no_grad()
    def quantize(self, latents: Tensor) -> Tensor:
        """Quantized latents, of the same shape."""
        codes = residual_encode(latents.flatten(0, -2), self.code_vectors)
        return residual_decode(codes, self.code_vectors).view_as(latents)


class TrainableAutoencoder(nn.Module, ABC):
    """All parts of an autoencoder; the residual quantizer learns by moving averages, all other parts by gradients.

    Args:
        field_config: the architecture of the fields.
        encoder: reads shapes at its probes, which are the first points of the corpus.
        config: sizes of the quantizer.
    """

    def __init__(self, field_config: FieldConfig, encoder: ShapeEncoder | GridEncoder, config: LatentConfig) -> None:
        super().__init__()
        self.field_config, self.encoder = field_config, encoder
        self.rvq = TrainableRVQ(config, encoder.num_chunks)

    @abstractmethod
    def optimizers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        """The optimizers of all parts.

        Args:
            learning_rate: peak rate.
        """

    @abstractmethod
    def weights(self, latents: Tensor) -> Tensor:
        """Weights (B, P) of latents (B, C, r)."""

    def latents(self, rows: Tensor, predicted: Tensor) -> Tensor:
        """Latents (B, C, r) of the training shapes `rows` (B,), for which the encoder gives `predicted` (B, C, r)."""
        return predicted

    @torch.no_grad()
    def sample_latents(self, samples: Samples) -> Tensor:
        """Latents (n, C, r) of the first training shapes."""
        count = min(KMEANS_SHAPES, KMEANS_LATENTS // self.encoder.num_chunks, len(samples.sdf))
        rows, probes = torch.arange(max(count, 1)), len(self.encoder.probes)
        batches = [(part, self.encoder(samples.sdf[part, :probes].float())) for part in rows.split(256)]
        return torch.cat([self.latents(part, predicted) for part, predicted in batches])


def train(
    autoencoder: TrainableAutoencoder,
    samples: Samples,
    config: LatentConfig,
    seed: int,
    title: str | None,
    callback: Callable[[int, float], None] | None,
) -> History:
    """Train all parts on random batches of shapes.

    Args:
        autoencoder: the parts.
        samples: the training shapes; the first points are the probes of the encoder.
        config: how it is trained.
        seed: seed of the batches and of their points.
        title: title of the progress bar; None shows no bar.
        callback: called with (step, mean loss) about fifty times.
    """
    field_config, rvq, num_probes = autoencoder.field_config, autoencoder.rvq, len(autoencoder.encoder.probes)
    point_features = first_layer_inputs(samples.points, field_config)
    generator, first_quantized_step = torch.Generator().manual_seed(seed), int(config.warmup_fraction * config.steps)

    def step_losses(step: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(0, len(samples.sdf), (config.batch_size,), generator=generator)
        sdf = samples.sdf[rows].float()
        predicted = autoencoder.encoder(sdf[:, :num_probes])
        latents = autoencoder.latents(rows, predicted)
        if step == first_quantized_step:
            rvq.update(autoencoder.sample_latents(samples))
        elif step > first_quantized_step and step % UPDATE_INTERVAL == 0:
            rvq.update(latents.detach())
        decoder_input, quantized = straight_through(
            latents, rvq.quantize if step >= first_quantized_step else lambda z: z
        )
        flat = autoencoder.weights(decoder_input)
        loss = reconstruction_loss(config, field_config, flat, point_features, sdf, generator)
        penalty = LATENT_WEIGHT * latents.square().mean() + commitment_penalty(latents, quantized)
        penalty = penalty + (predicted - latents.detach()).square().mean()  # zero without auto-decoding
        return loss, penalty

    optimizers = autoencoder.optimizers(config.learning_rate)
    return optimize(config.steps, step_losses, optimizers, autoencoder, title=title, callback=callback)
