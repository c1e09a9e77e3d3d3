"""Shapes to learn tokenizers from and shapes to judge them by, sampled, and their plain conditioned fits.

Decisions:
- Held-out shapes come out of every class; nothing but their plain fits, the reference of every figure, is made of them.
- The plain fits of the held-out shapes get twice the steps as long as the last quarter of their steps still gains half
  a point of IoU or more; those of the training shapes are made like the last of them.
- Samples and fits are kept beside the results, by the shapes and the settings that they depend on, so that a
  measurement goes on where it stopped and other settings of the loop begin at once.

Dimensions: N training shapes, H held-out shapes, M points, P parameters.
"""

import hashlib
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tokenization.corpus import Corpus
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, Fits, fit, fit_mean_initialization
from weightgpt.io import read_tensors, write_tensors
from weightgpt.metrics.pairwise import field_iou
from weightgpt.shapes import meshes
from weightgpt.shapes.families import FAMILIES, draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import augment, split_shapes

BUILT_IN = {"chairs": ["chair"], "six-families": list(FAMILIES)}
"""Corpora by name; everything else is a folder of meshes."""
ENOUGH = 0.005
"""IoU that a fit may still gain in the last quarter of its steps."""
STEPS = 12000
"""Steps of the codebook in the loop, where no others are asked for."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is measured on."""

    corpus: str
    """A name of `BUILT_IN`, or a folder of meshes."""
    classes: tuple[str, ...] = ()
    """Sub-folders of the folder to take; all, if there are none."""
    title: str = ""
    """The corpus as it stands in tables and folders; empty for its own name."""
    hidden: tuple[int, ...] = FieldConfig.hidden
    """Width of each hidden layer of the fields."""
    num_train: int = 4096
    """N; few files are augmented up to so many."""
    num_init_fits: int = 512
    """F, training shapes with plain fits; tables are learned from these alone, the loop from all N."""
    num_held_out: int = 96
    """H."""
    seed: int = 0
    fit_steps: int = FitConfig.steps
    """Steps of the plain fits, at first."""
    most_steps: int = 8 * FitConfig.steps
    """Steps that they never exceed."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Changes to the settings that the codebook in the loop has for such a corpus, by their names."""
    num_points: int = 8192
    """M, shared points of samples and fits."""
    num_eval_points: int = 16384
    """Uniform points at which IoU is measured."""
    resolution: int = 64
    """Grid points along each side when meshing."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", {"steps": STEPS, **self.changes})
        if (
            min(
                self.num_train,
                self.num_init_fits,
                self.num_held_out,
                self.fit_steps,
                self.num_points,
                self.num_eval_points,
                self.changes["steps"],
            )
            < 1
        ):
            raise InputError(f"{self} measures nothing; shapes, steps and points must be positive.")
        if self.classes and self.drawn:
            raise InputError(f"classes are sub-folders of a folder of meshes; {self.corpus} is drawn, leave them out.")
        if self.title != Path(self.title).name:
            raise InputError(f"{self.title!r} cannot name a folder; give a name without slashes.")

    @property
    def field_config(self) -> FieldConfig:
        """The architecture of the fields."""
        return FieldConfig(hidden=self.hidden)

    @property
    def name(self) -> str:
        """The corpus as it stands in tables and folders; the parameters follow, if not as many as usual."""
        name = self.title or (self.corpus if self.drawn else Path(self.corpus).name)
        parameters = self.field_config.parameters
        return name if parameters == FieldConfig().parameters else f"{name}-{parameters}"

    @property
    def drawn(self) -> bool:
        """Whether the shapes are drawn, not read from files."""
        return self.corpus in BUILT_IN

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values, the corpus by its name and each setting of the loop as `loop_NAME`."""
        values = {name: value for name, value in asdict(self).items() if name not in ("changes", "title")}
        lists = {"hidden": list(self.hidden), "classes": list(self.classes)}
        return {
            **values,
            **lists,
            "corpus": self.name,
            **{f"loop_{name}": value for name, value in self.changes.items()},
        }


def changed(settings: dict[str, Any], loop: bool = True) -> dict[str, Any]:
    """What of `BenchConfig.to_dict` differs from the defaults, with or without the settings of the loop."""
    usual = BenchmarkConfig(corpus="").to_dict()
    return {
        name: value
        for name, value in settings.items()
        if value is not None and value != usual.get(name) and (loop or not name.startswith("loop_"))
    }


@dataclass(frozen=True)
class Benchmark:
    """All that a tokenizer is learned from and judged by."""

    config: BenchmarkConfig
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


def load_shapes(config: BenchmarkConfig) -> tuple[list[Shape], list[Shape]]:
    """Training and held-out shapes.

    Raises:
        InputError: there are too few shapes to hold any out, or the folder cannot be read.
    """
    if config.drawn:
        shapes = draw_shapes(config.num_train + config.num_held_out, config.seed, BUILT_IN[config.corpus])
    else:
        shapes = read_shapes(Path(config.corpus), config.classes)
    split = split_shapes(shapes, min(0.5, config.num_held_out / len(shapes)), config.seed)
    copies = 0 if config.drawn else max(0, -(-config.num_train // len(split.train)) - 1)
    train = augment(split.train, copies, config.seed)[: config.num_train]
    return train, [*split.validation, *split.test]


def read_shapes(folder: Path, classes: tuple[str, ...]) -> list[Shape]:
    """The shapes of a folder, or of some of its sub-folders, named and labeled as in the whole folder.

    Raises:
        InputError: a folder does not exist or holds no mesh that can be read.
    """
    shapes: list[Shape] = []
    for label in classes or (None,):
        found = meshes.load_shapes(folder / (label or ""))
        shapes += [replace(s, name=f"{label}-{s.name}", label=label) for s in found] if label else found
        for refusal in found.refused:
            print(f"refused: {refusal.reason}", file=sys.stderr)
    return shapes


def prepare(config: BenchmarkConfig, folder: Path) -> Benchmark:
    """Draw or read, sample and fit; what was fitted before with the same settings is read from `folder`.

    Raises:
        InputError: as `gather`.
    """
    train, held = load_shapes(config)
    path = folder / f"samples-{_digest(config, [*train, *held])}.safetensors"
    if not path.is_file():
        points = shared_points(train, config.num_points, config.seed)
        uniform = uniform_points(config.num_eval_points, train[0].dimension, config.seed + 1)
        rows = {"train": sample_sdf(train, points, True).sdf.half(), "held": sample_sdf(held, points).sdf}
        write_tensors(path, {"points": points, "uniform": uniform, "judged": sample_sdf(held, uniform).sdf, **rows})
    found = read_tensors(path)
    learned_from, samples = (Samples(found["points"], found[name]) for name in ("train", "held"))
    judged = Samples(found["uniform"], found["judged"])
    options, field_config = FitConfig(steps=config.fit_steps, seed=config.seed), config.field_config
    widths = "".join(f"-{width}" for width in config.hidden) if config.hidden != FieldConfig.hidden else ""
    while True:
        here = folder / path.stem / f"{options.steps}-steps{widths}"
        if not (here / "shared_init.safetensors").is_file():
            shared_init = fit_mean_initialization(field_config, learned_from.select(slice(0, 512)), options)
            write_tensors(here / "shared_init.safetensors", {"flat": shared_init})
        shared_init = read_tensors(here / "shared_init.safetensors")["flat"]
        alike = partial(fit, field_config, options=options, shared_init=shared_init)
        plain = alike(samples, folder=here / "held", progress="plain fits")
        gain = _gain(plain, judged)
        if gain < ENOUGH or 2 * options.steps > config.most_steps:
            break
        options = replace(options, steps=2 * options.steps)
    first = learned_from.select(slice(0, config.num_init_fits))
    fits = alike(first, folder=here / f"train-{len(first.sdf)}", progress="more fits")
    corpus = Corpus(learned_from, fits.fields, shared_init, options, config.seed)
    return Benchmark(config, train, held, corpus, samples, judged, plain.fields, gain)


def _digest(config: BenchmarkConfig, shapes: list[Shape]) -> str:
    """Names the samples of these shapes at the points of these settings."""
    told = (
        config.num_points,
        config.num_eval_points,
        config.seed,
        len(shapes) - config.num_train,
        [shape.name for shape in shapes],
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def _gain(plain: Fits, judged: Samples) -> float:
    return float((field_iou(plain.fields, judged) - field_iou(plain.at_three_quarters, judged)).mean())
