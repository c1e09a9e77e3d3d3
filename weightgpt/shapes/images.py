"""Shapes of gray images: the bright region, by its Euclidean distance transform.

The signed distance is read by bilinear interpolation, so a shape of an image is differentiable.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.shape import Shape


def shape_from_image(image: ArrayLike, name: str, label: str = "none", threshold: float = 0.5) -> Shape:
    """The bright region of an image (h, w), in [0, 1] or uint8, as a shape of [-1, 1]^2 with x right and y up.

    The distance runs between pixel centers, less half a pixel, so that the zero level passes midway between pixels
    above and not above `threshold` (Euclidean distance transform, scipy.ndimage).

    Raises:
        InputError: not a 2D image of finite numbers in [0, 1], or nothing or everything is above `threshold`.
    """
    inside = _pixels(image) > threshold
    if inside.all() or not inside.any():
        which = "all" if inside.all() else "none"
        raise InputError(f"{which} of the image is above the threshold {threshold}; give one with a shape in it.")
    pixel = 2.0 / np.array(inside.shape)
    half = float(np.sqrt(pixel.prod())) / 2
    outwards = distance_transform_edt(~inside, sampling=pixel)
    inwards = distance_transform_edt(inside, sampling=pixel)
    signed = np.where(inside, half - inwards, outwards - half)
    return Shape(name=name, label=label, sdf=_bilinear(signed), dimension=2, center=(0.0, 0.0))


def _pixels(image: ArrayLike) -> NDArray[np.float64]:
    """An image as intensities (h, w) in [0, 1]."""
    array = np.asarray(image)
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"an image of shape {array.shape} was given; give one channel of shape (height, width).")
    if array.dtype.kind not in "fb" and array.dtype != np.uint8:
        raise InputError(f"an image of {array.dtype} was given; give uint8, bool, or float in [0, 1].")
    pixels = array / 255.0 if array.dtype == np.uint8 else array.astype(np.float64)
    if not ((pixels >= 0.0) & (pixels <= 1.0)).all():
        raise InputError("the image has intensities that are NaN or outside [0, 1]; scale them into it.")
    return pixels


def _bilinear(table: NDArray[np.float64]) -> Callable[[Tensor], Tensor]:
    """A look-up in a table (h, w) whose cell centers are at (i + 1/2) * 2 / n - 1; row 0 is at the top."""
    rows = torch.from_numpy(np.ascontiguousarray(table[::-1])).float()[None, None]

    def look_up(points: Tensor) -> Tensor:
        grid = points.reshape(1, 1, -1, 2)
        values = torch.nn.functional.grid_sample(rows.to(points), grid, padding_mode="border", align_corners=False)
        return values.reshape(-1)

    return look_up
