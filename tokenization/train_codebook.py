"""Learn the RVQ autoencoder: base, bases, latent decoder, codebook and shape encoder together.

The encoder sees the signed distances of a shape at fixed probes and predicts the latents of all chunks. The latents are
quantized and decoded to the weights of a field, and the loss compares the field with the shape
(see `tokenization.autoencoder_training`).

Decisions:
- Training starts without the quantizer, for `warmup_fraction` of the steps, because k-means on untrained latents gives
  useless code vectors.
- The residual quantizer is the one of vector-quantize-pytorch: it starts from k-means, learns by moving averages and
  replaces dead codes. Its training pass is the slowest part of a step, so it runs at every fourth step only. At the
  other steps its code vectors are applied as they are.
- With thousands of shapes the encoder predicts the latents. With a few hundred shapes the encoder overfits. We then
  optimize the latents of each training shape as parameters, and the encoder learns to predict them (`auto_decoding`,
  after DeepSDF, Park et al. 2019).
- Base and bases start from plain fits: from their mean, and from the principal directions of each chunk.

Dimensions: N shapes, M points, B shapes of a step, P parameters of a field, C chunks, d chunk width, k coefficients, r
latent width, Q quantizer levels, K codes of a level.
"""

import math
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
from tokenization.corpus import Corpus, TrainedQuantizer
from weightgpt.errors import InputError, check_at_least, check_at_most
from weightgpt.fields.field import Fields
from weightgpt.fields.functional import fourier_features
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.codes import residual_decode, residual_encode
from weightgpt.quantizers.latent_decoder import LatentDecoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples

ENCODER_WIDTH = 512
"""Width of the encoder's hidden layers: large enough for thousands of shapes, and cheap compared with the fields."""
LATENT_LEARNING_RATE = 3e-2
"""Peak learning rate of latents that are optimized per shape. Each shape is seen in few steps, so the rate is high."""
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
KMEANS_SHAPES = 2048
"""Shapes whose latents the k-means of the residual quantizer starts from."""


@dataclass(frozen=True, kw_only=True)
class CodebookConfig(AutoencoderConfig):
    """How the RVQ autoencoder is learned."""

    neurons_per_chunk: int = 32
    """Neurons of a chunk; with the width of the widest layer, every layer is one chunk."""
    latent_width: int = 64
    """r, length of the latent of a chunk."""
    coefficients: int = 64
    """k, directions in which the weights of a chunk vary."""
    latent_decoder_width: int = 512
    """Width of the latent decoder's hidden layer."""
    num_quantizers: int = 8
    """Q, quantizer levels that are used; a field has C · Q tokens."""
    trained_quantizers: int | None = None
    """Quantizer levels that are trained, of which the first Q are used. None, or a number below Q, trains Q levels. A
    decoder that is trained with more levels than are used loses fewer thin parts."""
    codebook_size: int = 256
    """K, codes of a level."""
    auto_decoding: bool = False
    """Whether the latents of each training shape are optimized (auto-decoding) instead of predicted."""
    num_probes: int = 2048
    """Points at which the encoder sees a shape: the first ones of the corpus."""
    warmup_fraction: float = 0.3
    """Share of the steps that run without the quantizer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "neurons_per_chunk", "latent_width", "coefficients", "latent_decoder_width")
        check_at_least(self, 1, "num_quantizers", "trained_quantizers", "codebook_size", "num_probes")
        check_at_most(self, MAX_WIDTH, "neurons_per_chunk", "latent_width", "coefficients", "latent_decoder_width")
        check_at_most(self, MAX_WIDTH, "num_quantizers", "trained_quantizers", "codebook_size", "num_probes")
        if not 0 <= self.warmup_fraction < 1:
            raise InputError(
                f"warmup_fraction is {self.warmup_fraction}; give a share from 0 to below 1, so that the quantizer is"
                " trained at all."
            )

    @property
    def num_trained(self) -> int:
        """Quantizer levels that are trained, at least those that are used."""
        return max(self.num_quantizers, self.trained_quantizers or 0)


def learn_codebook(
    corpus: Corpus,
    config: CodebookConfig,
    *,
    progress: bool = False,
    callback: Callable[[int, float], None] | None = None,
) -> TrainedQuantizer[RVQAutoencoder]:
    """Learn an RVQ autoencoder from the N shapes of a corpus.

    Args:
        corpus: the shapes; base and bases start from the plain fits, and the seed decides all random numbers.
        config: sizes of the autoencoder and how it is trained.
        progress: whether to show a progress bar.
        callback: called with (step, mean loss) about fifty times.

    Raises:
        InputError: there are fewer latents than codes.
    """
    samples, layout = corpus.samples, ChunkLayout(corpus.fits.config, config.neurons_per_chunk)
    latents = len(samples.sdf) * layout.num_chunks
    if latents < config.codebook_size:
        raise InputError(
            f"{len(samples.sdf)} shapes give {latents} latents for {config.codebook_size} codes; learn from more shapes"
            " or ask for fewer codes."
        )
    torch.manual_seed(corpus.seed)
    autoencoder = TrainableAutoencoder(layout, corpus, config)
    history = _train(autoencoder, samples, config, corpus.seed, "learning the codebook" if progress else None, callback)
    return TrainedQuantizer(autoencoder.freeze(config.num_quantizers), history)


def initial_basis(layout: ChunkLayout, fits: Fields, coefficients: int, seed: int) -> tuple[Tensor, Tensor]:
    """Base (C, d) and bases (C, k, d) of plain fits: mean and principal directions of each chunk.

    Directions are scaled by their standard deviation, so that coefficients are of order one. If there are fewer fits
    than directions, the remaining directions are small random numbers.

    Args:
        layout: how weights are cut into chunks.
        fits: plain fits with a common initialization.
        coefficients: k.
        seed: seed of the random directions.
    """
    chunks = layout.split(fits.flat)
    base = chunks.mean(0)
    _, values, rows = torch.linalg.svd((chunks - base).transpose(0, 1), full_matrices=False)
    count = min(coefficients, rows.shape[1])
    directions = rows[:, :count] * (values[:, :count, None] / math.sqrt(len(chunks)))
    noise = torch.randn(layout.num_chunks, coefficients, layout.width, generator=torch.Generator().manual_seed(seed))
    basis = noise * _padding_mask(layout)[:, None] * (directions.std() * 0.1 + 1e-4)
    basis[:, :count] = directions
    return base, basis


class TrainableRVQ(nn.Module):
    """The residual quantizer of vector-quantize-pytorch: trained at some steps, applied at every step.

    Args:
        config: sizes.
        num_chunks: chunks of a field.
    """

    code_vectors: Tensor

    def __init__(self, config: CodebookConfig, num_chunks: int) -> None:
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


class TrainableAutoencoder(nn.Module):
    """All parts of the autoencoder; the residual quantizer learns by moving averages, all other parts by Adam.

    Args:
        layout: how weights are cut into chunks.
        corpus: the shapes to learn from.
        config: sizes.
    """

    def __init__(self, layout: ChunkLayout, corpus: Corpus, config: CodebookConfig) -> None:
        super().__init__()
        chunks, latent_width = layout.num_chunks, config.latent_width
        base, basis = initial_basis(layout, corpus.fits, config.coefficients, corpus.seed)
        self.layout, self.base, self.basis = layout, nn.Parameter(base), nn.Parameter(basis)
        self.latent_decoder = LatentDecoder(chunks, latent_width, config.latent_decoder_width, config.coefficients)
        probes = corpus.samples.points[: config.num_probes]
        self.encoder = ShapeEncoder(probes, ENCODER_WIDTH, chunks, latent_width, config.truncation)
        with torch.no_grad():  # small first latents and coefficients: training starts near the mean of the fits
            self.encoder.layers[-1].weight.mul_(0.3)
            self.latent_decoder.outer.weight.mul_(0.1)
        self.shape_latents: nn.Embedding | None = None
        if config.auto_decoding:
            self.shape_latents = nn.Embedding(len(corpus.samples.sdf), chunks * latent_width, sparse=True)
            nn.init.normal_(self.shape_latents.weight, 0.0, 0.1)
        self.rvq = TrainableRVQ(config, chunks)

    def optimizers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        """Adam for all shapes together and, with auto-decoding, sparse Adam for the latents of each shape."""
        shared = [self.base, self.basis, *self.latent_decoder.parameters(), *self.encoder.parameters()]
        optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(shared, lr=learning_rate, fused=True)]
        if self.shape_latents is not None:
            optimizers.append(torch.optim.SparseAdam(self.shape_latents.parameters(), lr=LATENT_LEARNING_RATE))
        return optimizers

    def latents(self, rows: Tensor, predicted: Tensor) -> Tensor:
        """Latents (B, C, r) of the training shapes `rows` (B,), for which the encoder gives `predicted` (B, C, r)."""
        return predicted if self.shape_latents is None else self.shape_latents(rows).view_as(predicted)

    def weights(self, latents: Tensor) -> Tensor:
        """Weights (B, P) of latents (B, C, r)."""
        chunks = self.base + torch.bmm(self.latent_decoder(latents).transpose(0, 1), self.basis).transpose(0, 1)
        return self.layout.join(chunks)

    @torch.no_grad()
    def sample_latents(self, samples: Samples) -> Tensor:
        """Latents (n, C, r) of the first training shapes."""
        rows, probes = torch.arange(min(KMEANS_SHAPES, len(samples.sdf))), len(self.encoder.probes)
        batches = [(part, self.encoder(samples.sdf[part, :probes].float())) for part in rows.split(256)]
        return torch.cat([self.latents(part, predicted) for part, predicted in batches])

    def freeze(self, num_quantizers: int) -> RVQAutoencoder:
        """The learned quantizer with its first `num_quantizers` levels."""
        mask = _padding_mask(self.layout)
        codebook = Codebook(
            self.layout,
            self.base.detach() * mask,
            self.basis.detach() * mask[:, None],
            self.latent_decoder,
            self.rvq.code_vectors[:num_quantizers],
        )
        return RVQAutoencoder(codebook, self.encoder.eval())


def _padding_mask(layout: ChunkLayout) -> Tensor:
    """(C, d) one at each weight of a chunk and zero at its padding."""
    return layout.split(torch.ones(1, layout.field_config.parameters))[0]


def _train(
    autoencoder: TrainableAutoencoder,
    samples: Samples,
    config: CodebookConfig,
    seed: int,
    title: str | None,
    callback: Callable[[int, float], None] | None,
) -> History:
    """Train all parts on random batches of shapes."""
    field_config, rvq = autoencoder.layout.field_config, autoencoder.rvq
    point_features = fourier_features(samples.points, field_config.num_frequencies)
    generator, first_quantized_step = torch.Generator().manual_seed(seed), int(config.warmup_fraction * config.steps)

    def step_losses(step: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(0, len(samples.sdf), (config.batch_size,), generator=generator)
        sdf = samples.sdf[rows].float()
        predicted = autoencoder.encoder(sdf[:, : config.num_probes])
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
