"""Other codes for the same shapes, so that a GPT of few shapes does not learn one spelling of each by heart.

At each level a code is drawn in place of the nearest one, likelier the nearer it is to what is left of the latent; the
levels after it make up for most of the difference. This is the stochastic sampling of Lee et al. 2022 (RQ-VAE and
RQ-Transformer, section 3.2.3), which they use against overfitting as well.

Dimensions: N shapes, C chunks, Q levels, L tokens of a sequence.
"""

import torch
from torch import Tensor

from weightgpt.codebook import Codebook
from weightgpt.files import InputError
from weightgpt.tokenizer import WeightTokenizer

SOFTNESS = 0.3
"""Temperature of the draws, in mean differences of the squared distances to the nearest and the next nearest code."""


@torch.no_grad()
def redraw(book: Codebook, codes: Tensor, generator: torch.Generator, softness: float = SOFTNESS) -> Tensor:
    """Codes (N, C, Q), drawn near the latents of codes (N, C, Q)."""
    rest, drawn = book.latents(codes).flatten(0, 1), []
    for table in book.codes:
        squared = torch.cdist(rest, table).square()
        nearest, next_one = squared.topk(2, largest=False).values.unbind(1)
        scale = softness * (next_one - nearest).mean()
        drawn.append(torch.multinomial(torch.softmax(-squared / scale, 1), 1, generator=generator)[:, 0])
        rest = rest - table[drawn[-1]]
    return torch.stack(drawn, -1).reshape(codes.shape)


def redrawn(tokenizer: WeightTokenizer, ids: Tensor, times: int, seed: int) -> Tensor:
    """Sequences (times · N, L) in place of sequences (N, L), of the same classes.

    Raises:
        InputError: the tokenizer has no latents to draw near.
    """
    book: Codebook | None = getattr(tokenizer.quantiser, "codebook", None)
    if book is None:
        raise InputError("the codes of this tokenizer cannot be drawn anew; use the default one, or --redrawn 0.")
    generator = torch.Generator().manual_seed(seed)
    codes, labels = tokenizer.vocabulary.parse(ids)
    return torch.cat([tokenizer.vocabulary.ids(redraw(book, codes, generator), labels) for _ in range(times)])
