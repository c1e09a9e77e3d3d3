"""The report: one file that needs no other, escaped text, and meshes that can be unpacked."""

import base64
import io
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from training.report.charts import Curve
from training.report.html import Pair, Report, pack_mesh, write_report
from weightgpt.errors import InputError

VOID = {"meta", "img", "br", "hr", "link", "input"}
EVIL = "<script>alert('&')</script>"


class Page(HTMLParser):
    """Checks that tags close in order, and records tags, attributes and texts."""

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


def write_page(tmp_path: Path, report: Report) -> str:
    return write_report(tmp_path, report).read_text(encoding="utf-8")


def unpack(text: str) -> tuple[np.ndarray, np.ndarray]:
    raw = zlib.decompress(base64.b64decode(text))
    vertices, faces = np.frombuffer(raw[:8], "<u4").tolist()
    positions = np.cumsum(np.frombuffer(raw[8 : 8 + 6 * vertices], "<i2"), dtype="<i2").reshape(3, -1).T / 32767
    return positions, np.cumsum(np.frombuffer(raw[-12 * faces :], "<u4"), dtype="<u4").reshape(-1, 3)


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path):
    page = write_page(tmp_path, full())
    assert not re.search(r"https?://|@import|\burl\(", page)
    for tag, attributes in Page(page).tags:
        assert tag not in {"link", "iframe", "object", "base"}
        assert not [value for name, value in attributes.items() if name.endswith("href") and value[0] != "#"]
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "default-src 'none'" in page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_text_is_escaped(tmp_path: Path):
    plain, evil = Page(write_page(tmp_path, full())), Page(write_page(tmp_path, full(EVIL)))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in evil.tags]
    assert evil.text("title") == evil.text("h1") == EVIL


def test_a_placeholder_in_a_text_is_not_filled(tmp_path: Path):
    assert Page(write_page(tmp_path, full("{{config}}"))).text("h1") == "{{config}}"


def test_every_part_of_a_report_is_on_the_page(tmp_path: Path):
    page = Page(write_page(tmp_path, full()))
    assert page.count("article") == 2
    assert page.count("canvas") == 4
    assert page.count("img") == 5
    assert page.count("svg") == 1
    assert "0.9346" in page.text("b")
    assert "12,345" in page.text("td")
    data = json.loads(next(data for tag, data in page.texts if tag == "script"))
    assert [len(pair["meshes"]) for pair in data] == [2, 2]


def test_an_empty_report_is_a_page(tmp_path: Path):
    page = Page(write_page(tmp_path / "new", Report(title="Nothing", summary="yet")))
    assert page.text("h1") == "Nothing"


@pytest.mark.parametrize("mesh", [trimesh.creation.icosphere(subdivisions=2), trimesh.creation.box((1, 1.5, 2))])
def test_a_packed_mesh_can_be_unpacked(mesh: trimesh.Trimesh):
    positions, faces = unpack(pack_mesh(mesh))
    assert np.abs(positions - mesh.vertices).max() < 1e-4
    assert np.array_equal(faces, mesh.faces)


def test_a_mesh_without_faces_is_refused():
    with pytest.raises(InputError, match="without faces"):
        pack_mesh(trimesh.Trimesh())
