"""A finished run, and the sets of shapes that its comparison is made of.

Decisions:
- Held-out shapes of built-in families are drawn anew, with another seed than the run's; those of files are the run's
  own validation and test files, of which only early stopping looked at the first half.
- What costs time, held-out shapes meshed and plain fits, is made when a row first asks for it, and then kept.

Dimensions: n shapes of a set, S sets, N training shapes, P parameters, L tokens.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datasets import load_from_disk
from torch import Tensor

from training.data.corpus import column_tensor, split_rows
from training.data.extra_shapes import ExtraShapes, encode_extra_shapes
from training.presets import PipelineConfig
from training.run import read_config
from training.splits import load_split
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import fit
from weightgpt.io import read_tensors
from weightgpt.metrics.evaluator import SetEvaluator
from weightgpt.metrics.shape_set import POINTS, ShapeSet, mesh_shapes
from weightgpt.model import Bundle, load_bundle
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples
from weightgpt.shapes.shape import Sdf, Shape

FRESH = 1000
"""Added to the run's seed, for held-out shapes that no stage of the run has seen."""


@dataclass(frozen=True)
class ReferenceSets:
    """A run, and the sets that its rows are made of."""

    run: Path
    config: PipelineConfig
    bundle: Bundle
    train: list[Shape]
    more: ExtraShapes
    """What the GPT alone learned from."""
    held: list[Shape]
    samples: Samples
    """The training shapes at the points of the run."""
    ids: Tensor
    """(N, L) of the training shapes."""
    count: int
    """n."""
    sets: int
    """S."""
    points: int
    """On each surface."""
    emd: int
    """Shapes to compare by earth mover's distance as well."""

    @property
    def total(self) -> int:
        """Shapes of a row, S n."""
        return self.sets * self.count

    @property
    def known(self) -> int:
        """Shapes of a row that is made of training shapes: as many whole sets, up to S, as there are but for copies."""
        own = len(self.train) // (1 if self.config.is_built_in else 1 + self.config.augmentations)
        return min(self.sets, max(1, own // self.count)) * self.count

    @property
    def labels(self) -> list[str]:
        """Classes of the training shapes."""
        return [shape.label for shape in self.train]

    @cached_property
    def plain(self) -> Fields:
        """Plain fits of the first training shapes, `known` of them."""
        shared_init = read_tensors(self.run / "fits" / "shared_init.safetensors")["flat"]
        config, options = self.config.tokenizer.field, self.config.tokenizer.fit
        folder = self.run / "fits" / f"compared-{self.known}"
        some = self.samples.select(slice(0, self.known))
        return fit(config, some, options, shared_init=shared_init, folder=folder, progress="plain fits").fields

    @cached_property
    def judge(self) -> SetEvaluator:
        """The held-out shapes and the guard."""
        held = self.mesh([shape.sdf for shape in self.held], "held-out shapes", seed=1)
        guard = self.more.seen_by_gpt(self.train, self.samples)
        return SetEvaluator.create(held, guard, seed=self.config.seed, emd=self.emd, size=self.count)

    @cached_property
    def true(self) -> ShapeSet:
        """The first training shapes, `known` of them."""
        return self.mesh([shape.sdf for shape in self.train[: self.known]], "training shapes")

    def mesh(self, sdfs: list[Sdf], title: str, seed: int = 0, dense: bool = False) -> ShapeSet:
        """Shapes with as many points as asked for."""
        return mesh_shapes(sdfs, seed=seed, points=self.points, dense=dense, title=title)


def load_reference_sets(run: Path, count: int, sets: int = 1, points: int = POINTS, emd: int = 0) -> ReferenceSets:
    """Read a finished run of training.pipeline.

    Raises:
        InputError: the run has not got as far as its model, or has too few shapes for sets of `count`.
    """
    if not (run / "model").is_dir():
        raise InputError(f"{run} has no model; give the folder of a finished run of training.pipeline.")
    if count < 2 or sets < 1:
        raise InputError(f"{sets} sets of {count} shapes cannot be compared; give 1 set or more of 2 shapes or more.")
    config = read_config(run)
    split = load_split(config)[0]
    held = draw_shapes(sets * count, config.seed + FRESH) if config.is_built_in else [*split.validation, *split.test]
    count = min(count, len(held), len(split.train))
    held = held[: sets * count if config.is_built_in else count]
    found, ids = read_tensors(run / "sdf_samples.safetensors"), split_rows(load_from_disk(str(run / "corpus")), "train")
    samples = Samples(found["points"], found["train"])
    codes = column_tensor(ids, "input_ids").long()
    bundle = load_bundle(run / "model")
    more = encode_extra_shapes(
        split.extra, bundle.tokenizer, samples.points, config.tokenizer.encode, run / "extra_shapes.safetensors"
    )
    return ReferenceSets(run, config, bundle, split.train, more, held, samples, codes, count, sets, points, emd)
