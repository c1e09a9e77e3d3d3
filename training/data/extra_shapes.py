"""Further training shapes, for the GPT alone: more sequences teach it more than more passes over few do.

Their weights are not kept. Their distances at the first points of the schedule are, because the guard against copies
must know every shape that the GPT has seen.

File: {ids (N, L) int32, probed (N, m) float16}.

Dimensions: N further shapes, T training shapes, L tokens of a sequence, m probes, M points of the schedule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor
from tqdm import tqdm

from training.data.corpus import sequences
from weightgpt.errors import InputError
from weightgpt.io import read_tensors, write_tensors
from weightgpt.metrics.memorization import TrainingShapes
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.lazy import LazySequence
from weightgpt.shapes.sampling import Samples, sample_sdf
from weightgpt.shapes.shape import Shape
from weightgpt.tokens.tokenizer import WeightTokenizer

PROBES = 2048
"""m; the encoder sees a shape at these points too, and without refining at no others."""
GROUP = 1024
"""Shapes encoded at once."""


@dataclass(frozen=True)
class ExtraShapes:
    """N further shapes; there may be none."""

    shapes: Sequence[Shape]
    ids: Tensor
    """(N, L)."""
    probed: Tensor
    """(N, m)."""

    @property
    def sequences(self) -> Dataset:
        """A dataset with a column `ids`."""
        return sequences(self.ids)

    def guard(self, train: list[Shape], samples: Samples) -> TrainingShapes:
        """T training shapes, sampled at the schedule, and then these: all that the GPT has seen, for the guard."""
        points, rows = samples.points[:PROBES], samples.sdf[:, :PROBES].half()
        shapes = seen(train, self.shapes)
        return TrainingShapes(
            LazySequence(len(shapes), lambda i: shapes[i].sdf), points, torch.cat([rows, self.probed])
        )


def seen(train: Sequence[Shape], more: Sequence[Shape]) -> LazySequence[Shape]:
    """T training shapes and then N further ones, in the order in which the guard counts them."""
    return LazySequence(len(train) + len(more), lambda i: train[i] if i < len(train) else more[i - len(train)])


def encode_extra_shapes(
    shapes: Sequence[Shape], tokenizer: WeightTokenizer, points: Tensor, options: EncodeConfig, path: Path
) -> ExtraShapes:
    """Sequences of N shapes, sampled at the schedule `points` (M, D); kept in `path`, and read from there again.

    Raises:
        InputError: there are such shapes, but the quantizer would have to fit each of them.
    """
    if len(shapes) and tokenizer.quantizer.probes is None:
        raise InputError("this quantizer fits a field to every shape, which takes too long; set num_extra_shapes to 0.")
    if options.steps == 0:
        points = points[:PROBES]
    if not path.is_file():
        ids = torch.zeros(0, tokenizer.vocabulary.length, dtype=torch.int32)
        probed = torch.zeros(0, min(PROBES, len(points)), dtype=torch.float16)
        for first in tqdm(range(0, len(shapes), GROUP), "encoding more shapes", unit=f"{GROUP} shapes"):
            some = shapes[first : first + GROUP]
            found = sample_sdf(some, points)
            codes = tokenizer.quantizer.encode_samples(found, options)
            rows = tokenizer.vocabulary.ids(codes, [shape.label for shape in some])
            ids, probed = torch.cat([ids, rows.int()]), torch.cat([probed, found.sdf[:, :PROBES].half()])
        write_tensors(path, {"ids": ids, "probed": probed})
    kept = read_tensors(path)
    return ExtraShapes(shapes, kept["ids"].long(), kept["probed"])
