"""A file that is not what its extension says is refused with what it is, and dialects that look odd are read right."""

import base64
import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shapes.mesh_files import CORNERS, CUBE, SQUARES, Glb, obj_text, off_text, stl_bytes, volume
from weightgpt.errors import InputError
from weightgpt.shapes.readers.limits import FORMATS
from weightgpt.shapes.readers.reading import read_mesh_file


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("cube.obj", obj_text())
    return target.getvalue()


FOREIGN = {
    "zip archive": zipped(),
    "compressed file": gzip.compress(obj_text().encode()),
    "web page": b"<!DOCTYPE html><html><head><title>404</title></head></html>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n",
    "XML file": b'<?xml version="1.0"?><COLLADA></COLLADA>',
    "empty": b" \n",
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", FOREIGN)
def test_fault_26_a_file_of_another_kind_is_refused_with_what_it_is(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(InputError, match=f"is .*{kind}"):
        read_mesh_file(path)


@pytest.mark.parametrize(
    ("name", "content", "right"),
    [
        ("x.obj", stl_bytes(), ".stl"),
        ("x.obj", b"glTF" + struct.pack("<II", 2, 99) + bytes(87), ".glb"),
        ("x.off", obj_text().encode(), ".obj"),
        ("x.stl", b"# made for a test\no cube\n" + obj_text().encode(), ".obj"),
        ("x.obj", off_text().encode(), ".off"),
    ],
)
def test_fault_26_a_mesh_with_a_wrong_extension_is_refused_with_the_right_one(
    tmp_path: Path, name: str, content: bytes, right: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"rename it to {right}"):
        read_mesh_file(tmp_path / name)


def test_case_12_tabs_between_corners_with_texture_coordinates_keep_all_corners(tmp_path: Path) -> None:
    rows = "".join("v {:g} {:g} {:g}\n".format(*corner) for corner in CORNERS)
    faces = "".join("f\t{}/1/1\t{}/1/1\t{}/1/1\n".format(*(triangle + 1)) for triangle in CUBE)
    (tmp_path / "x.obj").write_text(rows + faces)
    assert volume(read_mesh_file(tmp_path / "x.obj")) == pytest.approx(8)


@pytest.mark.parametrize("change", [lambda text: text.replace("f ", "fo "), str.upper])
def test_case_12_old_and_capital_words_of_obj_are_read(tmp_path: Path, change: Callable[[str], str]) -> None:
    (tmp_path / "x.obj").write_text(change(obj_text()))
    assert volume(read_mesh_file(tmp_path / "x.obj")) == pytest.approx(8)


def test_old_free_form_patches_of_obj_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.obj").write_text(obj_text() + "bzp " + "1 " * 16 + "\n")
    with pytest.raises(InputError, match="free-form surfaces"):
        read_mesh_file(tmp_path / "x.obj")


def test_case_14_the_counts_of_off_may_follow_without_a_blank(tmp_path: Path) -> None:
    (tmp_path / "x.off").write_text(off_text("OFF8 6 12\n"))
    assert volume(read_mesh_file(tmp_path / "x.off")) == pytest.approx(8)


def test_case_14_a_list_before_the_position_of_a_vertex_of_ply_is_passed_over(tmp_path: Path) -> None:
    head = "ply\nformat ascii 1.0\nelement vertex 8\nproperty list uchar int near\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "element face 6\nproperty list uchar int vertex_index\nend_header\n"
    rows = ["{} {}{:g} {:g} {:g}\n".format(i % 3, "7 " * (i % 3), *corner) for i, corner in enumerate(CORNERS)]
    (tmp_path / "x.ply").write_text(head + "".join(rows) + "".join("4 {} {} {} {}\n".format(*row) for row in SQUARES))
    assert volume(read_mesh_file(tmp_path / "x.ply")) == pytest.approx(8)


@pytest.mark.parametrize("line_end", ["\r", "\n", "\r\n"])
def test_case_14_a_binary_ply_may_begin_with_the_byte_of_a_line_end(tmp_path: Path, line_end: str) -> None:
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 8\nproperty uchar red\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "element face 6\nproperty list uchar int vertex_index\nend_header\n"
    body = b"".join(b"\n" + struct.pack("<3f", *corner) for corner in CORNERS)
    body += b"".join(struct.pack("<B4i", 4, *row) for row in SQUARES)
    (tmp_path / "x.ply").write_bytes(head.replace("\n", line_end).encode() + body)
    assert volume(read_mesh_file(tmp_path / "x.ply")) == pytest.approx(8)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_case_14_a_gltf_in_any_encoding_of_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    glb = Glb()
    glb.node(mesh=glb.mesh(), name="K\u00f6rper")
    uri = "data:application/octet-stream;base64," + base64.b64encode(glb.binary).decode()
    tree = {**glb.tree, "buffers": [{"byteLength": len(glb.binary), "uri": uri}]}
    (tmp_path / "x.gltf").write_bytes(json.dumps(tree).encode(encoding))
    assert volume(read_mesh_file(tmp_path / "x.gltf")) == pytest.approx(8)
