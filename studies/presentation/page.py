"""The files of the parts of the study, and the page that joins the parts.

Decisions:
- A part writes into one folder: `NAME.md` (a page with one main heading), `NAME.json` (its figures) and pictures. The
  joined page and `study.json` are built from those files, so parts can run at different times.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from weightgpt.io import atomic_write, read_json, write_json, write_text

PAGE, FIGURES, FOLDER = "study.md", "study.json", "study"

INTRODUCTION = """The project grew from a presentation by Luis Muschal and Luca Fanselau: neural fields are overfitted
to shapes, their weights are written as a sequence, and a transformer memorizes the sequences. This page repeats its
experiments. We keep its words: *unconditioned* fields start from random weights, *conditioned* fields start from the
fitted weights of the first shape. The library calls the two random-init and shared-init fits. This page asks what a
transformer can memorize; it measures no new shapes. The digits of the presentation have [their own page](digits.md)."""


def write_part(folder: Path, name: str, title: str, paragraphs: Sequence[str], figures: dict[str, Any]) -> None:
    """Write `NAME.json` and then `NAME.md`.

    Args:
        folder: folder of all parts.
        name: name of the part.
        title: main heading of the part.
        paragraphs: Markdown, joined by blank lines.
        figures: JSON values of the part.
    """
    write_json(folder / f"{name}.json", figures)
    write_text(folder / f"{name}.md", "\n\n".join([f"# {title}", *paragraphs]) + "\n")


def save_with_palette(sheet: Image.Image, path: Path) -> None:
    """Write pictures of shapes as PNG with 128 colors: a third of the size, and no visible difference."""
    with atomic_write(path) as draft:
        sheet.quantize(128).save(draft, format="png", optimize=True)


def join_parts(output: Path, names: Sequence[str], new_runs: Mapping[str, dict[str, Any]]) -> None:
    """Write `study.md` and `study.json` from the parts that lie in `output/study`.

    Args:
        output: folder of the page.
        names: all parts in the order of the page; a part without files is left out.
        new_runs: `command`, `seconds` and `version` of each part that ran since the last call. The other parts keep
            what `study.json` says about them.
    """
    path = output / FIGURES
    old_parts = read_json(path)["parts"] if path.is_file() else {}
    parts, sections = {}, []
    for name in names:
        page = output / FOLDER / f"{name}.md"
        if page.is_file():
            old_run = {key: value for key, value in old_parts.get(name, {}).items() if key != "figures"}
            run = new_runs.get(name, old_run)
            parts[name] = {**run, "figures": read_json(output / FOLDER / f"{name}.json")}
            sections.append(_section(page.read_text(encoding="utf-8"), run))
    commands = dict.fromkeys(part["command"] for part in parts.values() if "command" in part)
    head = f"Written by {', '.join(f'`{command}`' for command in commands)}."
    write_json(path, {"parts": parts})
    write_text(output / PAGE, "\n\n".join(["# The presentation's experiments", head, INTRODUCTION, *sections]) + "\n")


def publish(output: Path, docs: Path) -> None:
    """Copy the page and its pictures, and no other file.

    Args:
        output: folder that the study wrote.
        docs: folder of the published pages.
    """
    text = (output / PAGE).read_text(encoding="utf-8")
    for name in re.findall(rf"\]\({FOLDER}/([^)/]+\.png)\)", text):
        with atomic_write(docs / FOLDER / name) as draft:
            draft.write_bytes((output / FOLDER / name).read_bytes())
    write_text(docs / PAGE, text)


def _section(text: str, run: dict[str, Any]) -> str:
    """A page as a section of the joined page: headings one level deeper, links from one folder up, version and time."""
    text = re.sub(r"^(#+ )", r"#\1", text.strip(), flags=re.MULTILINE)
    text = re.sub(r"\]\(([^)/]+\.png)\)", rf"]({FOLDER}/\1)", text)
    if not run:
        return text
    return f"{text}\n\nMeasured by weightgpt {run['version']} in {run['seconds'] / 60:.1f} minutes."
