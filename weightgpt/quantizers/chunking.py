"""Weights to chunks and back, exactly.

A chunk is a group of neighboring neurons of one layer: their incoming weights and biases. Because the flat form of a
field keeps neurons together, a chunk is a contiguous slice; narrower chunks are padded with zeros to a common width.

Dimensions: B fields, P parameters, C chunks, d chunk width.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig


@dataclass(frozen=True)
class ChunkLayout:
    """How the weights of one architecture are cut."""

    field_config: FieldConfig
    neurons_per_chunk: int
    """Neurons in a chunk, from 1 to the widest layer; the last chunk of a layer takes what is left."""

    def __post_init__(self) -> None:
        widest = max(outputs for _, outputs in self.field_config.layers)
        if not 1 <= self.neurons_per_chunk <= widest:
            raise InputError(
                f"{self.neurons_per_chunk} neurons a chunk were asked for; choose 1 to {widest}, the widest layer."
            )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters in each of the C chunks, in the order of the flat weights."""
        sizes = []
        for inputs, outputs in self.field_config.layers:
            groups = [
                min(self.neurons_per_chunk, outputs - first) for first in range(0, outputs, self.neurons_per_chunk)
            ]
            sizes += [group * (inputs + 1) for group in groups]
        return tuple(sizes)

    @property
    def num_chunks(self) -> int:
        """C."""
        return len(self.sizes)

    @property
    def width(self) -> int:
        """d, the parameters of the largest chunk."""
        return max(self.sizes)

    def split(self, flat: Tensor) -> Tensor:
        """(B, P) weights -> (B, C, d) chunks, zeros in the padding. Inverse of `join`."""
        parts = flat.split(list(self.sizes), dim=1)
        return torch.stack([F.pad(part, (0, self.width - part.shape[1])) for part in parts], 1)

    def join(self, chunks: Tensor) -> Tensor:
        """(B, C, d) chunks -> (B, P) weights; the padding is dropped. Inverse of `split`.

        Raises:
            InputError: the chunks are of another layout.
        """
        if chunks.shape[1:] != (self.num_chunks, self.width):
            raise InputError(
                f"chunks have shape {tuple(chunks.shape)}; this layout takes (fields, {self.num_chunks}, {self.width})."
            )
        return torch.cat([chunks[:, row, :size] for row, size in enumerate(self.sizes)], 1)
