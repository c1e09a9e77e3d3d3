"""Data augmentation for the GPT: latents are re-quantized with Gaussian noise.

A GPT memorizes a corpus of few sequences. We therefore add noise to the latents of each shape, in proportion to the
standard deviations of the latents over all shapes. The latents then stand for similar shapes, and the GPT learns their
codes (vicinal risk minimization, Chapelle et al. 2000).

Dimensions: N shapes, C chunks, Q quantizer levels, L tokens of a sequence, r latent width.
"""

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.quantizers.base import Quantizer
from weightgpt.tokens.tokenizer import WeightTokenizer

BATCH_SIZE = 1024
"""Shapes quantized at once."""


@torch.no_grad()
def requantize_with_noise(quantizer: Quantizer, codes: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to the latents of codes, and quantize the latents again.

    Args:
        quantizer: the quantizer of the codes; its `has_latents` is true.
        codes: (N, C, Q) codes.
        noise: size of the noise, in standard deviations of each latent dimension over the N shapes.
        generator: source of the noise.

    Returns:
        (N, C, Q) codes.
    """
    latents = quantizer.latents(codes)
    scale = noise * latents.std(0, unbiased=False)
    batches = (batch + scale * torch.randn(batch.shape, generator=generator) for batch in latents.split(BATCH_SIZE))
    return torch.cat([quantizer.quantize(batch) for batch in batches])


def augment_sequences(tokenizer: WeightTokenizer, input_ids: Tensor, times: int, noise: float, seed: int) -> Tensor:
    """Sequences of the same classes with re-quantized codes.

    Args:
        tokenizer: the tokenizer of the sequences.
        input_ids: (N, L) sequences.
        times: how often each sequence is re-quantized.
        noise: size of the noise, as in `requantize_with_noise`.
        seed: seed of the noise.

    Returns:
        (times · N, L) sequences, which replace the original ones.

    Raises:
        InputError: the codes of the tokenizer have no latents.
    """
    if not tokenizer.quantizer.has_latents:
        raise InputError(
            "codes of this tokenizer have no latents to add noise to; use the tokenizer of the preset built-in or"
            " mesh-files, or set latent_augmentations to 0."
        )
    generator = torch.Generator().manual_seed(seed)
    codes, labels = tokenizer.vocabulary.parse(input_ids)
    copies = [requantize_with_noise(tokenizer.quantizer, codes, noise, generator) for _ in range(times)]
    return torch.cat([tokenizer.vocabulary.ids(copy, labels) for copy in copies])
