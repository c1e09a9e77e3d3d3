"""Shapes and existing fields to codes, with the quantizer in the loop.

There are two doors. A *shape* starts from the encoder's latents. An *existing field* of the architecture starts from
those or from its own projection on the bases, whichever is nearer to it. Both are then refined: Adam on the latents
alone, decoded through the quantizer (straight-through), against the signed distances at shared points; the best codes
seen are kept, so that refining never makes a code worse. The points are those of the whole schedule in turn, or drawn
from it for each shape, a share of them near its own surface: thin parts are a small share of the volume, and the
schedule lies near the surfaces of others.

Dimensions: B shapes, n points, C chunks, r latent width, Q levels.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields, evaluate_encoded, fourier_features
from weightgpt.fields.optimization import cosine_rate, point_slices, truncated_loss
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.codes import check_fields
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples, draw_points, sample, shared_schedule
from weightgpt.shapes.shape import Shape


def encode_shapes(
    codebook: Codebook, encoder: ShapeEncoder, shapes: list[Shape], options: EncodeConfig, progress: bool = False
) -> Tensor:
    """Codes (B, C, Q) of shapes: the first door; without refinement they are sampled at the encoder's probes alone.

    Raises:
        InputError: there are no shapes, they are of another dimension, or a distance is not finite.
    """
    dimension = codebook.layout.field_config.in_features
    if any(shape.dimension != dimension for shape in shapes):
        raise InputError(f"the codebook is for {dimension}D shapes; leave out those of another dimension.")
    if not shapes:
        raise InputError("the corpus is empty; pass shapes.")
    samples = probed = sample(shapes, encoder.probes, progress)
    if options.steps:
        samples = sample(shapes, shared_schedule(shapes, options.num_points, options.seed), progress)
    return encode_samples(codebook, encoder, samples, probed.sdf, options, progress=progress)


def encode_fields(codebook: Codebook, encoder: ShapeEncoder, fields: Fields, options: EncodeConfig) -> Tensor:
    """Codes (B, C, Q) of existing fields, judged by their own signed distances: the second door.

    Raises:
        InputError: the fields are of another architecture.
    """
    check_fields(fields, codebook.layout.field_config)
    with torch.no_grad():
        shapes = [_as_shape(fields, i) for i in range(len(fields))]
        points = shared_schedule(shapes, options.num_points, options.seed)
        samples = Samples(points, fields(points)[..., 0])
        probed = fields(encoder.probes)[..., 0]
        start = codebook.project(fields, encoder(probed))
    return encode_samples(codebook, encoder, samples, probed, options, start=start)


def _as_shape(fields: Fields, index: int) -> Shape:
    return Shape(
        name=str(index),
        label="none",
        sdf=fields.sdf(index),
        dimension=fields.config.in_features,
    )


def encode_samples(
    codebook: Codebook,
    encoder: ShapeEncoder,
    samples: Samples,
    probed: Tensor,
    options: EncodeConfig,
    *,
    start: Tensor | None = None,
    progress: bool = False,
) -> Tensor:
    """Codes (B, C, Q) of sampled shapes.

    Args:
        samples: B shapes at n shared points.
        probed: (B, m) distances at the encoder's probes.
        start: (B, C, r) other latents to start from where they are nearer than the encoder's.

    Raises:
        InputError: a distance is not finite.
    """
    if not (torch.isfinite(samples.sdf).all() and torch.isfinite(probed).all()):
        raise InputError("signed distances hold NaN or infinite values; leave those shapes out.")
    encoded = fourier_features(samples.points, codebook.layout.field_config.num_frequencies)
    parts = []
    with tqdm(total=len(probed), desc="encoding", unit="shape", disable=not progress) as bar:
        for first in range(0, len(probed), options.batch_size):
            part = slice(first, first + options.batch_size)
            sdf = samples.sdf[part].float()
            with torch.no_grad():
                latents = encoder(probed[part].float())
                if start is not None:
                    losses = [_loss(codebook, z, encoded, sdf) for z in (latents, start[part])]
                    latents = torch.where((losses[1] < losses[0])[:, None, None], start[part], latents)
            parts.append(_refine(codebook, latents, encoded, sdf, options))
            bar.update(len(latents))
    return torch.cat(parts)


def _loss(codebook: Codebook, latents: Tensor, encoded: Tensor, sdf: Tensor) -> Tensor:
    values = evaluate_encoded(codebook.layout.field_config, codebook.join(latents), encoded)[..., 0]
    return truncated_loss(values, sdf, 5.0)


def _refine(codebook: Codebook, start: Tensor, encoded: Tensor, sdf: Tensor, options: EncodeConfig) -> Tensor:
    if not options.steps:
        return codebook.quantize(start)
    loss = _losses(codebook, encoded, sdf, options)
    latents = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=options.learning_rate, betas=(0.9, 0.95))
    codes = codebook.quantize(start)
    best = _judge(codebook, codes, loss)
    for step, part in enumerate(point_slices(encoded.shape[1], options.points_per_step, options.steps, options.seed)):
        optimizer.param_groups[0]["lr"] = options.learning_rate * cosine_rate(step, options.steps)
        with torch.no_grad():
            error = codebook.latents(codebook.quantize(latents)) - latents
        optimizer.zero_grad()
        loss(latents + error, part).sum().backward()
        optimizer.step()
        if (step + 1) % 50 == 0 or step + 1 == options.steps:
            candidate = codebook.quantize(latents.detach())
            now = _judge(codebook, candidate, loss)
            codes = torch.where((now < best)[:, None, None], candidate, codes)
            best = torch.minimum(now, best)
    return codes


def _losses(
    codebook: Codebook, encoded: Tensor, sdf: Tensor, options: EncodeConfig
) -> Callable[[Tensor, slice], Tensor]:
    """The loss (B,) of latents at a slice of the schedule: the shared one, or one drawn from it for each shape."""
    if not options.surface_fraction:
        return lambda latents, part: _loss(codebook, latents, encoded[:, part], sdf[:, part])
    where, total = torch.empty_like(sdf, dtype=torch.long), sdf.shape[1]
    for row, distances in enumerate(sdf):  # each for itself, so that the group does not matter
        generator = torch.Generator().manual_seed(options.seed)
        drawn = draw_points(
            distances[None], total, options.surface_fraction, options.surface_bandwidth, generator, balanced=True
        )[0]
        where[row] = drawn[torch.randperm(total, generator=generator)]

    def loss(latents: Tensor, part: slice) -> Tensor:
        own = where[:, part]
        return _loss(codebook, latents, encoded[:, own].transpose(0, 1).contiguous(), sdf.gather(1, own))

    return loss


@torch.no_grad()
def _judge(codebook: Codebook, codes: Tensor, loss: Callable[[Tensor, slice], Tensor]) -> Tensor:
    return loss(codebook.latents(codes), slice(4096))
