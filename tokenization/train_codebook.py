"""Learn the RVQ autoencoder: base, bases, latent decoder, codebook and shape encoder together.

The encoder sees the signed distances of a shape at fixed probes and predicts the latents of all chunks. The latents are
quantized and decoded to the weights of a field, and the loss compares the field with the shape
(see `tokenization.autoencoder_training`).

Decisions:
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

from tokenization.corpus import Corpus, TrainedQuantizer
from tokenization.trainable_autoencoder import MAX_WIDTH, LatentConfig, TrainableAutoencoder, train
from weightgpt.errors import InputError, check_at_least, check_at_most
from weightgpt.fields.field import Fields
from weightgpt.quantizers.basis_decoder import BasisDecoder
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.latent_decoder import LatentDecoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder

ENCODER_WIDTH = 512
"""Width of the encoder's hidden layers: large enough for thousands of shapes, and cheap compared with the fields."""
LATENT_LEARNING_RATE = 3e-2
"""Peak learning rate of latents that are optimized per shape. Each shape is seen in few steps, so the rate is high."""


@dataclass(frozen=True, kw_only=True)
class CodebookConfig(LatentConfig):
    """How the RVQ autoencoder is learned."""

    neurons_per_chunk: int = 32
    """Neurons of a chunk; with the width of the widest layer, every layer is one chunk."""
    coefficients: int = 64
    """k, directions in which the weights of a chunk vary."""
    latent_decoder_width: int = 512
    """Width of the latent decoder's hidden layer."""
    auto_decoding: bool = False
    """Whether the latents of each training shape are optimized (auto-decoding) instead of predicted."""
    num_probes: int = 2048
    """Points at which the encoder sees a shape: the first ones of the corpus."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("neurons_per_chunk", "coefficients", "latent_decoder_width", "num_probes")
        check_at_least(self, 1, *sizes)
        check_at_most(self, MAX_WIDTH, *sizes)


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
    autoencoder = TrainableBasisAutoencoder(layout, corpus, config)
    history = train(autoencoder, samples, config, corpus.seed, "learning the codebook" if progress else None, callback)
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


class TrainableBasisAutoencoder(TrainableAutoencoder):
    """All parts of the RVQ autoencoder.

    Args:
        layout: how weights are cut into chunks.
        corpus: the shapes to learn from.
        config: sizes.
    """

    def __init__(self, layout: ChunkLayout, corpus: Corpus, config: CodebookConfig) -> None:
        chunks, latent_width = layout.num_chunks, config.latent_width
        base, basis = initial_basis(layout, corpus.fits, config.coefficients, corpus.seed)
        latent_decoder = LatentDecoder(chunks, latent_width, config.latent_decoder_width, config.coefficients)
        probes = corpus.samples.points[: config.num_probes]
        encoder = ShapeEncoder(probes, ENCODER_WIDTH, chunks, latent_width, config.truncation)
        with torch.no_grad():  # small first latents and coefficients: training starts near the mean of the fits
            encoder.layers[-1].weight.mul_(0.3)
            latent_decoder.outer.weight.mul_(0.1)
        shape_latents: nn.Embedding | None = None
        if config.auto_decoding:
            shape_latents = nn.Embedding(len(corpus.samples.sdf), chunks * latent_width, sparse=True)
            nn.init.normal_(shape_latents.weight, 0.0, 0.1)
        super().__init__(layout.field_config, encoder, config)
        self.layout, self.base, self.basis = layout, nn.Parameter(base), nn.Parameter(basis)
        self.latent_decoder, self.shape_latents = latent_decoder, shape_latents

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

    def freeze(self, num_quantizers: int) -> RVQAutoencoder:
        """The learned quantizer with its first `num_quantizers` levels."""
        mask, encoder = _padding_mask(self.layout), self.encoder.eval()
        assert isinstance(encoder, ShapeEncoder)
        base, basis = self.base.detach() * mask, self.basis.detach() * mask[:, None]
        decoder = BasisDecoder(self.layout, base, basis, self.latent_decoder)
        return RVQAutoencoder(Codebook(decoder, self.rvq.code_vectors[:num_quantizers]), encoder)


def _padding_mask(layout: ChunkLayout) -> Tensor:
    """(C, d) one at each weight of a chunk and zero at its padding."""
    return layout.split(torch.ones(1, layout.field_config.parameters))[0]
