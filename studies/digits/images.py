"""Small gray images: read, taken as shapes, rendered from fields, and compared.

Decisions:
- A gray image is a shape by its level 1/2: the image is enlarged with bilinear interpolation before the distances are
  taken, so that the outline runs between pixels where the gray values say it does.
- A field is rendered as sigmoid(-f / width) at the centers of the pixels. One width serves all images; `softness` finds
  it from images and their true distances, and never from what was generated.
- Images are compared by SSIM (Wang et al. 2004) with the settings of `skimage.metrics.structural_similarity`: a uniform
  window of 7 pixels, sample covariance, windows inside the image only. All pairs of two sets are compared at once.

Dimensions: N images of h x w pixels, B fields.
"""

import gzip
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.shapes.images import shape_from_image
from weightgpt.shapes.shape import Shape
from weightgpt.visual.rendering import pixel_centers

MAX_BYTES = 256 * 2**20
FINE = 4
"""How many times an image is enlarged before its outline is taken."""
WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2  # K1, K2 of Wang et al. for values in [0, 1]


def load_images(folder: Path | str) -> tuple[Tensor, Tensor]:
    """Images (N, h, w) float32 in [0, 1] and their classes (N,) int64, from a pair of idx files in a folder.

    The files are named `*images-idx3-ubyte` and `*labels-idx1-ubyte`, with or without `.gz`, one pair in the folder.

    Raises:
        InputError: there is not one pair of such files, or a file is broken or does not match the other.
    """
    images = _read_idx(_only(Path(folder), "images-idx3-ubyte"), 3)
    labels = _read_idx(_only(Path(folder), "labels-idx1-ubyte"), 1)
    if len(images) != len(labels) or images.size == 0:
        raise InputError(
            f"{folder} holds {len(images)} images and {len(labels)} labels; give one label for each image."
        )
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels.astype(np.int64))


def _only(folder: Path, name: str) -> Path:
    found = [path for path in sorted(folder.glob(f"*{name}*")) if path.name.removesuffix(".gz").endswith(name)]
    if len(found) != 1:
        raise InputError(f"{folder} holds {len(found)} files *{name} or *{name}.gz; give a folder with one.")
    return found[0]


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file of bytes: two zeros, type 8, the number of dimensions, each as 4 bytes, the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}); download it again.") from error
    start = 4 * (1 + dimensions)
    shape = [int(size) for size in np.frombuffer(data[4 : start - start % 4], ">u4")] if len(data) >= start else []
    if len(data) > MAX_BYTES or data[:4] != bytes([0, 0, 8, dimensions]) or len(data) - start != math.prod(shape):
        raise InputError(f"{path} is not a whole idx file of {dimensions}D bytes; download it again.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def outlined(image: Tensor, name: str, label: str = "none") -> Shape:
    """The bright region of a gray image (h, w) in [0, 1] as a shape; its sides become [-1, 1], y up.

    Raises:
        InputError: no pixel, or every one, is above 1/2.
    """
    fine = zoom(image.double().numpy(), FINE, order=1, mode="grid-constant", grid_mode=True)
    return shape_from_image(fine.clip(0, 1), name, label)


def slanted(shapes: Sequence[Shape], copies: int, seed: int) -> list[Shape]:
    """The shapes and `copies` of each, turned, sheared and stretched a little about the middle; none is mirrored.

    Angles are normal with a deviation of 8 degrees, shears of 0.08, the logarithms of the stretches in x and y of 0.08.
    """
    rng = np.random.default_rng([seed, copies])
    return [*shapes, *(_slanted(shape, rng, f"{shape.name}~{copy + 1}") for copy in range(copies) for shape in shapes)]


def _slanted(shape: Shape, rng: np.random.Generator, name: str) -> Shape:
    angle = math.radians(rng.normal(0, 8))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    across, up = np.exp(rng.normal(0, 0.08, 2))
    move = turn @ np.array([[across, rng.normal(0, 0.08)], [0, up]])
    inverse = torch.tensor(np.linalg.inv(move).T, dtype=torch.float32)
    size = math.sqrt(across * up)

    def sdf(points: Tensor) -> Tensor:
        # Exact in sign; in size right on average over the directions.
        return shape.sdf(points @ inverse) * size

    return replace(shape, name=name, sdf=sdf)


def softened(distances: Tensor, width: float) -> Tensor:
    """Gray values in [0, 1] of signed distances of any shape: sigmoid(-f / width), 1/2 on the outline."""
    return torch.sigmoid(-distances / width)


@torch.no_grad()
def render_images(fields: Fields, height: int, width: int, softness: float, batch: int = 256) -> Tensor:
    """Gray images (B, h, w) in [0, 1] of planar fields."""
    centers = pixel_centers(height, width)
    parts = [fields.select(slice(i, i + batch))(centers)[..., 0] for i in range(0, len(fields), batch)]
    return softened(torch.cat(parts), softness).reshape(len(fields), height, width)


def softness(distances: Tensor, images: Tensor) -> float:
    """The width, to a fiftieth of its size, whose renderings of true distances are nearest to the images.

    Args:
        distances: (N, h, w) signed distances at the centers of the pixels.
        images: (N, h, w) gray values in [0, 1].
    """
    widths = np.geomspace(1e-3, 0.5, 314)
    errors = [float((softened(distances, float(width)) - images).square().mean()) for width in widths]
    return float(widths[int(np.argmin(errors))])


def ssim_matrix(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) mean structural similarity of all pairs of images (N, h, w) and (M, h, w) with values in [0, 1].

    For each place of the window the means, variances and covariances of all pairs are three matrix products.

    Raises:
        InputError: the images differ in size, or are smaller than the window.
    """
    if a.ndim != 3 or a.shape[1:] != b.shape[1:] or min(a.shape[1:]) < WINDOW:
        raise InputError(
            f"images of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; give (n, h, w) of one size,"
            f" {WINDOW} pixels or more along each side."
        )
    total = torch.zeros(len(a), len(b))
    places = [(row, column) for row in range(a.shape[1] - WINDOW + 1) for column in range(a.shape[2] - WINDOW + 1)]
    for row, column in places:
        x, y = (part[:, row : row + WINDOW, column : column + WINDOW].float().flatten(1) for part in (a, b))
        total += _ssim_at(x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True), x.mean(1), y.mean(1))
    return total / len(places)


def _ssim_at(x: Tensor, y: Tensor, mean_x: Tensor, mean_y: Tensor) -> Tensor:
    """SSIM (N, M) of centered windows (N, k) and (M, k) with these means."""
    samples = x.shape[1] - 1
    variance_x, variance_y = x.square().sum(1) / samples, y.square().sum(1) / samples
    covariance = x @ y.T / samples
    light = (2 * torch.outer(mean_x, mean_y) + _C1) / (mean_x.square()[:, None] + mean_y.square() + _C1)
    return light * (2 * covariance + _C2) / (variance_x[:, None] + variance_y + _C2)
