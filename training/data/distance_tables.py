"""Corpora of signed distances in Parquet files: a row is a shape with its points and their distances.

Decisions:
- `datasets` reads the files as a stream, row by row, and we parse nothing.
- Columns are found by the names of `COLUMNS`. A class and a split are optional.
- A row that is no shape is refused with its number and the reason, and the others are read, as mesh files are.

Dimensions: N samples of a row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import IterableDataset, load_dataset
from datasets.utils import logging
from numpy.typing import NDArray

from training.data.given_split import GivenShapes
from training.limits import memory_limit
from weightgpt.errors import InputError
from weightgpt.io import reading
from weightgpt.shapes.meshes import Refusal
from weightgpt.shapes.names import distinct_name, printable_name
from weightgpt.shapes.sampled import NUM_HELD_OUT, NUM_SAMPLES, shape_from_samples
from weightgpt.shapes.shape import Shape

COLUMNS = {
    "id": ("id", "shape_id", "name"),
    "points": ("points", "coords", "xyz"),
    "distances": ("distances", "sdf", "sdfs"),
    "label": ("label", "class", "category"),
    "split": ("split",),
}
"""What a column holds, and the names that it may have."""
REQUIRED = ("id", "points", "distances")
"""The columns that a file must have."""
BYTES_PER_SHAPE = 32 * (NUM_SAMPLES + NUM_HELD_OUT)
"""Memory of the samples of a shape."""


@dataclass(frozen=True)
class DistanceTable:
    """The shapes of Parquet files."""

    given: GivenShapes
    """The shapes, and the part of the split that each belongs to; no parts without a column for them."""
    refused: list[Refusal]
    """The rows that could not be read as shapes."""


def parquet_files(path: Path) -> list[Path]:
    """The Parquet files of a corpus.

    Args:
        path: a file, or a folder of files.
    """
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path]


def load_distance_table(path: Path, seed: int) -> DistanceTable:
    """Read the shapes of a corpus of signed distances.

    Args:
        path: a Parquet file, or a folder of them.
        seed: seed of the choice of the held-out samples.

    Raises:
        InputError: there is no file, it is broken, a column is missing, or no row can be read.
    """
    shapes: list[Shape] = []
    parts: list[str] = []
    refused: list[Refusal] = []
    names: set[str] = set()
    for number, (row, columns) in enumerate(_stream_rows(path)):
        if (len(shapes) + 1) * BYTES_PER_SHAPE > memory_limit():
            raise InputError(f"{path} has more shapes than the memory can hold ({len(shapes):,}); give fewer rows.")
        try:
            name = distinct_name([str(row[columns["id"]])], names)
            label = printable_name(str(row[columns["label"]])) if "label" in columns else "none"
            points, sdf = _read_samples(row, columns)
            shapes.append(shape_from_samples(points, sdf, name, label, seed))
        except InputError as error:
            refused.append(Refusal(path, f"row {number} of {path}: {error}"))
            continue
        if "split" in columns:
            parts.append(str(row[columns["split"]]))
    if not shapes:
        first = f"; the first of its {len(refused)} rows: {refused[0].reason}" if refused else ""
        raise InputError(f"{path} has no row that can be read as a shape{first or '; give rows of distances.'}")
    return DistanceTable(GivenShapes(shapes, parts, str(path)), refused)


def _stream_rows(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """The rows of all files as arrays, each with the names of its columns."""
    files = parquet_files(path)
    if not files or not all(file.is_file() for file in files):
        raise InputError(f"{path} has no Parquet file; give a .parquet file, or a folder of them.")
    logging.set_verbosity(logging.CRITICAL)  # our error says what is wrong, in one sentence
    with reading(path, "Parquet file of distances"):
        rows = load_dataset("parquet", data_files=[str(file) for file in files], split="train", streaming=True)
        columns = _find_columns(path, rows)
        stream = iter(rows.with_format("numpy"))
    while True:
        with reading(path, "Parquet file of distances"):
            row = next(stream, None)
        if row is None:
            return
        yield row, columns


def _find_columns(path: Path, rows: IterableDataset) -> dict[str, str]:
    """The names of the columns that a file has."""
    present = rows.column_names or []
    columns = {key: name for key, names in COLUMNS.items() for name in names[::-1] if name in present}
    for key in REQUIRED:
        if key not in columns:
            raise InputError(
                f"{path} has the columns {', '.join(present)} and none for the {key} of a shape; give a column"
                f" {' or '.join(COLUMNS[key])}."
            )
    return columns


def _read_samples(row: dict[str, Any], columns: dict[str, str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The points (N, 3), which may be stored flat, and the distances (N,) of a row."""
    points, sdf = (np.asarray(row[columns[key]]) for key in ("points", "distances"))
    if points.dtype.kind not in "fiu" or sdf.dtype.kind not in "fiu":
        raise InputError(
            f"the points are {points.dtype} and the distances {sdf.dtype}; give numbers, and three for each point."
        )
    if points.ndim == 1 and points.size % 3 == 0:
        points = points.reshape(-1, 3)
    sdf = sdf.reshape(-1)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) != len(sdf):
        raise InputError(f"there are points {points.shape} for {len(sdf)} distances; give three numbers for each.")
    return points, sdf
