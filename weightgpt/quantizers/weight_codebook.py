"""The frozen codebook of weight VQ: weights to short vectors, vectors to codes, and back.

One class serves all ways to learn code vectors (see `tokenization.weight_vq_learners`): single weights or chunks
of them, one or more residual levels, the same code vectors for all chunks or G groups in turn.

Decisions:

- A weight is first normalized as (weight - center) / scale, with a center and a scale for each weight. The center
  decides what is coded: raw weights, or what a fit changed of the shared initial field.
- A chunk is a vector of d neighboring numbers of the flat weights; the last one is padded with zeros. Chunk i uses the
  code vectors of group i mod G (product quantization, Jégou et al. 2011, where G chunks make one of their vectors).

Dimensions: B fields, P parameters of a field, C chunks, d numbers of a vector, G groups, Q num_quantizers, K
codebook_size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.quantizers.codes import check_codes, residual_decode, residual_encode


@dataclass(frozen=True)
class WeightCodebook:
    """Normalization and code vectors of one field architecture."""

    field_config: FieldConfig
    center: Tensor
    """(P,)."""
    scale: Tensor
    """(P,), above 0."""
    code_vectors: Tensor
    """(G, Q, K, d)."""

    def __post_init__(self) -> None:
        parameters = self.field_config.parameters
        if (
            self.code_vectors.ndim != 4
            or not self.code_vectors.numel()
            or self.center.shape != (parameters,)
            or self.scale.shape != (parameters,)
        ):
            raise InputError(
                f"center {tuple(self.center.shape)}, scale {tuple(self.scale.shape)} and code_vectors"
                f" {tuple(self.code_vectors.shape)} do not fit fields of {parameters} parameters; learn them again."
            )
        if not all(torch.isfinite(tensor).all() for tensor in (self.center, self.scale, self.code_vectors)):
            raise InputError("the weight codebook holds NaN or infinite values; learn it again.")
        if not (self.scale > 0).all():
            raise InputError("a scale of the weight codebook is not positive; learn it again.")

    @property
    def num_groups(self) -> int:
        """G."""
        return self.code_vectors.shape[0]

    @property
    def num_quantizers(self) -> int:
        """Q."""
        return self.code_vectors.shape[1]

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.code_vectors.shape[2]

    @property
    def vector_width(self) -> int:
        """The number d of weights in a vector."""
        return self.code_vectors.shape[3]

    @property
    def num_chunks(self) -> int:
        """C."""
        return -(-self.field_config.parameters // self.vector_width)

    def split_weights(self, flat: Float[Tensor, "B P"]) -> Float[Tensor, "B C d"]:
        """Normalized vectors (B, C, d) of weights. Inverse of `join_vectors` up to rounding.

        Args:
            flat: (B, P).
        """
        return split_vectors((flat - self.center) / self.scale, self.vector_width)

    def join_vectors(self, vectors: Float[Tensor, "B C d"]) -> Float[Tensor, "B P"]:
        """Weights (B, P) of normalized vectors; the padding is dropped.

        Args:
            vectors: (B, C, d).
        """
        weights: Tensor = vectors.flatten(1)[:, : self.field_config.parameters] * self.scale + self.center
        return weights

    def quantize(self, vectors: Float[Tensor, "B C d"]) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) int64 of normalized vectors: at each level, the code vector nearest to the residual.

        Args:
            vectors: (B, C, d).
        """
        codes = vectors.new_empty(*vectors.shape[:2], self.num_quantizers, dtype=torch.long)
        for group, code_vectors in enumerate(self.code_vectors):
            part = vectors[:, group :: self.num_groups]
            codes[:, group :: self.num_groups] = residual_encode(part.flatten(0, 1), code_vectors).unflatten(
                0, part.shape[:2]
            )
        return codes

    def vectors(self, codes: Tensor, num_quantizers: int | None = None) -> Float[Tensor, "B C d"]:
        """Normalized vectors (B, C, d) of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """
        sizes = (self.num_chunks, self.num_quantizers, self.codebook_size)
        levels = check_codes(codes, sizes, num_quantizers)
        vectors = self.code_vectors.new_empty(*codes.shape[:2], self.vector_width)
        for group, code_vectors in enumerate(self.code_vectors):
            part = codes[:, group :: self.num_groups]
            vectors[:, group :: self.num_groups] = residual_decode(part, code_vectors, levels)
        return vectors


def split_vectors(rows: Float[Tensor, "B P"], vector_width: int) -> Float[Tensor, "B C d"]:
    """Split rows into vectors of neighbors, with zeros at the end of the last vector.

    Args:
        rows: (B, P).
        vector_width: d.

    Returns:
        (B, C, d) with C = P / d, rounded up.

    Examples:
        >>> split_vectors(torch.tensor([[1.0, 2.0, 3.0]]), 2)
        tensor([[[1., 2.],
                 [3., 0.]]])
    """
    vectors: Tensor = F.pad(rows, (0, -rows.shape[1] % vector_width)).unflatten(1, (-1, vector_width))
    return vectors
