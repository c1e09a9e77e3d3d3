"""Learn base, bases, mixer, codebook and encoder together, the quantizer in the loop.

The loss looks at signed distances, never at weights. Encoder latents are quantized (straight-through) on their way to
the weights, after a share of the steps without quantizer in which the rest finds its place. The residual quantizer is
vector-quantize-pytorch's: it starts from k-means, learns by moving averages and revives dead codes. Its training pass
is the slowest part of a step, so it runs every few steps; in between its tables are applied as they are.

Half of a step's points are drawn for each shape near its own surface, from the schedule that all shapes share: thin
parts are a small share of the volume, and uniform points alone let them fade. Half of those may come from inside, and
large errors may weigh more: a codebook of plain errors can give up one part of many shapes, such as columns of chairs.

Latents come from the encoder, where there are thousands of shapes to learn it from. Of a few hundred it would learn to
guess only, and all the rest would learn to make do with its guesses; there every training shape has latents of its own,
found along with the rest (auto-decoding, Park et al. 2019), and the encoder learns to guess those, for refining to
start from.

Base and bases start from plain conditioned fits: their mean, and for each chunk their principal directions.

Dimensions: N shapes, M points, n points of a step, B shapes of a step, C chunks, d chunk width, k coefficients, r
latent width, Q levels, K codes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm
from vector_quantize_pytorch import ResidualVQ

from tokenization.corpus import TrainedQuantizer
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.functional import evaluate_encoded, fourier_features
from weightgpt.fields.optimization import DEFAULT_TRUNCATION, cosine_rate, truncated_loss
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.codes import residual_decode, residual_encode
from weightgpt.quantizers.latent_decoder import LatentDecoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples, sample_point_indices


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """What is learned, and how."""

    neurons_per_chunk: int = 32
    """Neurons in a chunk; as many as the widest layer has make every layer one chunk."""
    latent_width: int = 64
    """r, numbers of a chunk before quantization."""
    coefficients: int = 64
    """k, directions in which a chunk of weights varies."""
    latent_decoder_width: int = 512
    """Width of the mixer's hidden layer."""
    trained_quantizers: int = 8
    """Residual levels to learn."""
    num_quantizers: int | None = None
    """Q, the first of them, that are used; None for all. A field has C · Q tokens."""
    codebook_size: int = 256
    """K, codes of a level."""
    auto_decoding: bool = False
    """Whether every training shape has latents of its own, instead of the encoder's."""
    latent_learning_rate: float = 3e-2
    """Peak rate of those."""
    num_probes: int = 2048
    """Points at which the encoder sees a shape, the first of the schedule."""
    encoder_width: int = 512
    """Width of the encoder's hidden layers."""
    steps: int = 12000
    """Steps of Adam."""
    batch_size: int = 32
    """B, shapes of a step."""
    points_per_step: int = 384
    """n, points of a step."""
    surface_fraction: float = 0.5
    """Share of them drawn near the surface of the shape itself; the rest is uniform over the schedule."""
    surface_bandwidth: float = 0.03
    """How near: chances fall with the distance as exp(-|sdf| / width)."""
    balance_sides: bool = False
    """Whether as many of those are drawn inside as outside: of a thin part, points outside tell next to nothing."""
    learning_rate: float = 1e-3
    """Peak rate; short warm-up, then a cosine to zero."""
    truncation: float = DEFAULT_TRUNCATION
    """Of the distance loss, as in `FitConfig`."""
    squared_weight: float = 0.0
    """Weight of squared errors in it, beside plain ones: columns and other thin parts that few shapes have stay whole
    more often."""
    warmup_fraction: float = 0.3
    """Share of the steps without quantizer."""
    vq_update_interval: int = 4
    """Steps between training passes of the quantizer."""
    ema_decay: float = 0.99
    """Of its moving averages, for each pass."""
    dead_code_threshold: float = 0.02
    """A code used less than this share of the average is revived. (The library's own threshold counts vectors; with
    fewer vectors than codes in a pass, a threshold of 1 would replace most codes all the time.)"""
    commitment_weight: float = 0.1
    """Weight of the squared distance between a latent and its quantized value."""
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (
            self.latent_width,
            self.coefficients,
            self.latent_decoder_width,
            self.trained_quantizers,
            self.codebook_size,
        )
        if (
            min(*sizes, self.steps, self.batch_size, self.points_per_step) < 1
            or not 0 <= self.surface_fraction <= 1
            or self.surface_bandwidth <= 0
        ):
            raise InputError(f"{self} cannot learn a codebook; widths, levels, codes and steps must be positive.")
        if self.squared_weight < 0:
            raise InputError(
                f"squared errors have a weight of {self.squared_weight}; give 0 for plain ones alone, or more."
            )
        if self.num_quantizers is not None and not 1 <= self.num_quantizers <= self.trained_quantizers:
            raise InputError(
                f"{self.num_quantizers} levels are to be kept; of {self.trained_quantizers} that are learned keep 1 or more."
            )


class TrainableRVQ:
    """vector-quantize-pytorch's residual quantizer, trained now and then, applied always."""

    def __init__(self, config: CodebookConfig, chunks: int) -> None:
        self.vq = ResidualVQ(
            dim=config.latent_width,
            num_quantizers=config.trained_quantizers,
            codebook_size=config.codebook_size,
            kmeans_init=True,
            kmeans_iters=10,
            decay=config.ema_decay,
            threshold_ema_dead_code=config.dead_code_threshold * config.batch_size * chunks / config.codebook_size,
            rotation_trick=False,
        )
        self.tables = torch.zeros(config.trained_quantizers, config.codebook_size, config.latent_width)

    @torch.no_grad()
    def learn(self, latents: Tensor) -> None:
        """One training pass over latents (…, r); the first one runs k-means."""
        self.vq.train()
        self.vq(latents.reshape(1, -1, latents.shape[-1]))
        self.tables = torch.stack([layer._codebook.embed[0] for layer in self.vq.layers])

    @torch.no_grad()
    def apply(self, latents: Tensor) -> Tensor:
        """Quantized latents, of the same shape."""
        codes = residual_encode(latents.flatten(0, -2), self.tables)
        return residual_decode(codes, self.tables).view_as(latents)


def start(layout: ChunkLayout, fits: Fields, coefficients: int, seed: int) -> tuple[Tensor, Tensor]:
    """Base (C, d) and bases (C, k, d) of plain conditioned fits: mean and principal directions for each chunk.

    Directions are scaled by their standard deviation, so that coefficients are of order one. Where there are fewer
    fits than directions the rest is small noise.
    """
    chunks = layout.split(fits.flat)
    base = chunks.mean(0)
    _, values, rows = torch.linalg.svd((chunks - base).transpose(0, 1), full_matrices=False)
    count = min(coefficients, rows.shape[1])
    directions = rows[:, :count] * (values[:, :count, None] / math.sqrt(len(chunks)))
    noise = torch.randn(layout.num_chunks, coefficients, layout.width, generator=torch.Generator().manual_seed(seed))
    padding = layout.split(torch.ones(1, layout.field_config.parameters))[0, :, None]
    basis = noise * padding * (directions.std() * 0.1 + 1e-4)
    basis[:, :count] = directions
    return base, basis


def learn(
    layout: ChunkLayout,
    fits: Fields,
    samples: Samples,
    config: CodebookConfig,
    *,
    progress: bool = False,
    callback: Callable[[int, float], None] | None = None,
) -> TrainedQuantizer:
    """Learn a codebook from N sampled shapes.

    Args:
        fits: plain conditioned fits of some shapes, for the start.
        samples: N shapes at M shared points; the first `config.num_probes` points become the encoder's probes.
        callback: called with (step, mean loss) now and then.

    Raises:
        InputError: there are fewer latents than codes, or a distance or a fit is not finite.
    """
    if len(samples.sdf) * layout.num_chunks < config.codebook_size:
        raise InputError(
            f"{len(samples.sdf)} shapes give {len(samples.sdf) * layout.num_chunks} latents for {config.codebook_size} codes; learn"
            " from more shapes or ask for fewer codes."
        )
    if not torch.isfinite(samples.sdf).all():
        rows = (~torch.isfinite(samples.sdf)).any(1).nonzero().flatten().tolist()
        raise InputError(f"shapes {rows[:5]} have NaN or infinite distances; leave them out.")
    torch.manual_seed(config.seed)
    base, basis = start(layout, fits, config.coefficients, config.seed)
    latent_decoder = LatentDecoder(
        layout.num_chunks, config.latent_width, config.latent_decoder_width, config.coefficients
    )
    encoder = ShapeEncoder(
        samples.points[: config.num_probes],
        config.encoder_width,
        layout.num_chunks,
        config.latent_width,
        config.truncation,
    )
    with torch.no_grad():
        encoder.layers[-1].weight.mul_(0.3)
        latent_decoder.outer.weight.mul_(0.1)
    size = layout.num_chunks * config.latent_width
    own = nn.Embedding(len(samples.sdf), size, sparse=True) if config.auto_decoding else None
    if own is not None:
        nn.init.normal_(own.weight, 0.0, 0.1)
    quantizer = TrainableRVQ(config, layout.num_chunks)
    parts = Parts(layout, nn.Parameter(base), nn.Parameter(basis), latent_decoder, encoder, quantizer, own)
    history = _train(parts, samples, config, progress, callback)
    padding = layout.split(torch.ones(1, layout.field_config.parameters))[0]
    codebook = Codebook(
        layout,
        parts.base.detach() * padding,
        parts.basis.detach() * padding[:, None],
        latent_decoder,
        parts.quantizer.tables[: config.num_quantizers],
    )
    return TrainedQuantizer(RVQAutoencoder(codebook, encoder.eval()), history)


@dataclass(frozen=True)
class Parts:
    """What is learned together."""

    layout: ChunkLayout
    base: nn.Parameter
    basis: nn.Parameter
    latent_decoder: LatentDecoder
    encoder: ShapeEncoder
    quantizer: TrainableRVQ
    own: nn.Embedding | None
    """Latents (N, C · r) of the training shapes, where they have their own."""

    def optimizers(self, config: CodebookConfig) -> dict[torch.optim.Optimizer, float]:
        """What changes everything but the quantizer, which learns by moving averages; and the peak rate of each."""
        shared = [self.base, self.basis, *self.latent_decoder.parameters(), *self.encoder.parameters()]
        found: dict[torch.optim.Optimizer, float] = {torch.optim.Adam(shared, fused=True): config.learning_rate}
        if self.own is not None:
            found[torch.optim.SparseAdam(self.own.parameters())] = config.latent_learning_rate
        return found

    def latents(self, rows: Tensor, guess: Tensor) -> Tensor:
        """Latents (B, C, r) of the training shapes `rows`, of which the encoder's guess is `guess`."""
        return guess if self.own is None else self.own(rows).view_as(guess)

    def weights(self, latents: Tensor) -> Tensor:
        """(B, C, r) latents -> (B, P) weights."""
        chunks = self.base + torch.bmm(self.latent_decoder(latents).transpose(0, 1), self.basis).transpose(0, 1)
        return self.layout.join(chunks)


def _train(
    parts: Parts,
    samples: Samples,
    config: CodebookConfig,
    progress: bool,
    callback: Callable[[int, float], None] | None,
) -> list[tuple[int, float]]:
    optimizers = parts.optimizers(config)
    encoded, total = fourier_features(samples.points, parts.layout.field_config.num_frequencies), len(samples.sdf)
    generator = torch.Generator().manual_seed(config.seed)
    quantizer, warm = parts.quantizer, int(config.warmup_fraction * config.steps)
    history: list[tuple[int, float]] = []
    recent: list[float] = []
    for step in tqdm(range(config.steps), "learning the codebook", unit="step", disable=not progress):
        for optimizer, peak in optimizers.items():
            optimizer.param_groups[0]["lr"] = peak * cosine_rate(step, config.steps)
        rows = torch.randint(0, total, (config.batch_size,), generator=generator)
        sdf = samples.sdf[rows].float()
        guess = parts.encoder(sdf[:, : config.num_probes])
        latents = parts.latents(rows, guess)
        if step == warm:
            quantizer.learn(_some_latents(parts, samples, config))
        elif step > warm and step % config.vq_update_interval == 0:
            quantizer.learn(latents.detach())
        quantized = quantizer.apply(latents.detach()) if step >= warm else latents.detach()
        where = sample_point_indices(
            sdf,
            config.points_per_step,
            config.surface_fraction,
            config.surface_bandwidth,
            generator,
            config.balance_sides,
        )
        flat = parts.weights(latents + (quantized - latents).detach())
        values = evaluate_encoded(parts.layout.field_config, flat, encoded[:, where].transpose(0, 1).contiguous())[
            ..., 0
        ]
        loss = truncated_loss(values, sdf.gather(1, where), config.truncation, config.squared_weight).mean()
        penalty = 1e-3 * latents.square().mean() + config.commitment_weight * (latents - quantized).square().mean()
        penalty = penalty + (guess - latents.detach()).square().mean()  # nothing, where the latents are the guess
        for optimizer in optimizers:
            optimizer.zero_grad()
        (loss + penalty).backward()
        for optimizer in optimizers:
            optimizer.step()
        recent.append(loss.item())
        if (step + 1) % max(1, config.steps // 50) == 0:
            history.append((step + 1, sum(recent) / len(recent)))
            recent.clear()
            if callback:
                callback(*history[-1])
    return history


@torch.no_grad()
def _some_latents(parts: Parts, samples: Samples, config: CodebookConfig, count: int = 2048) -> Tensor:
    rows = torch.arange(min(count, len(samples.sdf)))
    guesses = [parts.encoder(samples.sdf[part, : config.num_probes].float()) for part in rows.split(256)]
    return torch.cat([parts.latents(part, guess) for part, guess in zip(rows.split(256), guesses, strict=True)])
