"""Charts: points within the drawing, colors of the page, and nothing that the page would have to load."""

import math
import re

import pytest

from training.report.charts import Curve, draw_chart, drawable_points


def draw(points: list[tuple[float, float]], log: bool = False, line: float = 0.0) -> str | None:
    return draw_chart(
        Curve(title="loss", x_label="x", y_label="y", series={"s": points, "none": []}, line=("l", line), log=log)
    )


def series_path(svg: str) -> list[tuple[float, float]]:
    """The vertices of the first series."""
    (path,) = re.findall(r'<path d="([^"]+)"[^>]*stroke: var\(--c0\); stroke-width: 1.6[^>]*/>', svg)[:1]
    numbers = [float(number) for number in re.findall(r"[-\d.]+", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points",
    [
        [(0, 2.0), (5, 2.0)],
        [(0, -1.0), (1, 1e-5), (2, 3.0), (3, 4.0)],
        [(k, 1 / (k + 1)) for k in range(5000)],
        [(1e9, 0.5), (2e9, math.nan), (3e9, 0.25)],
    ],
)
def test_series_stay_within_the_chart(points: list[tuple[float, float]], log: bool):
    svg = draw(points, log)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    path = series_path(svg)
    assert 2 <= len(path) <= len(points)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in path)
    assert len(svg) < 100_000


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("points", [[], [(0, math.nan), (1, math.inf)]])
def test_a_chart_without_finite_points_has_no_line(points: list[tuple[float, float]], log: bool):
    assert draw(points, log) is None


def test_a_logarithmic_axis_drops_points_that_are_not_positive():
    points = [(0, 0.0), (1, -1.0), (2, 3.0)]
    assert drawable_points(points, log=True) == [(2, 3.0)]
    assert drawable_points(points, log=False) == points
    assert draw(points[:2], log=True) is None


def test_a_series_of_one_point_has_a_marker():
    assert "<use" in draw([(1, 2.0)])
    assert "<use" not in draw([(1, 2.0), (2, 3.0)])


def test_the_reference_line_is_visible_where_the_axis_can_show_it():
    assert "stroke-dasharray" in draw([(1, 2.0), (2, 3.0)], log=True, line=1.0)
    assert "stroke-dasharray" not in draw([(1, 2.0), (2, 3.0)], log=True, line=0.0)


def test_a_chart_uses_the_colors_of_the_page_and_loads_nothing():
    svg = draw([(1, 2.0), (2, 3.0)])
    assert {"var(--soft)", "var(--rule)", "var(--c0)"} <= set(re.findall(r"var\(--\w+\)", svg))
    assert not re.search(r"https?://|\burl\(|<style|#0f0e0|clip-path", svg)


def test_texts_of_a_chart_are_escaped_and_not_read_as_formulas():
    text = "<b> & $x"
    svg = draw_chart(Curve(title=text, x_label=text, y_label=text, series={text: [(0, 1.0), (1, 2.0)]}))
    assert svg.count(">&lt;b&gt; &amp; $x<") == 3  # both labels and the legend
    assert "<b>" not in svg


def test_equal_charts_are_equal_bytes():
    assert draw([(1, 2.0), (2, 3.0)]) == draw([(1, 2.0), (2, 3.0)])
