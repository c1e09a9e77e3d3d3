"""Shapes of unions of boxes in one `.npz` file per class, such as PartNet's furniture as ShapeAssembly writes it.

A file holds the arrays
- `id` (N,): whole numbers, the names of the shapes;
- `start` (N + 1,) whole numbers and `corners` (B, 8, 3) floats: shape i is the union of the boxes
  `corners[start[i]:start[i + 1]]`, whose corners 1, 2 and 4 are the neighbors of corner 0;
- `split` (N,): texts, each one of `train`, `validation` and `test`.

Dimensions: N shapes, B boxes.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.given_split import GivenShapes
from weightgpt.errors import InputError
from weightgpt.io import check_file, reading
from weightgpt.shapes.boxes import shape_from_boxes

PARTNET_FILES = {"chair": "chair.npz", "table": "table.npz", "storage": "storage.npz"}
"""The file of each class of the PartNet corpora."""
PARTNET_CREDIT = (
    "Learned from furniture of PartNet and ShapeNet, as the programs of ShapeAssembly (Jones et al. 2020, Brown"
    " University) build it from boxes. Their terms allow research and no commercial use."
)
"""What a model card says about a model that learned from these shapes."""
KINDS = {"id": "whole numbers", "start": "whole numbers", "corners": "floats", "split": "texts"}
"""The arrays of a file and what they hold."""
MAX_BYTES = 2**30
"""Most bytes of a file, unpacked."""


def load_box_shapes(path: Path, label: str) -> GivenShapes:
    """Read the shapes of one class.

    Args:
        path: the `.npz` file.
        label: name of the class.

    Returns:
        The shapes, centered and scaled as mesh files are, and the part of the split that each belongs to.

    Raises:
        InputError: the file is missing, broken or too large, an array is missing or of another size, or a shape has a
            box that is none.
    """
    arrays = _read_arrays(path)
    ids, start, corners = arrays["id"], arrays["start"], arrays["corners"].astype(np.float64)
    shapes = []
    for i, number in enumerate(ids.tolist()):
        try:
            shapes.append(shape_from_boxes(corners[start[i] : start[i + 1]], f"{label}-{number}", label))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return GivenShapes(shapes, arrays["split"].tolist(), str(path))


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file, with the kinds and the sizes that belong together."""
    check_file(path, MAX_BYTES)
    with reading(path, ".npz file of boxes"):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise InputError(
                f"{path} unpacks to {size / 2**20:.0f} MiB, more than the {MAX_BYTES / 2**20:.0f} MiB allowed; give a"
                " smaller file."
            )
        with np.load(path, allow_pickle=False) as file:
            if absent := sorted(KINDS.keys() - set(file.files)):
                raise InputError(f"{path} has no array {absent[0]!r}; give a file with the arrays {', '.join(KINDS)}.")
            arrays = {name: file[name] for name in KINDS}
    for name, array in arrays.items():
        if array.dtype.kind not in {"whole numbers": "iu", "floats": "f", "texts": "U"}[KINDS[name]]:
            raise InputError(f"{path}: the array {name!r} holds {array.dtype}; give {KINDS[name]}.")
    _check_sizes(path, arrays)
    return arrays


def _check_sizes(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Refuse arrays whose sizes do not belong together."""
    count, start, corners = len(arrays["id"]) if arrays["id"].ndim else 0, arrays["start"], arrays["corners"]
    expected = {"id": (count,), "start": (count + 1,), "corners": (*corners.shape[:1], 8, 3), "split": (count,)}
    for name, shape in expected.items():
        if arrays[name].shape != shape or count == 0:
            raise InputError(
                f"{path}: the array {name!r} has shape {arrays[name].shape} for {count} shapes; give N names in 'id',"
                " N + 1 numbers in 'start', (B, 8, 3) corners, and N texts in 'split'."
            )
    if start[0] != 0 or start[-1] != len(corners) or not (start[1:] > start[:-1]).all():
        raise InputError(
            f"{path}: 'start' goes from {start[0]} to {start[-1]} for {len(corners)} boxes; give rising numbers from 0"
            " to the number of boxes."
        )
    if len(set(arrays["id"].tolist())) != count:
        raise InputError(f"{path} has an id twice; give each shape its own.")
