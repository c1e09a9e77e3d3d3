"""Other codes for the same few shapes, so that a GPT does not learn one spelling of each by heart.

Noise on the latents of a shape, in the measure in which the latents of all shapes vary, gives shapes like it, as in
vicinal risk minimization (Chapelle et al. 2000); their codes are what the GPT learns. Decoded as they are, such latents
are the noise row of `training.compare`, which comes near true shapes where these are few.

Dimensions: N shapes, C chunks, Q levels, L tokens of a sequence, r latent width.
"""

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.quantizers.base import Quantizer
from weightgpt.tokens.tokenizer import WeightTokenizer

GROUP = 1024
"""Shapes quantized at once."""


@torch.no_grad()
def redraw(quantizer: Quantizer, codes: Tensor, generator: torch.Generator, noise: float) -> Tensor:
    """Codes (N, C, Q) of the latents of codes (N, C, Q) with noise, in standard deviations of each of their numbers."""
    latents = quantizer.latents(codes)
    spread = noise * latents.std(0, unbiased=False)
    parts = (part + spread * torch.randn(part.shape, generator=generator) for part in latents.split(GROUP))
    return torch.cat([quantizer.quantize(part) for part in parts])


def redrawn(tokenizer: WeightTokenizer, ids: Tensor, times: int, noise: float, seed: int) -> Tensor:
    """Sequences (times · N, L) in place of sequences (N, L), of the same classes; `noise` as in `redraw`.

    Raises:
        InputError: the tokenizer has no latents to put noise on.
    """
    if not tokenizer.quantizer.has_latents:
        raise InputError("the codes of this tokenizer cannot be drawn anew; use the default one, or --redrawn 0.")
    generator = torch.Generator().manual_seed(seed)
    codes, labels = tokenizer.vocabulary.parse(ids)
    drawn = (redraw(tokenizer.quantizer, codes, generator, noise) for _ in range(times))
    return torch.cat([tokenizer.vocabulary.ids(part, labels) for part in drawn])
