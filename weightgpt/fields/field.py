"""The neural field: a small MLP from coordinates to a signal, alone or many at once.

Decisions:
- A field is an ordinary `nn.Module` of `nn.Linear` layers behind a Fourier encoding: load, differentiate, export it.
- The flat form keeps each neuron together: layer by layer, neuron by neuron, its incoming weights and then its bias.
  A group of neurons is therefore one contiguous slice, which is all that chunking needs.
- `Fields` is a batch with stacked flat weights. Shared points are encoded once for all fields, and the first layer is
  then one matrix product for the whole batch.

Dimensions: n points, D input dimension, O output dimension, P parameters, B fields.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weightgpt.errors import InputError

ACTIVATIONS = ("relu", "gelu", "sine")
OUTPUTS = ("none", "tanh", "sigmoid")


@dataclass(frozen=True, kw_only=True)
class FieldConfig:
    """The architecture of a field; two fields can share a tokenizer only if their configurations are equal."""

    in_features: int = 3
    """D, 2 for images and planar shapes, 3 for solids; coordinates lie in [-1, 1]^D."""
    out_features: int = 1
    """O, 1 for a signed distance."""
    hidden: tuple[int, ...] = (32, 32, 32)
    """Width of each hidden layer."""
    num_frequencies: int = 4
    """Fourier octaves k = 0 … octaves-1 beside the raw coordinates (NeRF, Mildenhall et al. 2020, eq. 4)."""
    activation: str = "relu"
    """relu, gelu, or sine (SIREN, Sitzmann et al. 2020, its first-layer frequency left to the octaves)."""
    output: str = "none"
    """Squashing of the output: none, tanh, or sigmoid."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden) if isinstance(self.hidden, list | tuple) else ())
        numbers = (self.in_features, self.out_features, self.num_frequencies, *self.hidden)
        if not all(type(number) is int for number in numbers):
            raise InputError(f"{self} has a width that is not a whole number; give whole numbers.")
        if self.in_features not in (2, 3):
            raise InputError(f"in_features is {self.in_features}; a field takes 2 or 3 coordinates.")
        if self.out_features < 1 or not self.hidden or min(self.hidden) < 1 or self.num_frequencies < 0:
            raise InputError(f"{self} has an empty layer; give positive widths, and octaves of 0 or more.")
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation is {self.activation!r}; choose one of {', '.join(ACTIVATIONS)}.")
        if self.output not in OUTPUTS:
            raise InputError(f"output is {self.output!r}; choose one of {', '.join(OUTPUTS)}.")

    @property
    def encoded(self) -> int:
        """Width of the Fourier encoding."""
        return self.in_features * (1 + 2 * self.num_frequencies)

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each linear layer."""
        widths = (self.encoded, *self.hidden, self.out_features)
        return tuple(pairwise(widths))

    @property
    def parameters(self) -> int:
        """P, the number of weights and biases."""
        return sum(outputs * (inputs + 1) for inputs, outputs in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FieldConfig":
        """The inverse of `to_dict`.

        Raises:
            InputError: a key is unknown or a value is not allowed.
        """
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise InputError(f"field configuration has unknown keys {sorted(unknown)}; it may be of a newer version.")
        return cls(**values)


def fourier_encoding(points: Tensor, num_frequencies: int) -> Tensor:
    """Fourier encoding: (…, D) in [-1, 1] -> (…, D·(1 + 2·octaves)): x, then sin(2^k π x), cos(2^k π x) for each k."""
    parts = [points]
    for k in range(num_frequencies):
        angle = points * (math.pi * 2**k)
        parts += [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, -1)


def activate(values: Tensor, kind: str) -> Tensor:
    """One of `ACTIVATIONS` of values of any shape."""
    if kind == "relu":
        return F.relu(values)
    return F.gelu(values) if kind == "gelu" else torch.sin(values)


def _squash(values: Tensor, kind: str) -> Tensor:
    if kind == "none":
        return values
    return torch.tanh(values) if kind == "tanh" else torch.sigmoid(values)


class Field(nn.Module):
    """One field: (…, D) coordinates -> (…, O) values."""

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in config.layers)

    def forward(self, points: Tensor) -> Tensor:
        """Evaluate at `points` (…, D)."""
        values = fourier_encoding(points, self.config.num_frequencies)
        for layer in self.layers[:-1]:
            values = activate(layer(values), self.config.activation)
        return _squash(self.layers[-1](values), self.config.output)

    def flat(self) -> Tensor:
        """All parameters as (P,), neuron by neuron. Inverse of `load_flat`."""
        rows = [torch.cat([layer.weight, layer.bias[:, None]], 1).flatten() for layer in self._linear()]
        return torch.cat(rows)

    def load_flat(self, flat: Tensor) -> "Field":
        """Set all parameters from (P,). Inverse of `flat`.

        Raises:
            InputError: `flat` has another length.
        """
        matrices = layer_matrices(self.config, flat[None])
        with torch.no_grad():
            for layer, matrix in zip(self._linear(), matrices, strict=True):
                layer.weight.copy_(matrix[0, :, :-1])
                layer.bias.copy_(matrix[0, :, -1])
        return self

    def _linear(self) -> Iterator[nn.Linear]:
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            yield layer


def layer_matrices(config: FieldConfig, flat: Tensor) -> list[Tensor]:
    """Views of flat weights (B, P) as one (B, outputs, inputs + 1) matrix for each layer, the bias in the last column.

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


def evaluate(config: FieldConfig, flat: Tensor, points: Tensor) -> Tensor:
    """Evaluate B fields at once.

    Args:
        flat: (B, P) weights.
        points: (n, D) shared by all fields, or (B, n, D).

    Returns:
        (B, n, O).
    """
    return evaluate_encoded(config, flat, fourier_features(points, config.num_frequencies))


def fourier_features(points: Tensor, num_frequencies: int) -> Tensor:
    """Encoded points features-first, with a last row of ones for the bias: (…, n, D) -> (…, E + 1, n)."""
    encoded = fourier_encoding(points, num_frequencies)
    return torch.cat([encoded, torch.ones_like(encoded[..., :1])], -1).mT.contiguous()


def evaluate_encoded(config: FieldConfig, flat: Tensor, encoded: Tensor) -> Tensor:
    """`evaluate` on points that `features` has already encoded: (E + 1, n) shared or (B, E + 1, n).

    Points run along the last axis throughout, so that every product and activation works on contiguous rows.
    """
    first, *rest = layer_matrices(config, flat)
    if encoded.ndim == 2:
        values = (first.flatten(0, 1) @ encoded).unflatten(0, first.shape[:2])  # one product for all fields
    else:
        values = torch.bmm(first, encoded)
    for matrix in rest:
        values = torch.baddbmm(matrix[:, :, -1:], matrix[:, :, :-1], activate(values, config.activation))
    return _squash(values, config.output).mT


@dataclass(frozen=True)
class Fields:
    """A batch of fields of one architecture."""

    config: FieldConfig
    flat: Tensor
    """(B, P) weights."""

    def __post_init__(self) -> None:
        layer_matrices(self.config, self.flat)
        if not torch.isfinite(self.flat).all():
            rows = (~torch.isfinite(self.flat)).any(1).nonzero().flatten().tolist()
            raise InputError(f"fields {rows[:5]} have NaN or infinite weights; fit them again or leave them out.")

    def __len__(self) -> int:
        return len(self.flat)

    def __getitem__(self, index: int) -> Field:
        return Field(self.config).load_flat(self.flat[index])

    def __call__(self, points: Tensor) -> Tensor:
        """Evaluate at (n, D) shared or (B, n, D) points: (B, n, O)."""
        return evaluate(self.config, self.flat, points)

    def select(self, index: Tensor | slice) -> "Fields":
        """The fields at `index`, as a batch."""
        return Fields(self.config, self.flat[index])

    def sdf(self, index: int) -> Callable[[Tensor], Tensor]:
        """One field as a signed distance function: (n, D) points -> (n,) distances."""
        one = self.select(slice(index, index + 1))
        return lambda points: one(points)[0, :, 0]

    def sdfs(self) -> list[Callable[[Tensor], Tensor]]:
        """All of them, one by one."""
        return [self.sdf(i) for i in range(len(self))]

    @classmethod
    def stack(cls, fields: "list[Field]") -> "Fields":
        """Join single fields of one architecture.

        Raises:
            InputError: there are none, or their architectures differ.
        """
        if not fields or any(field.config != fields[0].config for field in fields):
            raise InputError("fields must be a non-empty list of one architecture; group them by configuration first.")
        return cls(fields[0].config, torch.stack([field.flat().detach() for field in fields]))
