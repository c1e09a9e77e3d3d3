"""The report of a run: one HTML file that opens offline.

Decisions:

- The page refers to nothing outside itself, and its content policy forbids it to; all text is escaped.
- Meshes travel as deflated differences of 16-bit coordinates and of indices; the page computes the normals and turns
  all meshes with one shared WebGL context. Without WebGL the posters stay.
- Curves are inline SVG drawn here, colored by the page's style, so that they follow the light or dark theme.
- The look and the viewer live in `report_template.html`; this module fills its `{{places}}` in one pass.
"""

import base64
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from weightgpt.errors import InputError
from weightgpt.io import write_text

Figure = str | float
Points = Sequence[tuple[float, float]]

_TEMPLATE = Path(__file__).with_name("template.html")
_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 46
_MOST_POINTS = 400


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A generated shape beside its nearest training shape.

    Attributes:
        sample, neighbor: meshes in unit coordinates, [-1, 1]^3.
        title, subtitle: lines below the pair, e.g. the class and the distance.
        color: RGB in [0, 1].
        posters: PNG pictures of both, shown where the browser cannot draw meshes.
    """

    sample: trimesh.Trimesh
    neighbor: trimesh.Trimesh
    title: str
    subtitle: str
    color: tuple[float, float, float]
    posters: tuple[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Named series of (x, y), with an optional horizontal reference line (label, y); `log` makes y logarithmic."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Points]
    line: tuple[str, float] | None = None
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows.

    Attributes:
        title, summary: the heading and one paragraph.
        headline: the few figures of the header.
        tables: a table of figures for each title, e.g. "fit", "round trip", "generation", "seconds per stage".
        pairs: the gallery.
        curves: the charts.
        command: what to type to make this run again.
        config: the run's settings, JSON-able.
        contact_sheet: PNG, or None to leave it out.
    """

    title: str
    summary: str
    headline: Mapping[str, Figure] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    pairs: Sequence[Pair] = ()
    curves: Sequence[Curve] = ()
    command: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    contact_sheet: bytes | None = None


def write_report(run: Path, report: Report) -> Path:
    """Write `report.html` into the folder of a run and return its path.

    Raises:
        InputError: a pair holds a mesh without faces, or the folder cannot be written to.
    """
    sheet = report.contact_sheet
    places = {
        "title": escape(report.title),
        "summary": escape(report.summary),
        "headline": "".join(_stat(name, value) for name, value in report.headline.items()),
        "pairs": "".join(_card(index, pair) for index, pair in enumerate(report.pairs)),
        "curves": "".join(_chart(curve) for curve in report.curves),
        "tables": "".join(_table(title, rows) for title, rows in report.tables.items()),
        "sheet": f'<img class="sheet" alt="contact sheet" src="{_png(sheet)}">' if sheet else "",
        "command": escape(report.command),
        "config": escape(json.dumps(report.config, indent=2, default=str)),
        "meshes": json.dumps([_meshes(pair) for pair in report.pairs]),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: places[match[1]], _TEMPLATE.read_text(encoding="utf-8"))
    path = run / "report.html"
    write_text(path, page)
    return path


def packed(mesh: trimesh.Trimesh) -> str:
    """A mesh as base64 of deflated little-endian data.

    uint32 V and F; int16 differences of the V x-coordinates, then y, then z (unit = 32767), padded to four bytes;
    uint32 differences of the 3 F indices. Differences wrap around.

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


def _meshes(pair: Pair) -> dict[str, Any]:
    color = [round(float(part), 3) for part in pair.color]
    return {"color": color, "meshes": [packed(pair.sample), packed(pair.neighbor)]}


def _png(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _text(value: Figure) -> str:
    """A figure for people: four significant digits, thousands set apart."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _stat(name: str, value: Figure) -> str:
    return f'<div class="stat"><b>{_text(value)}</b><span>{escape(name)}</span></div>\n'


def _table(title: str, rows: Mapping[str, Figure]) -> str:
    body = "".join(f"<tr><th>{escape(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f'<section class="card"><h3>{escape(title)}</h3><table>{body}</table></section>\n'


def _card(index: int, pair: Pair) -> str:
    views = "".join(
        f'<figure><div class="stage"><img alt="" src="{_png(poster)}"><canvas></canvas></div>'
        f"<figcaption>{label}</figcaption></figure>"
        for label, poster in zip(("generated", "nearest in training"), pair.posters, strict=True)
    )
    title = escape(pair.title)
    return (
        f'<article class="card pair" tabindex="0" data-index="{index}" aria-label="{title}">'
        f'<div class="views">{views}</div><h3>{title}</h3><p>{escape(pair.subtitle)}</p></article>\n'
    )


def _chart(curve: Curve) -> str:
    """A chart with its legend."""
    series = {name: _shown(points, curve.log) for name, points in curve.series.items()}
    keys = "".join(f'<span class="key s{i % 6}">{escape(name)}</span>' for i, name in enumerate(series))
    if curve.line:
        keys += f'<span class="key dashed">{escape(curve.line[0])}</span>'
    head = f'<h3>{escape(curve.title)}</h3><div class="legend">{keys}</div>'
    drawn = _plot(curve, series) if any(series.values()) else '<p class="none">no points</p>'
    return f'<section class="card">{head}{drawn}</section>\n'


def _shown(points: Points, log: bool) -> list[tuple[float, float]]:
    """The finite points that an axis can hold, thinned to a few hundred; the last one stays."""
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)]
    stride = max(1, math.ceil(len(kept) / _MOST_POINTS))
    return kept[::-stride][::-1]


def _plot(curve: Curve, series: Mapping[str, Points]) -> str:
    """The SVG of series that hold at least one point."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    line = curve.line if curve.line and (curve.line[1] > 0 or not curve.log) else None
    bend = math.log10 if curve.log else float
    x_ticks, y_ticks = _ticks(min(xs), max(xs)), _levels([*ys, *([line[1]] if line else [])], curve.log)
    left, right = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    low, high = (bend(level) for level in (y_ticks[0], y_ticks[-1]))

    def across(x: float) -> float:
        return _LEFT + (x - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)

    def upward(y: float) -> float:
        return _HEIGHT - _BOTTOM - (bend(y) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    floor, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<path class="grid" d="M{_LEFT} {upward(y):.1f}H{end}"/>' for y in y_ticks]
    parts += [f'<text x="{_LEFT - 8}" y="{upward(y) + 4:.1f}" text-anchor="end">{y:.4g}</text>' for y in y_ticks]
    for x in x_ticks:
        parts.append(f'<text x="{across(x):.1f}" y="{floor + 18}" text-anchor="middle">{x:,.6g}</text>')
    if line:
        parts.append(f'<path class="reference" d="M{_LEFT} {upward(line[1]):.1f}H{end}"/>')
    for i, points in enumerate(series.values()):
        path = "L".join(f"{across(x):.1f} {upward(y):.1f}" for x, y in points)
        parts.append(f'<path class="series s{i % 6}" d="M{path or "0 0"}h.01"/>')
    middle = (_TOP + floor) / 2
    parts.append(f'<text class="axis" x="{(_LEFT + end) / 2}" y="{_HEIGHT - 6}">{escape(curve.x_label)}</text>')
    parts.append(
        f'<text class="axis" transform="translate(12 {middle}) rotate(-90)" x="0" y="0">{escape(curve.y_label)}</text>'
    )
    label = escape(f"{curve.title}: {curve.y_label} against {curve.x_label}")
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers within [low, high], about as many as wanted."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / wanted)
    return [float(f"{k * step:.12g}") for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _levels(ys: Sequence[float], log: bool) -> list[float]:
    """Round numbers that enclose the values: two or more."""
    low, high = min(ys), max(ys)
    if not log:
        span = high - low if high - low > 1e-9 * abs(high) else abs(high) or 1.0
        step = _ticks(0.0, span)[1]
        first, last = math.floor(low / step), math.ceil(high / step)
        return [float(f"{k * step:.12g}") for k in range(first, max(last, first + 1) + 1)]
    marks = (1,) if high / low > 100 else (1, 2, 5)
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    levels = [mark * 10.0**exponent for exponent in exponents for mark in marks]
    first = max(k for k, level in enumerate(levels) if level <= low)
    last = min(k for k, level in enumerate(levels) if level >= high)
    return levels[first : max(last, first + 1) + 1]
