"""Balls with known nearest neighbors, for the tests of sets of shapes."""

import torch

from tests.fakes import sphere_shape
from weightgpt.metrics.memorization import TrainingShapes
from weightgpt.shapes.sampling import uniform_points
from weightgpt.shapes.shape import Sdf

HELD_OUT_RADII = [0.35, 0.45, 0.55, 0.65]
TRAINING_RADII = [0.3, 0.4, 0.5, 0.6]


def balls(radii: list[float]) -> list[Sdf]:
    return [sphere_shape(radius).sdf for radius in radii]


def training_balls(radii: list[float]) -> TrainingShapes:
    probes = uniform_points(256, 3, 0)
    return TrainingShapes(balls(radii), probes, torch.stack([sdf(probes) for sdf in balls(radii)]))


def two_balls(points: torch.Tensor) -> torch.Tensor:
    centers = torch.tensor([[0.6, 0, 0], [-0.6, 0, 0]])
    return torch.stack([(points - center).norm(dim=-1) - 0.3 for center in centers]).amin(0)


def empty(points: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(points))


def broken(points: torch.Tensor) -> torch.Tensor:
    return torch.full((len(points),), torch.nan)
