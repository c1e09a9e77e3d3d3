"""Pictures have analytic silhouettes and plain backgrounds, and a batch gives the pictures of its fields."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.visual.rendering import DISTANCE, EXTENT, contact_sheet, render, render_2d, save_png
from weightgpt.visual.sphere_tracing import BACKGROUND

GRAY = round(BACKGROUND * 255)


def sphere(radius: float) -> Callable[[Tensor], Tensor]:
    return lambda points: points.norm(dim=-1) - radius


def empty(points: Tensor) -> Tensor:
    return torch.ones(points.shape[:-1])


def painted(picture: np.ndarray) -> np.ndarray:
    """Which pixels have a color: neither background nor shadow, which are gray."""
    return np.ptp(picture.astype(int), axis=-1) > 12


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.3])
@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (35, 24), (200, 60), (90, 90)])
def test_the_silhouette_of_a_sphere_is_the_analytic_disc(scale: float, azimuth: float, elevation: float):
    picture = render([lambda points: scale * sphere(0.7)(points)], 96, azimuth=azimuth, elevation=elevation)[0]
    radius = 0.7 * DISTANCE / math.sqrt(DISTANCE**2 - 0.7**2) / EXTENT
    centers = (np.arange(96) + 0.5) / 48 - 1
    distance = np.hypot(*np.meshgrid(centers, centers))
    solid = painted(picture)
    assert solid[distance < radius - 0.03].all()
    assert not solid[distance > radius + 0.03].any()


def test_fault_56_an_empty_field_is_background_only():
    assert (render([empty], 48) == GRAY).all()


def test_fault_57_nan_and_full_fields_give_pictures():
    pictures = render([lambda points: points[:, 0] * math.nan, lambda points: -empty(points)], 48)
    assert (pictures[0] == GRAY).all()
    assert painted(pictures[1]).mean() > 0.5


def test_a_batch_gives_the_pictures_of_its_fields():
    radii = torch.tensor([0.4, 0.8, -1.0])
    colors = [(0.9, 0.3, 0.2), (0.2, 0.5, 0.8), (0.5, 0.5, 0.5)]

    def batch(points: Tensor) -> Tensor:
        return points.norm(dim=-1).expand(3, -1) - radii[:, None]

    together = render(batch, 48, colors=colors)
    single = render([sphere(float(radius)) for radius in radii], 48, colors=colors)
    assert together.shape == (3, 48, 48, 3)
    assert together.dtype == np.uint8
    assert np.abs(together.astype(int) - single.astype(int)).max() <= 1


def test_each_field_has_its_color():
    red, blue = render([sphere(0.7)] * 2, 32, colors=[(0.9, 0.2, 0.2), (0.2, 0.2, 0.9)])[:, 16, 16].astype(int)
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50


def test_fields_are_evaluated_in_the_box_only():
    def strict(points: Tensor) -> Tensor:
        assert points.abs().max() <= 1
        return sphere(0.9)(points)

    render([strict], 32)


def test_edges_are_smooth():
    row = render([sphere(0.7)], 64)[0, :, :, 2].astype(int)
    assert len(np.unique(row)) > 40


def test_no_fields_give_no_pictures_and_bad_sizes_and_colors_are_refused():
    assert render([], 32).shape == (0, 32, 32, 3)
    with pytest.raises(InputError, match="1 or more"):
        render([empty], 0)
    with pytest.raises(InputError, match="one color for each field"):
        render([empty], 8, colors=[])


def test_planar_shapes_gray_images_and_rgb_images_are_rendered():
    disc = render_2d(lambda points: points.norm(dim=-1) - 0.5, 64, color=(1.0, 0.0, 0.0))
    assert (disc[..., 1] < GRAY // 2).mean() == pytest.approx(math.pi * 0.25 / 4, abs=0.005)
    upward = render_2d(lambda points: (points[:, 1:] + 1) / 2, 16)
    assert (upward[0] > upward[-1]).all()
    assert (upward[..., 0] == upward[..., 2]).all()
    right = render_2d(lambda points: torch.cat(((points[:, :1] + 1) / 2, points * 0), 1), 16)
    assert (right[:, -1, 0] > right[:, 0, 0]).all()
    assert (right[..., 1:] == 0).all()


def test_a_contact_sheet_holds_every_picture(tmp_path: Path):
    pictures = np.zeros((5, 24, 24, 3), np.uint8)
    sheet = contact_sheet(pictures, columns=3)
    assert sheet.size == (72, 48)
    assert (np.asarray(sheet) == 0).all(-1).sum() == 5 * 24 * 24
    captioned = contact_sheet(pictures, ["a", "b", "a caption that is far too long", "", "\n"], columns=3)
    assert captioned.height > 48
    save_png(captioned, tmp_path / "sheet.png")
    save_png(pictures[0], tmp_path / "one.png")
    with Image.open(tmp_path / "sheet.png") as back:
        assert np.array_equal(np.asarray(back), np.asarray(captioned))


def test_a_contact_sheet_needs_pictures_and_one_caption_for_each():
    with pytest.raises(InputError, match="one for each picture"):
        contact_sheet(np.zeros((2, 8, 8, 3), np.uint8), ["a"])
    with pytest.raises(InputError, match="0 pictures"):
        contact_sheet([])
