"""Generated shapes judged from files: sets are read, taken in equal numbers, judged, told as a table and drawn.

Decisions:
- A set is a folder of meshes or one file of fields. Meshes are centered and scaled by their loader, fields are taken as
  they are: the three sets of one judgement should be of one kind, or their sizes will tell them apart.
- A mesh file that cannot be read is a broken shape of a generated set; from the other two sets it is left out.
- Sets are equally large, drawn without replacement; the guard searches all the training shapes.
- The row of training shapes and that of samples come together: the first says what the second can hope for.

Dimensions: N shapes of a set, m probes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import load_fields
from weightgpt.metrics.evaluator import POINTS, SetEvaluator, ShapeSet, mesh_all
from weightgpt.metrics.memorization import TrainingShapes, nearest_weights
from weightgpt.shapes.meshes import FORMATS, load_folder
from weightgpt.shapes.sampling import sample, uniform_points
from weightgpt.shapes.shape import Sdf, Shape
from weightgpt.visual.rendering import contact_sheet, render

PROBES = 1024
"""Points at which all training shapes are compared with a sample first."""
PICTURED = 12
"""Samples of a picture."""
FIGURES = {
    "mmd": "MMD, lower is better",
    "cov": "COV, higher is better",
    "one_nna": "1-NNA, 0.5 is ideal",
    "mmd_squared": "MMD, squared distances",
    "cov_squared": "COV, squared distances",
    "one_nna_squared": "1-NNA, squared distances",
    "mmd_emd": "MMD, earth mover's distance",
    "cov_emd": "COV, earth mover's distance",
    "one_nna_emd": "1-NNA, earth mover's distance",
    "frechet": "Fréchet distance of point features",
    "one_piece": "in one piece",
    "empty": "empty",
    "broken": "broken",
    "thin_share": "share of thin surface",
    "memorized_share": "memorized, new shapes have 0.05",
    "nearest_train_ratio": "nearest training shape ÷ held-out's",
    "nearest_weights": "nearest training weights, relative",
    "nearest_weights_held_out": "nearest training weights, held-out's",
}
"""What the table says of each row, by key."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A set of N shapes."""

    shapes: list[Shape]
    fields: Fields | None = None
    """The same shapes, where they came as fields."""
    refused: tuple[str, ...] = ()
    """Why files were not read, a sentence each."""

    @property
    def sdfs(self) -> list[Sdf]:
        """Their signed distance functions."""
        return [shape.sdf for shape in self.shapes]

    def take(self, index: Sequence[int]) -> "Source":
        """The shapes at `index`."""
        fields = None if self.fields is None else self.fields.select(torch.tensor(index, dtype=torch.long))
        return replace(self, shapes=[self.shapes[i] for i in index], fields=fields)

    def at(self, points: Tensor) -> Tensor:
        """Distances (N, m) at points (m, 3)."""
        if self.fields is None:
            return sample(self.shapes, points).sdf
        parts = self.fields.flat.split(256)
        return torch.cat([Fields(self.fields.config, part)(points)[..., 0] for part in parts])


def read_source(path: Path | str, *, generated: bool = False) -> Source:
    """Read a folder of meshes or a .safetensors file of fields.

    Args:
        path: the folder or the file.
        generated: whether mesh files that cannot be read stay in the set, as broken shapes.

    Raises:
        InputError: it is neither, cannot be read, or holds fields that are no solids.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors" and not path.is_dir():
        fields, metadata = load_fields(path)
        if (fields.config.in_features, fields.config.out_features) != (3, 1):
            raise InputError(f"{path} holds no solids but {fields.config}; give fields of 3D signed distances.")
        named = zip(metadata.names, metadata.labels, fields.sdfs(), strict=True)
        return Source(shapes=[Shape(name=name, label=label, sdf=sdf) for name, label, sdf in named], fields=fields)
    if not path.is_dir():
        raise InputError(
            f"{path} is neither a folder of meshes nor a .safetensors file of fields; give one of the two."
        )
    shapes, refusals = load_folder(path)
    meshes = [refusal.path for refusal in refusals if refusal.path.suffix.lower() in FORMATS]
    shapes += [Shape(name=mesh.stem, label="none", sdf=_broken) for mesh in meshes if generated]
    return Source(shapes=shapes, refused=tuple(refusal.reason for refusal in refusals))


def _broken(points: Tensor) -> Tensor:
    return torch.full((len(points),), torch.nan)


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Two rows of figures, and what they were computed from."""

    rows: dict[str, dict[str, Any]]
    """`Judge.row` of "limit", as many training shapes, and of "generated"; with the distances of weights, if any."""
    samples: ShapeSet
    names: list[str]
    """Of the samples."""
    training: TrainingShapes
    training_names: list[str]

    def picture(self, size: int = 128) -> Image.Image:
        """The samples nearest to training, nearest first, each with its nearest training shape to its right.

        Raises:
            InputError: no sample has a surface.
        """
        solid = self.samples.solid
        near = self.training.nearest([self.samples.sdfs[i] for i in solid])
        order = sorted(range(len(solid)), key=near.distance.__getitem__)[:PICTURED]
        sdfs, captions = [], []
        for place in order:
            sdfs += [self.samples.sdfs[solid[place]], self.training.shapes[near.index[place]]]
            captions += [
                self.names[solid[place]],
                f"{near.distance[place]:.3f} {self.training_names[near.index[place]]}",
            ]
        return contact_sheet(list(render(sdfs, size)), captions)

    def objection(self, most: float) -> str | None:
        """Why the samples are not new enough for a memorized share of at most `most`; None if they are."""
        share = self.rows["generated"]["memorized_share"]
        if share is None:
            return "no sample has a surface, so that none can be said to be new."
        if not share <= most:
            return f"memorized: a share of {share:.4f} of the samples lies too near to training, {most:g} is allowed."
        return None


def equal_sets(sources: Sequence[Source], count: int | None, seed: int) -> list[Source]:
    """As many shapes of each source, without replacement: as many as all have, `count` at most.

    Raises:
        InputError: that is fewer than two.
    """
    most = min(len(source.shapes) for source in sources)
    size = most if count is None else min(count, most)
    if size < 2:
        raise InputError(f"sets of {size} shapes cannot be compared; give two shapes or more of each set.")
    rng = np.random.default_rng(seed)
    return [source.take(np.sort(rng.permutation(len(source.shapes))[:size]).tolist()) for source in sources]


@torch.no_grad()
def judge(
    generated: Source,
    train: Source,
    held_out: Source,
    *,
    count: int | None = None,
    points: int = POINTS,
    resolution: int = 64,
    seed: int = 0,
    emd: int = 0,
    progress: bool = False,
) -> EvaluationReport:
    """Compare generated shapes, and as many training shapes, with as many held-out ones.

    Args:
        count: shapes of each set; as many as all have when None.
        points: on each surface.
        resolution: of the grid that all shapes are meshed on.
        emd: shapes of each set, at most, that the earth mover's distance compares; 0 for none.

    Raises:
        InputError: a set has fewer than two shapes, no held-out shape has a surface, or `emd` is 1.
    """
    taken = dict(
        zip(("generated", "held-out", "training"), equal_sets((generated, held_out, train), count, seed), strict=True)
    )
    sets = {
        name: mesh_all(
            part.sdfs, seed=number, resolution=resolution, points=points, title=f"meshing {name}" if progress else None
        )
        for number, (name, part) in enumerate(taken.items())
    }
    if not sets["held-out"].solid:
        raise InputError("no held-out shape has a surface; give others to compare with.")
    probes = uniform_points(PROBES, 3, seed)
    training = TrainingShapes(train.sdfs, probes, train.at(probes))
    judge = SetEvaluator.of(sets["held-out"], training, seed, emd)
    rows = {"limit": judge.row(sets["training"], guard=False), "generated": judge.row(sets["generated"])}
    parts = [part.fields for part in (taken["generated"], taken["held-out"], train)]
    weights = _weights(*parts, progress=progress)
    rows["limit"] |= dict.fromkeys(weights, None)
    rows["generated"] |= weights
    names = [shape.name for shape in taken["generated"].shapes]
    training_names = [shape.name for shape in train.shapes]
    return EvaluationReport(
        rows=rows, samples=sets["generated"], names=names, training=training, training_names=training_names
    )


def _weights(
    samples: Fields | None, held_out: Fields | None, train: Fields | None, *, progress: bool
) -> dict[str, float]:
    """Median relative distances to the nearest training weights; nothing where sets are not of one architecture."""
    if samples is None or held_out is None or train is None or not samples.config == held_out.config == train.config:
        return {}
    sides = {"nearest_weights": samples, "nearest_weights_held_out": held_out}
    return {
        name: float(nearest_weights(side.flat, train.flat).median())
        for name, side in tqdm(sides.items(), "comparing weights", disable=not progress)
    }


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The lines of a table, a column for each row of figures, with 95 % intervals where there are any."""
    named = [["shapes (compared)", *(f"{row['count']} ({row['compared']})" for row in rows.values())]]
    for key, text in FIGURES.items():
        if any(row.get(key) is not None for row in rows.values()):
            named.append([text, *(_told(row, key) for row in rows.values())])
    return [f"{text:<37}" + "".join(f"{cell:<26}" for cell in cells).rstrip() for text, *cells in [["", *rows], *named]]


def _told(row: dict[str, Any], key: str) -> str:
    if row.get(key) is None:
        return "–"
    low, high = row.get(f"{key}_interval") or (None, None)
    return f"{row[key]:.4f}" + ("" if low is None else f" [{low:.4f}, {high:.4f}]")
