"""Weights of chunks that act on one place: those that leave the hat of one grid node (see `weightgpt.fields.hats`).

All other weights of a field are the base, which all fields of the codebook share. A chunk acts near its node alone, so
a code describes a piece of surface, and shapes of every kind share such pieces. A transformer over the nodes turns the
latents of a field into its chunks, because neighboring pieces must fit each other.

Settings: `decoder_width` d, `decoder_layers`. Tensors, all float32: `base` (P), `places` (C, d), `inputs.weight`
(d, r), `inputs.bias` (d), `blocks.layers.{i}.*`, `blocks.norm.*`, and `outputs.*` with the w weights of a chunk.

Dimensions: B fields, C chunks, r latent width, w width of the first hidden layer, d width of the transformer, P
parameters of a field.
"""

from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.io import Expected
from weightgpt.quantizers.files import whole_number
from weightgpt.quantizers.weight_decoder import WeightDecoder

HEAD_WIDTH = 32
"""Width of one head of attention."""
MAX_TRANSFORMER_LAYERS = 64
"""Most layers of a transformer, so that a small file cannot ask for more memory than there is."""


def transformer(width: int, layers: int) -> nn.TransformerEncoder:
    """A transformer over the nodes of a field, whose layers begin as small changes (B, C, d) to (B, C, d).

    Args:
        width: d, a multiple of `HEAD_WIDTH`.
        layers: number of layers.
    """
    layer = nn.TransformerEncoderLayer(
        width, width // HEAD_WIDTH, 3 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)


def check_grids(field_config: FieldConfig) -> None:
    """Refuse fields that have no grids, and hence no nodes for chunks.

    Args:
        field_config: the architecture of the fields.

    Raises:
        InputError: the architecture has no grids.
    """
    if not field_config.grids:
        raise InputError("the field has no grids; set `grids` of the field, such as (4,).")


class GridDecoder(WeightDecoder):
    """A transformer over the grid nodes of one field architecture.

    Args:
        field_config: the architecture; it has grids.
        latent_width: r.
        width: d, a multiple of `HEAD_WIDTH`.
        layers: number of layers.

    Raises:
        InputError: the architecture has no grids, or the width is not allowed.
    """

    KIND = "grid"

    def __init__(self, field_config: FieldConfig, latent_width: int, width: int, layers: int) -> None:
        super().__init__()
        check_grids(field_config)
        if width < 1 or width % HEAD_WIDTH:
            raise InputError(f"the width of the decoder is {width}; give a multiple of {HEAD_WIDTH}.")
        self.field_config, self.num_chunks, self.latent_width = field_config, field_config.num_nodes, latent_width
        self.base = nn.Parameter(torch.zeros(field_config.parameters))
        self.places = nn.Parameter(0.02 * torch.randn(self.num_chunks, width))
        self.inputs, self.outputs = nn.Linear(latent_width, width), nn.Linear(width, field_config.hidden[0])
        self.blocks = transformer(width, layers)

    @property
    def shared_init(self) -> Float[Tensor, " P"]:
        """(P,) the base."""
        return self.base.detach()

    def chunks(self, latents: Float[Tensor, "B C r"]) -> Float[Tensor, "B C w"]:
        """The weights that leave the hat of each node.

        Args:
            latents: (B, C, r).
        """
        chunks: Tensor = self.outputs(self.blocks(self.inputs(latents) + self.places))
        return chunks

    def forward(self, latents: Float[Tensor, "B C r"]) -> Float[Tensor, "B P"]:
        """Weights of latents; gradients flow through. The last bits depend on the number of rows.

        Args:
            latents: (B, C, r).
        """
        outputs, inputs = self.field_config.hidden[0], self.field_config.encoded
        rest, size = self.base.expand(len(latents), -1), outputs * (inputs + 1)
        first = rest[:, :size].unflatten(1, (outputs, inputs + 1))
        first_node = inputs - self.num_chunks
        parts = [first[..., :first_node], self.chunks(latents).mT, first[..., inputs:]]
        return torch.cat([torch.cat(parts, 2).flatten(1), rest[:, size:]], 1)

    def invert(self, flat: Float[Tensor, "B P"], start: Float[Tensor, "B C r"]) -> Float[Tensor, "B C r"]:
        """The start: fields that were not fitted from the base have other weights, so their functions must be read.

        Args:
            flat: (B, P) weights.
            start: (B, C, r).
        """
        return start

    def settings(self, sizes: dict[str, int]) -> dict[str, Any]:
        """The sizes for `config.json`, without those of the field.

        Args:
            sizes: those of the code vectors.
        """
        return {**sizes, "decoder_width": self.places.shape[1], "decoder_layers": len(self.blocks.layers)}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors for `model.safetensors`."""
        return dict(self.state_dict())

    @classmethod
    def expected(cls, path: Path, config: dict[str, Any], field_config: FieldConfig) -> Expected:
        """The tensors that belong to a configuration, by the names of `tensors`.

        Args:
            path: the file of the configuration, for errors.
            config: the configuration.
            field_config: the architecture of the fields.

        Raises:
            InputError: a size is missing or not allowed.
        """
        whole_number(path, config, "decoder_layers", MAX_TRANSFORMER_LAYERS)
        for name in ("decoder_width", "latent_width"):
            whole_number(path, config, name)
        with torch.device("meta"):
            tensors = cls._empty(config, field_config).tensors()
        return {name: (torch.float32, tuple(tensor.shape)) for name, tensor in tensors.items()}

    @classmethod
    def create(cls, config: dict[str, Any], field_config: FieldConfig, tensors: dict[str, Tensor]) -> Self:
        """The decoder that `settings` and `tensors` describe.

        Args:
            config: the configuration, whose sizes `expected` has checked.
            field_config: the architecture of the fields.
            tensors: the tensors by name.
        """
        decoder = cls._empty(config, field_config)
        decoder.load_state_dict(tensors)
        return decoder

    @classmethod
    def _empty(cls, config: dict[str, Any], field_config: FieldConfig) -> Self:
        return cls(field_config, config["latent_width"], config["decoder_width"], config["decoder_layers"])
