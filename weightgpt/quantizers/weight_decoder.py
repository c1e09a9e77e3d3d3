"""The interface of weight decoders: from the latents of a field to its weights.

A codebook is code vectors and a weight decoder. The decoder says what a chunk is: a group of neurons
(`basis_decoder.py`), or the weights that leave one grid node (`grid_decoder.py`).

Dimensions: B fields, C chunks, r latent width, P parameters of a field.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from jaxtyping import Float
from torch import Tensor, nn

from weightgpt.fields.config import FieldConfig
from weightgpt.io import Expected


class WeightDecoder(nn.Module, ABC):
    """Latents (B, C, r) to the weights (B, P) of fields; it is frozen."""

    KIND: ClassVar[str]
    """The value of `decoder` in `config.json`."""
    field_config: FieldConfig
    """The architecture of the fields."""
    num_chunks: int
    """C."""
    latent_width: int
    """r."""

    @property
    @abstractmethod
    def shared_init(self) -> Float[Tensor, " P"]:
        """(P,) weights that plain fits start from."""

    @abstractmethod
    def forward(self, latents: Float[Tensor, "B C r"]) -> Float[Tensor, "B P"]:
        """Weights of latents; gradients flow through. The last bits depend on the number of rows.

        Args:
            latents: (B, C, r).
        """

    @abstractmethod
    def invert(self, flat: Float[Tensor, "B P"], start: Float[Tensor, "B C r"]) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) whose weights are near to those of existing fields.

        Args:
            flat: (B, P) weights.
            start: (B, C, r) where the search begins.
        """

    @abstractmethod
    def settings(self, sizes: dict[str, int]) -> dict[str, Any]:
        """The sizes for `config.json`, without those of the field.

        Args:
            sizes: those of the code vectors.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The tensors for `model.safetensors`."""

    @classmethod
    @abstractmethod
    def expected(cls, path: Path, config: dict[str, Any], field_config: FieldConfig) -> Expected:
        """The tensors that belong to a configuration, by the names of `tensors`.

        Args:
            path: the file of the configuration, for errors.
            config: the configuration.
            field_config: the architecture of the fields.

        Raises:
            InputError: a size is missing or not allowed.
        """

    @classmethod
    @abstractmethod
    def create(cls, config: dict[str, Any], field_config: FieldConfig, tensors: dict[str, Tensor]) -> Self:
        """The decoder that `settings` and `tensors` describe.

        Args:
            config: the configuration, whose sizes `expected` has checked.
            field_config: the architecture of the fields.
            tensors: the tensors by name.
        """
