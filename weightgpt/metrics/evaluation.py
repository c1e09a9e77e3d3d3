"""`evaluate`: generated shapes against training and held-out shapes, from files or from objects.

Decisions:

- A set is a folder of meshes, a .safetensors file of fields, or the same as objects. All three sets should have one
  form, because meshes are scaled when they are read and fields are not.
- The three sets are cut to one size, drawn without replacement. The memorization check searches all training shapes.
- There are always two rows: "reference" (training shapes) shows what true shapes of the same kind reach. Compare
  "samples" with this row.

Dimensions: N shapes of a set.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from weightgpt.errors import InputError, check_whole
from weightgpt.formatting import format_number, text_table
from weightgpt.metrics.evaluator import Evaluation, SetEvaluator
from weightgpt.metrics.memorization import NearestShapes, TrainingShapes, nearest_weights
from weightgpt.metrics.shape_set import POINTS, ShapeSet, mesh_shapes
from weightgpt.metrics.shape_sources import LoadedSet, ShapeSource, equal_sets, load_set
from weightgpt.shapes.sampling import uniform_points
from weightgpt.visual.rendering import contact_sheet, render

NUM_PROBES = 1024
"""Points at which all training shapes are compared with a sample first."""
NUM_PICTURED = 12
"""Samples of a picture."""
TITLES = {
    "mmd": "MMD (lower is better)",
    "cov": "COV (higher is better)",
    "one_nna": "1-NNA (0.5 is ideal)",
    "mmd_squared": "MMD, squared distances",
    "cov_squared": "COV, squared distances",
    "one_nna_squared": "1-NNA, squared distances",
    "mmd_emd": "MMD, earth mover's distance",
    "cov_emd": "COV, earth mover's distance",
    "one_nna_emd": "1-NNA, earth mover's distance",
    "frechet": "Fréchet distance of point features",
    "one_piece": "share in one piece",
    "empty": "share empty",
    "broken": "share broken",
    "thin_share": "share of thin surface",
    "memorized_share": "share memorized (0.05 is ideal)",
    "nearest_train_ratio": "distance to training ÷ held-out's",
    "nearest_weights": "distance to training weights",
    "nearest_weights_held_out": "held-out's distance to training weights",
}
"""The text of each key in the printed table."""


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """The two rows of an evaluation, and the shapes behind them."""

    rows: dict[str, dict[str, Any]]
    """The rows "reference" (as many training shapes) and "samples"; docs/metrics.md lists the keys."""
    samples: ShapeSet
    """The samples that were evaluated."""
    names: list[str]
    """Names of the samples."""
    training: TrainingShapes
    """All training shapes."""
    training_names: list[str]
    """Names of the training shapes."""
    nearest: NearestShapes | None
    """The nearest training shape of each sample with a surface; None if there are no such samples."""
    available: dict[str, int] = field(default_factory=dict)
    """How many shapes each of the sets "samples", "held-out" and "training" has; the evaluation may use fewer."""
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Why files of each set were not read, one sentence each."""

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the rows as JSON values."""
        return {name: dict(row) for name, row in self.rows.items()}

    def table(self) -> str:
        """Return a table for a terminal: one column for each row, with 95 % intervals where there are any."""
        return rows_table(self.rows)

    def picture(self, size: int = 128) -> Image.Image:
        """Draw the samples nearest to training, nearest first, each with its nearest training shape to its right.

        Args:
            size: pixels along each side of a shape.

        Raises:
            InputError: no sample has a surface.
        """
        if self.nearest is None:
            raise InputError("no sample has a surface, so there is nothing to draw; give other samples.")
        order = sorted(range(len(self.nearest.distance)), key=self.nearest.distance.__getitem__)[:NUM_PICTURED]
        sdfs, captions = [], []
        for i in order:
            sample_index, train_index = self.samples.with_surface[i], self.nearest.index[i]
            sdfs += [self.samples.sdfs[sample_index], self.training.shapes[train_index]]
            distance = f"{self.nearest.distance[i]:.3f} {self.training_names[train_index]}"
            captions += [self.names[sample_index], distance]
        return contact_sheet(list(render(sdfs, size)), captions)

    def memorization_objection(self, max_share: float) -> str | None:
        """Explain why the samples fail the memorization check.

        Args:
            max_share: largest allowed share of memorized samples; new shapes have about 0.05.

        Returns:
            One sentence, or None if the samples pass.
        """
        share = self.rows["samples"]["memorized_share"]
        if share is None:
            return "no sample has a surface, so the memorization check cannot pass."
        if not share <= max_share:
            return f"a share of {share:.4f} of the samples is memorized, but only {max_share:g} is allowed."
        return None


def rows_table(rows: dict[str, dict[str, Any]]) -> str:
    """Return rows as a table for a terminal, a column for each row.

    Args:
        rows: rows of metrics by name.
    """
    lines = [["shapes (compared)", *(f"{row['count']} ({row['compared']})" for row in rows.values())]]
    for key, title in TITLES.items():
        if any(row.get(key) is not None for row in rows.values()):
            lines.append([title, *(_format_cell(row, key) for row in rows.values())])
    return text_table(["metric", *rows], lines)


def _format_cell(row: dict[str, Any], key: str) -> str:
    """Return a value with its interval, or a dash."""
    interval = row.get(f"{key}_interval")
    text = format_number(row.get(key))
    return text if interval is None else f"{text} [{format_number(interval[0])}, {format_number(interval[1])}]"


def evaluate_rows(
    samples: ShapeSet, reference: ShapeSet, evaluator: SetEvaluator
) -> tuple[dict[str, dict[str, Any]], Evaluation]:
    """Evaluate samples and training shapes against the same held-out shapes.

    Args:
        samples: the generated shapes.
        reference: training shapes, for what true shapes reach.
        evaluator: the held-out shapes and all training shapes.

    Returns:
        The rows "reference" and "samples", and the evaluation of the samples.
    """
    evaluation = evaluator.evaluate(samples)
    reference_row = evaluator.evaluate(reference, check_memorization=False).to_row()
    return {"reference": reference_row, "samples": evaluation.to_row()}, evaluation


@torch.no_grad()
def evaluate(
    samples: ShapeSource,
    *,
    train: ShapeSource,
    held_out: ShapeSource,
    count: int | None = None,
    points: int = POINTS,
    emd: int = 0,
    resolution: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> EvaluationReport:
    """Compare generated shapes, and equally many training shapes, with equally many held-out shapes.

    A set is a folder of meshes, a .safetensors file of fields, `Fields`, generated shapes, or a list of shapes. Give
    all three sets in one form.

    Args:
        samples: the generated shapes.
        train: the shapes that the model was trained on.
        held_out: shapes of the same kind that the model was not trained on.
        count: shapes of each set; None takes as many as the smallest set has.
        points: points on each surface.
        emd: largest number of shapes of each set that are compared under the earth mover's distance; 0 for none.
        resolution: grid points along each axis when shapes are meshed.
        seed: seed of the draw, the points and the bootstrap.
        progress: show progress bars.

    Raises:
        InputError: a set cannot be read or has fewer than two shapes, no held-out shape has a surface, or `emd` is 1.

    Examples:
        >>> from weightgpt.shapes.families import draw_shapes
        >>> samples, train, held_out = (draw_shapes(4, seed) for seed in range(3))
        >>> evaluate(samples, train=train, held_out=held_out, points=64, resolution=24).rows["samples"]["compared"]
        4
    """
    count = None if count is None else check_whole("count", count, 2)
    points, emd, seed = check_whole("points", points, 1), check_whole("emd", emd, 0), check_whole("seed", seed, 0)
    sources = {"samples": samples, "held-out": held_out, "training": train}
    sets = {name: load_set(source, keep_unreadable=name == "samples") for name, source in sources.items()}
    selected = dict(zip(sets, equal_sets(list(sets.values()), count, seed), strict=True))
    meshed = _mesh_sets(selected, resolution, points, progress)
    probes = uniform_points(NUM_PROBES, 3, seed)
    training = TrainingShapes(sets["training"].sdfs, probes, sets["training"].sdf_at(probes))
    evaluator = SetEvaluator.create(meshed["held-out"], training, seed=seed, emd=emd)
    return _write_report(sets, selected, meshed, evaluator, progress)


def _mesh_sets(selected: dict[str, LoadedSet], resolution: int, points: int, progress: bool) -> dict[str, ShapeSet]:
    """Mesh all sets, each with a different seed."""
    meshed = {}
    for seed, (name, part) in enumerate(selected.items()):
        title = f"meshing {name}" if progress else None
        meshed[name] = mesh_shapes(part.sdfs, seed=seed, resolution=resolution, points=points, title=title)
    if not meshed["held-out"].with_surface:
        raise InputError("no held-out shape has a surface; give other held-out shapes.")
    return meshed


def _write_report(
    sets: dict[str, LoadedSet],
    selected: dict[str, LoadedSet],
    meshed: dict[str, ShapeSet],
    evaluator: SetEvaluator,
    progress: bool,
) -> EvaluationReport:
    """Measure both rows, and add the distances of weights."""
    assert evaluator.training is not None
    rows, evaluation = evaluate_rows(meshed["samples"], meshed["training"], evaluator)
    weights = _weight_distances(selected["samples"], selected["held-out"], sets["training"], progress)
    rows["reference"] |= dict.fromkeys(weights, None)
    rows["samples"] |= weights
    return EvaluationReport(
        rows=rows,
        samples=meshed["samples"],
        names=[shape.name for shape in selected["samples"].shapes],
        training=evaluator.training,
        training_names=[shape.name for shape in sets["training"].shapes],
        nearest=evaluation.nearest,
        available={name: len(part.shapes) for name, part in sets.items()},
        refused={name: part.refused for name, part in sets.items()},
    )


def _weight_distances(samples: LoadedSet, held_out: LoadedSet, train: LoadedSet, progress: bool) -> dict[str, float]:
    """Return median distances to the nearest training weights; empty unless all fields have one architecture."""
    if samples.fields is None or held_out.fields is None or train.fields is None:
        return {}
    if not samples.fields.config == held_out.fields.config == train.fields.config:
        return {}
    flat = {"nearest_weights": samples.fields.flat, "nearest_weights_held_out": held_out.fields.flat}
    return {
        name: float(nearest_weights(rows, train.fields.flat).median())
        for name, rows in tqdm(flat.items(), "comparing weights", disable=not progress)
    }
