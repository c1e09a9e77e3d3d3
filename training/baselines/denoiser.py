"""Two baselines without tokens that denoise whole fields: weight-space diffusion and flow matching.

Decisions:
- We use the network of HyperDiffusion (Erkoç et al., ICCV 2023, after G.pt, Peebles et al. 2022) at our size: one
  token for each layer of the field, from a linear map of its matrix and biases, one token for the noise level, full
  attention. It predicts the clean field. One more token holds the class.
- Each weight is standardized over the training fields. The network sees its noisy input at standard deviation 1.
- `weight-diffusion` uses the noise of HyperDiffusion: 500 steps with linear betas (`DDPMScheduler`), all of which run
  when sampling. The loss is the squared error of the clean field, as in HyperDiffusion, but weighted by the
  signal-to-noise ratio, 5 at most (Hang et al. 2023, "Min-SNR"). We weight because without it the steps with little
  noise were hardly learned at our budgets, and the samples were far worse.
- `flow-matching` uses x_t = (1 - t) x + t noise with t from a logistic normal (Esser et al. 2024), the squared error of
  the velocity that the predicted clean field implies (Lipman et al. 2023), and 50 Euler steps
  (`FlowMatchEulerDiscreteScheduler`).

Dimensions: B fields, P parameters, N training fields.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from torch import Tensor, nn

from training.baselines.budget import OptimizerConfig, bf16_autocast, count_flops, train_to_budget
from training.baselines.field_sets import FieldSets
from training.baselines.trained_baseline import TrainedBaseline, model_size

NOISE_LEVELS = 1000
"""Noise levels as the network sees them: 0 is no noise, 1000 is noise alone."""
MAX_SNR = 5.0
"""Largest weight of a noise level in the loss of the diffusion."""
MIN_TIME = 0.05
"""Least time by which the loss of flow matching is divided."""
MIN_DEVIATION = 1e-6
"""Weights that vary less than this are constant."""


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Size, training and noise of a denoiser."""

    layers: int = 6
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of a block."""
    width: int = 256
    """Width of the blocks."""
    steps: int = 500
    """Steps of sampling."""
    optimizer: OptimizerConfig = dataclasses.field(default_factory=lambda: OptimizerConfig(ema_fraction=0.02))
    """How the network is trained."""
    sample_batch_size: int = 256
    """Fields that are sampled together."""


class Denoiser(nn.Module):
    """(B, P) noisy fields, (B,) noise levels, (B,) classes -> (B, P) clean fields, all standardized.

    Args:
        sets: the training fields, for their architecture, their classes and the scale of each weight.
        config: size of the network.
    """

    def __init__(self, sets: FieldSets, config: DenoiserConfig) -> None:
        super().__init__()
        self.sizes = [outputs * (inputs + 1) for inputs, outputs in sets.field_config.layers]
        self.read = nn.ModuleList(nn.Linear(size, config.width) for size in self.sizes)
        self.write = nn.ModuleList(nn.Linear(config.width, size) for size in self.sizes)
        self.position = nn.Parameter(0.02 * torch.randn(len(self.sizes), config.width))
        self.level = TimestepEmbedding(config.width, config.width)
        self.label = nn.Embedding(len(sets.classes), config.width)
        block = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(config.width)
        self.blocks = nn.TransformerEncoder(block, config.layers, norm, enable_nested_tensor=False)
        self.register_buffer("mean", sets.train.mean(0))
        deviation = sets.train.std(0, unbiased=False)
        self.register_buffer("deviation", torch.where(deviation > MIN_DEVIATION, deviation, 0))

    def forward(self, noisy: Tensor, level: Tensor, classes: Tensor) -> Tensor:
        """Predict the clean fields.

        Args:
            noisy: (B, P) standardized weights with noise, at standard deviation 1.
            level: (B,) noise levels from 0 to `NOISE_LEVELS`.
            classes: (B,) class indices.
        """
        width = self.position.shape[1]
        with bf16_autocast():
            conditions = [self.level(get_timestep_embedding(level, width, True, 0)), self.label(classes)]
            layers = [read(part) for read, part in zip(self.read, noisy.split(self.sizes, 1), strict=True)]
            tokens = torch.cat([torch.stack(layers, 1) + self.position, torch.stack(conditions, 1)], 1)
            hidden = self.blocks(tokens)
            clean = [write(hidden[:, i]) for i, write in enumerate(self.write)]
        return torch.cat(clean, 1).float()

    def standardize(self, weights: Tensor) -> Tensor:
        """Scale each weight to mean 0 and standard deviation 1; constant weights become 0. Inverse of `restore`.

        Args:
            weights: (B, P).
        """
        return (weights - self.mean) / self.deviation.clamp(min=MIN_DEVIATION) * (self.deviation > 0)

    def restore(self, standard: Tensor) -> Tensor:
        """Undo `standardize`.

        Args:
            standard: (B, P) standardized weights.
        """
        return self.mean + self.deviation * standard


Loss = Callable[[Denoiser, Tensor, Tensor, torch.Generator], Tensor]
"""(denoiser, standardized fields (B, P), classes (B,), source of noise) -> mean loss."""
Sampler = Callable[[Denoiser, Tensor, torch.Generator], Tensor]
"""(denoiser, classes (B,), source of noise) -> standardized fields (B, P)."""


def train_diffusion(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: DenoiserConfig | None = None
) -> TrainedBaseline:
    """Train weight-space diffusion.

    Args:
        sets: the fields to learn.
        budget_flops: floating-point operations of training.
        seed: seed of the initial weights, of the order of the fields and of the noise.
        progress: whether to show a progress bar.
        config: size and training; the defaults when None.
    """
    config = config or DenoiserConfig()
    scheduler = DDPMScheduler(config.steps, prediction_type="sample", clip_sample=False)
    signal, spacing = scheduler.alphas_cumprod, NOISE_LEVELS / config.steps

    def loss(model: Denoiser, clean: Tensor, classes: Tensor, source: torch.Generator) -> Tensor:
        step = torch.randint(config.steps, (len(clean),), generator=source)
        noisy = scheduler.add_noise(clean, torch.randn(clean.shape, generator=source), step)
        errors = (model(noisy, step * spacing, classes) - clean).square().mean(1)
        return (errors * (signal[step] / (1 - signal[step])).clamp(max=MAX_SNR)).mean()

    def sampler(model: Denoiser, classes: Tensor, source: torch.Generator) -> Tensor:
        fields = torch.randn(len(classes), len(model.mean), generator=source)
        scheduler.set_timesteps(config.steps)
        for step in scheduler.timesteps:
            clean = model(fields, step.expand(len(classes)) * spacing, classes)
            fields = scheduler.step(clean, step, fields, generator=source).prev_sample
        return fields

    return _train(sets, budget_flops, seed, progress, config, loss, sampler)


def train_flow(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: DenoiserConfig | None = None
) -> TrainedBaseline:
    """Train flow matching on weights.

    Args:
        sets: the fields to learn.
        budget_flops: floating-point operations of training.
        seed: seed of the initial weights, of the order of the fields and of the noise.
        progress: whether to show a progress bar.
        config: size and training; the defaults with 50 steps of sampling when None.
    """
    config = config or DenoiserConfig(steps=50)

    def scale_input(noisy: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        deviation = ((1 - time) ** 2 + time**2).sqrt()
        return noisy / deviation[:, None], time * NOISE_LEVELS

    def loss(model: Denoiser, clean: Tensor, classes: Tensor, source: torch.Generator) -> Tensor:
        time = torch.sigmoid(torch.randn(len(clean), generator=source))[:, None]
        noisy = (1 - time) * clean + time * torch.randn(clean.shape, generator=source)
        errors = (model(*scale_input(noisy, time[:, 0]), classes) - clean).square().mean(1)
        return (errors / time[:, 0].clamp(min=MIN_TIME) ** 2).mean()  # velocity = (noisy - clean) / time

    def sampler(model: Denoiser, classes: Tensor, source: torch.Generator) -> Tensor:
        scheduler = FlowMatchEulerDiscreteScheduler(NOISE_LEVELS)
        scheduler.set_timesteps(config.steps)
        fields = torch.randn(len(classes), len(model.mean), generator=source)
        for step in scheduler.timesteps:
            time = (step / NOISE_LEVELS).expand(len(classes))
            clean = model(*scale_input(fields, time), classes)
            fields = scheduler.step((fields - clean) / time[:, None], step, fields).prev_sample
        return fields

    return _train(sets, budget_flops, seed, progress, config, loss, sampler)


def _train(
    sets: FieldSets,
    budget_flops: float,
    seed: int,
    progress: bool,
    config: DenoiserConfig,
    loss: Loss,
    sampler: Sampler,
) -> TrainedBaseline:
    """Train a denoiser by a loss and sample it by a sampler."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Denoiser(sets, config)
    standard, classes = model.standardize(sets.train), sets.class_index
    training = train_to_budget(
        model,
        lambda rows, noise: loss(model, standard[rows], classes[rows], noise),
        len(standard),
        config.optimizer,
        budget_flops,
        seed,
        progress,
    )

    @torch.no_grad()
    def draw_weights(n: int, seed: int) -> Tensor:
        source = torch.Generator().manual_seed(seed)
        parts = sets.draw_classes(n, seed).split(config.sample_batch_size)
        return torch.cat([model.restore(sampler(model, part, source)) for part in parts])

    with torch.no_grad():
        step_flops = count_flops(lambda: model(standard[:1], torch.zeros(1), classes[:1]))
    return TrainedBaseline(
        field_config=sets.field_config,
        draw_weights=draw_weights,
        draw_labels=sets.draw_labels,
        settings=asdict(config),
        size=model_size(model),
        training=training,
        sample_flops=config.steps * step_flops,
    )
