"""Time our search for nearest codes and that of vector-quantize-pytorch, with the same code vectors.

Dimensions: B fields, C chunks, Q quantizer levels, K codes of a level, r numbers of a vector.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

from benchmarks.timing import compare_codes, time_in_turns
from weightgpt.fields.field import Fields
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder


@torch.no_grad()
def latents_of(quantizer: RVQAutoencoder, fields: Fields) -> Tensor:
    """(B, C, r) latents of fields, from their signed distances at the probes of the encoder.

    Args:
        quantizer: the quantizer with the encoder.
        fields: B fields.
    """
    parts = [fields.select(slice(i, i + 64)) for i in range(0, len(fields), 64)]
    return torch.cat([quantizer.encoder(part(quantizer.probes)[..., 0]) for part in parts])


@torch.no_grad()
def time_nearest_codes(
    name: str, vectors: Tensor, quantize: Callable[[Tensor], Tensor], code_vectors: Tensor, turns: int
) -> dict[str, Any]:
    """Time our method and the library, and compare their codes.

    Args:
        name: name of the vectors.
        vectors: (B, C, r) vectors.
        quantize: our method, (B, C, r) vectors -> (B, C, Q) codes.
        code_vectors: (Q, K, r) code vectors of both.
        turns: timed calls of each.
    """
    library = library_quantizer(code_vectors)
    codes: dict[str, Tensor] = {}

    def store(method: str, result: Tensor) -> None:
        codes[method] = result.flatten(0, 1)

    methods = {
        "ours": lambda turn: store("ours", quantize(vectors)),
        "library": lambda turn: store("library", library(vectors)[1]),
    }
    seconds = time_in_turns(methods, turns)
    comparison = compare_codes(vectors.flatten(0, 1), code_vectors, codes["ours"], codes["library"])
    return {
        "name": name,
        "fields": len(vectors),
        "code_vectors": list(code_vectors.shape),
        **{f"seconds_{method}": value for method, value in seconds.items()},
        "speedup": seconds["library"] / seconds["ours"],
        **asdict(comparison),
    }


def library_quantizer(code_vectors: Tensor) -> ResidualVQ:
    """The residual quantizer of vector-quantize-pytorch with these code vectors, for inference only.

    Args:
        code_vectors: (Q, K, r) code vectors of the levels.
    """
    num_quantizers, codebook_size, width = code_vectors.shape
    module = ResidualVQ(dim=width, num_quantizers=num_quantizers, codebook_size=codebook_size).eval()
    for layer, table in zip(module.layers, code_vectors, strict=True):
        layer._codebook.embed.data.copy_(table)
    return module
