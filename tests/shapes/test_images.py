"""Gray images become shapes with the right distances, and bad images are refused."""

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tests.fakes import generator
from weightgpt.errors import InputError
from weightgpt.shapes.images import shape_from_image


def centers(height: int, width: int) -> Tensor:
    """Pixel centers (height * width, 2) as (x, y), in rows from the top."""
    y = 1 - (torch.arange(height) + 0.5) * 2 / height
    x = (torch.arange(width) + 0.5) * 2 / width - 1
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_a_disc_has_the_distance_of_a_circle(size: tuple[int, int]) -> None:
    middle = torch.tensor([0.2, -0.1])
    image = ((centers(*size) - middle).norm(dim=1) < 0.5).reshape(size).numpy()
    shape = shape_from_image(image, "disc", label="round")
    queries = torch.rand(2000, 2, generator=generator(0)) * 1.9 - 0.95
    expected = (queries - middle).norm(dim=1) - 0.5
    torch.testing.assert_close(shape.sdf(queries), expected, atol=2 / 64, rtol=0)
    assert (shape.name, shape.label, shape.dimension, shape.center) == ("disc", "round", 2, (0.0, 0.0))
    assert torch.equal(shape.sdf(centers(*size)) < 0, torch.from_numpy(image.reshape(-1)))


def test_the_zero_level_lies_midway_and_the_slope_is_one() -> None:
    image = np.zeros((8, 8), np.uint8)
    image[:, :4] = 255
    shape = shape_from_image(image, "half")
    x = torch.linspace(-0.8, 0.8, 33)
    queries = torch.stack([x, 0.3 * torch.ones_like(x)], dim=1).requires_grad_()
    values = shape.sdf(queries)
    torch.testing.assert_close(values, x, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(values.sum(), queries)[0][:, 0], torch.ones(33))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((4, 4, 3)), r"shape \(4, 4, 3\)"),
        (np.zeros((4, 4)), "none of the image"),
        (np.ones((4, 4), bool), "all of the image"),
        (np.full((4, 4), np.nan), "NaN or outside"),
        (np.full((4, 4), 2.0), "NaN or outside"),
        (np.zeros((4, 4), np.int64), "the image is of int64"),
        (np.full((4, 4), "a"), "the image is of <U1"),
    ],
)
def test_bad_images_are_refused(image: ArrayLike, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        shape_from_image(image, "bad")
