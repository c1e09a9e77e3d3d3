"""Pictures of signed distance functions, without a mesh.

Decisions:

- The background is nearly white, and the floor is at the lowest visible point, so that shapes stand on the page.
- A pixel takes one ray. A pixel that differs from a neighbor takes the mean of 2 x 2 rays instead.
- A batch of fields is traced together, a list of fields one after the other; the pictures are the same.

Dimensions: B fields, n points or pixels.
"""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from weightgpt.errors import InputError, check_whole
from weightgpt.io import atomic_write
from weightgpt.shapes.shape import Sdf
from weightgpt.visual.sphere_tracing import BACKGROUND, BatchSdf, Rays, march_rays, shade_rays

Color = tuple[float, float, float]
"""RGB in [0, 1]."""
Picture = NDArray[np.uint8]
"""(height, width, 3) RGB."""

CLAY: Color = (0.86, 0.55, 0.38)
"""Color of shapes by default."""
MAX_PICTURES = 256
"""Pictures on a contact sheet."""
DISTANCE = 7.0
"""Distance of the camera from the origin."""
EXTENT = 1.32
"""The plane through the origin is visible from -EXTENT to EXTENT."""
_FINE = 2  # rays along each side of a pixel that differs from a neighbor
_CONTRAST = 0.07  # difference of a color channel from which on a pixel is refined
_MARGIN = 0.06  # rays of a refined pixel start this far before the nearest surface in its neighborhood


@torch.no_grad()
def render(
    sdfs: BatchSdf | Sequence[Sdf],
    size: int = 128,
    *,
    azimuth: float = 35.0,
    elevation: float = 24.0,
    colors: Sequence[Color] | None = None,
) -> Picture:
    """Render shaded pictures of solids, with a camera that looks at the middle of the box in mild perspective.

    Args:
        sdfs: a function of points (n, 3) or (B, n, 3) that returns distances (B, n), or a list of B functions of points
            (n, 3) that return distances (n,).
        size: pixels along each side.
        azimuth: degrees by which the camera is turned about y, from the z axis towards the x axis.
        elevation: degrees of the camera above the floor.
        colors: one RGB color in [0, 1] for each field; `CLAY` by default.

    Returns:
        (B, size, size, 3) uint8 RGB. A field without a surface gives the plain background.

    Raises:
        InputError: the size is below 1, or there is not one color for each field.

    Examples:
        >>> render([lambda points: points.norm(dim=-1) - 0.7], size=32).shape
        (1, 32, 32, 3)
    """
    size = check_whole("size", size, 1)
    count = len(sdfs(torch.zeros(1, 3))) if callable(sdfs) else len(sdfs)
    fields = [sdfs] if callable(sdfs) else [_as_batch(sdf) for sdf in sdfs]
    colors = [CLAY] * count if colors is None else colors
    if len(colors) != count:
        raise InputError(
            f"there are {len(colors)} colors for {count} fields; give one color for each field, or no colors."
        )
    if count == 0:
        return np.empty((0, size, size, 3), np.uint8)
    view = (size, azimuth, elevation)
    paints = torch.chunk(torch.tensor(list(colors), dtype=torch.float32), len(fields))
    pictures = torch.cat([_render_batch(field, paint, view) for field, paint in zip(fields, paints, strict=True)])
    return (pictures.reshape(count, size, size, 3) * 255).round().to(torch.uint8).numpy()


@torch.no_grad()
def render_2d(signal: Callable[[Tensor], Tensor], size: int = 128, *, color: Color = CLAY) -> Picture:
    """Render a picture of a field over [-1, 1]^2, y up, at the centers of the pixels.

    Args:
        signal: a function of points (n, 2). It returns signed distances (n,), which are drawn as a filled shape with
            faint lines of equal distance, or gray values (n, 1) or RGB values (n, 3) in [0, 1].
        size: pixels along each side.
        color: RGB in [0, 1] of the inside of a shape.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        InputError: the size is below 1.

    Examples:
        >>> render_2d(lambda points: points.norm(dim=-1) - 0.7, size=32).shape
        (32, 32, 3)
    """
    size = check_whole("size", size, 1)
    values = signal(pixel_centers(size, size))
    if values.ndim == 1:
        cover = (0.5 - values * size / 2).clamp(0, 1)[:, None]
        bands = BACKGROUND - 0.05 * (0.5 + 0.5 * torch.cos(values[:, None] * 60)) ** 8
        values = cover * torch.tensor(color) + (1 - cover) * bands
    pixels = values.expand(-1, 3).reshape(size, size, 3)
    return (pixels.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def check_picture_count(count: int) -> None:
    """Refuse a contact sheet of too many pictures before the first is drawn.

    Args:
        count: number of pictures.

    Raises:
        InputError: there are more than `MAX_PICTURES`.
    """
    if count > MAX_PICTURES:
        raise InputError(
            f"a sheet of {count:,} pictures is too large; give {MAX_PICTURES} at most, such as the first ones."
        )


def contact_sheet(
    images: Sequence[Picture] | Picture, captions: Sequence[str] | None = None, columns: int = 8
) -> Image.Image:
    """Arrange pictures of one size in rows, each with an optional caption of one line below it.

    Args:
        images: the pictures, or one array of them.
        captions: one for each picture; a caption that is too long is shortened.
        columns: pictures in a row.

    Raises:
        InputError: there are no pictures, more than `MAX_PICTURES`, or not one caption for each.
    """
    check_picture_count(len(images))
    if len(images) == 0 or (captions is not None and len(captions) != len(images)):
        count = "no" if captions is None else len(captions)
        raise InputError(
            f"the contact sheet has {len(images)} pictures and {count} captions; give pictures, and no captions or"
            " one for each picture."
        )
    height, width = images[0].shape[:2]
    font = ImageFont.load_default(size=max(9, width // 12))
    line = 0 if captions is None else max(9, width // 12) * 2
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    background = (round(BACKGROUND * 255),) * 3
    sheet = Image.new("RGB", (columns * width, rows * (height + line)), background)
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        left, top = index % columns * width, index // columns * (height + line)
        sheet.paste(Image.fromarray(image), (left, top))
        if captions is not None:
            text = _shorten(captions[index], font, width - 4)
            draw.text((left + width / 2, top + height + line / 2), text, fill=(70, 74, 82), font=font, anchor="mm")
    return sheet


def save_png(picture: Picture | Image.Image, path: Path | str) -> None:
    """Write a picture as PNG.

    Args:
        picture: (height, width, 3) uint8 RGB, or an image.
        path: the file to write.

    Raises:
        InputError: the folder cannot be written to.
    """
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, format="PNG", optimize=True)
    with atomic_write(path) as draft:
        draft.write_bytes(buffer.getvalue())


def pixel_centers(height: int, width: int) -> Float[Tensor, "n 2"]:
    """Compute the centers of the pixels of a picture that spans [-1, 1]^2.

    Args:
        height: number of rows.
        width: number of columns.

    Returns:
        (height · width, 2) points, in rows from the top, x right and y up.

    Examples:
        >>> pixel_centers(1, 2)
        tensor([[-0.5000, -0.0000],
                [ 0.5000, -0.0000]])
    """
    y, x = ((torch.arange(size) + 0.5) / size * 2 - 1 for size in (height, width))
    rows, columns = torch.meshgrid(-y, x, indexing="ij")
    return torch.stack((columns, rows), -1).reshape(-1, 2)


def _as_batch(sdf: Sdf) -> BatchSdf:
    """Turn a single field into a batch of one."""
    return lambda points: sdf(points.reshape(-1, 3)).reshape(1, -1)


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Cut a text so that it fits the width, with an ellipsis."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _camera_rays(pixels: Tensor, azimuth: float, elevation: float) -> Rays:
    """Rays through the points (n, 2) of a picture that spans [-1, 1]^2, x right and y up."""
    turn, lift = math.radians(azimuth), math.radians(elevation)
    back = torch.tensor([math.sin(turn) * math.cos(lift), math.sin(lift), math.cos(turn) * math.cos(lift)])
    right = torch.tensor([math.cos(turn), 0.0, -math.sin(turn)])
    up = torch.linalg.cross(back, right)
    eye = back * DISTANCE
    towards = torch.nn.functional.normalize(EXTENT * pixels @ torch.stack((right, up)) - eye, dim=1)
    ends = torch.stack(((-1 - eye) / towards, (1 - eye) / towards))
    return Rays(eye, towards, ends.amin(0).amax(1), ends.amax(0).amin(1))


def _render_batch(field: BatchSdf, paint: Tensor, view: tuple[int, float, float]) -> Tensor:
    """Render pixels (B, size^2, 3) of a batch of fields with the colors (B, 3)."""
    size, azimuth, elevation = view
    centers = pixel_centers(size, size)
    rays = _camera_rays(centers, azimuth, elevation)
    everywhere = torch.ones(len(paint), len(centers), dtype=torch.bool)
    depth, hit = march_rays(field, rays, everywhere, rays.near.expand(everywhere.shape))
    floor = rays.at(depth)[..., 1].masked_fill(~hit, math.inf).amin(1, keepdim=True)
    pixels = shade_rays(field, rays, depth, hit, everywhere, paint, floor)
    edges, start = _find_edges(pixels, depth.masked_fill(~hit, math.inf), size)
    chosen = edges.any(0).nonzero()[:, 0]
    if len(chosen) == 0:
        return pixels
    finer = (centers[chosen, None] + pixel_centers(_FINE, _FINE) / size).reshape(-1, 2)
    rays = _camera_rays(finer, azimuth, elevation)
    mask, start = (part[:, chosen].repeat_interleave(_FINE**2, dim=1) for part in (edges, start))
    depth, hit = march_rays(field, rays, mask, torch.maximum(start - _MARGIN, rays.near))
    detail = shade_rays(field, rays, depth, hit, mask, paint, floor)
    detail = detail.reshape(len(paint), len(chosen), _FINE**2, 3).mean(2)
    pixels[:, chosen] = torch.where(edges[:, chosen, None], detail, pixels[:, chosen])
    return pixels


def _find_edges(pixels: Tensor, depth: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which pixels (B, n) differ from a neighbor, and the least depth (B, n) in the neighborhood of each."""
    grid = torch.cat((pixels.movedim(-1, 1), -pixels.movedim(-1, 1), -depth[:, None]), 1)
    maxima = torch.nn.functional.max_pool2d(grid.reshape(-1, 7, size, size), 3, 1, 1).flatten(2)
    return (maxima[:, :3] + maxima[:, 3:6]).amax(1) > _CONTRAST, -maxima[:, 6]
