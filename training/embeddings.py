"""Initialize the token embeddings of a GPT from the code vectors of its tokenizer.

The code vectors of a quantizer level are points of one space, and near points stand for similar shapes. With random
embeddings a GPT has to learn code by code which codes are similar. We therefore initialize the embeddings with the code
vectors, rotated into the width of the GPT. All levels have the same rotation, because the vectors of a chunk add up.
The input and the output embeddings of a GPT-2 are one matrix, so similar codes also begin with similar scores.

Dimensions: Q quantizer levels, K codes of a level, r numbers of a code vector, w width of the GPT.
"""

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from weightgpt.tokens.tokenizer import WeightTokenizer


def code_embeddings(code_vectors: Tensor, width: int, std: float, seed: int) -> Tensor:
    """Embeddings of codes, with distances proportional to those of their code vectors.

    Args:
        code_vectors: (Q, K, r) code vectors.
        width: w.
        std: the standard deviation of the embeddings of each level.
        seed: seed of the random rotation.

    Returns:
        (Q·K, w) embeddings. Their distances are proportional to those of the code vectors, approximately if r > w.
    """
    levels, _, numbers = code_vectors.shape
    size = max(numbers, width)
    rotation = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))[0]
    centered = code_vectors - code_vectors.mean(1, keepdim=True)
    rotated = centered @ rotation[:numbers, :width]
    deviation = rotated.flatten(1).std(1, unbiased=False).clamp(min=torch.finfo(rotated.dtype).tiny)
    return (std * rotated / deviation.view(levels, 1, 1)).flatten(0, 1)


@torch.no_grad()
def initialize_code_embeddings(model: GPT2LMHeadModel, tokenizer: WeightTokenizer, scale: float, seed: int) -> None:
    """Set the embeddings of the codes of an untrained model, if the codes of its quantizer have code vectors.

    Args:
        model: the model, changed in place.
        tokenizer: its tokenizer.
        scale: standard deviation of these embeddings, divided by that of the model's other parameters; 0 leaves the
            random embeddings.
        seed: seed of the random rotation.
    """
    code_vectors = tokenizer.quantizer.code_vectors
    if scale and code_vectors is not None:
        std = scale * model.config.initializer_range
        rows = code_embeddings(code_vectors, model.config.n_embd, std, seed)
        model.transformer.wte.weight[tokenizer.vocabulary.first_code :] = rows
