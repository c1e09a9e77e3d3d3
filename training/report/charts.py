"""Learning curves as inline SVG, drawn by matplotlib.

Decisions:
- The SVG is part of the page, so its colors are variables of the style of the page and follow the light or dark theme.
  matplotlib draws with placeholder colors, and we replace them by the variables.
- The SVG needs no other file. We remove the header, the metadata and the global style that matplotlib writes, and draw
  without clip paths.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from weightgpt.formatting import format_number

Points = Sequence[tuple[float, float]]
"""Pairs (x, y)."""

SERIES_COLORS = 6
"""Colors of series; more series use them in turn."""
_SIZE = (4.6, 2.9)
_TEXT, _RULE = "#0f0e0d", "#0f0e0c"
_SERIES = [f"#0f0e0{i}" for i in range(SERIES_COLORS)]
_VARIABLES = {_TEXT: "var(--soft)", _RULE: "var(--rule)", **{_SERIES[i]: f"var(--c{i})" for i in range(SERIES_COLORS)}}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "weightgpt",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _RULE,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "grid.color": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A chart of named series."""

    title: str
    """Heading of the chart."""
    x_label: str
    """Label of the x axis."""
    y_label: str
    """Label of the y axis."""
    series: Mapping[str, Points]
    """Points of each series; points that are not finite are left out."""
    line: tuple[str, float] | None = None
    """Label and height of a horizontal reference line."""
    log: bool = False
    """Whether the y axis is logarithmic; points that are not positive are then left out."""


def draw_chart(curve: Curve) -> str | None:
    """Draw a chart.

    Args:
        curve: the chart.

    Returns:
        An SVG element for a page with the variables `--soft`, `--rule` and `--c0` to `--c5` in its style; None if no
        series has a point to draw.
    """
    series = {name: drawable_points(points, curve.log) for name, points in curve.series.items()}
    if not any(series.values()):
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        _draw_axes(figure.add_subplot(), curve, series)
        for artist in figure.findobj():
            artist.set_clip_on(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True)
    return _embeddable(buffer.getvalue(), f"{curve.title}: {curve.y_label} against {curve.x_label}")


def drawable_points(points: Points, log: bool) -> list[tuple[float, float]]:
    """Return the points that the axes can show.

    Args:
        points: pairs (x, y).
        log: whether the y axis is logarithmic.
    """
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)]


def _draw_axes(axes: Axes, curve: Curve, series: Mapping[str, Points]) -> None:
    """Draw series, reference line, labels and legend."""
    if curve.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
    for number, (name, points) in enumerate(series.items()):
        marker = "o" if len(points) == 1 else None
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, label=name, color=_SERIES[number % SERIES_COLORS], linewidth=1.6, marker=marker)
    if curve.line is not None and (curve.line[1] > 0 or not curve.log):
        axes.axhline(curve.line[1], label=curve.line[0], color=_TEXT, linewidth=1.1, linestyle=(0, (4, 4)))
    axes.yaxis.set_major_formatter(lambda value, _: format_number(float(value)))
    axes.xaxis.set_major_formatter(lambda value, _: format_number(float(value)))
    axes.set(xlabel=curve.x_label, ylabel=curve.y_label)
    axes.grid(axis="y", linewidth=0.8)
    axes.tick_params(length=0, which="both")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)


def _embeddable(svg: str, label: str) -> str:
    """Return an SVG document as an element of a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    head, _, body = svg.partition(">")
    view_box = re.search(r'viewBox="[^"]*"', head)
    assert view_box is not None
    for color, variable in _VARIABLES.items():
        body = body.replace(color, variable)
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    # Ids of groups would repeat from chart to chart; only those of markers, which begin with m and a digit, are used.
    body = re.sub(r' id="(?!m[0-9a-f]{8})[^"]*"', "", body)
    return f'<svg {view_box[0]} role="img" aria-label="{escape(label)}">{body}'
