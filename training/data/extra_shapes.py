"""Extra training shapes, for the GPT alone.

A GPT learns more from many sequences than from many passes over few sequences. We do not store the weights of these
shapes. We store their distances at the first shared points, because the memorization check compares samples with every
shape that the GPT has seen.

File: {input_ids (E, L) int32, probe_sdf (E, m) float16}.

Dimensions: E extra shapes, N training shapes, L tokens of a sequence, m probes, M shared points, D dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor
from tqdm import tqdm

from training.data.corpus import sequence_dataset
from weightgpt.errors import InputError
from weightgpt.io import read_tensors, write_tensors
from weightgpt.metrics.memorization import TrainingShapes
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.lazy import LazySequence
from weightgpt.shapes.sampling import Samples, sample_sdf
from weightgpt.shapes.shape import Shape
from weightgpt.tokens.tokenizer import WeightTokenizer

NUM_PROBES = 2048
"""m. The encoder reads a shape at the same points. Encoding without refinement needs no other points."""
BATCH_SIZE = 1024
"""Shapes encoded at once."""


@dataclass(frozen=True)
class ExtraShapes:
    """E extra shapes and their sequences; E may be 0."""

    shapes: Sequence[Shape]
    """The shapes; drawn shapes are drawn again when they are read."""
    input_ids: Tensor
    """(E, L) sequences."""
    probe_sdf: Tensor
    """(E, m) distances at the probes, float16."""

    @property
    def sequences(self) -> Dataset:
        """A dataset with a column `input_ids`."""
        return sequence_dataset(self.input_ids)

    def seen_by_gpt(self, train: Sequence[Shape], samples: Samples) -> TrainingShapes:
        """All shapes that the GPT has seen, for the memorization check: first the training shapes, then the extra ones.

        Args:
            train: N training shapes.
            samples: the training shapes at the M shared points.
        """
        points, rows = samples.points[:NUM_PROBES], samples.sdf[:, :NUM_PROBES].half()
        shapes = join_shapes(train, self.shapes)
        sdfs = LazySequence(len(shapes), lambda i: shapes[i].sdf)
        return TrainingShapes(sdfs, points, torch.cat([rows, self.probe_sdf]))


def join_shapes(train: Sequence[Shape], extra: Sequence[Shape]) -> LazySequence[Shape]:
    """Training shapes and then extra shapes, in the order in which the memorization check counts them.

    Args:
        train: N training shapes.
        extra: E extra shapes.
    """
    return LazySequence(len(train) + len(extra), lambda i: train[i] if i < len(train) else extra[i - len(train)])


def encode_extra_shapes(
    shapes: Sequence[Shape], tokenizer: WeightTokenizer, points: Tensor, encode: EncodeConfig, path: Path
) -> ExtraShapes:
    """Encode extra shapes, or read the sequences of an earlier call.

    Args:
        shapes: E shapes.
        tokenizer: the tokenizer that encodes them.
        points: (M, D) the shared points at which the quantizer was learned.
        encode: how they are encoded.
        path: the file that the sequences are written to or read from.

    Raises:
        InputError: there are extra shapes, but the quantizer would have to fit each of them.
    """
    if len(shapes) and tokenizer.quantizer.probes is None:
        raise InputError(
            f"{len(shapes)} extra shapes would need a plain fit each before this tokenizer can encode them; set"
            " num_extra_shapes to 0."
        )
    if encode.steps == 0:
        points = points[:NUM_PROBES]
    if not path.is_file():
        input_ids = torch.zeros(0, tokenizer.vocabulary.length, dtype=torch.int32)
        probe_sdf = torch.zeros(0, min(NUM_PROBES, len(points)), dtype=torch.float16)
        for first in tqdm(range(0, len(shapes), BATCH_SIZE), "encoding extra shapes", unit=f"{BATCH_SIZE} shapes"):
            batch = shapes[first : first + BATCH_SIZE]
            samples = sample_sdf(batch, points)
            codes = tokenizer.quantizer.encode_samples(samples, encode)
            rows = tokenizer.vocabulary.ids(codes, [shape.label for shape in batch])
            input_ids = torch.cat([input_ids, rows.int()])
            probe_sdf = torch.cat([probe_sdf, samples.sdf[:, :NUM_PROBES].half()])
        write_tensors(path, {"input_ids": input_ids, "probe_sdf": probe_sdf})
    tensors = read_tensors(path)
    return ExtraShapes(shapes, tensors["input_ids"].long(), tensors["probe_sdf"])
