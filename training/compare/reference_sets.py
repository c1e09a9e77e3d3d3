"""A finished run, and the sets of shapes that its comparison needs.

Decisions:
- If the shapes of the run are drawn, the held-out shapes are new shapes of another seed. If the run learned
  from files, they are its validation and test files. Of these only early stopping used the validation files.
- Held-out meshes and plain fits take long, so we compute them when a row first needs them.

Dimensions: n shapes of a set, S sets, N training shapes, P parameters, L tokens.
"""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from training.compare.config import CompareConfig
from training.data.corpus import column_tensor, load_corpus, split_rows
from training.data.extra_shapes import ExtraShapes, encode_extra_shapes
from training.data.sources import STREAMS
from training.presets import PipelineConfig
from training.run import read_config
from training.splits import load_split
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import fit
from weightgpt.io import read_tensors
from weightgpt.metrics.evaluator import SetEvaluator
from weightgpt.metrics.shape_set import ShapeSet, mesh_shapes
from weightgpt.model import WeightGPT
from weightgpt.shapes.sampling import Samples
from weightgpt.shapes.shape import Sdf, Shape
from weightgpt.shapes.splits import Split

HELD_OUT_SEED = 1000
"""Offset from the seed of the run to the seed of its held-out shapes, which no stage of the run has seen."""


@dataclass(frozen=True, kw_only=True)
class ReferenceSets:
    """A run, and the sets that the rows of its comparison need."""

    options: CompareConfig
    """What to compare."""
    config: PipelineConfig
    """Configuration of the run."""
    model: WeightGPT
    """The GPT and the tokenizer of the run."""
    train: list[Shape]
    """N training shapes, the copies of files included."""
    extra: ExtraShapes
    """Shapes that only the GPT learned from."""
    held_out: list[Shape]
    """Held-out shapes."""
    samples: Samples
    """The training shapes at the points of the run."""
    ids: Tensor
    """(N, L) tokens of the training shapes."""
    set_size: int
    """n; below the option of that name if the run has fewer held-out or training shapes."""

    @property
    def temperature(self) -> float:
        """Sampling temperature of the run's GPT."""
        return self.config.temperature if self.options.temperature is None else self.options.temperature

    @property
    def num_samples(self) -> int:
        """Shapes of a row of samples, S n."""
        return self.options.num_sets * self.set_size

    @property
    def num_training(self) -> int:
        """Shapes of a row of training shapes: whole sets, S at most, without the copies of files."""
        copies = 0 if self.config.is_stream else self.config.augmentations
        originals = len(self.train) // (1 + copies)
        return min(self.options.num_sets, max(1, originals // self.set_size)) * self.set_size

    @property
    def labels(self) -> list[str]:
        """N classes of the training shapes."""
        return [shape.label for shape in self.train]

    @cached_property
    def plain_fits(self) -> Fields:
        """Plain fits of the first `num_training` training shapes; the folder of the run caches them."""
        tokenizer, fits = self.config.tokenizer, self.options.run / "fits"
        return fit(
            tokenizer.field,
            self.samples.select(slice(0, self.num_training)),
            tokenizer.fit,
            shared_init=read_tensors(fits / "shared_init.safetensors")["flat"],
            folder=fits / f"compared-{self.num_training}",
            progress="plain fits",
        ).fields

    @cached_property
    def evaluator(self) -> SetEvaluator:
        """Compares sets of samples with the held-out shapes and with all training shapes of the GPT."""
        held_out = self.mesh([shape.sdf for shape in self.held_out], "held-out shapes", seed=1)
        training = self.extra.seen_by_gpt(self.train, self.samples)
        return SetEvaluator.create(held_out, training, seed=self.config.seed, emd=self.options.emd, size=self.set_size)

    @cached_property
    def training_shapes(self) -> ShapeSet:
        """The first `num_training` training shapes, meshed."""
        return self.mesh([shape.sdf for shape in self.train[: self.num_training]], "training shapes")

    def mesh(self, sdfs: list[Sdf], title: str, *, seed: int = 0, dense: bool = False) -> ShapeSet:
        """Mesh shapes, with the number of surface points of the comparison.

        Args:
            sdfs: signed distance functions of the shapes.
            title: title of the progress bar.
            seed: seed of the points.
            dense: whether to draw the further points that the recall of thin parts needs.
        """
        return mesh_shapes(sdfs, seed=seed, points=self.options.num_points, dense=dense, title=title)


def load_reference_sets(options: CompareConfig) -> ReferenceSets:
    """Read a finished run of training.pipeline.

    Args:
        options: the run, and the number and size of the sets.

    Raises:
        InputError: the run has no model yet.
    """
    run = options.run
    if not (run / "model").is_dir():
        raise InputError(f"{run} has no model; give the folder of a finished run of training.pipeline.")
    config, model = read_config(run), WeightGPT.from_pretrained(run / "model")
    split, tensors = load_split(config)[0], read_tensors(run / "sdf_samples.safetensors")
    held_out = _held_out_shapes(config, split, options)
    set_size = min(options.set_size, len(held_out), len(split.train))
    samples = Samples(tensors["points"], tensors["train"])
    extra = encode_extra_shapes(
        split.extra, model.tokenizer, samples.points, config.tokenizer.encode, run / "extra_shapes.safetensors"
    )
    return ReferenceSets(
        options=options,
        config=config,
        model=model,
        train=split.train,
        extra=extra,
        held_out=held_out[: options.num_sets * set_size if config.is_stream else set_size],
        samples=samples,
        ids=column_tensor(split_rows(load_corpus(run / "corpus"), "train"), "input_ids").long(),
        set_size=set_size,
    )


def _held_out_shapes(config: PipelineConfig, split: Split, options: CompareConfig) -> list[Shape]:
    """New draws of a corpus that is drawn, S n of them; or the validation and test files."""
    if config.is_stream:
        return STREAMS[config.corpus](0, options.num_sets * options.set_size, config.seed + HELD_OUT_SEED)[:]
    return [*split.validation, *split.test]
