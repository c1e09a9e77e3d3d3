"""The figures of a run: losses of each stage, and samples judged against training and held-out shapes.

Decisions: every figure says which shapes it was measured on. Surfaces are sampled in one way for all, from their signed
distances.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from weightgpt.fields.field import Fields
from weightgpt.metrics.evaluator import POINTS
from weightgpt.metrics.pairwise import chamfer_matrix, solid_pieces
from weightgpt.metrics.set_metrics import set_metrics
from weightgpt.shapes.sampling import near_surface
from weightgpt.visual.meshing import Meshed, mesh_grid, sdf_grid


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


@torch.no_grad()
def mesh_fields(fields: Fields, resolution: int, title: str = "meshing") -> Judged:
    """Mesh every field on a grid of `resolution`³ and count the pieces of its solid."""
    grids = (sdf_grid(sdf, resolution) for sdf in fields.sdfs())
    meshed, one_piece = [], []
    for grid in tqdm(grids, title, total=len(fields), unit="shape"):
        meshed.append(mesh_grid(grid))
        one_piece.append(meshed[-1].mesh is not None and solid_pieces(grid) == 1)
    return Judged(meshed, one_piece)


def demo_set_metrics(
    samples: Sequence[Callable[[Tensor], Tensor]], references: Sequence[Callable[[Tensor], Tensor]], dimension: int
) -> dict[str, float] | None:
    """MMD, COV and 1-NNA of the first shapes of two lists, equally many (64 at most); None for fewer than two."""
    count = min(64, len(samples), len(references))
    if count < 2:
        return None
    made, held = (
        [near_surface(sdf, POINTS, dimension, 0.0, seed=0).numpy() for sdf in part[:count]]
        for part in (samples, references)
    )
    found = set_metrics((chamfer_matrix(made, made), chamfer_matrix(made, held), chamfer_matrix(held, held)))
    return {"mmd": found.mmd, "cov": found.cov, "1-nna": found.one_nna}
