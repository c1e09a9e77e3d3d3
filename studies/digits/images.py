"""Small gray images: read images, convert them to shapes, render fields as images, and compare images.

Decisions:
- The outline of a shape is where a gray image has the gray level 1/2. We first enlarge the image by bilinear
  interpolation, so that the outline can run between pixels.
- A field is rendered as sigmoid(-f / edge_width) at the pixel centers. All images have one edge width, which is fitted
  to training images and their true distances, never to generated images.
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
"""Largest size of an idx file, in bytes."""
ZOOM = 4
"""Enlargement of an image before its outline is taken."""
WINDOW = 7
"""Pixels along each side of the window of SSIM."""
_C1, _C2 = 0.01**2, 0.03**2  # K1, K2 of Wang et al. for values in [0, 1]


def load_images(folder: Path | str) -> tuple[Tensor, Tensor]:
    """Read the images and classes of a pair of idx files.

    The files are named `*images-idx3-ubyte` and `*labels-idx1-ubyte`, with or without `.gz`, one pair in the folder.

    Args:
        folder: the folder of the files.

    Returns:
        Images (N, h, w) float32 in [0, 1] and classes (N,) int64.

    Raises:
        InputError: there is not one pair of such files, or a file is broken or does not match the other.
    """
    images = _read_idx(_find_file(Path(folder), "images-idx3-ubyte"), 3)
    labels = _read_idx(_find_file(Path(folder), "labels-idx1-ubyte"), 1)
    if len(images) != len(labels) or images.size == 0:
        raise InputError(f"{folder} has {len(images)} images and {len(labels)} labels; give one label for each image.")
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels.astype(np.int64))


def _find_file(folder: Path, name: str) -> Path:
    """The one file of this name, with or without `.gz`."""
    paths = [path for path in sorted(folder.glob(f"*{name}*")) if path.name.removesuffix(".gz").endswith(name)]
    if len(paths) != 1:
        raise InputError(f"{folder} has {len(paths)} files *{name} or *{name}.gz; give a folder with one.")
    return paths[0]


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


def shape_from_gray_image(image: Tensor, name: str, label: str = "none") -> Shape:
    """The bright region of a gray image as a shape; the sides of the image become [-1, 1], y up.

    Args:
        image: (h, w) gray values in [0, 1].
        name: name of the shape.
        label: its class.

    Raises:
        InputError: no pixel, or every pixel, is above 1/2.
    """
    enlarged = zoom(image.double().numpy(), ZOOM, order=1, mode="grid-constant", grid_mode=True)
    return shape_from_image(enlarged.clip(0, 1), name, label)


def add_slanted_copies(shapes: Sequence[Shape], copies: int, seed: int) -> list[Shape]:
    """The shapes, and copies that are turned, sheared and stretched a little about the middle; no copy is mirrored.

    Angles are normal with a deviation of 8 degrees, shears with 0.08, the logarithms of the stretches in x and y with
    0.08.

    Args:
        shapes: planar shapes.
        copies: copies of each shape; copy i of "a" is named "a~i".
        seed: equal seeds give equal copies.
    """
    rng = np.random.default_rng([seed, copies])
    slanted = [_slant(shape, rng, f"{shape.name}~{copy + 1}") for copy in range(copies) for shape in shapes]
    return [*shapes, *slanted]


def _slant(shape: Shape, rng: np.random.Generator, name: str) -> Shape:
    """One slanted copy."""
    angle = math.radians(rng.normal(0, 8))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    stretch_x, stretch_y = np.exp(rng.normal(0, 0.08, 2))
    matrix = rotation @ np.array([[stretch_x, rng.normal(0, 0.08)], [0, stretch_y]])
    inverse = torch.tensor(np.linalg.inv(matrix).T, dtype=torch.float32)
    scale = math.sqrt(stretch_x * stretch_y)

    def sdf(points: Tensor) -> Tensor:
        # The sign is exact; the size is right on average over the directions.
        return shape.sdf(points @ inverse) * scale

    return replace(shape, name=name, sdf=sdf)


def soft_occupancy(distances: Tensor, edge_width: float) -> Tensor:
    """Gray values in [0, 1] of signed distances: sigmoid(-f / edge_width), 1/2 on the outline.

    Args:
        distances: signed distances of any shape.
        edge_width: width of the transition from 0 to 1, in half-sides of the image.
    """
    return torch.sigmoid(-distances / edge_width)


@torch.no_grad()
def render_images(fields: Fields, height: int, width: int, edge_width: float, batch_size: int = 256) -> Tensor:
    """Render planar fields as gray images.

    Args:
        fields: B planar fields.
        height: h.
        width: w.
        edge_width: see `soft_occupancy`.
        batch_size: fields that are evaluated together.

    Returns:
        (B, h, w) gray values in [0, 1].
    """
    centers = pixel_centers(height, width)
    starts = range(0, len(fields), batch_size)
    values = torch.cat([fields.select(slice(i, i + batch_size))(centers)[..., 0] for i in starts])
    return soft_occupancy(values, edge_width).reshape(len(fields), height, width)


def fit_edge_width(distances: Tensor, images: Tensor) -> float:
    """The edge width whose renderings of true distances are nearest to the images, up to 2 %.

    Args:
        distances: (N, h, w) signed distances at the pixel centers.
        images: (N, h, w) gray values in [0, 1].
    """
    widths = np.geomspace(1e-3, 0.5, 314)
    errors = [float((soft_occupancy(distances, float(width)) - images).square().mean()) for width in widths]
    return float(widths[int(np.argmin(errors))])


def ssim_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of all pairs of images.

    For each position of the window, the means, variances and covariances of all pairs are three matrix products.

    Args:
        a: (N, h, w) gray values in [0, 1].
        b: (M, h, w) gray values in [0, 1].

    Returns:
        (N, M) similarities.

    Raises:
        InputError: the images differ in size, or are smaller than the window.
    """
    if a.ndim != 3 or a.shape[1:] != b.shape[1:] or min(a.shape[1:]) < WINDOW:
        raise InputError(
            f"images of shapes {tuple(a.shape)} and {tuple(b.shape)} cannot be compared; give (n, h, w) of one size,"
            f" {WINDOW} pixels or more along each side."
        )
    total = torch.zeros(len(a), len(b))
    corners = [(row, column) for row in range(a.shape[1] - WINDOW + 1) for column in range(a.shape[2] - WINDOW + 1)]
    for row, column in corners:
        x, y = (part[:, row : row + WINDOW, column : column + WINDOW].float().flatten(1) for part in (a, b))
        total += _window_ssim(x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True), x.mean(1), y.mean(1))
    return total / len(corners)


def _window_ssim(x: Tensor, y: Tensor, mean_x: Tensor, mean_y: Tensor) -> Tensor:
    """SSIM (N, M) of centered windows (N, k) and (M, k) with these means."""
    degrees_of_freedom = x.shape[1] - 1
    variance_x, variance_y = x.square().sum(1) / degrees_of_freedom, y.square().sum(1) / degrees_of_freedom
    covariance = x @ y.T / degrees_of_freedom
    luminance = (2 * torch.outer(mean_x, mean_y) + _C1) / (mean_x.square()[:, None] + mean_y.square() + _C1)
    return luminance * (2 * covariance + _C2) / (variance_x[:, None] + variance_y + _C2)
