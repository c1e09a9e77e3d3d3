"""Shapes of gray images: the bright region, by its Euclidean distance transform.

Decision: the signed distance is read by bilinear interpolation, so that the shape of an image is differentiable.
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
    """Turn the bright region of an image into a shape of [-1, 1]^2, with x right and y up.

    Distances are measured between pixel centers, less half a pixel, so that the zero level passes midway between pixels
    above and not above `threshold` (Euclidean distance transform, scipy.ndimage).

    Args:
        image: (h, w) gray values, uint8, or bool or float in [0, 1]; its sides become [-1, 1].
        name: name of the shape.
        label: name of its class.
        threshold: gray value in [0, 1]; brighter pixels are inside.

    Raises:
        InputError: `image` is not a 2D image of finite numbers in [0, 1], or none or all of it is above `threshold`.

    Examples:
        >>> import numpy as np
        >>> image = np.zeros((8, 8))
        >>> image[:, :4] = 1
        >>> shape_from_image(image, "left half").dimension
        2
    """
    inside = _pixels(image) > threshold
    if inside.all() or not inside.any():
        which = "all" if inside.all() else "none"
        raise InputError(f"{which} of the image is above the threshold {threshold}; give an image with a shape in it.")
    pixel = 2.0 / np.array(inside.shape)
    half = float(np.sqrt(pixel.prod())) / 2
    outside = distance_transform_edt(~inside, sampling=pixel)
    depth = distance_transform_edt(inside, sampling=pixel)
    signed = np.where(inside, half - depth, outside - half)
    return Shape(name=name, label=label, sdf=_bilinear(signed), dimension=2, center=(0.0, 0.0))


def _pixels(image: ArrayLike) -> NDArray[np.float64]:
    """Check an image and convert it to gray values (h, w) in [0, 1]."""
    array = np.asarray(image)
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"the image has shape {array.shape}; give one channel of shape (height, width).")
    if array.dtype.kind not in "fb" and array.dtype != np.uint8:
        raise InputError(f"the image is of {array.dtype}; give uint8, bool, or float in [0, 1].")
    pixels = array / 255.0 if array.dtype == np.uint8 else array.astype(np.float64)
    if not ((pixels >= 0.0) & (pixels <= 1.0)).all():
        raise InputError("the image has gray values that are NaN or outside [0, 1]; scale them into that range.")
    return pixels


def _bilinear(table: NDArray[np.float64]) -> Callable[[Tensor], Tensor]:
    """Interpolate a table (h, w) whose cell centers are at (i + 1/2) * 2 / n - 1; row 0 is at the top."""
    rows = torch.from_numpy(np.ascontiguousarray(table[::-1])).float()[None, None]

    def interpolate(points: Tensor) -> Tensor:
        grid = points.reshape(1, 1, -1, 2)
        values = torch.nn.functional.grid_sample(rows.to(points), grid, padding_mode="border", align_corners=False)
        return values.reshape(-1)

    return interpolate
