"""The page of the digits: `digits.json` with every run of a folder, `digits.md` and pictures of the last one."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightgpt.formatting import markdown_table
from weightgpt.io import read_json, write_json, write_text
from weightgpt.visual.rendering import save_png

RUNS, PAGE, GRID, NEAREST = "digits.json", "digits.md", "digits.png", "digits-nearest.png"
SHOWN = 10
"""Pictures of each class."""

Row = dict[str, Any]

PUBLISHED = {"set": "NeF-GPT, as published", "accuracy": "0.77–0.81", "mmd": 0.216, "cov": 0.277, "1-nna": 0.84}
"""Of `fxmarty/resnet-tiny-mnist` on 64 digits; set figures of 256 threes against the training fields."""

ABOUT = """Gray images become outlines (level 1/2), outlines planar fields of the signed distance, fields tokens, and
a GPT-2 with class tokens writes new ones; only shapes are augmented, never weights. Generated fields are rendered as
sigmoid(-f / width), its one width found on training images, and compared with the *original gray images*, not with
renderings of them. The distance is 1 - SSIM (window of 7 pixels). MMD is lower, COV higher when better; 1-NNA is best
at 0.5. Sets are of equal size, drawn without replacement, with the same number of each class. Accuracy is how often a
small convolutional network, trained on the true training images alone, says the class that was asked for; it has seen
the training images, so its accuracy on test images is what can be hoped for. Familiar is the share that is more
similar to its nearest training image than 95 % of the test images are: 0.05 is like new images, 1 is copying."""

THEIRS = """One class against training images. NeF-GPT's references were its own training fields, rendered; its MMD is
on the scale of its renderings and says little beside ours, for which the true images of the first row are the limit."""

TRIED = """What was tried, with the figures of the temperature and top-k chosen for each, against the test images. These
settings, and the least accuracy asked for in choosing, were settled with test figures in view; temperature and top-k
were not."""

FACTS = (
    ("images to learn from / for validation / for test", lambda f: " / ".join(map(str, f["images"].values()))),
    ("slanted copies of each training image", lambda f: str(f["settings"]["copies"])),
    ("tokens per field (weights per field, codes)", lambda f: f"{f['tokens']} ({f['weights']}, {f['codes']})"),
    ("IoU of the plain fit, test", lambda f: f"{f['fit_iou']:.3f}"),
    ("IoU after the round trip through tokens, test", lambda f: f"{f['roundtrip_iou']:.3f}"),
    ("SSIM of the round trip with the original image, test", lambda f: f"{f['roundtrip_ssim']:.3f}"),
    ("accuracy of the classifier on test images", lambda f: f"{f['classifier_accuracy']:.3f}"),
    ("… on their round trip", lambda f: f"{f['roundtrip_accuracy']:.3f}"),
    ("width of the renderer, pixels", lambda f: f"{f['softness_in_pixels']:.3f}"),
    ("GPT, bits a token on test images", lambda f: f"{f['gpt_bits_per_token']:.2f}"),
    ("GPT parameters", lambda f: f"{f['gpt_parameters']:,}"),
    ("chosen temperature, top-k", lambda f: f"{f['chosen']['temperature']:g}, {_codes(f['chosen']['top_k'])}"),
    ("minutes in all, on a shared machine", lambda f: f"{f['minutes']:.1f}"),
)


def add_run(output: Path, figures: Row) -> None:
    """Put the figures of a run last in `digits.json`; those of the same settings are replaced."""
    path = output / RUNS
    runs = read_json(path)["runs"] if path.is_file() else []
    write_json(path, {"runs": [*(run for run in runs if run["settings"] != figures["settings"]), figures]})


def write_page(output: Path) -> None:
    """Write `digits.md` about the last run of `digits.json`, with a line for each of the others."""
    runs = read_json(output / RUNS)["runs"]
    last = runs[-1]
    facts = markdown_table(("figure", "value"), [(name, show(last)) for name, show in FACTS])
    swept = [(f"{row['temperature']:g}", _codes(row["top_k"]), *_figures(row)) for row in last["sweep"]]
    own = [row for row in last["rows"] if row["reference"] == "test"]
    theirs = [row for row in last["rows"] if row["reference"] != "test"]
    heads = ("set", "images", "accuracy", "MMD", "COV", "1-NNA", "familiar")
    parts = ["# Digits", f"Written by `{last['command']}`.", ABOUT, facts]
    parts += ["Against the test images:", markdown_table(heads, [_line(row) for row in own])]
    parts += [THEIRS]
    parts += [markdown_table(heads, [_line(row) for row in (*theirs, PUBLISHED)])]
    parts += [f"![New digits, one class a row; drawn from their fields at twice the size of the images]({GRID})"]
    parts += [f"![New digits, above the training image most similar to each]({NEAREST})"]
    parts += ["Against the validation images, where temperature and top-k were chosen:"]
    parts += [markdown_table(("temperature", "top-k", "accuracy", "MMD", "COV", "1-NNA"), swept)]
    parts += [TRIED, _tried(runs)]
    write_text(output / PAGE, "\n\n".join(parts) + "\n")


def write_pictures(output: Path, large: Tensor, labels: Tensor, images: Tensor, nearest: Tensor) -> None:
    """Write the grid of new digits and the sheet of neighbors.

    Args:
        large: (N, H, W) renderings for the grid.
        labels: (N,) the class that each was asked for.
        images: (N, h, w) the same at the size of the images.
        nearest: (N, h, w) the training image most similar to each.
    """
    rows = [(labels == label).nonzero()[:SHOWN, 0] for label in labels.unique().tolist()]
    _save(torch.cat([_strip(large[row]) for row in rows]), output / GRID)
    some = torch.cat([row[:2] for row in rows])
    pairs = torch.cat([_strip(part[some], len(some)) for part in (images, nearest)])
    _save(pairs.repeat_interleave(2, 0).repeat_interleave(2, 1), output / NEAREST)


def _strip(images: Tensor, count: int = SHOWN) -> Tensor:
    """Images (n, h, w) side by side, filled up with black to `count`."""
    blank = images.new_zeros(count - len(images), *images.shape[1:])
    return torch.cat([*images, *blank], 1)


def _save(image: Tensor, path: Path) -> None:
    save_png((image * 255).round().to(torch.uint8).numpy(), path)


def _tried(runs: list[Row]) -> str:
    names = list(runs[-1]["settings"])
    lines = []
    for run in runs:
        row = next(row for row in run["rows"] if row["chosen"] and row["reference"] == "test")
        used = [str(run["settings"][name]) for name in names]
        setting = f"{run['chosen']['temperature']:g}, {_codes(run['chosen']['top_k'])}"
        lines.append((*used, setting, f"{run['roundtrip_ssim']:.3f}", *_figures(row), f"{run['minutes']:.1f}"))
    heads = [
        *(name.replace("_", " ") for name in names),
        "chosen",
        "round-trip SSIM",
        "accuracy",
        "MMD",
        "COV",
        "1-NNA",
    ]
    return markdown_table([*heads, "minutes"], lines)


def _line(row: Row) -> tuple[str, ...]:
    return (row["set"], _text(row.get("count")), *_figures(row), _text(row.get("familiar")))


def _figures(row: Row) -> tuple[str, ...]:
    return tuple(_text(row[name]) for name in ("accuracy", "mmd", "cov", "1-nna"))


def _codes(top_k: int) -> str:
    return str(top_k or "all")


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
