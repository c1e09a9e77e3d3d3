"""Nearest codes by our matrix products, beside vector-quantize-pytorch with the very same tables.

Dimensions: B fields, C chunks, Q levels, K codes of a level, r numbers of a vector.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

from benchmarks.timing import agreement, interleaved
from weightgpt.fields.field import Fields
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder


@torch.no_grad()
def latents_of(quantizer: RVQAutoencoder, fields: Fields) -> Tensor:
    """Latents (B, C, r) of fields, asked for their signed distances at the encoder's probes."""
    parts = [fields.select(slice(i, i + 64)) for i in range(0, len(fields), 64)]
    return torch.cat([quantizer.encoder(part(quantizer.probes)[..., 0]) for part in parts])


@torch.no_grad()
def race(what: str, vectors: Tensor, ours: Callable[[Tensor], Tensor], tables: Tensor, turns: int) -> dict[str, Any]:
    """Seconds and codes of vectors (B, C, r) by `ours` and by the library with the same `tables` (Q, K, r)."""
    library = library_quantizer(tables)
    codes: dict[str, Tensor] = {}

    def keep(name: str, found: Tensor) -> None:
        codes[name] = found.flatten(0, 1)

    ways = {
        "ours": lambda turn: keep("ours", ours(vectors)),
        "library": lambda turn: keep("library", library(vectors)[1]),
    }
    seconds = interleaved(ways, turns)
    same = agreement(vectors.flatten(0, 1), tables, codes["ours"], codes["library"])
    return {
        "what": what,
        "fields": len(vectors),
        "tables": list(tables.shape),
        **{f"seconds_{name}": found for name, found in seconds.items()},
        "faster": seconds["library"] / seconds["ours"],
        **asdict(same),
    }


def library_quantizer(tables: Tensor) -> ResidualVQ:
    """vector-quantize-pytorch's residual quantizer with these `tables` (Q, K, r), to be applied only."""
    levels, codes, width = tables.shape
    module = ResidualVQ(dim=width, num_quantizers=levels, codebook_size=codes).eval()
    for layer, table in zip(module.layers, tables, strict=True):
        layer._codebook.embed.data.copy_(table)
    return module
