"""The baseline NeF-GPT: every weight of a field is a token.

After the report that followed the presentation (Fanselau and Muschal, "NeF-GPT", 2024): the difference of each weight
to the shared initial field is quantized to one of 127 scalars, a GPT learns the sequences, and one special token starts
each sequence.

Decisions:
- The blocks are those of a plain `GPT2LMHeadModel` of the size of ours. They have the LayerNorm that the original
  omitted, and sampling uses a cache, which the original did not.
- A field is a sequence of P tokens. Attention alone costs P², so a budget pays for few sequences. This cost belongs to
  the recipe, so we do not reduce it.
- The scalars are k-means centers of a sample of the weights. We do not count the operations of k-means, which are few.

Dimensions: B fields, P parameters of a field and tokens of a sequence, K scalars.
"""

import dataclasses
from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from training.baselines.budget import OptimizerConfig, bf16_autocast, count_flops, train_to_budget
from training.baselines.field_sets import FieldSets
from training.baselines.trained_baseline import TrainedBaseline, model_size, use_eager_attention

KMEANS_WEIGHTS, KMEANS_ROUNDS = 100_000, 30
"""Weights that k-means sees, and its iterations."""
KMEANS_FIELDS = 1024
"""Training fields that these weights come from."""
HELD_OUT_FIELDS = 16
"""Held-out fields over which the reported loss is a mean."""


@dataclass(frozen=True, kw_only=True)
class NefGptConfig:
    """Size, training and sampling of a NeF-GPT; the blocks have the size of the "small" GPT."""

    codebook_size: int = 127
    """K, the number of scalars."""
    layers: int = 4
    """Transformer blocks."""
    heads: int = 6
    """Attention heads of a block."""
    width: int = 192
    """Width of the blocks."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=lambda: OptimizerConfig(batch_size=1))
    """How the model is trained. A sequence has thousands of tokens, so one field is enough for a step."""
    temperature: float = 1.0
    """Sampling temperature."""
    top_k: int = 0
    """Number of likeliest scalars to sample from; 0 for all."""
    sample_batch_size: int = 16
    """Fields that are sampled together."""


def scalar_codebook(values: Tensor, size: int, seed: int) -> Tensor:
    """K-means centers of a sample of the values, ascending, as (K,); K is below `size` if values repeat.

    Args:
        values: numbers, of any shape.
        size: most centers.
        seed: seed of the sample.
    """
    flat = values.flatten()
    rows = torch.randint(len(flat), (KMEANS_WEIGHTS,), generator=torch.Generator().manual_seed(seed))
    sample = flat[rows].double().numpy()
    # We start from quantiles because each of them has values near it, so that no center stays empty.
    start = np.unique(np.quantile(sample, (np.arange(size) + 0.5) / size))
    centers, _ = kmeans2(sample[:, None], start[:, None], KMEANS_ROUNDS, minit="matrix", missing="raise")
    return torch.from_numpy(np.sort(centers[:, 0])).float()


def quantize(values: Tensor, centers: Tensor) -> Tensor:
    """The index of the nearest center of each value.

    Args:
        values: numbers, of any shape.
        centers: (K,), ascending.
    """
    return torch.bucketize(values.contiguous(), (centers[1:] + centers[:-1]) / 2)


def train_nef_gpt(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: NefGptConfig | None = None
) -> TrainedBaseline:
    """Train a GPT on scalar tokens.

    Args:
        sets: the fields to learn.
        budget_flops: floating-point operations of training.
        seed: seed of the scalars, of the initial weights and of the order of the fields.
        progress: whether to show a progress bar.
        config: size, training and sampling; the defaults when None.
    """
    config = config or NefGptConfig()
    centers = scalar_codebook(sets.train[:KMEANS_FIELDS] - sets.shared_init, config.codebook_size, seed)
    model = _new_model(sets.field_config.parameters, len(centers), config, seed)

    def loss(weights: Tensor) -> Tensor:
        return _loss(model, quantize(weights - sets.shared_init, centers), start=len(centers))

    def row_loss(rows: Tensor, noise: torch.Generator) -> Tensor:
        return loss(sets.train[rows])

    training = train_to_budget(model, row_loss, len(sets.train), config.optimizer, budget_flops, seed, progress)

    def draw_weights(n: int, seed: int) -> Tensor:
        codes = _generate(model, torch.full((n, 1), len(centers)), config.sample_batch_size, seed)
        return sets.shared_init + centers[codes]

    with torch.no_grad():
        # A cache computes every token once, so that a sample costs one forward pass.
        sample_flops = count_flops(lambda: loss(sets.train[:1]))
        held_out_loss = float(loss(sets.validation[:HELD_OUT_FIELDS]))
    use_eager_attention(model)
    return TrainedBaseline(
        field_config=sets.field_config,
        draw_weights=draw_weights,
        settings=asdict(config),
        size=model_size(model, parameters=[centers, sets.shared_init]),
        training=training,
        sample_flops=sample_flops,
        held_out_loss=held_out_loss,
    )


def _new_model(length: int, codebook_size: int, config: NefGptConfig, seed: int) -> GPT2LMHeadModel:
    """An untrained GPT for sequences of `length` scalars; the token after the last scalar starts a sequence."""
    sizes = {"n_layer": config.layers, "n_head": config.heads, "n_embd": config.width}
    rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    tokens = {"vocab_size": codebook_size + 1, "bos_token_id": codebook_size, "eos_token_id": None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(n_positions=length, **tokens, **sizes, **rates))
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=config.temperature,
        top_k=config.top_k,
        max_new_tokens=length,
        bos_token_id=codebook_size,
        pad_token_id=codebook_size,
        suppress_tokens=[codebook_size],
    )
    return model


def _loss(model: GPT2LMHeadModel, codes: Tensor, start: int) -> Tensor:
    """Mean cross-entropy of codes (B, P), each predicted from the token `start` and the codes before it."""
    inputs = torch.cat([torch.full_like(codes[:, :1], start), codes[:, :-1]], 1)
    with bf16_autocast():
        logits = model(inputs).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), codes.flatten())


@torch.no_grad()
def _generate(model: GPT2LMHeadModel, start: Tensor, batch_size: int, seed: int) -> Tensor:
    """Continue first tokens (B, 1) to codes (B, P)."""
    with torch.random.fork_rng(devices=[]), bf16_autocast():
        torch.manual_seed(seed)  # generate() takes its noise from the global generator
        parts = start.split(batch_size)
        return torch.cat([model.generate(part, attention_mask=torch.ones_like(part))[:, 1:] for part in parts])
