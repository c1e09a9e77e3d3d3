"""The regression transformer: a causal transformer that predicts the next weight as a number, without tokens.

After the presentation that weightgpt continues (Fanselau and Muschal, "From nanoGPT to Regression Transformer"): a
perceptron embeds each weight, positions are embedded as in any GPT, a linear head reads the causal blocks, and the loss
is the L1 distance to the next weight. The blocks are those of `transformers.GPT2Model`.

Decisions:
- The model has no distribution to sample from: the first weight determines all others. We start from the first weight
  of a random training field, because a generator needs some source of variety.
- Weights are measured in units of their root mean square over the training fields.

Dimensions: B fields, L weights of a sequence, P parameters of a field.
"""

import dataclasses
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GPT2Config, GPT2Model

from training.baselines.budget import BudgetedRun, OptimizerConfig, bf16_autocast, count_flops, train_to_budget
from training.baselines.field_sets import FieldSets
from training.baselines.trained_baseline import TrainedBaseline, model_size, use_eager_attention
from weightgpt.errors import InputError

HELD_OUT_FIELDS = 16
"""Held-out fields over which the reported loss is a mean."""


@dataclass(frozen=True, kw_only=True)
class RegressionConfig:
    """Size and training of a regression transformer; the blocks have the size of the "small" GPT."""

    layers: int = 4
    """Transformer blocks."""
    heads: int = 6
    """Attention heads of a block."""
    width: int = 192
    """Width of the blocks."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=lambda: OptimizerConfig(batch_size=1))
    """How the model is trained. A sequence has thousands of weights, so one field is enough for a step."""
    sample_batch_size: int = 16
    """Fields that are sampled together."""


class RegressionTransformer(nn.Module):
    """(B, L) weights -> (B, L) predictions, each of the next weight, from the weights up to that position.

    Args:
        length: most weights of a sequence.
        config: size of the blocks.
        unit: the size of a weight that counts as 1.
    """

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
        """Predict the next weight at each position.

        Args:
            weights: (B, L); with a cache, only the weights that the cache does not hold yet.
            cache: keys and values of earlier weights; the call extends it.
        """
        with bf16_autocast():
            embedded = self.embed((weights / self.unit)[..., None])
            output = self.blocks(None, cache, inputs_embeds=embedded, use_cache=cache is not None)
        return self.head(output.last_hidden_state.float())[..., 0] * self.unit


def teacher_forced(model: RegressionTransformer, weights: Tensor) -> Tensor:
    """Predict each weight after the first from the true weights before it, as (B, L - 1).

    Args:
        model: the model.
        weights: (B, L) true weights; the result predicts `weights[:, 1:]`.
    """
    return model(weights[:, :-1])


@torch.no_grad()
def free_running(model: RegressionTransformer, start: Tensor, length: int) -> Tensor:
    """Continue sequences with the predictions of the model, as (B, length).

    Args:
        model: the model.
        start: (B, k) first weights.
        length: weights of a finished sequence, the first ones included.

    Raises:
        InputError: there is no first weight, or the sequence is longer than the model allows.
    """
    if start.ndim != 2 or not 1 <= start.shape[1] <= length <= model.length:
        raise InputError(
            f"weights {tuple(start.shape)} cannot start a sequence of {length}; give (B, k) with k of 1 or more, and a"
            f" length of {model.length} at most."
        )
    cache, parts, latest = DynamicCache(), [start], start
    for _ in range(length - start.shape[1]):
        latest = model(latest, cache)[:, -1:]
        parts.append(latest)
    return torch.cat(parts, 1)


def fit_regression(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: RegressionConfig
) -> tuple[RegressionTransformer, BudgetedRun]:
    """Train a regression transformer on whole fields, and return the model and the cost of its training.

    Args:
        sets: the fields to learn.
        budget_flops: floating-point operations of training.
        seed: seed of the initial weights and of the order of the fields.
        progress: whether to show a progress bar.
        config: size and training.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RegressionTransformer(sets.train.shape[1], config, float(sets.train.square().mean().sqrt()))

    def loss(rows: Tensor, noise: torch.Generator) -> Tensor:
        return _loss(model, sets.train[rows])

    return model, train_to_budget(model, loss, len(sets.train), config.optimizer, budget_flops, seed, progress)


def train_regression(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: RegressionConfig | None = None
) -> TrainedBaseline:
    """Train a regression transformer as a generator of fields.

    Args:
        sets: the fields to learn.
        budget_flops: floating-point operations of training.
        seed: seed of the initial weights and of the order of the fields.
        progress: whether to show a progress bar.
        config: size and training; the defaults when None.
    """
    config = config or RegressionConfig()
    model, training = fit_regression(sets, budget_flops, seed, progress, config)
    first_weights, length = sets.train[:, :1].clone(), sets.train.shape[1]

    def draw_weights(n: int, seed: int) -> Tensor:
        rows = torch.randint(len(first_weights), (n,), generator=torch.Generator().manual_seed(seed))
        parts = first_weights[rows].split(config.sample_batch_size)
        return torch.cat([free_running(model, part, length) for part in parts])

    with torch.no_grad():
        # A cache computes every weight once, so that a sample costs one forward pass.
        sample_flops = count_flops(lambda: teacher_forced(model, sets.train[:1]))
        held_out_loss = float(_loss(model, sets.validation[:HELD_OUT_FIELDS]))
    use_eager_attention(model.blocks)
    return TrainedBaseline(
        field_config=sets.field_config,
        draw_weights=draw_weights,
        settings=asdict(config),
        size=model_size(model, data=[first_weights]),
        training=training,
        sample_flops=sample_flops,
        held_out_loss=held_out_loss,
    )


def _loss(model: RegressionTransformer, weights: Tensor) -> Tensor:
    """L1 distance of the predictions, in the unit of the model."""
    return (teacher_forced(model, weights) - weights[:, 1:]).abs().mean() / model.unit
