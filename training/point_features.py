"""Train the point features of `weightgpt.metrics.frechet`: `python -m training.point_features`.

The program takes about a minute on one core and prints the accuracy on held-out shapes.

Decisions:
- We train a classifier of the six built-in families, and its last hidden layer gives the features.
- The shapes have a separate seed, so that they differ from the shapes of every run.
- Each step samples other points of each cloud and adds noise to them, so that no feature depends on single points.

Dimensions: N shapes, n points of a cloud.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from weightgpt._programs import cli_main, parse
from weightgpt.errors import check_at_least
from weightgpt.io import write_tensors
from weightgpt.metrics.frechet import FEATURE_POINTS, WEIGHTS, WIDTH, PointFeatures
from weightgpt.shapes.families import FAMILIES, draw_shapes
from weightgpt.shapes.sampling import near_surface_points
from weightgpt.shapes.shape import Shape

CLOUD_POINTS = 1024
"""Points of a cloud; each step samples `FEATURE_POINTS` of them."""
SEED = 20_170
"""Seed of the shapes and of the training."""
JITTER = 0.01
"""Standard deviation of the noise on the points of a cloud."""
LEARNING_RATE = 3e-3
"""Peak learning rate."""


@dataclass(frozen=True, kw_only=True)
class PointFeaturesConfig:
    """Train the point features on the built-in families."""

    output: Path = WEIGHTS
    """The .safetensors file to write; by default the one that ships with the package."""
    num_shapes: int = 1500
    """Shapes to train on."""
    num_held_out: int = 300
    """Held-out shapes, on which the accuracy is measured."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_shapes", "num_held_out")


def family_clouds(shapes: Sequence[Shape]) -> tuple[Tensor, Tensor]:
    """Sample surface points of built-in shapes.

    Args:
        shapes: N shapes of the built-in families.

    Returns:
        Clouds (N, n, 3) of `CLOUD_POINTS` points each, and the numbers (N,) of their families.
    """
    names = list(FAMILIES)
    clouds = [
        near_surface_points(shape.sdf, CLOUD_POINTS, 3, 0.0, seed=0) for shape in tqdm(shapes, "surfaces", unit="shape")
    ]
    return torch.stack(clouds), torch.tensor([names.index(shape.label) for shape in shapes])


def train_features(
    clouds: Tensor, labels: Tensor, seed: int, epochs: int = 20, batch_size: int = 32
) -> tuple[PointFeatures, nn.Linear]:
    """Train an encoder with a classifier on top.

    Args:
        clouds: (N, n, 3) points.
        labels: (N,) numbers of the classes.
        seed: seed of the weights, the batches and the noise.
        epochs: passes over the clouds.
        batch_size: clouds of a step.

    Returns:
        The encoder, and the linear layer that classifies its features; both in evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, head = PointFeatures(), nn.Linear(WIDTH, int(labels.max()) + 1)
        optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()])
        steps = epochs * -(-len(clouds) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        for _ in tqdm(range(epochs), "learning", unit="epoch"):
            for rows in torch.randperm(len(clouds)).split(batch_size):
                points = clouds[rows][:, torch.randperm(clouds.shape[1])[:FEATURE_POINTS]]
                logits = head(encoder(points + torch.randn_like(points) * JITTER).relu())
                loss = F.cross_entropy(logits, labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return encoder.eval(), head.eval()


@torch.no_grad()
def accuracy(encoder: PointFeatures, head: nn.Linear, clouds: Tensor, labels: Tensor) -> float:
    """Measure the share of clouds whose class the classifier predicts, from their first `FEATURE_POINTS` points.

    Args:
        encoder: the encoder.
        head: the linear layer that classifies its features.
        clouds: (N, n, 3) points.
        labels: (N,) numbers of the classes.
    """
    batches = clouds[:, :FEATURE_POINTS].split(64)
    predictions = torch.cat([head(encoder(batch).relu()).argmax(1) for batch in batches])
    return float((predictions == labels).float().mean())


@cli_main
def main() -> None:
    """Train, write the file, and print the accuracy."""
    config = parse(PointFeaturesConfig, "training.point_features")
    clouds, labels = family_clouds(draw_shapes(config.num_shapes + config.num_held_out, SEED))
    encoder, head = train_features(clouds[: config.num_shapes], labels[: config.num_shapes], SEED)
    write_tensors(config.output, encoder.state_dict())
    share = accuracy(encoder, head, clouds[config.num_shapes :], labels[config.num_shapes :])
    print(f"{config.output}: accuracy {share:.3f} on {config.num_held_out} held-out shapes")


if __name__ == "__main__":
    sys.exit(main())
