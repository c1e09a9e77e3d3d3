"""Training shapes and held-out shapes of a measurement, sampled, with their plain fits.

Decisions:
- Held-out shapes come from every class. Nothing is learned from them; their plain fits are the reference of every
  metric.
- We double the steps of the plain fits while the last quarter of the steps still improves the mean IoU of held-out
  shapes by 0.005 or more, because fits that have not converged would be too weak a reference. Training shapes are
  fitted with the same number of steps.
- Samples and fits are stored by the shapes and the settings that they depend on. So an interrupted measurement
  continues, and measurements with other tokenizer settings share them.

Dimensions: N training shapes, H held-out shapes, F training shapes with plain fits, M points, P parameters.
"""

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tokenization.corpus import Corpus
from tokenization.measure.config import CORPORA, MeasureConfig
from tokenization.plain_fits import iou_gain_last_quarter, load_or_fit_shared_init
from weightgpt._programs import cached_folder, settings_digest
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.io import read_tensors, write_tensors
from weightgpt.shapes import meshes
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import augment, split_shapes

CONVERGED_GAIN = 0.005
"""Fits have converged if their mean IoU gains less than this in the last quarter of the steps."""


@dataclass(frozen=True)
class Benchmark:
    """Everything that tokenizers are learned from and measured on."""

    config: MeasureConfig
    train: list[Shape]
    """N training shapes."""
    held_out: list[Shape]
    """H held-out shapes."""
    corpus: Corpus
    """The training shapes at M points, with plain fits of the first F."""
    samples: Samples
    """The held-out shapes at the M points of the corpus."""
    eval_samples: Samples
    """The held-out shapes at uniform points."""
    plain_fits: Fields
    """Plain fits of the held-out shapes."""
    iou_gain_last_quarter: float
    """Mean IoU that these fits gained in the last quarter of their steps."""

    @property
    def labels(self) -> list[str]:
        """Classes of the held-out shapes."""
        return [shape.label for shape in self.held_out]


def load_shapes(config: MeasureConfig) -> tuple[list[Shape], list[Shape]]:
    """Training and held-out shapes.

    Args:
        config: the corpus, its classes and the numbers of shapes.

    Raises:
        InputError: there are too few shapes to hold any out, or the folder cannot be read.
    """
    if config.is_built_in:
        shapes = draw_shapes(config.num_train + config.num_held_out, config.seed, CORPORA[config.corpus])
    else:
        shapes = read_shapes(Path(config.corpus), config.classes)
    split = split_shapes(shapes, min(0.5, config.num_held_out / len(shapes)), config.seed)
    copies = 0 if config.is_built_in else max(0, -(-config.num_train // len(split.train)) - 1)
    train = augment(split.train, copies, config.seed)[: config.num_train]
    return train, [*split.validation, *split.test]


def read_shapes(folder: Path, classes: tuple[str, ...]) -> list[Shape]:
    """The shapes of a folder or of some of its sub-folders, with the names and labels that the whole folder gives them.

    Args:
        folder: a folder of meshes.
        classes: names of sub-folders; empty for the whole folder.

    Raises:
        InputError: a folder does not exist or holds no readable mesh.
    """
    shapes: list[Shape] = []
    for label in classes or (None,):
        loaded = meshes.load_shapes(folder / (label or ""))
        shapes += [replace(s, name=f"{label}-{s.name}", label=label) for s in loaded] if label else loaded
        for refusal in loaded.refused:
            print(f"refused: {refusal.reason}", file=sys.stderr)
    return shapes


def prepare_benchmark(config: MeasureConfig, folder: Path) -> Benchmark:
    """Load the shapes, sample them and fit them, or read the samples and fits of an earlier call.

    Args:
        config: the settings.
        folder: stores samples and fits.

    Raises:
        InputError: as `load_shapes`.
    """
    train, held_out = load_shapes(config)
    samples_folder = _sample_shapes(config, train, held_out, folder)
    tensors = read_tensors(samples_folder / "samples.safetensors")
    train_samples, samples = (Samples(tensors["points"], tensors[name]) for name in ("train", "held_out"))
    eval_samples = Samples(tensors["eval_points"], tensors["eval"])
    field_config, fit_config = config.tokenizer.field, replace(config.tokenizer.fit, seed=config.seed)
    while True:
        fits_folder = _fits_folder(samples_folder, config, fit_config)
        path = fits_folder / "shared_init.safetensors"
        shared_init = load_or_fit_shared_init(field_config, train_samples, fit_config, path)
        fit_shapes = partial(fit, field_config, options=fit_config, shared_init=shared_init)
        plain = fit_shapes(samples, folder=fits_folder / "held_out", progress="plain fits of held-out shapes")
        gain = iou_gain_last_quarter(plain, eval_samples)
        if gain < CONVERGED_GAIN or 2 * fit_config.steps > config.max_fit_steps:
            break
        fit_config = replace(fit_config, steps=2 * fit_config.steps)
    first = train_samples.select(slice(0, config.tokenizer.num_init_fits))
    fits = fit_shapes(first, folder=fits_folder / f"train-{len(first.sdf)}", progress="plain fits of training shapes")
    corpus = Corpus(train_samples, fits.fields, shared_init, fit_config, config.seed)
    return Benchmark(config, train, held_out, corpus, samples, eval_samples, plain.fields, gain)


def _sample_shapes(config: MeasureConfig, train: list[Shape], held_out: list[Shape], folder: Path) -> Path:
    """The folder of the samples of these shapes."""

    def write(draft: Path) -> None:
        points = shared_points(train, config.tokenizer.num_points, config.seed)
        eval_points = uniform_points(config.num_eval_points, train[0].dimension, config.seed + 1)
        tensors = {
            "points": points,
            "train": sample_sdf(train, points, True).sdf.half(),
            "held_out": sample_sdf(held_out, points).sdf,
            "eval_points": eval_points,
            "eval": sample_sdf(held_out, eval_points).sdf,
        }
        write_tensors(draft / "samples.safetensors", tensors)

    settings = {
        "num_points": config.tokenizer.num_points,
        "num_eval_points": config.num_eval_points,
        "seed": config.seed,
        "train": [shape.name for shape in train],
        "held_out": [shape.name for shape in held_out],
    }
    return cached_folder(folder, settings, write, name="samples")


def _fits_folder(samples_folder: Path, config: MeasureConfig, fit_config: FitConfig) -> Path:
    """The folder of fits of one architecture with the same settings. Fits are stored in parts, so the folder grows."""
    settings = {"field": config.tokenizer.field.to_dict(), "fit": fit_config}
    return samples_folder / f"fits-{fit_config.steps}-steps-{settings_digest(settings)}"
