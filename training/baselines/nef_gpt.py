"""NeF-GPT's recipe: every weight of a field is a token of its own.

After the report that followed the presentation (Fanselau and Muschal, "NeF-GPT", 2024): the difference of each weight
to the field that all fits started from is quantized to one of 127 scalars, a GPT learns the sequences, and one special
token stands before each. The blocks are those of an ordinary `GPT2LMHeadModel`, of the size of ours, with the
LayerNorm that the original left out; and it is sampled with a cache, which the original had not.

A field is a sequence of P tokens, so attention alone costs P² and a budget buys few sequences: that is what this
recipe costs, and it is not softened here. The scalars are k-means centers of a part of the weights; finding them costs
next to nothing and is not counted.

Dimensions: B fields, P parameters of a field and tokens of a sequence, K scalars.
"""

from dataclasses import asdict, dataclass
from dataclasses import field as default

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from training.baselines.common import (
    FieldSets,
    OptimizerConfig,
    Trained,
    count_flops,
    half,
    one_at_a_time,
    size_of,
    train_to_budget,
)

SEEN, ROUNDS = 100_000, 30


@dataclass(frozen=True, kw_only=True)
class NefGptConfig:
    """Size, training and sampling of a NeF-GPT."""

    codes: int = 127
    """K scalars."""
    layers: int = 4
    heads: int = 6
    width: int = 192
    """Of the blocks; the same three as our GPT's."""
    descent: OptimizerConfig = default(default_factory=lambda: OptimizerConfig(batch=1, learning_rate=1e-3))
    """A sequence has thousands of tokens, so a step needs one field."""
    temperature: float = 1.0
    top_k: int = 0
    """Likeliest scalars to draw from; 0 for all."""
    samples: int = 16
    """Fields that are drawn side by side."""


def scalars(values: Tensor, count: int, seed: int) -> Tensor:
    """At most `count` k-means centers, ascending, of some of the values (any shape)."""
    flat = values.flatten()
    rows = torch.randint(len(flat), (SEEN,), generator=torch.Generator().manual_seed(seed))
    seen = flat[rows].double().numpy()
    # Quantiles are ordered and never empty as a start; in one dimension nothing better is needed.
    start = np.unique(np.quantile(seen, (np.arange(count) + 0.5) / count))
    centers, _ = kmeans2(seen[:, None], start[:, None], ROUNDS, minit="matrix", missing="raise")
    return torch.from_numpy(np.sort(centers[:, 0])).float()


def quantize(values: Tensor, centers: Tensor) -> Tensor:
    """The nearest of the ascending centers (K,) of each value, as its place."""
    return torch.bucketize(values.contiguous(), (centers[1:] + centers[:-1]) / 2)


def train(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: NefGptConfig | None = None
) -> Trained:
    """Train a GPT on scalar tokens and make a generator of it."""
    config = config or NefGptConfig()
    length = sets.config.parameters
    centers = scalars(sets.train[:1024] - sets.shared_init, config.codes, seed)
    model = _new_model(length, len(centers), config, seed)
    start = len(centers)

    def loss(weights: Tensor) -> Tensor:
        codes = quantize(weights - sets.shared_init, centers)
        before = torch.cat([torch.full_like(codes[:, :1], start), codes[:, :-1]], 1)
        with half():
            logits = model(before).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), codes.flatten())

    cost = train_to_budget(
        model,
        lambda rows, noise: loss(sets.train[rows]),
        len(sets.train),
        config.descent,
        budget_flops,
        seed,
        progress,
    )

    def draw(n: int, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # generate() takes its noise from the global source
            parts = torch.full((n, 1), start).split(config.samples)
            codes = torch.cat([_generate(model, part) for part in parts])
        return sets.shared_init + centers[codes]

    parameters, size = size_of(model)
    extra = centers.numel() + sets.shared_init.numel()
    with torch.no_grad():
        # With a cache every token is computed once, so that drawing costs one forward pass.
        flops = count_flops(lambda: loss(sets.train[:1]))
        held_out = float(loss(sets.validation[:16]))
    one_at_a_time(model)
    return Trained(
        config=sets.config,
        draw=draw,
        label=lambda n, seed: ["none"] * n,
        settings=asdict(config),
        parameters=parameters + extra,
        train_flops=cost.flops,
        sample_flops=flops,
        seconds=cost.seconds,
        bytes=size + 4 * extra,
        steps=cost.steps,
        history=cost.history,
        held_out_loss=held_out,
    )


def _new_model(length: int, codes: int, config: NefGptConfig, seed: int) -> GPT2LMHeadModel:
    """An untrained GPT for sequences of `length` scalars; the token after the last scalar stands before them."""
    sizes = {"n_layer": config.layers, "n_head": config.heads, "n_embd": config.width}
    rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    tokens = {"vocab_size": codes + 1, "bos_token_id": codes, "eos_token_id": None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(n_positions=length, **tokens, **sizes, **rates))
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=config.temperature,
        top_k=config.top_k,
        max_new_tokens=length,
        bos_token_id=codes,
        pad_token_id=codes,
        suppress_tokens=[codes],
    )
    return model


@torch.no_grad()
def _generate(model: GPT2LMHeadModel, start: Tensor) -> Tensor:
    """(B, 1) first tokens -> (B, P) scalars."""
    with half():
        return model.generate(start, attention_mask=torch.ones_like(start))[:, 1:]
