"""Evaluation of many fields at once, from their flat weights.

Decisions:

- The flat form stores each neuron together: layer by layer, neuron by neuron, its incoming weights and then its bias.
  A group of neurons is therefore one contiguous slice, which chunking relies on.
- Shared points are encoded once for all fields, and the first layer is then one matrix product for the whole batch.

Dimensions: n points, D input dimension, O output dimension, E width of the encoding, P parameters, B fields.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.hats import hats


def fourier_encoding(points: Float[Tensor, "*n D"], num_frequencies: int) -> Float[Tensor, "*n E"]:
    """Encode points: x, and then sin(2^k π x) and cos(2^k π x) for each frequency k.

    Args:
        points: (…, D) in [-1, 1].
        num_frequencies: number of frequencies.

    Returns:
        (…, E), where E = D·(1 + 2·num_frequencies).
    """
    parts = [points]
    for k in range(num_frequencies):
        angle = points * (math.pi * 2**k)
        parts += [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, -1)


def encode(points: Float[Tensor, "*n D"], config: FieldConfig) -> Float[Tensor, "*n E"]:
    """The inputs of the first layer: the Fourier encoding, and then the hats of each grid.

    Args:
        points: (…, D) in [-1, 1].
        config: architecture of the field.

    Returns:
        (…, E).
    """
    encoded = fourier_encoding(points, config.num_frequencies)
    return torch.cat([encoded, *(hats(points, nodes) for nodes in config.grids)], -1) if config.grids else encoded


def activate(values: Tensor, kind: str) -> Tensor:
    """Apply an activation.

    Args:
        values: tensor of any shape.
        kind: one of `weightgpt.fields.config.ACTIVATIONS`.
    """
    if kind == "relu":
        return F.relu(values)
    return F.gelu(values) if kind == "gelu" else torch.sin(values)


def apply_output(values: Tensor, kind: str) -> Tensor:
    """Apply the function of the output.

    Args:
        values: tensor of any shape.
        kind: one of `weightgpt.fields.config.OUTPUTS`.
    """
    if kind == "none":
        return values
    return torch.tanh(values) if kind == "tanh" else torch.sigmoid(values)


def layer_matrices(config: FieldConfig, flat: Tensor) -> list[Float[Tensor, "B outputs inputs"]]:
    """View flat weights as one matrix for each layer.

    Args:
        config: the architecture.
        flat: (B, P) weights.

    Returns:
        For each layer a view (B, outputs, inputs + 1), with the bias in the last column.

    Raises:
        InputError: the weights belong to another architecture.
    """
    if flat.ndim != 2 or flat.shape[1] != config.parameters:
        raise InputError(
            f"weights have shape {tuple(flat.shape)}; this architecture {config.layers} has rows of"
            f" {config.parameters} parameters: pass fields of the same architecture."
        )
    matrices, start = [], 0
    for inputs, outputs in config.layers:
        size = outputs * (inputs + 1)
        matrices.append(flat[:, start : start + size].unflatten(1, (outputs, inputs + 1)))
        start += size
    return matrices


def evaluate(
    config: FieldConfig, flat: Tensor, points: Float[Tensor, "n D"] | Float[Tensor, "B n D"]
) -> Float[Tensor, "B n O"]:
    """Evaluate B fields at once.

    Args:
        config: their architecture.
        flat: (B, P) weights.
        points: (n, D) shared by all fields, or (B, n, D).

    Returns:
        (B, n, O).
    """
    return evaluate_encoded(config, flat, first_layer_inputs(points, config))


def first_layer_inputs(points: Float[Tensor, "*B n D"], config: FieldConfig) -> Float[Tensor, "*B E n"]:
    """Encode points for `evaluate_encoded`: features first, with a last row of ones for the bias.

    Args:
        points: (…, n, D) in [-1, 1].
        config: architecture of the fields.

    Returns:
        (…, E + 1, n).
    """
    encoded = encode(points, config)
    return torch.cat([encoded, torch.ones_like(encoded[..., :1])], -1).mT.contiguous()


def evaluate_encoded(
    config: FieldConfig, flat: Tensor, encoded: Float[Tensor, "E n"] | Float[Tensor, "*B E n"]
) -> Float[Tensor, "B n O"]:
    """Evaluate B fields at points that `first_layer_inputs` has already encoded.

    The points are along the last axis throughout, so that every product and activation works on contiguous rows.

    Args:
        config: their architecture.
        flat: (B, P) weights.
        encoded: (E + 1, n) or (1, E + 1, n) shared by all fields, or (B, E + 1, n).

    Returns:
        (B, n, O).
    """
    first, *rest = layer_matrices(config, flat)
    if encoded.ndim == 2:
        values = (first.flatten(0, 1) @ encoded).unflatten(0, first.shape[:2])  # one product for all fields
    else:
        values = torch.bmm(first, encoded.expand(len(first), -1, -1))
    for matrix in rest:
        values = torch.baddbmm(matrix[:, :, -1:], matrix[:, :, :-1], activate(values, config.activation))
    return apply_output(values, config.output).mT
