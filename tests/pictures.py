"""Pictures that a test wrote, read and closed again."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """The pixels (height, width, 3) of a picture.

    Args:
        path: a file that Pillow reads.
    """
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def picture_size(path: Path | str) -> tuple[int, int]:
    """The width and the height of a picture.

    Args:
        path: a file that Pillow reads.
    """
    height, width, _ = read_picture(path).shape
    return width, height
