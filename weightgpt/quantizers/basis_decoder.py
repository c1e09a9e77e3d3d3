"""Weights of chunks of neurons: `base + coefficients · basis`.

Each chunk position has one base and one small basis, shared by all fields. The coefficients of all chunks come from the
latents of the field through one latent decoder (`latent_decoder.py`); only the latents differ between fields. Every
neuron acts on the whole cube, so a chunk describes the whole shape.

Settings: `neurons_per_chunk`, `num_coefficients`, `latent_decoder_width`. Tensors, all float32: `base` (C, d), `basis`
(C, k, d), `latent_decoder.inner.weight` (h, C·r), `latent_decoder.inner.bias` (h), `latent_decoder.outer.weight`
(C·k, h), `latent_decoder.outer.bias` (C·k).

Dimensions: B fields, C chunks, d chunk width, k coefficients of a chunk, r latent width, h hidden width of the latent
decoder, P parameters of a field.
"""

from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.io import Expected
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.files import whole_number
from weightgpt.quantizers.latent_decoder import LatentDecoder
from weightgpt.quantizers.weight_decoder import WeightDecoder

PREFIX = "latent_decoder."
"""The start of the names of the tensors of the latent decoder."""


class BasisDecoder(WeightDecoder):
    """Base, bases and latent decoder of one field architecture.

    Args:
        layout: how weights are cut into chunks.
        base: (C, d).
        basis: (C, k, d).
        latent_decoder: latents (B, C, r) to coefficients (B, C, k).

    Raises:
        InputError: the parts do not fit each other.
    """

    KIND = "basis"
    base: Tensor
    basis: Tensor

    def __init__(self, layout: ChunkLayout, base: Tensor, basis: Tensor, latent_decoder: LatentDecoder) -> None:
        super().__init__()
        chunks, width = layout.num_chunks, layout.width
        if (
            base.shape != (chunks, width)
            or basis.shape != (chunks, latent_decoder.num_coefficients, width)
            or latent_decoder.num_chunks != chunks
        ):
            raise InputError(
                f"tensors base {tuple(base.shape)} and basis {tuple(basis.shape)} and a latent decoder of"
                f" {latent_decoder.num_chunks} chunks and {latent_decoder.num_coefficients} coefficients do not fit a"
                f" layout of {chunks} chunks of width {width}; learn the codebook again."
            )
        self.layout, self.latent_decoder = layout, latent_decoder
        self.register_buffer("base", base)
        self.register_buffer("basis", basis)
        self.field_config, self.num_chunks = layout.field_config, chunks
        self.latent_width = latent_decoder.latent_width

    @property
    def shared_init(self) -> Float[Tensor, " P"]:
        """(P,) the base."""
        return self.layout.join(self.base[None])[0]

    def forward(self, latents: Float[Tensor, "B C r"]) -> Float[Tensor, "B P"]:
        """Weights of latents; gradients flow through. The last bits depend on the number of rows.

        Args:
            latents: (B, C, r).
        """
        chunks = self.base + torch.einsum("bck,ckd->bcd", self.latent_decoder(latents), self.basis)
        return self.layout.join(chunks)

    def invert(self, flat: Float[Tensor, "B P"], start: Float[Tensor, "B C r"]) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) whose weights are nearest to those of existing fields, by least squares.

        Args:
            flat: (B, P) weights.
            start: (B, C, r) where the search begins.
        """
        target = torch.einsum("bcd,cdk->bck", self.layout.split(flat) - self.base, torch.linalg.pinv(self.basis))
        # |Δ · basis| = |R Δ| with basis^T = Q R. The part outside the span does not depend on the latents.
        return self.latent_decoder.invert(target, torch.linalg.qr(self.basis.mT).R, start)

    def settings(self, sizes: dict[str, int]) -> dict[str, Any]:
        """The sizes for `config.json`, without those of the field.

        Args:
            sizes: those of the code vectors.
        """
        return {
            "neurons_per_chunk": self.layout.neurons_per_chunk,
            **sizes,
            "num_coefficients": self.latent_decoder.num_coefficients,
            "latent_decoder_width": self.latent_decoder.inner.out_features,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The tensors for `model.safetensors`."""
        tensors = {f"{PREFIX}{name}": value for name, value in self.latent_decoder.state_dict().items()}
        return {"base": self.base, "basis": self.basis} | tensors

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
        layout = ChunkLayout(field_config, whole_number(path, config, "neurons_per_chunk"))
        names = ("latent_width", "latent_decoder_width", "num_coefficients")
        latents, hidden, coefficients = (whole_number(path, config, name) for name in names)
        chunks, width, single = layout.num_chunks, layout.width, torch.float32
        return {
            "base": (single, (chunks, width)),
            "basis": (single, (chunks, coefficients, width)),
            f"{PREFIX}inner.weight": (single, (hidden, chunks * latents)),
            f"{PREFIX}inner.bias": (single, (hidden,)),
            f"{PREFIX}outer.weight": (single, (chunks * coefficients, hidden)),
            f"{PREFIX}outer.bias": (single, (chunks * coefficients,)),
        }

    @classmethod
    def create(cls, config: dict[str, Any], field_config: FieldConfig, tensors: dict[str, Tensor]) -> Self:
        """The decoder that `settings` and `tensors` describe.

        Args:
            config: the configuration, whose sizes `expected` has checked.
            field_config: the architecture of the fields.
            tensors: the tensors by name.
        """
        layout = ChunkLayout(field_config, config["neurons_per_chunk"])
        sizes = (config["latent_width"], config["latent_decoder_width"], config["num_coefficients"])
        latent_decoder = LatentDecoder(layout.num_chunks, *sizes)
        states = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        latent_decoder.load_state_dict(states)
        return cls(layout, tensors["base"], tensors["basis"], latent_decoder)
