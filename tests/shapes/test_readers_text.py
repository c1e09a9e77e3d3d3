"""OBJ, OFF, STL and PLY in all their dialects give the right triangles, or a sentence with the true reason."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.shapes.mesh_files import (
    CORNERS,
    CUBE,
    SQUARES,
    bounds,
    obj_text,
    off_text,
    open_edges,
    ply_bytes,
    ply_head,
    stl_bytes,
    stl_text,
    volume,
)
from weightgpt.errors import InputError
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.reading import read_mesh_file

BOX = [[-1, -1, -1], [1, 1, 1]]
L_SHAPE = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]


def read(folder: Path, name: str, content: str | bytes, encoding: str = "utf-8") -> list[MeshPart]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_mesh_file(folder / name)


def prism(outline: list[tuple[float, float]]) -> str:
    """An OBJ of height 1 whose two ends are one polygon each."""
    count = len(outline)
    rows = [f"v {x} {y} {z}\n" for z in (0, 1) for x, y in outline]
    ends = [list(range(count, 0, -1)), list(range(count + 1, 2 * count + 1))]
    sides = [[i + 1, (i + 1) % count + 1, (i + 1) % count + count + 1, i + count + 1] for i in range(count)]
    return "".join(rows + ["f " + " ".join(map(str, polygon)) + "\n" for polygon in ends + sides])


def test_case_12_relative_indices_count_from_the_vertices_so_far(tmp_path: Path) -> None:
    part = "".join("v {:g} {:g} {:g}\n".format(*corner) for corner in CORNERS)
    faces = "".join("f {} {} {}\n".format(*(triangle - 8)) for triangle in CUBE)
    moved = part.replace("v 1", "v 4").replace("v -1", "v 2")
    parts = read(tmp_path, "x.obj", f"o a\n{part}{faces}o b\n{moved}{faces}")
    assert volume(parts) == pytest.approx(16)
    assert bounds(parts) == [[-1, -1, -1], [4, 1, 1]]


@pytest.mark.parametrize("first", range(6))
def test_case_13_a_concave_polygon_keeps_its_notch(tmp_path: Path, first: int) -> None:
    parts = read(tmp_path, "x.obj", prism(L_SHAPE[first:] + L_SHAPE[:first]))
    assert volume(parts) == pytest.approx(3)
    triangles = parts[0].vertices[parts[0].faces]
    assert np.linalg.norm(
        np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1
    ).sum() / 2 == pytest.approx(14)
    assert open_edges(parts[0]) == 0


@pytest.mark.parametrize("teeth", [3, 5, 40, 400])
@pytest.mark.parametrize("on_a_line", [1, 3])
def test_case_13_a_comb_keeps_its_area_and_stays_closed(tmp_path: Path, teeth: int, on_a_line: int) -> None:
    outline: list[tuple[float, float]] = [(2 * teeth * i / on_a_line, 0.0) for i in range(on_a_line)]
    outline += (
        [(2 * teeth, 0)] + [(x, y) for i in range(teeth, 0, -1) for x, y in ((2 * i, 3), (2 * i - 1, 1))] + [(0, 3)]
    )
    parts = read(tmp_path, "x.obj", prism(outline))
    assert volume(parts) == pytest.approx(4 * teeth)
    triangles = parts[0].vertices[parts[0].faces]
    flat = triangles[np.ptp(triangles[:, :, 2], axis=1) == 0]
    area = np.linalg.norm(np.cross(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]), axis=1).sum() / 2
    assert area == pytest.approx(2 * 4 * teeth)
    assert open_edges(parts[0]) == 0


def test_polygons_that_cross_themselves_stay_closed_and_quick(tmp_path: Path) -> None:
    star = [(np.cos(i * 4 * np.pi / 5), np.sin(i * 4 * np.pi / 5)) for i in range(5)]
    assert open_edges(read(tmp_path, "x.obj", prism(star))[0]) == 0
    laps = [(np.cos(i * 2.1) * (1 + i / 1e5), np.sin(i * 2.1)) for i in range(2000)]
    assert open_edges(read(tmp_path, "x.obj", prism(laps))[0]) == 0
    teeth = [(float(x), 1.0 + x % 2) for x in range(5000, 0, -1)]
    with pytest.raises(InputError, match="has a concave polygon of 5,002 corners; export it again as triangles"):
        read(tmp_path, "x.obj", prism([(0.0, 0.0), (6000.0, 0.0), *teeth]))


ENCODINGS = {
    "latin-1": ("# Zürich, Körper\n", "latin-1"),
    "gbk": ("# 材质\n", "gbk"),
    "gbk with a backslash": ("# 乗\\\n", "gbk"),
    "windows-1251": ("# экспорт\n", "cp1251"),
    "utf-8 with a mark": ("# é\n", "utf-8-sig"),
    "utf-16": ("# é\n", "utf-16"),
    "utf-16 without a mark": ("# e\n", "utf-16-le"),
    "utf-16, big": ("# e\n", "utf-16-be"),
    "utf-32": ("# é\n", "utf-32"),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("kind", ["obj", "off", "stl"])
def test_case_14_any_encoding_is_read(tmp_path: Path, name: str, kind: str) -> None:
    comment, encoding = ENCODINGS[name]
    text = {
        "obj": comment + comment.replace("#", "o") + obj_text(),
        "off": off_text(f"OFF\n{comment}8 6 12\n"),
        "stl": f"solid {comment}{stl_text()}",
    }
    assert volume(read(tmp_path, f"x.{kind}", text[kind], encoding)) == pytest.approx(8)


def test_case_14_a_comment_of_a_ply_may_have_any_encoding(tmp_path: Path) -> None:
    head = ply_head("ascii").replace("element vertex", "comment créé\nelement vertex")
    assert volume(read(tmp_path, "x.ply", head + off_text(""), "latin-1")) == pytest.approx(8)
    binary = ply_bytes().replace(b"element vertex", "comment créé\nelement vertex".encode("latin-1"))
    assert volume(read(tmp_path, "x.ply", binary)) == pytest.approx(8)


OBJ = {
    "quads": obj_text(SQUARES),
    "Windows lines": obj_text().replace("\n", "\r\n"),
    "old Mac lines": obj_text().replace("\n", "\r"),
    "no last line end": obj_text().rstrip(),
    "tabs and blanks": obj_text().replace(" ", "\t  ").replace("v\t", "  v\t"),
    "continued lines": obj_text(SQUARES).replace(" 1", " \\\n1"),
    "colors": obj_text().replace("\nv", " 0.5 0.5 0.5\nv"),
    "weights": obj_text().replace("\nv", " 1.0\nv"),
    "comments behind": obj_text().replace("\nf", " # note\nf"),
    "normals": "vn 0 0 1\n" + obj_text().replace("f 1 ", "f 1//1 "),
    "textures": "vt 0 0\n" + obj_text(SQUARES).replace("f 1 ", "f 1/1/1 "),
    "faces first": "".join(sorted(obj_text().splitlines(keepends=True), key=lambda row: row[0])),
    "exponents": obj_text().replace("v 1 ", "v 1.0E+00 ").replace("v -1 ", "v -.1e1 "),
    "lines and points": obj_text() + "l 1 2 3\np 1\nvp 0.1 0.2\ns off\ng a b\n",
}


@pytest.mark.parametrize("name", OBJ)
def test_dialects_of_obj(tmp_path: Path, name: str) -> None:
    parts = read(tmp_path, "x.obj", OBJ[name])
    assert volume(parts) == pytest.approx(8)
    assert bounds(parts) == BOX


OFF = {
    "plain": off_text(),
    "counts on the first line": off_text("OFF 8 6 12\n"),
    "no header": off_text("8 6 0\n"),
    "two counts": off_text("OFF\n8 6\n"),
    "small letters": off_text("off\n8 6 12\n"),
    "comments": off_text("# a\nOFF # b\n# c\n\n8 6 12 # d\n"),
    "colors of vertices": off_text("COFF\n8 6 12\n", " 255 0 0 255"),
    "normals": off_text("NOFF\n8 6 12\n", " 0 0 1"),
    "textures, colors, normals": off_text("STCNOFF\n8 6 12\n", " 0 0 1 1 0 0 1 0 0"),
    "unnamed colors": off_text(tail=" 0.5 0.5 0.5"),
    "four numbers": off_text("4OFF\n8 6 12\n", " 1"),
    "colors of faces": off_text().replace(" 5\n", " 5 0.1 0.2 0.3\n"),
    "one line": "OFF " + " ".join(off_text("8 6 12\n").split()),
}


@pytest.mark.parametrize("name", OFF)
def test_dialects_of_off(tmp_path: Path, name: str) -> None:
    parts = read(tmp_path, "x.off", OFF[name])
    assert volume(parts) == pytest.approx(8)
    assert bounds(parts) == BOX


FACETS = stl_text()
STL = {
    "plain": f"solid box\n{FACETS}endsolid box\n",
    "capitals": f"solid box\n{FACETS}endsolid box\n".upper(),
    "two solids": f"solid a\n{stl_text(CUBE[:6])}endsolid a\nsolid a\n{stl_text(CUBE[6:])}endsolid a\n",
    "two solids without names": f"solid\n{stl_text(CUBE[:6])}endsolid\nsolid\n{stl_text(CUBE[6:])}endsolid",
    "blanks in words": "solid\n"
    + FACETS.replace("endloop", "end loop").replace("endfacet", "end facet")
    + "end solid\n",
    "no last line": f"solid box\n{FACETS}",
    "a name of keywords": f"solid facet vertex part\n{FACETS}endsolid facet vertex part\n",
    "leading blanks": f"\n  \t solid\n{FACETS}endsolid\n",
    "one line": " ".join(f"solid box\n{FACETS}endsolid box".split()),
    "normals that are no numbers": f"solid\n{FACETS}endsolid".replace("normal 0 0 0", "normal -nan(ind) nan 1.#QNAN"),
    "no normals": f"solid\n{FACETS}endsolid".replace(" normal 0 0 0", ""),
    "exponents": f"solid\n{FACETS}endsolid".replace("vertex 1 ", "vertex 1.000000e+000 "),
    "Windows lines": f"solid box\n{FACETS}endsolid box\n".replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", STL)
def test_case_16_dialects_of_stl_text(tmp_path: Path, name: str) -> None:
    parts = read(tmp_path, "x.stl", STL[name])
    assert volume(parts) == pytest.approx(8)
    assert bounds(parts) == BOX


@pytest.mark.parametrize("header", [b"plain", b"solid box", b"solid facet normal", b"\xff\xfe\x00"])
def test_case_16_a_binary_stl_may_have_any_header(tmp_path: Path, header: bytes) -> None:
    assert volume(read(tmp_path, "x.stl", stl_bytes(header))) == pytest.approx(8)
    assert volume(read(tmp_path, "x.stl", stl_bytes(header) + b"\n")) == pytest.approx(8)


def tristrips(values: list[int]) -> bytes:
    """A PLY of the corners of a cube and one row of strips."""
    extra = "element tristrips 1\nproperty list int int vertex_indices\n"
    head = ply_head("binary_little_endian", faces=0, extra=extra)
    return head.encode() + CORNERS.astype("<f4").tobytes() + struct.pack(f"<{len(values) + 1}i", len(values), *values)


EXTRA_TABLE = "element edge 2\nproperty int a\nproperty list uchar short b\nproperty uchar c\n"
PLY = {
    "text": (ply_head("ascii") + off_text("")).encode(),
    "text of triangles": ply_head("ascii", faces=12).encode()
    + b"".join(b"%g %g %g\n" % tuple(c) for c in CORNERS)
    + b"".join(b"3 %d %d %d\n" % tuple(t) for t in CUBE.tolist()),
    "Windows lines": (ply_head("ascii") + off_text("")).replace("\n", "\r\n").encode(),
    "little": ply_bytes("<"),
    "big": ply_bytes(">"),
    "another name": ply_bytes("<", indices="vertex_index"),
    "another table": ply_bytes("<")
    .replace(b"element face", EXTRA_TABLE.encode() + b"element face")
    .replace(
        CORNERS.astype("<f4").tobytes(),
        CORNERS.astype("<f4").tobytes() + struct.pack("<iBhhB", 1, 2, 3, 4, 5) + struct.pack("<iBB", 1, 0, 5),
    ),
    "strips of a row": tristrips(
        [v for square in SQUARES.tolist() for v in (square[0], square[1], square[3], square[2], -1)]
    ),
}


@pytest.mark.parametrize("name", PLY)
def test_dialects_of_ply(tmp_path: Path, name: str) -> None:
    parts = read(tmp_path, "x.ply", PLY[name])
    assert volume(parts) == pytest.approx(8)
    assert bounds(parts) == BOX


def test_a_ply_with_more_properties_and_mixed_polygons(tmp_path: Path) -> None:
    head = (
        ply_head("binary_little_endian", faces=9)
        .replace("float", "double")
        .replace("property double x", "property uchar red\nproperty double x")
        .replace("vertex_indices", "vertex_indices\nproperty list uchar float texcoord\nproperty uchar flags")
    )
    body = b"".join(struct.pack("<B3d", 7, *corner) for corner in CORNERS)
    for polygon in [*CUBE[:6].tolist(), *SQUARES[3:].tolist()]:
        body += struct.pack(f"<B{len(polygon)}i", len(polygon), *polygon) + struct.pack("<B2fB", 2, 0.5, 0.5, 1)
    assert volume(read(tmp_path, "x.ply", head.encode() + body)) == pytest.approx(8)


REFUSED = {
    "two.obj": ("v 0 0\nv 1 0\nv 1 1\nf 1 2 3\n", "has a vertex of 2 numbers, which needs 3"),
    "comma.obj": ("v 0,5 1 2\nf 1 1 1\n", "'0,5' is not a number"),
    "zero.obj": ("v 0 0 0\nf 0 1 1\n", "a face has the index 0"),
    "behind.obj": ("v 0 0 0\nf -2 -1 -1\n", "faces with vertices that do not exist"),
    "surface.obj": ("v 0 0 0\nsurf 0 1 0 1 1 2\n", "has free-form surfaces"),
    "include.obj": ("call other.obj\n", "has its geometry in other files"),
    "cut.stl": (f"solid a\n{FACETS[:-20]}", "it ends inside a facet, so it is cut short"),
    "odd.stl": (f"solid a\n{FACETS}".replace("vertex 1 1 1\n", "\n", 1), "a facet has not three corners"),
    "words.stl": ("facet normal 0 0 0\n" * 9, "does not begin with the word solid"),
    "more.stl": (stl_bytes(count=13), "it states 13 triangles but holds 12"),
    "less.stl": (stl_bytes(count=2), "it states 2 triangles but holds 12"),
    "binary.off": (b"OFF BINARY\n" + bytes(40), "is a binary OFF file"),
    "short.off": (off_text("OFF\n9 6 12\n"), "more numbers than 9 vertices and 6 faces need|it ends before"),
    "long.off": (off_text("OFF\n7 6 12\n"), "more numbers than 7 vertices and 6 faces need|it ends before"),
    "two.off": ("OFF\n4 1 0\n0 0\n1 0\n1 1\n0 1\n3 0 1 2\n", "cannot be read|less than 3 numbers|do not exist"),
    "two.ply": (
        ply_head("ascii", 3, 1).replace("property float z\n", "") + "0 0\n1 0\n1 1\n3 0 1 2\n",
        "has vertices of 2 numbers, which need x, y and z",
    ),
    "half.ply": (ply_bytes()[:-1], "a list claims 4 numbers, more than the file holds"),
    "index.ply": (ply_head("ascii", 3, 1) + "0 0 0\n1 0 0\n1 1 0\n3 0 1 2.5\n", "an index is not a whole number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_the_true_reason(tmp_path: Path, name: str) -> None:
    content, sentence = REFUSED[name]
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, name, content)


def test_fault_36_a_file_that_vanishes_or_grows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.obj"
    path.write_text(obj_text())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *arguments: (_ for _ in ()).throw(FileNotFoundError(2, "No such file")))
        with pytest.raises(InputError, match=r"x\.obj cannot be read \(No such file\)"):
            read_mesh_file(path)
    monkeypatch.setattr("weightgpt.shapes.readers.limits.MAX_BYTES", 10)
    with pytest.raises(InputError, match="more than the 0 MiB allowed"):
        read_mesh_file(path)
