"""The corpus on disk: a `datasets.Dataset` that can be streamed, filtered and pushed.

Features: `name`; `label` (class name); `split` (train, validation or test; only train was seen by the
quantizer); `weights` (P float32, the field its tokens decode to, flat as in `weightgpt.fields.field`); `ids` (L tokens);
`fit_iou` (of the plain conditioned fit, null where none was made); `roundtrip_iou` (of the decoded field). Both are
volume IoU against the true shape at the same uniform points, null where it was not measured.
"""

from pathlib import Path

import pyarrow as pa
import torch
from datasets import Dataset, Features, List, Value
from torch import Tensor

from weightgpt.io import atomic_write

SPLITS = ("train", "validation", "test")


def features(parameters: int, length: int) -> Features:
    """Features of a corpus of fields of P parameters and sequences of L tokens."""
    return Features(
        {
            "name": Value("string"),
            "label": Value("string"),
            "split": Value("string"),
            "weights": List(Value("float32"), length=parameters),
            "ids": List(Value("int32"), length=length),
            "fit_iou": Value("float32"),
            "roundtrip_iou": Value("float32"),
        }
    )


def build(
    names: list[str],
    labels: list[str],
    splits: list[str],
    weights: Tensor,
    ids: Tensor,
    fit_iou: list[float | None],
    roundtrip_iou: list[float | None],
) -> Dataset:
    """A corpus of N shapes: weights (N, P), ids (N, L), one entry of everything else for each shape."""
    columns = {
        "name": pa.array(names),
        "label": pa.array(labels),
        "split": pa.array(splits),
        "weights": _fixed(weights.float()),
        "ids": _fixed(ids.to(torch.int32)),
        "fit_iou": pa.array(fit_iou, pa.float32()),
        "roundtrip_iou": pa.array(roundtrip_iou, pa.float32()),
    }
    return Dataset(pa.table(columns)).cast(features(weights.shape[1], ids.shape[1]))


def sequences(ids: Tensor) -> Dataset:
    """A dataset of ids (N, L) alone, in the column that the corpus has them in."""
    feature = Features({"ids": List(Value("int32"), length=ids.shape[1])})
    return Dataset(pa.table({"ids": _fixed(ids.to(torch.int32))})).cast(feature)


def _fixed(rows: Tensor) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.contiguous().flatten().numpy()), rows.shape[1])


def save(corpus: Dataset, folder: Path) -> None:
    """Write the corpus to `folder`, whole or not at all."""
    with atomic_write(folder) as draft:
        corpus.save_to_disk(str(draft))


def part(corpus: Dataset, split: str) -> Dataset:
    """The rows of one split."""
    return corpus.select([i for i, name in enumerate(corpus["split"]) if name == split])


def column(corpus: Dataset, name: str) -> Tensor:
    """A column of fixed-length rows as one tensor (N, length)."""
    return torch.from_numpy(corpus.with_format("numpy")[:][name].copy())
