"""The interface of quantizers: fields to codes, and codes to fields.

Decisions:

- Tokenizer, GPT and generation use this interface only. `auto.py` is the one module that imports all classes.
- A field is C chunks of Q codes, and every code is one of K. The quantizer decides what a chunk is and how to compute
  its codes. Any codes in range must decode to finite weights, because a GPT may write any of them.
- Some quantizers can do more. Properties of the interface say so: `has_latents` (codes are those of continuous
  latents), `probes` (one pass of an encoder reads a shape), `code_vectors` (all chunks share the code vectors).
- The interface does not say how a quantizer is learned from a corpus: see `tokenization.registry`.
- `fingerprint` identifies what decoding needs and nothing else, because a GPT learns what codes decode to.

Dimensions: B fields or shapes, C chunks, Q num_quantizers, K codebook_size, P parameters of a field, M points, D
dimension of the points, r numbers of a latent vector.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from jaxtyping import Float, Int
from torch import Tensor

from weightgpt.errors import InputError, check_positive, check_types
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.hub import HubObject
from weightgpt.quantizers.files import FILES, pretrained_folder
from weightgpt.shapes.sampling import Samples
from weightgpt.shapes.shape import Shape


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How latents are refined before they are quantized.

    The graph quantizer refines nothing and uses `num_points` and `seed` alone; weight VQ uses none of these settings.
    """

    steps: int = 25
    """Adam steps on the latents; 0 takes the latents of the encoder without refinement."""
    points_per_step: int = 1024
    """Points in each step."""
    num_points: int = 8192
    """Points at which shapes are sampled for refinement."""
    surface_fraction: float = 0.0
    """Share of the points of a step that lie near the surface of the shape itself, half inside and half outside. The
    rest is uniform over the sampled points. Thin parts need it. At 0 all shapes share the points, which is faster."""
    surface_bandwidth: float = 0.03
    """Distance scale of "near": the chance of a point falls as exp(-|sdf| / surface_bandwidth)."""
    learning_rate: float = 1e-2
    """Peak rate of Adam."""
    batch_size: int = 32
    """Shapes refined at once."""
    seed: int = 0
    """Seed of the points."""

    def __post_init__(self) -> None:
        check_types(self)
        sizes = (self.points_per_step, self.num_points, self.batch_size, self.learning_rate, self.surface_bandwidth)
        if min(sizes) <= 0 or self.steps < 0 or not 0 <= self.surface_fraction <= 1:
            raise InputError(
                f"{self} cannot refine latents; points_per_step, num_points, batch_size, learning_rate and"
                " surface_bandwidth must be positive, steps 0 or more, and surface_fraction between 0 and 1."
            )
        check_positive(self, "learning_rate", "surface_bandwidth")


class Quantizer(HubObject):
    """Fields of one architecture as codes (B, C, Q).

    Examples:
        >>> import torch
        >>> from weightgpt.quantizers.auto import AutoQuantizer
        >>> quantizer = AutoQuantizer.from_pretrained("tests/golden/weight-vq")
        >>> fields = quantizer.decode(torch.zeros(2, quantizer.num_chunks, quantizer.num_quantizers, dtype=torch.long))
        >>> quantizer.encode(fields).shape == (2, quantizer.num_chunks, quantizer.num_quantizers)
        True
    """

    hub_files = FILES
    FORMAT: ClassVar[str]
    """The `format` in `config.json`."""
    VERSION: ClassVar[int]
    """The `version` in `config.json`."""
    field_config: FieldConfig
    """The architecture of the fields."""
    num_chunks: int
    """C."""
    num_quantizers: int
    """Q, coarse level first: the first levels of a field alone decode to a coarser field."""
    codebook_size: int
    """K."""
    shared_init: Float[Tensor, " P"]
    """(P,) weights that plain fits start from."""
    fingerprint: str
    """16 hexadecimal digits; equal for two quantizers only if they decode equally."""

    @property
    def tokens_per_field(self) -> int:
        """C · Q."""
        return self.num_chunks * self.num_quantizers

    @property
    def code_vectors(self) -> Float[Tensor, "Q K r"] | None:
        """(Q, K, r) the vector of each code at each level; None where chunks have different code vectors."""
        return None

    @property
    def probes(self) -> Float[Tensor, "m D"] | None:
        """(m, D) points at which one pass of an encoder reads a shape; None where each shape must be fitted first."""
        return None

    @property
    def has_latents(self) -> bool:
        """Whether codes are those of continuous latents; `latents`, `quantize` and `decode_latents` then work."""
        return False

    def latents(self, codes: Tensor, num_quantizers: int | None = None) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones; None for all Q.

        Raises:
            InputError: the quantizer has no latents, or the codes do not fit it.
        """
        raise self._no_latents()

    def quantize(self, latents: Tensor) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of latents.

        Args:
            latents: (B, C, r).

        Raises:
            InputError: the quantizer has no latents.
        """
        raise self._no_latents()

    def decode_latents(self, latents: Tensor) -> Fields:
        """Fields of latents that need not be those of any codes.

        Args:
            latents: (B, C, r).

        Raises:
            InputError: the quantizer has no latents.
        """
        raise self._no_latents()

    def _no_latents(self) -> InputError:
        return InputError(
            f"a quantizer of class {type(self).__name__} has no latents; use one whose `has_latents` is true, such as"
            " the RVQ autoencoder."
        )

    @abstractmethod
    def encode(self, fields: Fields, config: EncodeConfig | None = None) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of existing fields.

        Args:
            fields: B fields of the architecture `field_config`.
            config: how latents are refined, for quantizers that refine; the defaults of `EncodeConfig` when None.

        Raises:
            InputError: the fields are of another architecture.
        """

    @abstractmethod
    def encode_samples(
        self, samples: Samples, config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes that are sampled at the points of the corpus that the quantizer was learned from.

        Args:
            samples: B shapes at M shared points.
            config: how latents are refined, for quantizers that refine; the defaults of `EncodeConfig` when None.
            progress: whether to show a progress bar.

        Raises:
            InputError: the points are not those of the corpus, or a distance is not finite.
        """

    def encode_fits(
        self, samples: Samples, fits: Fields, config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) as of `encode_samples`, for shapes whose plain fits exist: they are not fitted again.

        Args:
            samples: B shapes at M shared points.
            fits: plain fits of the same shapes, from `shared_init`.
            config: how latents are refined, for quantizers that refine; the defaults of `EncodeConfig` when None.
            progress: whether to show a progress bar.

        Raises:
            InputError: the fits are of another architecture, or `encode_samples` refuses the samples.
        """
        return self.encode_samples(samples, config, progress=progress)

    @abstractmethod
    def encode_shapes(
        self, shapes: Sequence[Shape], config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes.

        Args:
            shapes: B shapes of the dimension of `field_config`.
            config: where shapes are sampled and how latents are refined; the defaults of `EncodeConfig` when None.
            progress: whether to show a progress bar.

        Raises:
            InputError: there are no shapes, they are of another dimension, or a distance is not finite.
        """

    @abstractmethod
    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones: fewer give coarser fields; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """

    @classmethod
    def from_pretrained(
        cls, path_or_repo: Path | str, *, subfolder: str = "", revision: str | None = None, token: str | None = None
    ) -> Self:
        """Read what `save_pretrained` wrote; `AutoQuantizer` does so for any class.

        Args:
            path_or_repo: a folder, or "owner/name" on the Hub.
            subfolder: folder inside `path_or_repo` that holds the files.
            revision: branch, tag or commit on the Hub.
            token: access token of the Hub; the stored one when None.

        Raises:
            InputError: a file is missing, cut short, of another format, or does not belong with the others.
        """
        return cls._read(pretrained_folder(path_or_repo, subfolder, revision, token))

    @classmethod
    @abstractmethod
    def _read(cls, folder: Path) -> Self:
        """Read the files in `folder`."""

    def _check_shapes(self, shapes: Sequence[Shape]) -> None:
        """Refuse an empty list, and shapes of another dimension."""
        dimension = self.field_config.in_features
        if not shapes:
            raise InputError("there are no shapes to encode; give one or more.")
        if any(shape.dimension != dimension for shape in shapes):
            raise InputError(f"the quantizer is for {dimension}D shapes; leave out those of another dimension.")
