"""The figures of a run: losses of each stage, and samples judged against training and held-out shapes.

Decisions: every figure says which shapes it was measured on. Nearest training shapes are found in two steps: the 4
nearest by truncated distances at the first points of the schedule, and among these the nearest by Chamfer distance.
Surfaces are sampled in one way for all, from their signed distances.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from weightgpt.field import Fields
from weightgpt.meshing import Meshed, mesh_grid, sdf_grid
from weightgpt.metrics import chamfer, generation_metrics, solid_pieces
from weightgpt.sampling import near_surface
from weightgpt.shapes import Shape

CLOUD = 1024
CANDIDATES = 4


@dataclass(frozen=True)
class Judged:
    """Sampled fields, meshed."""

    meshed: list[Meshed]
    one_piece: list[bool]

    @property
    def empty_rate(self) -> float:
        """Share of fields without a surface to mesh."""
        return float(np.mean([part.mesh is None for part in self.meshed]))

    @property
    def one_piece_rate(self) -> float:
        """Share of all fields, the empty ones counted against, whose solid is one connected piece."""
        return float(np.mean(self.one_piece))


def field_sdf(fields: Fields, index: int) -> Callable[[Tensor], Tensor]:
    """The signed distance function of one field of a batch: (n, D) -> (n,)."""
    one = fields.select(slice(index, index + 1))
    return lambda points: one(points)[0, :, 0]


@torch.no_grad()
def mesh_fields(fields: Fields, resolution: int, title: str = "meshing") -> Judged:
    """Mesh every field on a grid of `resolution`³ and count the pieces of its solid."""
    grids = (sdf_grid(field_sdf(fields, i), resolution) for i in range(len(fields)))
    meshed, one_piece = [], []
    for grid in tqdm(grids, title, total=len(fields), unit="shape"):
        meshed.append(mesh_grid(grid))
        one_piece.append(meshed[-1].mesh is not None and solid_pieces(grid) == 1)
    return Judged(meshed, one_piece)


@dataclass(frozen=True)
class Neighbours:
    """For each query its nearest training shape."""

    index: list[int]
    distance: list[float]
    """Chamfer distances."""


class TrainingShapes:
    """Finds the nearest training shape of a signed distance function."""

    def __init__(self, shapes: Sequence[Shape], probes: Tensor, probed: Tensor) -> None:
        self.shapes, self.probes, self.probed = shapes, probes, torch.tanh(5 * probed.float())
        self.clouds: dict[int, Tensor] = {}

    def cloud(self, index: int) -> Tensor:
        """Surface points (CLOUD, D) of a training shape."""
        if index not in self.clouds:
            self.clouds[index] = surface_cloud(self.shapes[index].sdf, self.probes.shape[1])
        return self.clouds[index]

    @torch.no_grad()
    def nearest(self, queries: Sequence[Callable[[Tensor], Tensor]], title: str) -> Neighbours:
        """The nearest training shape of each query."""
        index, distance = [], []
        for sdf in tqdm(queries, title, unit="shape"):
            gap = (self.probed - torch.tanh(5 * sdf(self.probes))).abs().mean(1)
            cloud = surface_cloud(sdf, self.probes.shape[1])
            found = [(chamfer(cloud.numpy(), self.cloud(i).numpy()), i) for i in gap.argsort()[:CANDIDATES].tolist()]
            best = min(found)
            index.append(best[1])
            distance.append(best[0])
        return Neighbours(index, distance)


def surface_cloud(sdf: Callable[[Tensor], Tensor], dimension: int) -> Tensor:
    """(CLOUD, D) points on the zero level."""
    return near_surface(sdf, CLOUD, dimension, 0.0, seed=0)


def set_metrics(
    samples: Sequence[Callable[[Tensor], Tensor]], references: Sequence[Callable[[Tensor], Tensor]], dimension: int
) -> dict[str, float] | None:
    """MMD, COV and 1-NNA of the first shapes of two lists, equally many (64 at most); None for fewer than two."""
    count = min(64, len(samples), len(references))
    if count < 2:
        return None
    clouds = [[surface_cloud(sdf, dimension).numpy()[::2] for sdf in part[:count]] for part in (samples, references)]
    return generation_metrics(*clouds)
