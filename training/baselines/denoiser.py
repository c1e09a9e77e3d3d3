"""Two rivals without tokens that denoise whole fields: weight-space diffusion and flow matching.

Decisions:
- The network is that of HyperDiffusion (Erkoç et al., ICCV 2023, after G.pt, Peebles et al. 2022) at our size: one
  token for each layer of the field, its matrix and biases through a linear map of its own, one token for the noise
  level, full attention, and the prediction is the clean field itself. One more token holds the class.
- Weights are standardized, each on its own; the network sees its noisy input at deviation 1.
- `weight-diffusion`: HyperDiffusion's schedule, 500 steps with linear betas (`DDPMScheduler`), all of them run when
  sampling, and its loss, the squared error of the clean field, but weighted by the ratio of signal to noise, 5 at most
  (Hang et al. 2023, "Min-SNR"). Unweighted, as in HyperDiffusion, the steps with little noise were hardly learned at
  budgets like ours, and the samples were far worse.
- `flow-matching`: x_t = (1 - t) x + t noise with t from a logistic normal (Esser et al. 2024), the squared error of
  the velocity that the predicted clean field implies (Lipman et al. 2023), 50 Euler steps
  (`FlowMatchEulerDiscreteScheduler`).

Dimensions: B fields, P parameters, N training fields.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from dataclasses import field as default

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from torch import Tensor, nn

from training.baselines.common import FieldSets, OptimizerConfig, Trained, count_flops, half, size_of, train_to_budget

LEVELS, RATIO = 1000, 5.0
"""Noise levels as the network sees them, from 0 to 1000, all noise; the largest weight of a noise level's loss."""


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Size, training and noise of a denoiser."""

    layers: int = 6
    heads: int = 4
    width: int = 256
    """Of the blocks."""
    steps: int = 500
    """Of sampling."""
    descent: OptimizerConfig = default(
        default_factory=lambda: OptimizerConfig(batch=32, learning_rate=1e-3, average=0.02)
    )
    samples: int = 256
    """Fields that are drawn side by side."""


class Denoiser(nn.Module):
    """(B, P) noisy fields, (B,) noise levels, (B,) classes -> (B, P) clean fields, all standardized."""

    def __init__(self, sets: FieldSets, config: DenoiserConfig) -> None:
        super().__init__()
        self.sizes = [outputs * (inputs + 1) for inputs, outputs in sets.config.layers]
        self.read = nn.ModuleList(nn.Linear(size, config.width) for size in self.sizes)
        self.write = nn.ModuleList(nn.Linear(config.width, size) for size in self.sizes)
        self.place = nn.Parameter(0.02 * torch.randn(len(self.sizes), config.width))
        self.level = TimestepEmbedding(config.width, config.width)
        self.kind = nn.Embedding(len(sets.classes), config.width)
        block = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(config.width)
        self.blocks = nn.TransformerEncoder(block, config.layers, norm, enable_nested_tensor=False)
        self.register_buffer("mean", sets.train.mean(0))
        spread = sets.train.std(0, unbiased=False)
        self.register_buffer("spread", torch.where(spread > 1e-6, spread, 0))

    def forward(self, noisy: Tensor, level: Tensor, classes: Tensor) -> Tensor:
        """Predict the clean fields."""
        width = self.place.shape[1]
        with half():
            known = [self.level(get_timestep_embedding(level, width, True, 0)), self.kind(classes)]
            parts = [read(part) for read, part in zip(self.read, noisy.split(self.sizes, 1), strict=True)]
            tokens = torch.cat([torch.stack(parts, 1) + self.place, torch.stack(known, 1)], 1)
            found = self.blocks(tokens)
            clean = [write(found[:, i]) for i, write in enumerate(self.write)]
        return torch.cat(clean, 1).float()

    def standardize(self, weights: Tensor) -> Tensor:
        """(B, P) weights with mean 0 and deviation 1; those that never change become 0. Inverse of `restore`."""
        return (weights - self.mean) / self.spread.clamp(min=1e-6) * (self.spread > 0)

    def restore(self, standard: Tensor) -> Tensor:
        """The weights again. Inverse of `standardize`."""
        return self.mean + self.spread * standard


Loss = Callable[[Denoiser, Tensor, Tensor, torch.Generator], Tensor]
"""(denoiser, standardized fields (B, P), classes (B,), source of noise) -> mean loss."""
Sampler = Callable[[Denoiser, Tensor, torch.Generator], Tensor]
"""(denoiser, classes (B,), source of noise) -> standardized fields (B, P)."""


def train_diffusion(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: DenoiserConfig | None = None
) -> Trained:
    """Weight-space diffusion."""
    config = config or DenoiserConfig()
    scheduler = DDPMScheduler(config.steps, prediction_type="sample", clip_sample=False)
    kept, spacing = scheduler.alphas_cumprod, LEVELS / config.steps

    def loss(model: Denoiser, clean: Tensor, classes: Tensor, source: torch.Generator) -> Tensor:
        step = torch.randint(config.steps, (len(clean),), generator=source)
        noisy = scheduler.add_noise(clean, torch.randn(clean.shape, generator=source), step)
        wrong = (model(noisy, step * spacing, classes) - clean).square().mean(1)
        return (wrong * (kept[step] / (1 - kept[step])).clamp(max=RATIO)).mean()

    def sampler(model: Denoiser, classes: Tensor, source: torch.Generator) -> Tensor:
        found = torch.randn(len(classes), len(model.mean), generator=source)
        scheduler.set_timesteps(config.steps)
        for step in scheduler.timesteps:
            clean = model(found, step.expand(len(classes)) * spacing, classes)
            found = scheduler.step(clean, step, found, generator=source).prev_sample
        return found

    return _train(sets, budget_flops, seed, progress, config, loss, sampler)


def train_flow(
    sets: FieldSets, budget_flops: float, seed: int, progress: bool, config: DenoiserConfig | None = None
) -> Trained:
    """Flow matching on weights."""
    config = config or DenoiserConfig(steps=50)

    def seen(noisy: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        deviation = ((1 - time) ** 2 + time**2).sqrt()
        return noisy / deviation[:, None], time * LEVELS

    def loss(model: Denoiser, clean: Tensor, classes: Tensor, source: torch.Generator) -> Tensor:
        time = torch.sigmoid(torch.randn(len(clean), generator=source))[:, None]
        noisy = (1 - time) * clean + time * torch.randn(clean.shape, generator=source)
        wrong = (model(*seen(noisy, time[:, 0]), classes) - clean).square().mean(1)
        return (wrong / time[:, 0].clamp(min=0.05) ** 2).mean()  # velocity = (noisy - clean) / time

    def sampler(model: Denoiser, classes: Tensor, source: torch.Generator) -> Tensor:
        scheduler = FlowMatchEulerDiscreteScheduler(LEVELS)
        scheduler.set_timesteps(config.steps)
        found = torch.randn(len(classes), len(model.mean), generator=source)
        for step in scheduler.timesteps:
            time = (step / LEVELS).expand(len(classes))
            clean = model(*seen(found, time), classes)
            found = scheduler.step((found - clean) / time[:, None], step, found).prev_sample
        return found

    return _train(sets, budget_flops, seed, progress, config, loss, sampler)


def _train(
    sets: FieldSets,
    budget_flops: float,
    seed: int,
    progress: bool,
    config: DenoiserConfig,
    loss: Loss,
    sampler: Sampler,
) -> Trained:
    """What both have in common."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Denoiser(sets, config)
    standard, classes = model.standardize(sets.train), sets.class_index
    cost = train_to_budget(
        model,
        lambda rows, noise: loss(model, standard[rows], classes[rows], noise),
        len(standard),
        config.descent,
        budget_flops,
        seed,
        progress,
    )

    @torch.no_grad()
    def draw(n: int, seed: int) -> Tensor:
        source = torch.Generator().manual_seed(seed)
        parts = sets.draw_classes(n, seed).split(config.samples)
        return torch.cat([model.restore(sampler(model, part, source)) for part in parts])

    parameters, size = size_of(model)
    one = (standard[:1], torch.zeros(1), classes[:1])
    with torch.no_grad():
        flops = config.steps * count_flops(lambda: model(*one))
    return Trained(
        config=sets.config,
        draw=draw,
        label=lambda n, seed: [sets.classes[i] for i in sets.draw_classes(n, seed)],
        settings=asdict(config),
        parameters=parameters,
        train_flops=cost.flops,
        sample_flops=flops,
        seconds=cost.seconds,
        bytes=size,
        steps=cost.steps,
        history=cost.history,
        held_out_loss=None,
    )
