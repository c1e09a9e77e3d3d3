"""Laws of the report: one file that needs no other, text that stays text, meshes that come back."""

import base64
import io
import json
import math
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from training.report.html import Curve, Pair, Report, _levels, _ticks, packed, write_report
from weightgpt.errors import InputError

VOID = {"meta", "img", "br", "hr", "link", "input"}
EVIL = "<script>alert('&')</script>"


class Page(HTMLParser):
    """Checks that tags close in order; keeps the tags, their attributes and the text of each element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def text(self, tag: str) -> str:
        return "".join(data for name, data in self.texts if name == tag)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "white").save(buffer, "PNG")
    return buffer.getvalue()


def full(text: str = "chair") -> Report:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.8)
    cube = trimesh.creation.box((1, 1, 1))
    pair = Pair(sample=ball, neighbor=cube, title=text, subtitle=text, color=(0.8, 0.5, 0.3), posters=(png(), png()))
    curve = Curve(title=text, x_label=text, y_label=text, series={text: [(0, 3.0), (10, 1.0)]}, line=(text, 6.2))
    return Report(
        title=text,
        summary=text,
        headline={text: 0.93456},
        tables={text: {text: text, "shapes": 12345}},
        pairs=[pair, pair],
        curves=[curve],
        command=text,
        config={text: text},
        contact_sheet=png(),
    )


def written(tmp_path: Path, report: Report) -> str:
    return write_report(tmp_path, report).read_text(encoding="utf-8")


def unpacked(text: str) -> tuple[np.ndarray, np.ndarray]:
    raw = zlib.decompress(base64.b64decode(text))
    vertices, faces = np.frombuffer(raw[:8], "<u4").tolist()
    places = np.cumsum(np.frombuffer(raw[8 : 8 + 6 * vertices], "<i2"), dtype="<i2").reshape(3, -1).T / 32767
    return places, np.cumsum(np.frombuffer(raw[-12 * faces :], "<u4"), dtype="<u4").reshape(-1, 3)


def test_the_page_needs_nothing_but_itself(tmp_path: Path):
    page = written(tmp_path, full())
    assert not re.search(r"https?://|@import|\burl\(", page)
    for tag, attributes in Page(page).tags:
        assert tag not in {"link", "iframe", "object", "base"}
        assert "href" not in attributes
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "default-src 'none'" in page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_text_stays_text(tmp_path: Path):
    plain, evil = Page(written(tmp_path, full())), Page(written(tmp_path, full(EVIL)))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in evil.tags]
    assert evil.text("title") == evil.text("h1") == EVIL


def test_places_in_the_callers_text_are_not_filled(tmp_path: Path):
    assert Page(written(tmp_path, full("{{config}}"))).text("h1") == "{{config}}"


def test_everything_is_shown(tmp_path: Path):
    page = Page(written(tmp_path, full()))
    assert page.count("article") == 2
    assert page.count("canvas") == 4
    assert page.count("img") == 5
    assert page.count("svg") == 1
    assert "0.9346" in page.text("b")
    assert "12,345" in page.text("td")
    data = json.loads(next(data for tag, data in page.texts if tag == "script"))
    assert [len(pair["meshes"]) for pair in data] == [2, 2]


def test_an_empty_report_is_a_page(tmp_path: Path):
    page = Page(written(tmp_path / "new", Report(title="Nothing", summary="yet")))
    assert page.text("h1") == "Nothing"


@pytest.mark.parametrize("mesh", [trimesh.creation.icosphere(subdivisions=2), trimesh.creation.box((1, 1.5, 2))])
def test_a_packed_mesh_comes_back(mesh: trimesh.Trimesh):
    places, faces = unpacked(packed(mesh))
    assert np.abs(places - mesh.vertices).max() < 1e-4
    assert np.array_equal(faces, mesh.faces)


def test_a_mesh_without_faces_is_refused():
    with pytest.raises(InputError, match="without faces"):
        packed(trimesh.Trimesh())


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0, math.nan), (1, math.inf)],
        [(1e9, 0.5)],
        [(0, 2.0), (5, 2.0)],
        [(0, 0.0), (5, 0.0)],
        [(0, -1.0), (1, 1e-5), (2, 3.0)],
        [(k, 1 / (k + 1)) for k in range(5000)],
    ],
)
def test_curves_of_any_values_are_drawn_within_the_chart(tmp_path: Path, points: list[tuple[float, float]], log: bool):
    curve = Curve(title="t", x_label="x", y_label="y", series={"s": points, "none": []}, line=("zero", 0.0), log=log)
    page = written(tmp_path, Report(title="t", summary="s", curves=[curve]))
    Page(page)
    drawn = re.search(r'class="series s0" d="M([^"]+)h', page)
    if not any(math.isfinite(y) and (y > 0 or not log) for _, y in points):
        assert "no points" in page
        return
    places = np.array([[float(part) for part in place.split()] for place in drawn[1].split("L")])
    assert len(places) <= 401
    assert (places >= 0).all()
    assert (places <= [420, 250]).all()


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5), st.booleans())
def test_levels_enclose_the_values(values: list[float], log: bool):
    levels = _levels(values, log)
    assert levels[0] <= min(values) * (1 + 1e-9)
    assert levels[-1] >= max(values) * (1 - 1e-9)
    assert 2 <= len(levels) <= 14
    assert levels == sorted(set(levels))


def test_ticks_are_round():
    assert _ticks(0, 4000) == [0, 1000, 2000, 3000, 4000]
    assert _ticks(0.0, 1.3) == [0, 0.5, 1]
    assert _ticks(7, 7) == [7]
