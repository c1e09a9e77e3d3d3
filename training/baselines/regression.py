"""The regression transformer: the next weight of a field as a number, with no tokens at all.

After the presentation that weightgpt continues (Fanselau and Muschal, "From nanoGPT to Regression Transformer"): a
perceptron embeds each weight, positions are embedded as in any GPT, causal blocks, a linear head, and the L1 distance
to the next weight as loss. The blocks are those of `transformers.GPT2Model`.

It has no distribution to draw from: given the first weight, all others follow. As a generator it therefore starts from
a first weight drawn from the training fields; whatever variety its samples have comes from that one number.
Weights are measured in one unit, their root mean square over the training fields.

Dimensions: B fields, L weights of a sequence, P parameters of a field.
"""

from dataclasses import asdict, dataclass
from dataclasses import field as default

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GPT2Config, GPT2Model

from training.baselines.common import (
    BudgetedRun,
    FieldSets,
    OptimizerConfig,
    Trained,
    count_flops,
    half,
    one_at_a_time,
    size_of,
    train_to_budget,
)
from weightgpt.errors import InputError


@dataclass(frozen=True, kw_only=True)
class RegressionConfig:
    """Size and training of a regression transformer."""

    layers: int = 4
    heads: int = 6
    width: int = 192
    """Of the blocks; the same three as our GPT's."""
    descent: OptimizerConfig = default(default_factory=lambda: OptimizerConfig(batch=1, learning_rate=1e-3))
    """A sequence has thousands of weights, so a step needs one field."""
    samples: int = 16
    """Fields that are drawn side by side."""


class RegressionTransformer(nn.Module):
    """(B, L) weights -> (B, L) predictions, each of the weight after it, from it and those before it."""

    def __init__(self, length: int, config: RegressionConfig, unit: float = 1.0) -> None:
        super().__init__()
        self.length = length
        self.embed = nn.Sequential(
            nn.Linear(1, config.width), nn.GELU(approximate="tanh"), nn.Linear(config.width, config.width)
        )
        sizes = {"n_layer": config.layers, "n_head": config.heads, "n_embd": config.width}
        rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        no_tokens = {"vocab_size": 1, "bos_token_id": None, "eos_token_id": None}
        self.blocks = GPT2Model(GPT2Config(n_positions=length, **no_tokens, **sizes, **rates))
        self.head = nn.Linear(config.width, 1)
        self.register_buffer("unit", torch.tensor(float(unit)))

    def forward(self, weights: Tensor, cache: DynamicCache | None = None) -> Tensor:
        """Predict; with a cache `weights` are only those that it has not seen, and it is extended."""
        with half():
            embedded = self.embed((weights / self.unit)[..., None])
            found = self.blocks(None, cache, inputs_embeds=embedded, use_cache=cache is not None)
        return self.head(found.last_hidden_state.float())[..., 0] * self.unit


def teacher_forced(model: RegressionTransformer, weights: Tensor) -> Tensor:
    """(B, L) true weights -> (B, L - 1) predictions of `weights[:, 1:]`, each from the true weights before it."""
    return model(weights[:, :-1])


@torch.no_grad()
def free_running(model: RegressionTransformer, start: Tensor, length: int) -> Tensor:
    """(B, k) first weights -> (B, length), these and what the model makes of its own predictions after them.

    Raises:
        InputError: there is no first weight, or the sequence is longer than the model's.
    """
    if start.ndim != 2 or not 1 <= start.shape[1] <= length <= model.length:
        raise InputError(
            f"weights {tuple(start.shape)} cannot start a sequence of {length}; give (B, k) with k of 1 or more, and a"
            f" length of {model.length} at most."
        )
    cache, found, new = DynamicCache(), [start], start
    for _ in range(length - start.shape[1]):
        new = model(new, cache)[:, -1:]
        found.append(new)
    return torch.cat(found, 1)


def fit_regression(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: RegressionConfig
) -> tuple[RegressionTransformer, BudgetedRun]:
    """Train on whole fields; returns the model and what that cost."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RegressionTransformer(sets.train.shape[1], config, float(sets.train.square().mean().sqrt()))

    def loss(rows: Tensor, noise: torch.Generator) -> Tensor:
        return _loss(model, sets.train[rows])

    return model, train_to_budget(model, loss, len(sets.train), config.descent, budget_flops, seed, progress)


def train(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: RegressionConfig | None = None
) -> Trained:
    """Train a regression transformer and make a generator of it."""
    config = config or RegressionConfig()
    model, cost = fit_regression(sets, budget_flops, seed, progress, config)
    firsts, length = sets.train[:, :1].clone(), sets.train.shape[1]

    def draw(n: int, seed: int) -> Tensor:
        rows = torch.randint(len(firsts), (n,), generator=torch.Generator().manual_seed(seed))
        return torch.cat([free_running(model, part, length) for part in firsts[rows].split(config.samples)])

    parameters, size = size_of(model)
    with torch.no_grad():
        # With a cache every weight is computed once, so that drawing costs one forward pass.
        flops = count_flops(lambda: teacher_forced(model, sets.train[:1]))
        held_out = float(_loss(model, sets.validation[:16]))
    one_at_a_time(model.blocks)
    return Trained(
        config=sets.config,
        draw=draw,
        label=lambda n, seed: ["none"] * n,
        settings=asdict(config),
        parameters=parameters,
        train_flops=cost.flops,
        sample_flops=flops,
        seconds=cost.seconds,
        bytes=size + firsts.numel() * firsts.element_size(),
        steps=cost.steps,
        history=cost.history,
        held_out_loss=held_out,
    )


def _loss(model: RegressionTransformer, weights: Tensor) -> Tensor:
    """L1 distance of the predictions, in the unit of the model."""
    return (teacher_forced(model, weights) - weights[:, 1:]).abs().mean() / model.unit
