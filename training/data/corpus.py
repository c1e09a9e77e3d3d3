"""The corpus on disk: a `datasets.Dataset` that can be streamed, filtered and pushed.

Columns:
- `name`: the name of the shape.
- `label`: the class name.
- `split`: train, validation or test; the quantizer learned from train only.
- `weights`: P float32, the field that the tokens decode to, flat as in `weightgpt.fields.field`.
- `input_ids`: L tokens.
- `iou_plain_fit` and `iou`: volume IoU of the plain fit and of the decoded field with the true shape, at the same
  uniform points; null if it was not measured.
- `notes`: sentences about what was repaired or dropped when the file of the shape was read.

The folder also has `checksums.json`, because the files of `datasets` have no checksum. A folder without it,
such as one that `datasets` wrote, is read too, and stderr says that nobody can tell whether it was changed.

Dimensions: N shapes, P parameters of a field, L tokens of a sequence.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import torch
from datasets import Dataset, Features, List, Value, load_from_disk
from torch import Tensor

from training.resume.digests import CHECKSUMS, changed_files, write_checksums
from weightgpt.errors import InputError
from weightgpt.io import atomic_write, reading
from weightgpt.tokens.vocabulary import Vocabulary

SPLITS = ("train", "validation", "test")
"""Values of the column `split`."""


def corpus_features(num_parameters: int, length: int) -> Features:
    """The columns of a corpus and their types.

    Args:
        num_parameters: P.
        length: L.
    """
    return Features(
        {
            "name": Value("string"),
            "label": Value("string"),
            "split": Value("string"),
            "weights": List(Value("float32"), length=num_parameters),
            "input_ids": List(Value("int32"), length=length),
            "iou_plain_fit": Value("float32"),
            "iou": Value("float32"),
            "notes": List(Value("string")),
        }
    )


def build_corpus(
    names: list[str],
    labels: list[str],
    splits: list[str],
    weights: Tensor,
    input_ids: Tensor,
    iou_plain_fit: list[float | None],
    iou: list[float | None],
    notes: Sequence[Sequence[str]] | None = None,
) -> Dataset:
    """A corpus of N shapes.

    Args:
        names: the name of each shape.
        labels: the class of each shape.
        splits: the split of each shape, one of `SPLITS`.
        weights: (N, P) the fields that the tokens decode to.
        input_ids: (N, L) the tokens.
        iou_plain_fit: IoU of the plain fits, None where there is none.
        iou: IoU of the decoded fields, None where it was not measured.
        notes: notes about each shape; none when None.
    """
    columns = {
        "name": pa.array(names),
        "label": pa.array(labels),
        "split": pa.array(splits),
        "weights": _fixed_size_lists(weights.float()),
        "input_ids": _fixed_size_lists(input_ids.to(torch.int32)),
        "iou_plain_fit": pa.array(iou_plain_fit, pa.float32()),
        "iou": pa.array(iou, pa.float32()),
        "notes": pa.array([list(texts) for texts in notes or [()] * len(names)], pa.list_(pa.string())),
    }
    return Dataset(pa.table(columns)).cast(corpus_features(weights.shape[1], input_ids.shape[1]))


def sequence_dataset(input_ids: Tensor) -> Dataset:
    """A dataset of sequences alone, in the column `input_ids` of a corpus.

    Args:
        input_ids: (N, L) the tokens.
    """
    feature = Features({"input_ids": List(Value("int32"), length=input_ids.shape[1])})
    return Dataset(pa.table({"input_ids": _fixed_size_lists(input_ids.to(torch.int32))})).cast(feature)


def _fixed_size_lists(rows: Tensor) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.contiguous().flatten().numpy()), rows.shape[1])


def save_corpus(corpus: Dataset, folder: Path) -> None:
    """Write a corpus to `folder`, completely or not at all.

    Args:
        corpus: the corpus.
        folder: the new folder.
    """
    with atomic_write(folder) as draft:
        corpus.save_to_disk(str(draft))
        write_checksums(draft)


def load_corpus(folder: Path) -> Dataset:
    """Read a corpus.

    Args:
        folder: a folder that `save_corpus` or `Dataset.save_to_disk` wrote; stderr says that the latter is unchecked.

    Raises:
        InputError: the folder holds no dataset, one without the columns of a corpus, or a broken one.
    """
    if not (folder / "state.json").is_file() and not (folder / CHECKSUMS).is_file():
        raise InputError(f"{folder} holds no corpus; give the folder `corpus` of a run of training.pipeline.")
    if changed := changed_files(folder):
        raise InputError(f"{folder / changed[0]} is missing or has changed; make the corpus again, or copy it again.")
    with reading(folder, "corpus"):
        corpus = load_from_disk(str(folder))
    if not isinstance(corpus, Dataset) or not {"input_ids", "split"} <= set(corpus.column_names):
        raise InputError(f"{folder} has no columns input_ids and split; give the folder `corpus` of a run.")
    if not (folder / CHECKSUMS).is_file():
        print(f"{folder} has no {CHECKSUMS}, so it is read without a check for changed files.", file=sys.stderr)
    return corpus


def check_sequences(corpus: Dataset, vocabulary: Vocabulary, folder: Path) -> None:
    """Refuse a corpus whose sequences are not of a vocabulary.

    Args:
        corpus: the corpus.
        vocabulary: the vocabulary that should have written them.
        folder: the folder of the corpus, for the error.

    Raises:
        InputError: a sequence has another length, or a token that is not legal at its position.
    """
    try:
        vocabulary.parse(column_tensor(corpus, "input_ids").long())
    except InputError as error:
        raise InputError(f"{folder} is not of this tokenizer: {error}") from error


def split_rows(corpus: Dataset, split: str) -> Dataset:
    """The rows of one split.

    Args:
        corpus: the corpus.
        split: one of `SPLITS`.
    """
    return corpus.select([i for i, name in enumerate(corpus["split"]) if name == split])


def column_tensor(corpus: Dataset, name: str) -> Tensor:
    """A column of fixed-length rows as one tensor (N, length).

    Args:
        corpus: the corpus.
        name: `weights` or `input_ids`.

    Raises:
        InputError: the rows are not numbers, or not of one length.
    """
    rows = corpus.select_columns(name).with_format("numpy")[:][name]
    if rows.ndim != 2 or rows.dtype.kind not in "if":
        raise InputError(f"the column {name} does not have rows of numbers of one length; make the corpus again.")
    return torch.from_numpy(rows.copy())
