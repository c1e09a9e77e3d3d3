"""The report of a run as one HTML file that opens offline.

Decisions:
- The page loads no other file, and its content policy forbids loading. All text is escaped.
- Meshes are stored as deflated differences of 16-bit coordinates and of indices: 2.3 MB for 24 pairs. As GLB files the
  same meshes take 13.6 MB, or 4.6 MB deflated, so the page would exceed 5 MB.
- One WebGL context draws all 48 meshes, because browsers allow about 16 contexts. Without WebGL the pictures remain.
- The page has a small viewer of its own. The packaged viewer of trimesh shows one GLB scene in one window and includes
  three.js (0.7 MB). With it we would still have to write the gallery, the camera and the loading of packed meshes.
- `template.html` has the style and the viewer. This module fills its `{{places}}` in one pass.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from training.report.charts import Curve, draw_chart
from weightgpt.errors import InputError
from weightgpt.formatting import format_number
from weightgpt.io import write_text

Figure = str | float | None
"""A value of a table."""

_TEMPLATE = Path(__file__).with_name("template.html")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A generated shape and its nearest training shape."""

    sample: trimesh.Trimesh
    """Mesh of the generated shape, in [-1, 1]^3."""
    neighbor: trimesh.Trimesh
    """Mesh of the training shape, in [-1, 1]^3."""
    title: str
    """First line below the pair, such as the class."""
    subtitle: str
    """Second line below the pair, such as the distance."""
    color: tuple[float, float, float]
    """RGB in [0, 1]."""
    posters: tuple[bytes, bytes]
    """PNG pictures of both, shown until the browser has drawn the meshes."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page shows."""

    title: str
    """Heading."""
    summary: str
    """One paragraph below the heading."""
    warnings: Sequence[str] = ()
    """Sentences about values that mean that something is wrong, above all values."""
    headline: Mapping[str, Figure] = field(default_factory=dict)
    """A few values in large print."""
    tables: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    """A table of values for each title."""
    pairs: Sequence[Pair] = ()
    """The gallery."""
    curves: Sequence[Curve] = ()
    """The charts."""
    command: str = ""
    """The command of the run."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the run, JSON values."""
    contact_sheet: bytes | None = None
    """PNG picture of many samples; None leaves it out."""


def write_report(run: Path, report: Report) -> Path:
    """Write `report.html`.

    Args:
        run: folder of the run.
        report: what the page shows.

    Returns:
        The path of the page.

    Raises:
        InputError: a pair holds a mesh without faces, or the folder cannot be written to.
    """
    sheet = report.contact_sheet
    places = {
        "title": escape(report.title),
        "summary": escape(report.summary),
        "warnings": "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings),
        "headline": "".join(_headline_element(name, value) for name, value in report.headline.items()),
        "pairs": "".join(_pair_element(index, pair) for index, pair in enumerate(report.pairs)),
        "curves": "".join(_chart_element(curve) for curve in report.curves),
        "tables": "".join(_table_element(title, rows) for title, rows in report.tables.items()),
        "sheet": f'<img class="sheet" alt="contact sheet" src="{_png_address(sheet)}">' if sheet else "",
        "command": escape(report.command),
        "config": escape(json.dumps(report.config, indent=2, default=str)),
        "meshes": json.dumps([_mesh_data(pair) for pair in report.pairs]),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: places[match[1]], _TEMPLATE.read_text(encoding="utf-8"))
    path = run / "report.html"
    write_text(path, page)
    return path


def pack_mesh(mesh: trimesh.Trimesh) -> str:
    """Pack a mesh as base64 of deflated little-endian data.

    The data are: uint32 V and F; int16 differences of the V x-coordinates, then y, then z (unit = 32767), padded to
    four bytes; uint32 differences of the 3 F indices. Differences wrap around.

    Args:
        mesh: V vertices in [-1, 1]^3 and F triangles.

    Raises:
        InputError: the mesh has no faces.
    """
    if len(mesh.faces) == 0:
        raise InputError("a pair of the report holds a mesh without faces; leave samples without a surface out.")
    coordinates = np.round(np.clip(mesh.vertices, -1, 1) * 32767).astype("<i2").T.ravel()
    indices = mesh.faces.astype("<u4").ravel()
    raw = np.array([len(mesh.vertices), len(mesh.faces)], "<u4").tobytes()
    raw += np.diff(coordinates, prepend=coordinates.dtype.type(0)).tobytes()
    raw += b"\0" * (-len(raw) % 4)
    raw += np.diff(indices, prepend=indices.dtype.type(0)).tobytes()
    return base64.b64encode(zlib.compress(raw)).decode()


def _mesh_data(pair: Pair) -> dict[str, Any]:
    """Return what the viewer needs of a pair."""
    color = [round(float(channel), 3) for channel in pair.color]
    return {"color": color, "meshes": [pack_mesh(pair.sample), pack_mesh(pair.neighbor)]}


def _png_address(data: bytes) -> str:
    """Return a picture as an address within the page."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _headline_element(name: str, value: Figure) -> str:
    """Return one value in large print."""
    return f'<div class="stat"><b>{escape(format_number(value))}</b><span>{escape(name)}</span></div>\n'


def _table_element(title: str, rows: Mapping[str, Figure]) -> str:
    """Return a table with its title."""
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(format_number(value))}</td></tr>" for name, value in rows.items()
    )
    return f'<section class="card"><h3>{escape(title)}</h3><table>{body}</table></section>\n'


def _pair_element(index: int, pair: Pair) -> str:
    """Return the card of a pair, with its pictures and empty canvases."""
    views = "".join(
        f'<figure><div class="stage"><img alt="" src="{_png_address(poster)}"><canvas></canvas></div>'
        f"<figcaption>{label}</figcaption></figure>"
        for label, poster in zip(("generated", "nearest in training"), pair.posters, strict=True)
    )
    title = escape(pair.title)
    return (
        f'<article class="card pair" tabindex="0" data-index="{index}" aria-label="{title}">'
        f'<div class="views">{views}</div><h3>{title}</h3><p>{escape(pair.subtitle)}</p></article>\n'
    )


def _chart_element(curve: Curve) -> str:
    """Return a chart with its title."""
    chart = draw_chart(curve) or '<p class="none">no points</p>'
    return f'<section class="card"><h3>{escape(curve.title)}</h3>{chart}</section>\n'
