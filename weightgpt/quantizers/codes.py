"""Codes of any quantizer: how they are computed, checked and counted.

Decisions:

- Residual vector quantization is written here once: each level codes the residual of the levels before it (SoundStream,
  Zeghidour et al. 2021, algorithm 1).
- We compute nearest codes with the arithmetic of vector-quantize-pytorch, because codes must equal those of the library
  that learned the code vectors, bit for bit.

Dimensions: B fields, C chunks, Q num_quantizers, K codebook_size, n vectors, r numbers of a vector.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from weightgpt.errors import InputError, check_whole
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.io import tensor_bytes, tensor_header

SLICE = 1024
"""Vectors that are compared with the code vectors at once, so that their distances stay in the cache."""


@torch.no_grad()
def nearest_codes(vectors: Float[Tensor, "n r"], code_vectors: Float[Tensor, "K r"]) -> Int[Tensor, " n"]:
    """The index of the nearest code vector for each vector.

    Args:
        vectors: (n, r).
        code_vectors: (K, r) of one level.

    Returns:
        (n,) int64; of code vectors at equal distance, the first.
    """
    norms, doubled = (code_vectors**2).sum(-1), (-2 * code_vectors).T  # a factor of 2 is exact in floating point
    codes = []
    for part in vectors.split(SLICE):
        squared = (part**2).sum(-1, keepdim=True) + norms
        squared += part @ doubled
        codes.append(_row_argmin(squared.clamp_(min=1e-8).sqrt_()))
    return torch.cat(codes)


def _row_argmin(rows: Tensor) -> Tensor:
    """The index of the smallest value of each row; on a CPU, numpy is several times faster here than torch."""
    return torch.from_numpy(rows.numpy().argmin(-1)) if rows.device.type == "cpu" else rows.argmin(-1)


@torch.no_grad()
def residual_encode(vectors: Float[Tensor, "n r"], code_vectors: Float[Tensor, "Q K r"]) -> Int[Tensor, "n Q"]:
    """Residual codes of vectors: at each level, the code vector nearest to the residual of the levels before it.

    Args:
        vectors: (n, r).
        code_vectors: (Q, K, r), coarse level first.

    Returns:
        (n, Q) int64.

    Examples:
        >>> import torch
        >>> levels = torch.tensor([[[0.0], [1.0]], [[0.0], [0.25]]])
        >>> residual_encode(torch.tensor([[1.2], [0.1]]), levels)
        tensor([[1, 1],
                [0, 0]])
    """
    residual, codes = vectors, []
    for level in code_vectors:
        codes.append(nearest_codes(residual, level))
        residual = residual - level[codes[-1]]
    return torch.stack(codes, -1)


def residual_decode(
    codes: Int[Tensor, "*n Q"], code_vectors: Float[Tensor, "Q K r"], num_quantizers: int | None = None
) -> Float[Tensor, "*n r"]:
    """Vectors of residual codes: the sum of their code vectors. Inverse of `residual_encode` up to the last residual.

    Args:
        codes: (..., Q).
        code_vectors: (Q, K, r).
        num_quantizers: levels to add up, the first ones; None for all Q.

    Returns:
        (..., r).

    Examples:
        >>> import torch
        >>> levels = torch.tensor([[[0.0], [1.0]], [[0.0], [0.25]]])
        >>> residual_decode(torch.tensor([[1, 1], [0, 0]]), levels)
        tensor([[1.2500],
                [0.0000]])
    """
    total = code_vectors.new_zeros(*codes.shape[:-1], code_vectors.shape[-1])
    for level in range(len(code_vectors) if num_quantizers is None else num_quantizers):
        total = total + code_vectors[level][codes[..., level]]
    return total


@dataclass(frozen=True)
class CodebookUsage:
    """How a set of codes uses the K codes of each level."""

    codes_used: tuple[int, ...]
    """Codes that occur, for each level."""
    dead_codes: tuple[int, ...]
    """Codes that never occur, for each level."""
    perplexity: tuple[float, ...]
    """exp(entropy) of the code frequencies, for each level; K when all codes are equally frequent."""


def measure_usage(codes: Int[Tensor, "B C Q"], codebook_size: int) -> CodebookUsage:
    """Count how often each code occurs.

    Args:
        codes: (B, C, Q).
        codebook_size: K.
    """
    counts = [torch.bincount(codes[..., level].flatten(), minlength=codebook_size) for level in range(codes.shape[-1])]
    shares = [count / count.sum().clamp(min=1) for count in counts]
    used = tuple(int((count > 0).sum()) for count in counts)
    return CodebookUsage(
        codes_used=used,
        dead_codes=tuple(codebook_size - number for number in used),
        perplexity=tuple(float(torch.exp(-torch.special.xlogy(share, share).sum())) for share in shares),
    )


def check_fields(fields: Fields, field_config: FieldConfig) -> None:
    """Refuse fields of another architecture.

    Args:
        fields: any fields.
        field_config: the architecture that they must have.

    Raises:
        InputError: the architectures differ.
    """
    if fields.config != field_config:
        raise InputError(
            f"the fields are {fields.config}, the quantizer is for {field_config}; use the quantizer that was learned"
            " for this architecture."
        )


def check_codes(codes: Tensor, sizes: tuple[int, int, int], num_quantizers: int | None = None) -> int:
    """Refuse codes that a quantizer cannot decode.

    Args:
        codes: what should be (B, C, Q).
        sizes: (C, Q, K) of the quantizer.
        num_quantizers: levels to decode, the first ones; None for all Q.

    Returns:
        The number of levels to decode.

    Raises:
        InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
    """
    num_chunks, levels, codebook_size = sizes
    if codes.ndim != 3 or codes.shape[1:] != (num_chunks, levels):
        raise InputError(
            f"codes have shape {tuple(codes.shape)}; this quantizer takes (fields, {num_chunks}, {levels}): use codes"
            " that it wrote."
        )
    if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < codebook_size):
        raise InputError(
            f"codes run from {int(codes.min())} to {int(codes.max())}; this quantizer has 0 to {codebook_size - 1}: use"
            " codes that it wrote."
        )
    if num_quantizers is None:
        return levels
    if not 1 <= check_whole("num_quantizers", num_quantizers) <= levels:
        raise InputError(f"num_quantizers is {num_quantizers}; this quantizer has 1 to {levels}.")
    return int(num_quantizers)


def fingerprint(config: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """16 hexadecimal digits of names, dtypes, shapes and bytes of tensors; a GPT stores those that its codes need.

    Args:
        config: the sizes and the format.
        tensors: the tensors, by name.
    """
    digest = hashlib.sha256(repr(sorted(config.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(tensor_header(name, tensor))
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()[:16]
