"""Parts of the pages of all studies: the sentence about the version, findings, cells of tables, and files of charts.

Decisions:
- Tables and pictures come from the figures of a run. People write findings after they have read the figures of one
  version. A finding names this version, and a newer run does not change it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from weightgpt.formatting import format_number
from weightgpt.io import atomic_write


def measured_by(rows: Sequence[dict[str, Any]], *commands: str) -> str:
    """The sentence that says which versions measured rows, and with which commands.

    Args:
        rows: rows with a `version`.
        commands: the command lines.
    """
    versions = ", ".join(dict.fromkeys(row["version"] for row in rows))
    if len(commands) == 1:
        return f"Measured by weightgpt {versions} with `{commands[0]}`."
    return "\n".join([f"Measured by weightgpt {versions} with:", "", *(f"    {command}" for command in commands)])


def findings(version: str, *texts: str) -> str:
    """A list of conclusions from the figures of one version.

    Args:
        version: the version of weightgpt that measured the figures.
        texts: the conclusions.
    """
    items = [f"- {' '.join(text.split())}" for text in texts]
    return "\n".join([f"**Findings, from the figures of version {version}:**", "", *items])


def format_cell(value: Any, style: str) -> str:
    """A value of a row in the style of its column; a dash if there is no value.

    Args:
        value: the value, or None.
        style: a format specification, such as ".3f".
    """
    return format_number(None) if value is None else format(value, style)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a chart as PNG.

    Args:
        figure: the chart.
        path: the new file.
    """
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
