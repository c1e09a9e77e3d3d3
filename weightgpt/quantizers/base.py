"""What a weight quantizer is: fields to codes and back.

Decisions:
- Tokenizer, GPT, generation and bundle know this interface only; `kinds.py` is the one place that knows the classes.
- A field is C chunks of Q codes, every code one of K. What a chunk is, and how its codes are found, is the quantizer's
  own affair; all that is asked is that any codes in range decode to finite weights.
- How a quantizer is learned from a corpus is no part of it: see `tokenization.registry`.
- Files: `config.json` with the `format` by which the class is found again, `model.safetensors` with all that decoding
  needs, `encoder.safetensors` with the rest. The fingerprint names what decoding needs.

Dimensions: B fields or shapes, C chunks, Q num_quantizers, K codes of a level, P parameters, M points.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.shapes.sampling import Samples
from weightgpt.shapes.shape import Shape


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How latents are refined."""

    steps: int = 25
    """Adam steps on the latents; 0 takes the encoder's codes as they are."""
    points_per_step: int = 1024
    """Points of a step."""
    num_points: int = 8192
    """Points at which shapes are sampled."""
    surface_fraction: float = 0.0
    """Share of the points of a step drawn near the surface of the shape itself, half inside and half outside; the rest
    is uniform over the schedule. Thin parts need it; without it all shapes share the points, which is faster."""
    surface_bandwidth: float = 0.03
    """How near: chances fall with the distance as exp(-|sdf| / width)."""
    learning_rate: float = 1e-2
    """Peak rate."""
    batch_size: int = 32
    """Shapes refined at once."""
    seed: int = 0
    """Seed of the points."""

    def __post_init__(self) -> None:
        sizes = (self.points_per_step, self.num_points, self.batch_size, self.learning_rate, self.surface_bandwidth)
        if min(sizes) <= 0 or self.steps < 0 or not 0 <= self.surface_fraction <= 1:
            raise InputError(
                f"{self} cannot refine anything; points, schedule, group, rate and width must be positive, the share"
                " near a surface between 0 and 1."
            )


class Quantizer(ABC):
    """Fields of one architecture as codes (B, C, Q)."""

    FORMAT: ClassVar[str]
    """The `format` in `config.json`."""
    VERSION: ClassVar[int]
    """The `version` in `config.json`."""
    field_config: FieldConfig
    """The architecture."""
    num_chunks: int
    """C."""
    num_quantizers: int
    """Q, coarse first: the first levels of a field alone are a rougher field."""
    codebook_size: int
    """K."""
    shared_init: Tensor
    """(P,) weights that fits of shapes like those of the corpus start from."""
    fingerprint: str
    """16 hexadecimal digits; equal for two quantizers only if they decode equally."""

    @property
    def tokens_per_field(self) -> int:
        """C · Q."""
        return self.num_chunks * self.num_quantizers

    @property
    def code_vectors(self) -> Tensor | None:
        """(Q, K, r) what the codes of each level stand for; None where chunks differ in it."""
        return None

    @abstractmethod
    def encode(self, fields: Fields, options: EncodeConfig) -> Tensor:
        """Codes (B, C, Q) of existing fields.

        Args:
            options: how hard to search, for quantizers that search.

        Raises:
            InputError: the fields are of another architecture.
        """

    @abstractmethod
    def encode_samples(
        self, samples: Samples, options: EncodeConfig, *, fits: Fields | None = None, progress: bool = False
    ) -> Tensor:
        """Codes (B, C, Q) of shapes sampled at the points of the corpus that the quantizer was learned from.

        Args:
            samples: B shapes at M shared points.
            fits: plain conditioned fits of the same shapes, where they are at hand; a quantizer that codes such fits
                then need not make them.

        Raises:
            InputError: the points are others, or a distance is not finite.
        """

    @abstractmethod
    def encode_shapes(self, shapes: list[Shape], options: EncodeConfig, progress: bool = False) -> Tensor:
        """Codes (B, C, Q) of shapes.

        Raises:
            InputError: there are no shapes, they are of another dimension, or a distance is not finite.
        """

    @abstractmethod
    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes (B, C, Q); with `num_quantizers`, of the first levels only.

        Raises:
            InputError: the codes have another shape, one is outside 0 … K-1, or `num_quantizers` is outside 1 … Q.
        """

    @abstractmethod
    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json`, `model.safetensors` and `encoder.safetensors` to `folder`."""

    @classmethod
    @abstractmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Read what `save_pretrained` wrote.

        Raises:
            InputError: a file is missing, cut short, of another format, or does not belong with the others.
        """
