"""Codes, whichever quantizer wrote them: how they are found, checked and counted, and what names their meaning.

Nearest codes are found with the same arithmetic as vector-quantize-pytorch, so that both give the same codes bit for
bit.

Dimensions: B fields, C chunks, Q num_quantizers, K codes of a level, n vectors, r numbers of a vector.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields


@dataclass(frozen=True)
class CodebookUsage:
    """How a set of codes uses the K codes of each level."""

    used: tuple[int, ...]
    """Codes that occur, for each level."""
    dead: tuple[int, ...]
    """Codes that never occur, for each level."""
    perplexity: tuple[float, ...]
    """exp(entropy) of the code frequencies, for each level: K when all are equally frequent."""


def usage(codes: Tensor, size: int) -> CodebookUsage:
    """Usage of `size` = K codes by codes (B, C, Q)."""
    counts = [torch.bincount(codes[..., level].flatten(), minlength=size) for level in range(codes.shape[-1])]
    share = [count / count.sum().clamp(min=1) for count in counts]
    used = tuple(int((count > 0).sum()) for count in counts)
    return CodebookUsage(
        used=used,
        dead=tuple(size - n for n in used),
        perplexity=tuple(float(torch.exp(-torch.special.xlogy(p, p).sum())) for p in share),
    )


@torch.no_grad()
def nearest_code(vectors: Tensor, table: Tensor) -> Tensor:
    """Index (n,) of the row of `table` (K, r) nearest to each of `vectors` (n, r), in slices that stay in the cache."""
    norms, twice = (table**2).sum(-1), (-2 * table).T  # a factor of two leaves no trace in the sums
    found = []
    for part in vectors.split(1024):
        squared = (part**2).sum(-1, keepdim=True) + norms
        squared += part @ twice
        found.append(_least(squared.clamp_(min=1e-8).sqrt_()))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.long)


def _least(rows: Tensor) -> Tensor:
    """The first place of the least value in each row; on a CPU numpy finds it several times faster than torch."""
    return torch.from_numpy(rows.numpy().argmin(-1)) if rows.device.type == "cpu" else rows.argmin(-1)


def check_fields(fields: Fields, config: FieldConfig) -> None:
    """Refuse fields of another architecture than `config`.

    Raises:
        InputError: they are.
    """
    if fields.config != config:
        raise InputError(
            f"the fields are {fields.config}, the codebook is for {config}; use the codebook that was learned for this"
            " architecture."
        )


def check_codes(codes: Tensor, chunks: int, size: tuple[int, int], num_quantizers: int | None) -> int:
    """The number of levels to decode of codes (B, C, Q), after a look at the codes.

    Args:
        chunks: C.
        size: (Q, K) of the codebook.
       num_quantizers: how many were asked for, or None for all Q.

    Raises:
        InputError: the codes have another shape, one is outside 0 … K-1, or `num_quantizers` is outside 1 … Q.
    """
    most, count = size
    if codes.ndim != 3 or codes.shape[1:] != (chunks, most):
        raise InputError(
            f"codes have shape {tuple(codes.shape)}; this codebook takes (fields, {chunks}, {most}): use codes that it"
            " wrote."
        )
    if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < count):
        raise InputError(
            f"codes run from {int(codes.min())} to {int(codes.max())}; this codebook has 0 to {count - 1}: use codes"
            " that it wrote."
        )
    if num_quantizers is not None and not 1 <= num_quantizers <= most:
        raise InputError(f"num_quantizers is {num_quantizers}; this codebook has 1 to {most}.")
    return most if num_quantizers is None else num_quantizers


def fingerprint(config: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """16 hexadecimal digits that name a codebook; a GPT carries those of the one it was trained with."""
    digest = hashlib.sha256(repr(sorted(config.items())).encode())
    for _, part in sorted(tensors.items()):
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
