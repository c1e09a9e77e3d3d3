"""The page of the digits study: `digits.md` and its pictures, from the figures of `digits.json`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import write_text
from weightgpt.visual.rendering import save_png

PAGE, GRID, NEAREST = "digits.md", "digits.png", "digits-nearest.png"
PER_CLASS = 10
"""Pictures of each class."""

Row = dict[str, Any]

PUBLISHED = {"set": "NeF-GPT, as published", "accuracy": "0.77–0.81", "mmd": 0.216, "cov": 0.277, "one_nna": 0.84}
"""Accuracy by the classifier `fxmarty/resnet-tiny-mnist` on 64 digits; the set metrics compare 256 threes."""

INTRODUCTION = """Gray images become outlines (at gray level 1/2), outlines become planar fields of the signed distance,
fields become tokens, and a GPT-2 with class tokens generates new tokens. We augment shapes, not weights. We render
generated fields as sigmoid(-f / edge width); all fields have the same edge width, which is fitted to training images.
We compare the renderings with the *original gray images*, not with renderings of them. The distance is 1 - SSIM (window
of 7 pixels). Lower MMD and higher COV are better; 1-NNA is best at 0.5. Sets have equal size, are drawn without
replacement, and have the same number of images of each class.

*Accuracy* is the share of images that a small convolutional network assigns to their class. The network learned from
the true training images, so a perfect generator would reach its accuracy on test images. *Memorized* is the share of
images that are more similar to their nearest training image than 95 % of the test images are. New images have 0.05,
copies have 1."""

ROWS = """*reference*: training images. *round-trip*: the same images, encoded and decoded. *independent-codes*: each
code is drawn independently, by its frequency at its position in its class. *ours*: samples of our GPT at the chosen
temperature and top-k."""

ONE_CLASS = """The next table compares one class with training images. NeF-GPT was compared with renderings of its
training fields, so its MMD has another scale and cannot be compared with ours. The reference row shows the values of
true images on our scale."""

CHOICE = """The next table compares samples with the validation images. We chose the temperature and top-k with the
lowest 1-NNA among those with an accuracy of 0.95 or more. When we chose the other settings of this page and the bound
on the accuracy, we had seen figures of the test images."""

FACTS = (
    ("training / validation / test images", lambda f: " / ".join(map(str, f["images"].values()))),
    ("slanted copies of each training image", lambda f: str(f["settings"]["augmentations"])),
    ("weights per field", lambda f: format_number(f["parameters_per_field"])),
    ("tokens per field, codebook size", lambda f: f"{f['tokens_per_field']}, {f['codebook_size']}"),
    ("quantizer levels, latent width", lambda f: f"{f['settings']['num_quantizers']}, {f['settings']['latent_width']}"),
    ("codebook steps", lambda f: format_number(f["settings"]["codebook_steps"])),
    ("GPT epochs, dropout", lambda f: f"{f['settings']['gpt_epochs']:g}, {f['settings']['gpt_dropout']:g}"),
    ("seed", lambda f: str(f["settings"]["seed"])),
    ("IoU of the plain fit, test", lambda f: f"{f['iou_plain_fit']:.3f}"),
    ("IoU of the round trip, test", lambda f: f"{f['iou']:.3f}"),
    ("SSIM of the round trip with the original image, test", lambda f: f"{f['ssim']:.3f}"),
    ("accuracy on test images", lambda f: f"{f['accuracy_of_images']:.3f}"),
    ("accuracy on their round trip", lambda f: f"{f['accuracy']:.3f}"),
    ("edge width, pixels", lambda f: f"{f['edge_width_in_pixels']:.3f}"),
    ("GPT bits per token, test", lambda f: f"{f['gpt_bits_per_token']:.2f}"),
    ("GPT parameters", lambda f: format_number(f["gpt_parameters"])),
    ("chosen temperature, top-k", lambda f: f"{f['best_sampling']['temperature']:g}, {_top_k(f['best_sampling'])}"),
    ("minutes in total, on a shared machine", lambda f: f"{f['seconds'] / 60:.1f}"),
)
"""The rows of the first table: title, and text of the value."""


def write_page(figures: Row, output: Path) -> None:
    """Write `digits.md`.

    Args:
        figures: the figures of `digits.json`.
        output: folder of the page.
    """
    facts = markdown_table(("figure", "value"), [(name, show(figures)) for name, show in FACTS])
    sweep = [(f"{row['temperature']:g}", _top_k(row), *_metrics(row)) for row in figures["sampling"]]
    headers = ("set", "images", "accuracy", "MMD", "COV", "1-NNA", "memorized")
    parts = [
        "# Digits",
        f"Measured by weightgpt {figures['version']} with `{figures['command']}`.",
        INTRODUCTION,
        facts,
        "The next table compares sets of images with the test images.",
        markdown_table(headers, [_line(row) for row in figures["rows"]]),
        ROWS,
        ONE_CLASS,
        markdown_table(headers, [_line(row) for row in (*figures["one_class"], PUBLISHED)]),
        f"![New digits, one class a row, rendered at twice the size of the images]({GRID})",
        f"![New digits, above the training image most similar to each]({NEAREST})",
        CHOICE,
        markdown_table(("temperature", "top-k", *headers[2:6]), sweep),
    ]
    write_text(output / PAGE, "\n\n".join(parts) + "\n")


def write_pictures(output: Path, large: Tensor, labels: Tensor, images: Tensor, nearest: Tensor) -> None:
    """Write the grid of new digits and the sheet of nearest training images.

    Args:
        output: folder of the page.
        large: (N, H, W) renderings for the grid.
        labels: (N,) classes.
        images: (N, h, w) the same digits at the size of the images.
        nearest: (N, h, w) the training image most similar to each.
    """
    rows = [(labels == label).nonzero()[:PER_CLASS, 0] for label in labels.unique().tolist()]
    _save(torch.cat([_strip(large[row], PER_CLASS) for row in rows]), output / GRID)
    two_each = torch.cat([row[:2] for row in rows])
    pairs = torch.cat([_strip(part[two_each], len(two_each)) for part in (images, nearest)])
    _save(pairs.repeat_interleave(2, 0).repeat_interleave(2, 1), output / NEAREST)


def _strip(images: Tensor, count: int) -> Tensor:
    """Images (n, h, w) side by side, filled up with black to `count`."""
    blank = images.new_zeros(count - len(images), *images.shape[1:])
    return torch.cat([*images, *blank], 1)


def _save(image: Tensor, path: Path) -> None:
    save_png((image * 255).round().to(torch.uint8).numpy(), path)


def _line(row: Row) -> tuple[str, ...]:
    return (row["set"], format_number(row.get("count")), *_metrics(row), _cell(row.get("memorized_share")))


def _metrics(row: Row) -> tuple[str, ...]:
    return tuple(_cell(row[name]) for name in ("accuracy", "mmd", "cov", "one_nna"))


def _cell(value: float | str | None) -> str:
    """A value with three decimals, so that the columns line up."""
    return f"{value:.3f}" if isinstance(value, float) else format_number(value)


def _top_k(row: Row) -> str:
    return str(row["top_k"] or "all")
