"""Learn a graph encoder for a codebook that is already there.

A loop codebook needs nothing but distances of shapes, which are cheap; a graph encoder needs fitted fields, which are
not. So base, bases, mixer and codes are learned first, from many shapes (`learn_codebook.py`), and stay as they are. The
graph encoder is then learned through them from fewer fields: their latents are quantized (straight-through) and decoded,
and the loss compares the decoded field with the signed distances of the *shape*, never weights with weights. So the
encoder also learns to leave out what a fit got wrong.

Neither permuted nor rescaled copies of the fields are needed: the encoder cannot tell them apart.

Dimensions: N fields, M points of the schedule, n points of a step, B fields of a step, P parameters.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from tokenization.train_codebook import CodebookConfig
from weightgpt.errors import InputError
from weightgpt.fields.canonical import canonical
from weightgpt.fields.field import Fields
from weightgpt.fields.functional import evaluate_encoded, fourier_features
from weightgpt.fields.optimization import cosine_rate, truncated_loss
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.codes import check_fields
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.graph_encoder import GraphEncoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples, sample_point_indices

LOSS = CodebookConfig()
"""Where points are drawn and how the loss is weighed: as for the codebook itself."""


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """What is learned, and how."""

    width: int = 64
    """h, numbers that a node knows."""
    num_rounds: int = 2
    """Exchanges of messages."""
    num_traces: int = 256
    """t, probes at which each neuron sees its own value, the first of the shape encoder's; 0 leaves weights alone."""
    use_shape_encoder: bool = False
    """Whether the shape encoder reads the output at all its probes, and the graph only adds to that."""
    steps: int = 2500
    """Steps of Adam."""
    batch_size: int = 32
    """B, fields of a step."""
    points_per_step: int = 384
    """n, points of a step."""
    learning_rate: float = 1e-3
    """Peak rate; short warm-up, then a cosine to zero."""
    shape_encoder_rate: float = 0.1
    """Share of it for the shape encoder, which has learned before; 0 keeps it as it is."""
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.width, self.steps, self.batch_size, self.points_per_step)
        if min(sizes) < 1 or min(self.num_rounds, self.num_traces) < 0:
            raise InputError(f"{self} cannot learn a graph encoder; width, steps, fields and points must be positive.")


@dataclass(frozen=True)
class LearntGraph:
    """The result."""

    quantizer: GraphQuantizer
    history: list[tuple[int, float]]
    """(step, mean loss since the last entry)."""


def learn(
    codebook: Codebook,
    shape: ShapeEncoder,
    fields: Fields,
    samples: Samples,
    config: GraphConfig,
    *,
    progress: bool = False,
    callback: Callable[[int, float], None] | None = None,
) -> LearntGraph:
    """Learn a graph encoder from N fields and the shapes that they were fitted to.

    Args:
        codebook: the codebook to write for; it is not changed.
        shape: its shape encoder; a copy is learned further.
        fields: N fields, each fitted from any start.
        samples: row i the shape of field i, at M shared points.
        callback: called with (step, mean loss) now and then.

    Raises:
        InputError: fields and shapes differ in number, there are none, the fields are of another architecture than the
            codebook, or a distance is not finite.
    """
    check_fields(fields, codebook.layout.field_config)
    if not len(fields) or len(fields) != len(samples.sdf):
        raise InputError(
            f"{len(fields)} fields and {len(samples.sdf)} shapes were given; give one shape for each field."
        )
    if not torch.isfinite(samples.sdf).all():
        rows = (~torch.isfinite(samples.sdf)).any(1).nonzero().flatten().tolist()
        raise InputError(f"shapes {rows[:5]} have NaN or infinite distances; leave them out.")
    torch.manual_seed(config.seed)
    encoder = GraphEncoder(
        codebook.layout.field_config,
        codebook.layout.num_chunks,
        codebook.latent_width,
        shape.probes[: config.num_traces],
        config.width,
        config.num_rounds,
        deepcopy(shape).requires_grad_(config.shape_encoder_rate > 0) if config.use_shape_encoder else None,
    )
    history = _train(
        codebook, encoder, canonical(fields.config, fields.flat.float()), samples, config, progress, callback
    )
    return LearntGraph(GraphQuantizer(codebook, encoder), history)


def _train(
    codebook: Codebook,
    encoder: GraphEncoder,
    flat: Tensor,
    samples: Samples,
    config: GraphConfig,
    progress: bool,
    callback: Callable[[int, float], None] | None,
) -> list[tuple[int, float]]:
    optimizer, rates = _optimizer(encoder, config)
    encoded = fourier_features(samples.points, codebook.layout.field_config.num_frequencies)
    asked = torch.cat([encoder.evaluate_probes(part) for part in flat.split(32)])
    generator = torch.Generator().manual_seed(config.seed)
    history: list[tuple[int, float]] = []
    recent: list[float] = []
    for step in tqdm(range(config.steps), "learning the graph encoder", unit="step", disable=not progress):
        for group, peak in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = peak * cosine_rate(step, config.steps)
        rows = torch.randint(0, len(flat), (config.batch_size,), generator=generator)
        sdf, latents = samples.sdf[rows].float(), encoder(flat[rows], asked[rows])
        with torch.no_grad():
            quantized = codebook.latents(codebook.quantize(latents))
        where = sample_point_indices(
            sdf, config.points_per_step, LOSS.surface_fraction, LOSS.surface_bandwidth, generator
        )
        decoded = codebook.weights(latents + (quantized - latents).detach())
        values = evaluate_encoded(encoder.field_config, decoded, encoded[:, where].transpose(0, 1).contiguous())[..., 0]
        loss = truncated_loss(values, sdf.gather(1, where), LOSS.truncation).mean()
        penalty = LOSS.commitment_weight * (latents - quantized).square().mean()
        optimizer.zero_grad()
        (loss + penalty).backward()
        optimizer.step()
        recent.append(loss.item())
        if (step + 1) % max(1, config.steps // 50) == 0:
            history.append((step + 1, sum(recent) / len(recent)))
            recent.clear()
            if callback:
                callback(*history[-1])
    return history


def _optimizer(encoder: GraphEncoder, config: GraphConfig) -> tuple[torch.optim.Adam, list[float]]:
    """Adam on the graph and, at its own rate, on the shape encoder; and the peak rate of each."""
    learned = {False: [], True: []}
    for name, value in encoder.named_parameters():
        if value.requires_grad:
            learned[name.startswith("shape_encoder.")].append(value)
    rates = {False: config.learning_rate, True: config.shape_encoder_rate * config.learning_rate}
    groups = [{"params": values, "lr": rates[kind]} for kind, values in learned.items() if values]
    return torch.optim.Adam(groups, fused=True), [float(group["lr"]) for group in groups]
