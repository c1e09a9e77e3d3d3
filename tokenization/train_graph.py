"""Learn a graph encoder for an existing codebook.

A codebook learns from signed distances, which are cheap, so it learns from many shapes. A graph encoder learns from
fitted fields, which are expensive, so it learns from few. We therefore learn the codebook first
(`tokenization.train_codebook`) and do not change it here. A training step quantizes and decodes the latents of fields,
and the loss compares the decoded fields with the *shapes*, not with the fitted fields. The encoder thus also learns to
correct errors of the fits (see `tokenization.autoencoder_training`).

Decisions: we do not augment fields by permuted or rescaled copies, because the encoder gives all copies equal codes.

Dimensions: N fields, M points, B fields of a step, P parameters.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from tokenization.autoencoder_training import (
    AutoencoderConfig,
    History,
    commitment_penalty,
    optimize,
    reconstruction_loss,
    straight_through,
)
from tokenization.corpus import TrainedQuantizer
from weightgpt.errors import InputError, check_at_least
from weightgpt.fields.canonical import canonicalize
from weightgpt.fields.field import Fields
from weightgpt.fields.functional import first_layer_inputs
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.codes import check_fields
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.graph_encoder import GraphEncoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples

SHAPE_ENCODER_SHARE = 0.1
"""Learning rate of the shape encoder as a share of that of the graph; the shape encoder is trained already."""


@dataclass(frozen=True, kw_only=True)
class GraphConfig(AutoencoderConfig):
    """How a graph encoder is learned."""

    width: int = 64
    """h, length of the vector of a node."""
    num_rounds: int = 2
    """Rounds of message passing."""
    num_traces: int = 256
    """Probes at which the graph reads the value of each neuron: the first probes of the shape encoder. With 0 the graph
    reads the weights only."""
    use_shape_encoder: bool = False
    """Whether the shape encoder reads the output of the field at all its probes, and the graph adds to its latents."""
    steps: int = 2500
    """Steps of Adam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "width")
        check_at_least(self, 0, "num_rounds", "num_traces")


def learn_graph_encoder(
    codebook: Codebook,
    shape_encoder: ShapeEncoder,
    fields: Fields,
    samples: Samples,
    config: GraphConfig,
    *,
    seed: int = 0,
    progress: bool = False,
    callback: Callable[[int, float], None] | None = None,
) -> TrainedQuantizer[GraphQuantizer]:
    """Learn a graph encoder from N fields and the shapes that they were fitted to.

    Args:
        codebook: the codebook to encode for; it is not changed.
        shape_encoder: its shape encoder; a copy is trained further.
        fields: N fields with any initialization.
        samples: row i is the shape of field i, at M shared points.
        config: sizes of the encoder and how it is trained.
        seed: seed of the encoder's initialization and of the batches.
        progress: whether to show a progress bar.
        callback: called with (step, mean loss) about fifty times.

    Raises:
        InputError: fields and shapes differ in number, there are none, the fields are of another architecture than the
            codebook, or a distance is not finite.
    """
    check_fields(fields, codebook.field_config)
    if not len(fields) or len(fields) != len(samples.sdf):
        raise InputError(
            f"{len(fields)} fields and {len(samples.sdf)} shapes do not belong together; give one shape for each field."
        )
    if not torch.isfinite(samples.sdf).all():
        rows = (~torch.isfinite(samples.sdf)).any(1).nonzero().flatten().tolist()
        raise InputError(f"shapes {rows[:5]} have NaN or infinite distances; leave them out.")
    torch.manual_seed(seed)
    encoder = GraphEncoder(
        codebook.field_config,
        codebook.num_chunks,
        codebook.latent_width,
        shape_encoder.probes[: config.num_traces],
        config.width,
        config.num_rounds,
        deepcopy(shape_encoder).requires_grad_(True) if config.use_shape_encoder else None,
    )
    flat, title = canonicalize(fields.config, fields.flat.float()), "learning the graph encoder" if progress else None
    history = _train(codebook, encoder, flat, samples, config, seed, title, callback)
    return TrainedQuantizer(GraphQuantizer(codebook, encoder), history)


def _train(
    codebook: Codebook,
    encoder: GraphEncoder,
    flat: Tensor,
    samples: Samples,
    config: GraphConfig,
    seed: int,
    title: str | None,
    callback: Callable[[int, float], None] | None,
) -> History:
    """Train the encoder on random batches of fields with weights `flat` (N, P)."""
    point_features = first_layer_inputs(samples.points, codebook.field_config)
    probe_values = torch.cat([encoder.evaluate_probes(part) for part in flat.split(32)])
    generator = torch.Generator().manual_seed(seed)

    def quantize(latents: Tensor) -> Tensor:
        return codebook.latents(codebook.quantize(latents))

    def step_losses(_: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(0, len(flat), (config.batch_size,), generator=generator)
        sdf, latents = samples.sdf[rows].float(), encoder(flat[rows], probe_values[rows])
        decoder_input, quantized = straight_through(latents, quantize)
        weights = codebook.weights(decoder_input)
        loss = reconstruction_loss(config, encoder.field_config, weights, point_features, sdf, generator)
        return loss, commitment_penalty(latents, quantized)

    return optimize(config.steps, step_losses, [_optimizer(encoder, config)], encoder, title=title, callback=callback)


def _optimizer(encoder: GraphEncoder, config: GraphConfig) -> torch.optim.Optimizer:
    """Adam on the graph and, with a lower learning rate, on the shape encoder."""
    shape_encoder = [] if encoder.shape_encoder is None else list(encoder.shape_encoder.parameters())
    in_shape_encoder = {id(value) for value in shape_encoder}
    groups = [
        {
            "params": [value for value in encoder.parameters() if id(value) not in in_shape_encoder],
            "lr": config.learning_rate,
        },
        {"params": shape_encoder, "lr": SHAPE_ENCODER_SHARE * config.learning_rate},
    ]
    return torch.optim.Adam([group for group in groups if group["params"]], fused=True)
