"""Shapes to learn tokenizers from and shapes to judge them by, sampled, and their plain conditioned fits.

Decisions:
- Held-out shapes come out of every class; nothing but their plain fits, the reference of every figure, is made of them.
- The plain fits of the held-out shapes get twice the steps as long as the last quarter of their steps still gains half
  a point of IoU or more; those of the training shapes are made like the last of them.
- Fits are kept beside the results, by their settings, so that a measurement goes on where it stopped.

Dimensions: N training shapes, H held-out shapes, M points, P parameters.
"""

import hashlib
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tokenization.corpus import Corpus
from weightgpt.families import FAMILIES, draw_shapes
from weightgpt.field import FieldConfig, Fields
from weightgpt.files import InputError, read_tensors, write_tensors
from weightgpt.fitting import FitConfig, Fits, field_iou, fit, mean_field
from weightgpt.sampling import Samples, sample, shared_schedule, uniform_points
from weightgpt.shapes import Shape, load_folder
from weightgpt.splits import augment, split_shapes

BUILT_IN = {"chairs": ["chair"], "six-families": list(FAMILIES)}
"""Corpora by name; everything else is a folder of meshes."""
ENOUGH = 0.005
"""IoU that a fit may still gain in the last quarter of its steps."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What is measured on."""

    corpus: str
    """A name of `BUILT_IN`, or a folder of meshes."""
    train: int = 4096
    """N; few files are augmented up to so many."""
    fitted: int = 512
    """F, training shapes with plain fits; tables are learnt from these alone, the loop from all N."""
    held: int = 96
    """H."""
    seed: int = 0
    fit_steps: int = FitConfig.steps
    """Steps of the plain fits, at first."""
    most_steps: int = 8 * FitConfig.steps
    """Steps that they never exceed."""
    loop_steps: int = 12000
    """Steps of the codebook in the loop."""
    loop_levels: int | None = None
    """Its levels; None, here as below, for what its settings have for such a corpus."""
    loop_neurons: int | None = None
    """Neurons in a chunk of it."""
    loop_latent_width: int | None = None
    """Numbers of such a chunk before quantisation."""
    loop_coefficients: int | None = None
    """Directions in which such a chunk varies."""
    points: int = 8192
    """M, shared points of samples and fits."""
    judged: int = 16384
    """Uniform points at which IoU is measured."""
    resolution: int = 64
    """Grid points along each side when meshing."""

    def __post_init__(self) -> None:
        if min(self.train, self.fitted, self.held, self.fit_steps, self.loop_steps, self.points, self.judged) < 1:
            raise InputError(f"{self} measures nothing; shapes, steps and points must be positive.")

    @property
    def name(self) -> str:
        """The corpus as it stands in tables and folders."""
        return self.corpus if self.corpus in BUILT_IN else Path(self.corpus).name

    @property
    def drawn(self) -> bool:
        """Whether the shapes are drawn, not read from files."""
        return self.corpus in BUILT_IN

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values, the corpus by name."""
        return {**asdict(self), "corpus": self.name}


@dataclass(frozen=True)
class Bench:
    """All that a tokenizer is learnt from and judged by."""

    config: BenchConfig
    train: list[Shape]
    held: list[Shape]
    corpus: Corpus
    """Of the training shapes."""
    samples: Samples
    """The held-out shapes at the M points of the corpus."""
    judged: Samples
    """The held-out shapes at uniform points."""
    plain: Fields
    """The plain fits of the held-out shapes."""
    gain: float
    """IoU that these gained in the last quarter of their steps."""

    @property
    def labels(self) -> list[str]:
        """Classes of the held-out shapes."""
        return [shape.label for shape in self.held]


def gather(config: BenchConfig) -> tuple[list[Shape], list[Shape]]:
    """Training and held-out shapes.

    Raises:
        InputError: there are too few shapes to hold any out, or the folder cannot be read.
    """
    if config.drawn:
        shapes = draw_shapes(config.train + config.held, config.seed, BUILT_IN[config.corpus])
    else:
        shapes, refusals = load_folder(config.corpus)
        for refusal in refusals:
            print(f"refused: {refusal.reason}", file=sys.stderr)
    split = split_shapes(shapes, min(0.5, config.held / len(shapes)), config.seed)
    copies = 0 if config.drawn else max(0, -(-config.train // len(split.train)) - 1)
    train = augment(split.train, copies, config.seed)[: config.train]
    return train, [*split.validation, *split.test]


def prepare(config: BenchConfig, folder: Path) -> Bench:
    """Draw or read, sample and fit; what was fitted before with the same settings is read from `folder`.

    Raises:
        InputError: as `gather`.
    """
    train, held = gather(config)
    path = folder / f"samples-{_digest(config, [*train, *held])}.safetensors"
    if not path.is_file():
        points = shared_schedule(train, config.points, config.seed)
        uniform = uniform_points(config.judged, train[0].dimension, config.seed + 1)
        rows = {"train": sample(train, points, True).sdf.half(), "held": sample(held, points).sdf}
        write_tensors(path, {"points": points, "uniform": uniform, "judged": sample(held, uniform).sdf, **rows})
    found = read_tensors(path)
    learnt_from, samples = (Samples(found["points"], found[name]) for name in ("train", "held"))
    judged = Samples(found["uniform"], found["judged"])
    options, field, kept = FitConfig(steps=config.fit_steps, seed=config.seed), FieldConfig(), folder / path.stem
    while True:
        here = kept / f"{options.steps}-steps"
        if not (here / "initial.safetensors").is_file():
            initial = mean_field(field, learnt_from.select(slice(0, 512)), options)
            write_tensors(here / "initial.safetensors", {"flat": initial})
        initial = read_tensors(here / "initial.safetensors")["flat"]
        plain = fit(
            field, samples, options, initial=initial, judged=judged, folder=here / "held", progress="plain fits"
        )
        gain = _gain(plain, judged)
        if gain < ENOUGH or 2 * options.steps > config.most_steps:
            break
        options = replace(options, steps=2 * options.steps)
    first = learnt_from.select(slice(0, config.fitted))
    fits = fit(field, first, options, initial=initial, folder=here / f"train-{len(first.sdf)}", progress="more fits")
    corpus = Corpus(learnt_from, fits.fields, initial, options, config.seed)
    return Bench(config, train, held, corpus, samples, judged, plain.fields, gain)


def _digest(config: BenchConfig, shapes: list[Shape]) -> str:
    """Names the samples of these shapes at the points of these settings."""
    told = (config.points, config.judged, config.seed, len(shapes) - config.train, [shape.name for shape in shapes])
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def _gain(plain: Fits, judged: Samples) -> float:
    assert plain.iou is not None
    return float((plain.iou - field_iou(plain.earlier, judged)).mean())
