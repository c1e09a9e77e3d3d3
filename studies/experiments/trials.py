"""Trials of the experiments: their settings, and how one trial is trained, sampled and measured.

Dimensions: N training sequences, L tokens of a sequence.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import GPT2LMHeadModel

from studies.sequences import Sequences, draw_sequences
from training.compare.flops import step_flops
from training.data.corpus import sequence_dataset
from training.pretrain import PretrainConfig, code_loss, pretrain
from weightgpt import __version__
from weightgpt._programs import settings_digest
from weightgpt.errors import InputError, check_at_least
from weightgpt.io import read_json
from weightgpt.metrics.evaluator import SetEvaluator
from weightgpt.metrics.shape_set import mesh_shapes
from weightgpt.model import WeightGPT
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.shape import Sdf
from weightgpt.tokens.generation import SamplingConfig
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import NONE

SURFACE_POINTS = 256
"""Points on each surface: half of those of `training.compare`, because there are many trials."""
HELD_OUT_SEED = 2000
"""Seed of the true shapes. The reference has the next seed, and `training.compare` uses neither."""
NUM_VALIDATION = 512
"""Sequences for early stopping, and held-out sequences for the bits of the GPT."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How a GPT is trained and sampled."""

    num_shapes: int = 65_536
    """N, new built-in shapes to train on."""
    num_quantizers: int | None = None
    """Quantizer levels to use, the first ones; None for all."""
    model_size: str = "tiny"
    """Size of the GPT: nano, tiny, small, medium or large."""
    max_steps: int = 2000
    """Largest number of training steps; early stopping may end sooner."""
    batch_size: int = 32
    """Sequences of a step."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    embedding_init_scale: float = PretrainConfig.embedding_init_scale
    """Standard deviation of the initial embeddings of codes, as in `PretrainConfig`; with 0 they begin at random."""
    dropout: float = 0.0
    """Dropout of the GPT."""
    temperature: float = 1.0
    """Sampling temperature."""
    top_p: float = 1.0
    """Share of the probability mass that is sampled from, the likeliest codes first."""
    top_k: int = 0
    """Number of likeliest codes that are sampled from; 0 for all."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_shapes", "num_quantizers", "max_steps", "batch_size")
        SamplingConfig(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k)
        _ = self.pretrain_config  # refuses impossible settings of the training

    @property
    def pretrain_config(self) -> PretrainConfig:
        """The training of the GPT."""
        return PretrainConfig(
            model_size=self.model_size,
            epochs=self.max_steps * self.batch_size / self.num_shapes,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            embedding_init_scale=self.embedding_init_scale,
            dropout=self.dropout,
            report_to="tensorboard",
        )


AXES: dict[str, list[Any]] = {
    "num_shapes": [256, 1024, 4096, 16384, 65536],
    "model_size": ["nano", "tiny", "small"],
    "num_quantizers": [1, 2, 4, 6, None],
    "max_steps": [1000, 2000, 4000],
    "learning_rate": [1e-3, 2e-3, 4e-3],
    "batch_size": [32, 64],
    "embedding_init_scale": [0.0, 1.0, 2.0, 4.0],
    "dropout": [0.0, 0.1],
    "temperature": [0.8, 0.9, 1.0],
    "top_p": [0.9, 0.95, 1.0],
    "top_k": [64, 0],
}
"""The settings that change, and their values."""


@dataclass(frozen=True)
class ExperimentInputs:
    """What all trials share."""

    tokenizer: WeightTokenizer
    """The tokenizer with all levels."""
    sequences: Sequences
    """New built-in shapes in its tokens."""
    evaluator: SetEvaluator
    """The true shapes that samples are compared with."""
    seed: int
    """Seed of the GPTs and of the samples."""
    folder: Path
    """Folder of the GPTs."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the tokenizer's quantizer."""
        return self.tokenizer.quantizer.fingerprint

    @property
    def settings(self) -> Row:
        """What the figures of all trials depend on."""
        return {"fingerprint": self.fingerprint, "seed": self.seed, "count": len(self.evaluator.held_out)}


def check_axes(axes: Sequence[str]) -> None:
    """Refuse axes that do not exist.

    Args:
        axes: names of settings.

    Raises:
        InputError: there is no such axis.
    """
    for axis in axes:
        if axis not in AXES:
            raise InputError(f"there is no axis {axis!r}; choose among {', '.join(AXES)}.")


def list_trials(base: Trial, axes: Sequence[str], num_quantizers: int) -> list[tuple[str, Trial]]:
    """All trials, each with the name of the setting that changes; the base lies on every axis.

    Args:
        base: the settings that do not change.
        axes: names of the settings to change.
        num_quantizers: quantizer levels of the tokenizer; trials with more levels are left out.

    Raises:
        InputError: there is no such axis.
    """
    check_axes(axes)
    trials = []
    for axis in axes:
        values = [value for value in AXES[axis] if axis != "num_quantizers" or value is None or value < num_quantizers]
        base_value = getattr(base, axis)
        for value in values if base_value in values else [*values, base_value]:
            trials.append((axis, dataclasses.replace(base, **{axis: value})))
    return trials


def prepare_inputs(
    tokenizer: WeightTokenizer, num_train: int, num_samples: int, seed: int, output: Path
) -> ExperimentInputs:
    """Draw and encode the training shapes, and mesh the true shapes.

    Args:
        tokenizer: the tokenizer with all levels.
        num_train: the most training shapes of a trial.
        num_samples: number of true shapes.
        seed: seed of the training shapes, of the GPTs and of the samples.
        output: folder of the sequences and the GPTs.

    Raises:
        InputError: the classes of the tokenizer are not built-in families.
    """
    sequences = draw_sequences(tokenizer, num_train, NUM_VALIDATION, seed, output / "drawn")
    sdfs = [shape.sdf for shape in draw_shapes(num_samples, HELD_OUT_SEED)]
    held_out = mesh_shapes(sdfs, seed=1, title="held-out shapes", points=SURFACE_POINTS)
    return ExperimentInputs(tokenizer, sequences, SetEvaluator(held_out=held_out, seed=seed), seed, output / "gpt")


def use_first_levels(
    tokenizer: WeightTokenizer, sequences: Sequences, num_quantizers: int | None
) -> tuple[WeightTokenizer, Sequences]:
    """A tokenizer of the first quantizer levels, and the same shapes in its tokens.

    Args:
        tokenizer: a tokenizer with an RVQ autoencoder.
        sequences: sequences of this tokenizer.
        num_quantizers: levels to use; None for all.

    Raises:
        InputError: the tokenizer has no RVQ autoencoder.
    """
    if num_quantizers in (None, tokenizer.quantizer.num_quantizers):
        return tokenizer, sequences
    autoencoder = RVQAutoencoder.cast(tokenizer.quantizer)
    codebook = dataclasses.replace(autoencoder.codebook, code_vectors=autoencoder.code_vectors[:num_quantizers])
    labels = [name for name in tokenizer.vocabulary.classes if name != NONE]
    short = WeightTokenizer.create(RVQAutoencoder(codebook, autoencoder.encoder), labels)

    def cut(rows: Tensor) -> Tensor:
        codes, classes = tokenizer.vocabulary.parse(rows)
        return short.vocabulary.ids(codes[..., :num_quantizers], classes)

    parts = (sequences.train, sequences.validation, sequences.held_out)
    return short, Sequences(*(cut(rows) for rows in parts))


def measure_shapes(inputs: ExperimentInputs, sdfs: list[Sdf], seed: int) -> Row:
    """The set metrics of shapes, without the memorization check.

    Args:
        inputs: the true shapes.
        sdfs: signed distances of the shapes.
        seed: seed of the points on their surfaces.
    """
    shapes = mesh_shapes(sdfs, seed=seed, points=SURFACE_POINTS, title="meshing")
    return inputs.evaluator.evaluate(shapes, check_memorization=False).to_row()


def measure_reference(inputs: ExperimentInputs) -> Row:
    """The figures of other true shapes.

    Args:
        inputs: the true shapes.
    """
    sdfs = [shape.sdf for shape in draw_shapes(len(inputs.evaluator.held_out), HELD_OUT_SEED + 1)]
    return {"version": __version__, **measure_shapes(inputs, sdfs, seed=2)}


def measure_trial(inputs: ExperimentInputs, trial: Trial) -> Row:
    """Train a GPT, sample it, and measure the samples.

    Args:
        inputs: the tokenizer, its sequences and the true shapes.
        trial: the settings.
    """
    tokenizer, sequences = use_first_levels(inputs.tokenizer, inputs.sequences, trial.num_quantizers)
    folder = train_gpt(inputs, trial.num_shapes, trial.pretrain_config, tokenizer, sequences)
    gpt = GPT2LMHeadModel.from_pretrained(folder / "model").eval()
    steps = read_json(folder / "history.json")["log"][-1]["step"]
    bits_per_token, tokens = code_loss(gpt, sequences.held_out) / math.log(2), tokenizer.vocabulary.codes_per_field
    samples = WeightGPT(gpt, tokenizer).generate(
        len(inputs.evaluator.held_out),
        seed=inputs.seed,
        temperature=trial.temperature,
        top_p=trial.top_p,
        top_k=trial.top_k,
        progress=True,
    )
    return {
        "version": __version__,
        "tokens_per_field": tokens,
        "gpt_parameters": gpt.num_parameters(),
        "train_flops": steps * step_flops(gpt, trial.batch_size, tokenizer.vocabulary.length),
        "steps": steps,
        "gpt_bits_per_field": bits_per_token * tokens,
        "gpt_bits_fraction": bits_per_token / math.log2(tokenizer.quantizer.codebook_size),
        **measure_shapes(inputs, samples.fields.sdfs(), seed=0),
    }


def train_gpt(
    inputs: ExperimentInputs, num_shapes: int, config: PretrainConfig, tokenizer: WeightTokenizer, sequences: Sequences
) -> Path:
    """Train a GPT in a folder that is named after its settings, unless an earlier trial trained the same GPT.

    Args:
        inputs: the seed and the folder of all GPTs.
        num_shapes: N.
        config: the training.
        tokenizer: the tokenizer of the sequences.
        sequences: the sequences.

    Returns:
        The folder of the GPT.
    """
    fingerprint = tokenizer.quantizer.fingerprint
    settings = {"fingerprint": fingerprint, "gpt": asdict(config), "seed": inputs.seed, "num_shapes": num_shapes}
    folder = inputs.folder / f"gpt-{settings_digest(settings)}"
    if not (folder / "history.json").is_file():
        train, validation = sequence_dataset(sequences.train[:num_shapes]), sequence_dataset(sequences.validation)
        pretrain(train, validation, tokenizer, folder, config, seed=inputs.seed)
    return folder
