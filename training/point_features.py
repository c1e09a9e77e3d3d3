"""Learn the features of point clouds on the built-in families: `python -m training.point_features [--output FILE]`.

Decisions: a classifier of the six families, whose last hidden layer are the features. Its shapes are of a seed of their
own, so that no shape of a run is among them. Each step draws the points of each cloud anew and moves them a little, so
that a feature hangs on no single point. It takes about a minute on one core and prints the accuracy on held-out shapes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from weightgpt._programs import cli_main
from weightgpt.io import write_tensors
from weightgpt.metrics.frechet import FEATURE_POINTS, WEIGHTS, WIDTH, PointFeatures
from weightgpt.shapes.families import FAMILIES, draw_shapes
from weightgpt.shapes.sampling import near_surface
from weightgpt.shapes.shape import Shape

SHAPES = 1500
HELD_OUT = 300
CLOUD = 1024
"""Points of a shape, of which every epoch draws others."""
SEED = 20_170
JITTER = 0.01
"""Deviation of the noise on the points of a cloud."""


def family_clouds(shapes: Sequence[Shape]) -> tuple[Tensor, Tensor]:
    """Surface points (N, CLOUD, 3) of shapes of the built-in families, and the numbers of their families (N,)."""
    names = list(FAMILIES)
    clouds = [near_surface(shape.sdf, CLOUD, 3, 0.0, seed=0) for shape in tqdm(shapes, "surfaces", unit="shape")]
    return torch.stack(clouds), torch.tensor([names.index(shape.label) for shape in shapes])


def train_features(
    clouds: Tensor, labels: Tensor, seed: int, epochs: int = 20, batch: int = 32
) -> tuple[PointFeatures, nn.Linear]:
    """The encoder, and the layer above it that names the family, learned from clouds (N, n, 3) of classes (N,)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, head = PointFeatures(), nn.Linear(WIDTH, int(labels.max()) + 1)
        optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()])
        steps = epochs * -(-len(clouds) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in tqdm(range(epochs), "learning", unit="epoch"):
            for rows in torch.randperm(len(clouds)).split(batch):
                seen = clouds[rows][:, torch.randperm(clouds.shape[1])[:FEATURE_POINTS]]
                answers = head(encoder(seen + torch.randn_like(seen) * JITTER).relu())
                loss = F.cross_entropy(answers, labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return encoder.eval(), head.eval()


@torch.no_grad()
def accuracy(encoder: PointFeatures, head: nn.Linear, clouds: Tensor, labels: Tensor) -> float:
    """Share of clouds (N, n, 3) whose class (N,) the classifier names, from their first `POINTS` points."""
    answers = torch.cat([head(encoder(part).relu()).argmax(1) for part in clouds[:, :FEATURE_POINTS].split(64)])
    return float((answers == labels).float().mean())


@cli_main
def main() -> None:
    """Parse arguments, learn, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="default: the file of the package")
    given = parser.parse_args()
    clouds, labels = family_clouds(draw_shapes(SHAPES + HELD_OUT, SEED))
    encoder, head = train_features(clouds[:SHAPES], labels[:SHAPES], SEED)
    write_tensors(given.output, encoder.state_dict())
    held = accuracy(encoder, head, clouds[SHAPES:], labels[SHAPES:])
    print(f"{given.output}: accuracy {held:.3f} on {HELD_OUT} held-out shapes")


if __name__ == "__main__":
    sys.exit(main())
