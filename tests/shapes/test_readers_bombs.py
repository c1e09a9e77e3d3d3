"""Files that claim or unfold to far more than they hold are refused quickly and in little memory."""

import struct
import tracemalloc
from pathlib import Path

import pytest

from tests.shapes.mesh_files import CORNERS, obj_text, ply_head
from weightgpt.errors import InputError
from weightgpt.shapes.readers import limits
from weightgpt.shapes.readers.reading import read_mesh_file

MOST = 10**12
LIST = ply_head("binary_little_endian", 4, 1).replace("uchar int", "uint int").encode()
TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"

CLAIMS: dict[str, tuple[bytes, str]] = {
    "text.ply": (ply_head("ascii", MOST, 4).encode() + b"0 0 0\n", "vertices, more than the"),
    "rows.ply": (ply_head("ascii", 6_000_000, 4).encode() + b"0 0 0\n", "it claims 6,000,000 rows of 'vertex'"),
    "binary.ply": (
        ply_head("binary_big_endian", 5, 4 * 10**9).encode() + bytes(1000),
        "4,000,000,000 faces",
    ),
    "list.ply": (LIST + bytes(48) + b"\xff\xff\xff\x7f" + bytes(100), "a list claims 2,147,483,647 numbers"),
    "binary.stl": (
        bytes(80) + struct.pack("<I", 4 * 10**9) + bytes(500),
        "4,000,000,000 triangles but holds 10",
    ),
    "claims.off": (b"OFF\n1000000000000 4000000000 0\n0 0 0\n", "it claims 1,000,000,000,000 vertices"),
    "polygon.off": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n1000000000 0 1 2\n", "fewer corners than it claims"),
    "lengths.glb": (b"glTF" + struct.pack("<III", 2, 2**32 - 1, 2**32 - 1) + b"JSON{}", "so it is cut short"),
    "deep.gltf": (b'{"a":' * 100_000, "its JSON is broken"),
    "wide.gltf": (b"[" + b"{}," * 1_000_000, "2,000,001 values in its JSON"),
    "laps.obj": (f"{TRIANGLE}f {'1 2 3 ' * 700_000}\n".encode(), "2,099,998 faces, more than the 2,000,000 allowed"),
    "line.obj": (b"v 0" + b"\\\n" * 2_500_000, "a line continues over more than 4 MiB"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_fault_25_claims_are_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    content, sentence = CLAIMS[name]
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=sentence):
            read_mesh_file(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(content) + 100 * 2**20


def test_fault_25_many_groups_and_solids_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.obj").write_text(TRIANGLE + "o a\nusemtl m\nf 1 2 3\n" * 20_000)
    (tmp_path / "x.stl").write_text(
        "solid a\nfacet normal 0 0 0\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
        "endsolid a\n" * 20_000
    )
    for name in ("x.obj", "x.stl"):
        (part,) = read_mesh_file(tmp_path / name)
        assert len(part.faces) == 20_000


@pytest.mark.parametrize("name", ["x.obj", "x.off", "x.ply", "x.stl"])
def test_fault_33_too_many_faces_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    rows = "".join("{:g} {:g} {:g}\n".format(*corner) for corner in CORNERS)
    polygon = "8 0 1 2 3 4 5 6 7\n" * 3
    facets = "facet normal 0 0 0\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n" * 18
    content = {
        "x.obj": obj_text(CORNERS[:0]) + "f 1 2 3 4 5 6 7 8\n" * 3,
        "x.off": f"OFF 8 3 0\n{rows}{polygon}",
        "x.ply": ply_head("ascii", faces=3) + rows + polygon,
        "x.stl": f"solid\n{facets}",
    }
    (tmp_path / name).write_text(content[name])
    monkeypatch.setattr(limits, "MAX_FACES", 17)
    with pytest.raises(InputError, match="has 18 faces, more than the 17 allowed; simplify the mesh"):
        read_mesh_file(tmp_path / name)
    monkeypatch.setattr(limits, "MAX_FACES", 18)
    assert len(read_mesh_file(tmp_path / name)[0].faces) == 18
