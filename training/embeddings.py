"""Token embeddings that begin as the code vectors, so that a GPT need not learn what the codes mean.

The codes of a level are points of one space, and near points stand for like shapes. Embeddings that begin at random
hide that, and a GPT finds it out again code by code; embeddings that begin as the points, turned into its own width,
tell it from the first step. All levels are turned alike, since the vectors of a chunk add up. Output and input
embeddings of a GPT-2 are one matrix, so near codes also begin with like scores.

Dimensions: Q levels, K codes of a level, r numbers of a code vector, w width of the GPT.
"""

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from weightgpt.tokens.tokenizer import WeightTokenizer


def code_embeddings(vectors: Tensor, width: int, spread: float, seed: int) -> Tensor:
    """(Q·K, w) of code vectors (Q, K, r), every level with a standard deviation of `spread`."""
    levels, _, numbers = vectors.shape
    size = max(numbers, width)
    turn = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))[0]
    centered = vectors - vectors.mean(1, keepdim=True)
    turned = centered @ turn[:numbers, :width]
    deviation = turned.flatten(1).std(1, unbiased=False).clamp(min=torch.finfo(turned.dtype).tiny)
    return (spread * turned / deviation.view(levels, 1, 1)).flatten(0, 1)


@torch.no_grad()
def start_from_codes(model: GPT2LMHeadModel, tokenizer: WeightTokenizer, spread: float, seed: int) -> None:
    """Set the embeddings of the codes of an untrained model, if the quantizer has vectors for them.

    Args:
        spread: standard deviation of these embeddings, over that of the model's other parameters; 0 leaves all as is.
    """
    vectors = tokenizer.quantizer.code_vectors
    if spread and vectors is not None:
        start = code_embeddings(vectors, model.config.n_embd, spread * model.config.initializer_range, seed)
        model.transformer.wte.weight[tokenizer.vocabulary.first_code :] = start
