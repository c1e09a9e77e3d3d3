"""Generated shapes judged from files: what `weightgpt evaluate` does.

Decisions:
- A set is a folder of meshes, each brought to the unit box as everywhere, or a file of fields.
- All sets are of one size, drawn without replacement with a seed: as many as the smaller of samples and held-out shapes
  has, or fewer if asked.
- The row of as many training shapes, what can be hoped for, stands beside that of the samples always.

Dimensions: N shapes of a set, P parameters.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weightgpt.evaluation import Judge, field_sdfs, mesh_all
from weightgpt.files import InputError
from weightgpt.memorisation import TrainingShapes, nearest_weights
from weightgpt.rendering import contact_sheet, render, save_png
from weightgpt.sampling import uniform_points
from weightgpt.shapes import Sdf, load_folder
from weightgpt.store import load_fields

PROBES, SHOWN = 1024, 12
SHOWN_FIGURES = (
    *("count", "compared", "mmd", "cov", "one_nna", "frechet", "mmd_squared", "cov_squared", "one_nna_squared"),
    *("one_piece", "empty", "broken", "memorised_share", "nearest_train_ratio"),
)


@dataclass(frozen=True)
class Source:
    """A set of solids, as it was read."""

    path: Path
    sdfs: list[Sdf]
    refused: list[str]
    """Why meshes could not be read."""
    weights: Tensor | None
    """(N, P) of fields; None for meshes."""

    def draw(self, count: int, seed: int) -> list[int]:
        """`count` of the shapes, without replacement."""
        return sorted(np.random.default_rng(seed).permutation(len(self.sdfs))[:count].tolist())


def read_set(path: Path | str) -> Source:
    """The solids of a folder of meshes or of a file of fields.

    Raises:
        InputError: nothing can be read, or the fields are no solids.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        shapes, refusals = load_folder(path)
        return Source(path, [shape.sdf for shape in shapes], [refusal.reason for refusal in refusals], None)
    fields, _ = load_fields(path)
    if (fields.config.in_features, fields.config.out_features) != (3, 1):
        raise InputError(f"{path} holds no solids but {fields.config}; judge fields of solids, or a folder of meshes.")
    return Source(path, field_sdfs(fields), [], fields.flat)


def evaluate(
    generated: Source, train: Source, held: Source, *, count: int | None, resolution: int, points: int, seed: int
) -> dict[str, dict[str, Any]]:
    """The rows "limit" and "generated" (see `weightgpt.evaluation.Judge.row`).

    `unreadable` counts meshes of the samples that were refused. Of fields of the training set's architecture,
    `nearest_train_weights` has the median relative distance to the nearest training weights, of samples and of held-out
    fields.

    Raises:
        InputError: fewer than two shapes can be compared, or there are fewer training shapes.
    """
    size = min(len(generated.sdfs), len(held.sdfs), count or len(held.sdfs))
    if size < 2 or len(train.sdfs) < size:
        raise InputError(
            f"{len(generated.sdfs)} samples, {len(held.sdfs)} held-out and {len(train.sdfs)} training shapes cannot be"
            " compared; give two or more of each, and at least as many training shapes as are compared."
        )
    probes = uniform_points(PROBES, 3, seed)
    with torch.no_grad():
        probed = torch.stack([sdf(probes).float() for sdf in train.sdfs])
    chosen = [(part, part.draw(size, seed)) for part in (held, train, generated)]
    true, others, samples = (
        mesh_all([part.sdfs[i] for i in rows], resolution=resolution, points=points) for part, rows in chosen
    )
    judge = Judge(true, TrainingShapes(train.sdfs, probes, probed), seed)
    row = judge.row(samples) | {"unreadable": len(generated.refused)}
    if train.weights is not None:
        medians = {}
        for name, (part, rows) in zip(("held_out", "samples"), (chosen[0], chosen[2]), strict=True):
            if part.weights is not None and part.weights.shape[1] == train.weights.shape[1]:
                medians[name] = float(nearest_weights(part.weights[rows], train.weights).median())
        row["nearest_train_weights"] = medians
    return {"limit": judge.row(others, guard=False), "generated": row}


def draw_neighbours(generated: Source, train: Source, path: Path, seed: int) -> None:
    """A picture of the samples that are nearest to training shapes, each above its neighbour, nearest first."""
    probes = uniform_points(PROBES, 3, seed)
    with torch.no_grad():
        probed = torch.stack([sdf(probes).float() for sdf in train.sdfs])
    near = TrainingShapes(train.sdfs, probes, probed).nearest(generated.sdfs[: 4 * SHOWN])
    order = np.argsort(near.distance)[:SHOWN].tolist()
    shown = [*(generated.sdfs[i] for i in order), *(train.sdfs[near.index[i]] for i in order)]
    captions = [*(f"sample {i}, {near.distance[i]:.3f}" for i in order), *(f"training {near.index[i]}" for i in order)]
    save_png(contact_sheet(render(shown, 112), captions, columns=len(order)), path)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows side by side, as lines of text."""
    lines = [f"{'':22}" + "".join(f"{name:>28}" for name in rows)]
    for key in SHOWN_FIGURES:
        lines.append(f"{key.replace('_', ' '):22}" + "".join(f"{_cell(row, key):>28}" for row in rows.values()))
    return "\n".join(lines)


def _cell(row: dict[str, Any], key: str) -> str:
    value, interval = row[key], row.get(f"{key}_interval")
    if value is None:
        return "-"
    text = str(value) if isinstance(value, int) else f"{value:.4f}"
    return text if interval is None else f"{text} [{interval[0]:.4f}, {interval[1]:.4f}]"
