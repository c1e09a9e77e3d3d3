"""Metrics of tokens: how many tokens and bits a field has, and how the codes of a corpus use the codebook.

Dimensions: N shapes, C chunks, Q num_quantizers, K codebook_size.
"""

import math
from typing import Any

from torch import Tensor

from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.codes import measure_usage


def token_metrics(quantizer: Quantizer, codes: Tensor) -> dict[str, Any]:
    """Describe the tokens of a field and the use of the codebook; docs/metrics.md lists the keys.

    Args:
        quantizer: the quantizer of the codes.
        codes: (N, C, Q) codes of training shapes.
    """
    usage = measure_usage(codes, quantizer.codebook_size)
    return {
        "tokens_per_field": quantizer.tokens_per_field,
        "parameters_per_field": quantizer.field_config.parameters,
        "bits_per_field": quantizer.tokens_per_field * math.log2(quantizer.codebook_size),
        "codebook_size": quantizer.codebook_size,
        "num_quantizers": quantizer.num_quantizers,
        "num_chunks": quantizer.num_chunks,
        "codes_used": list(usage.codes_used),
        "dead_codes": list(usage.dead_codes),
        "perplexity": list(usage.perplexity),
    }
