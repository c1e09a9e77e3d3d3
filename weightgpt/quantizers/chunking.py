"""Weights to chunks and back, exactly.

A chunk is a group of neighboring neurons of one layer: their incoming weights and biases. The flat weights of a field
keep each neuron together, so a chunk is a contiguous slice. Narrower chunks are padded with zeros to a common width.

Dimensions: B fields, P parameters of a field, C chunks, d chunk width.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from weightgpt.errors import InputError, check_types
from weightgpt.fields.field import FieldConfig


@dataclass(frozen=True)
class ChunkLayout:
    """Where the chunks of one field architecture begin and end.

    Examples:
        >>> layout = ChunkLayout(FieldConfig(hidden=(32, 32, 32), num_frequencies=4), neurons_per_chunk=32)
        >>> layout.num_chunks, layout.sizes
        (4, (896, 1056, 1056, 33))
    """

    field_config: FieldConfig
    neurons_per_chunk: int
    """Neurons in a chunk, from 1 to the width of the widest layer; the last chunk of a layer may have fewer."""

    def __post_init__(self) -> None:
        check_types(self)
        widest = max(outputs for _, outputs in self.field_config.layers)
        if not 1 <= self.neurons_per_chunk <= widest:
            raise InputError(
                f"neurons_per_chunk is {self.neurons_per_chunk}; choose 1 to {widest}, the width of the widest layer."
            )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters in each of the C chunks, in the order of the flat weights."""
        sizes = []
        for inputs, outputs in self.field_config.layers:
            for first in range(0, outputs, self.neurons_per_chunk):
                neurons = min(self.neurons_per_chunk, outputs - first)
                sizes.append(neurons * (inputs + 1))
        return tuple(sizes)

    @property
    def num_chunks(self) -> int:
        """C."""
        return len(self.sizes)

    @property
    def width(self) -> int:
        """d, the number of parameters of the largest chunk."""
        return max(self.sizes)

    def split(self, flat: Float[Tensor, "B P"]) -> Float[Tensor, "B C d"]:
        """Chunks (B, C, d) of weights, with zeros in the padding. Inverse of `join`.

        Args:
            flat: (B, P).
        """
        chunks = flat.split(list(self.sizes), dim=1)
        return torch.stack([F.pad(chunk, (0, self.width - chunk.shape[1])) for chunk in chunks], 1)

    def join(self, chunks: Float[Tensor, "B C d"]) -> Float[Tensor, "B P"]:
        """Weights (B, P) of chunks; the padding is dropped. Inverse of `split`.

        Args:
            chunks: (B, C, d).

        Raises:
            InputError: the chunks are of another layout.
        """
        if chunks.shape[1:] != (self.num_chunks, self.width):
            raise InputError(
                f"chunks have shape {tuple(chunks.shape)}; this layout takes (fields, {self.num_chunks}, {self.width})."
            )
        return torch.cat([chunks[:, row, :size] for row, size in enumerate(self.sizes)], 1)
