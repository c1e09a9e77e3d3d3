"""What a part of the study leaves, and the page that joins them.

Decisions:
- A part writes into one folder: `NAME.md` (a page that begins with one heading), `NAME.json` (its figures) and
  pictures. The joined page and `study.json` are made from those files, so that parts can be run at different times.
- Sentences are chosen by the measured figures; none is typed with its outcome.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure
from PIL import Image

from weightgpt.io import atomic_write, read_json, write_json, write_text

PAGE, FIGURES, FOLDER = "study.md", "study.json", "study"


def write_part(folder: Path, name: str, title: str, lines: Sequence[str], figures: dict[str, Any]) -> None:
    """Write `NAME.json` and then `NAME.md`: the title and paragraphs, with blank lines between them."""
    write_json(folder / f"{name}.json", figures)
    write_text(folder / f"{name}.md", "\n\n".join([f"# {title}", *lines]) + "\n")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")


def save_small(sheet: Image.Image, path: Path) -> None:
    """Write pictures of shapes as PNG with a palette of 128 colors: a third of the size, no difference to the eye."""
    with atomic_write(path) as draft:
        sheet.quantize(128).save(draft, format="png", optimize=True)


def join(output: Path, order: Sequence[str], made: dict[str, dict[str, Any]]) -> None:
    """Write `study.md` and `study.json` of the parts that lie in `output/study`, in this order.

    Args:
        made: for each part that ran just now its `command` and `seconds`; of the others the old ones are kept.
    """
    kept = read_json(output / FIGURES)["parts"] if (output / FIGURES).is_file() else {}
    parts, pages = {}, []
    for name in order:
        page = output / FOLDER / f"{name}.md"
        if page.is_file():
            told = made.get(name) or {key: value for key, value in kept.get(name, {}).items() if key != "figures"}
            parts[name] = {**told, "figures": read_json(output / FOLDER / f"{name}.json")}
            pages.append(_as_section(page.read_text(encoding="utf-8"), told))
    commands = dict.fromkeys(part["command"] for part in parts.values() if "command" in part)
    head = (
        f"Written by {', '.join(f'`{command}`' for command in commands)}; every figure and every finding was measured."
    )
    write_json(output / FIGURES, {"parts": parts})
    write_text(output / PAGE, "\n\n".join(["# The presentation's experiments", head, ABOUT, *pages]) + "\n")


def publish(output: Path, docs: Path) -> None:
    """Copy the page and its pictures to `docs`, and nothing else."""
    text = (output / PAGE).read_text(encoding="utf-8")
    for name in re.findall(rf"\]\({FOLDER}/([^)/]+\.png)\)", text):
        with atomic_write(docs / FOLDER / name) as draft:
            draft.write_bytes((output / FOLDER / name).read_bytes())
    write_text(docs / PAGE, text)


ABOUT = """The project grew from a presentation by Luis Muschal and Luca Fanselau: neural fields that are overfitted to
shapes, their weights as a sequence, a transformer that is to remember them. These are its experiments, done again.
*Unconditioned* fields start from random weights of their own, *conditioned* ones from the fitted weights of the first
shape. Nothing here is about new shapes: the question is what can be remembered."""


def _as_section(text: str, told: dict[str, Any]) -> str:
    """A page as a section of the joined one: headings one level deeper, links from one folder up, and what it took."""
    text = re.sub(r"^(#+ )", r"#\1", text.strip(), flags=re.MULTILINE)
    text = re.sub(r"\]\(([^)/]+\.png)\)", rf"]({FOLDER}/\1)", text)
    return f"{text}\n\n{told['seconds'] / 60:.1f} minutes." if "seconds" in told else text
