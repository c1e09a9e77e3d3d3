"""Metrics of tokens: cases counted by hand."""

import torch

from tests.fakes import tiny_codebook, tiny_encoder, tiny_weight_vq
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.token_metrics import token_metrics


def test_tokens_bits_and_used_codes_are_counted():
    quantizer = tiny_weight_vq()
    codes = torch.zeros(4, quantizer.num_chunks, quantizer.num_quantizers, dtype=torch.long)
    assert token_metrics(quantizer, codes) == {
        "tokens_per_field": 56,
        "parameters_per_field": quantizer.field_config.parameters,
        "bits_per_field": 56 * 3,
        "codebook_size": 8,
        "num_quantizers": 2,
        "num_chunks": 28,
        "codes_used": [1, 1],
        "dead_codes": [7, 7],
        "perplexity": [1.0, 1.0],
    }


def test_codes_are_counted_at_each_level():
    codebook = tiny_codebook()
    quantizer = RVQAutoencoder(codebook, tiny_encoder(codebook))
    codes = torch.zeros(4, quantizer.num_chunks, quantizer.num_quantizers, dtype=torch.long)
    codes[:2, :, 1] = 3
    metrics = token_metrics(quantizer, codes)
    assert (metrics["codes_used"], metrics["dead_codes"]) == ([1, 2], [7, 6])
    assert [round(value, 5) for value in metrics["perplexity"]] == [1.0, 2.0]
