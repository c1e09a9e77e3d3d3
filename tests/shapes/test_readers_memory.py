"""A dense mesh file takes little more memory than the file and its mesh, measured in a process of its own."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shapes.mesh_files import ply_head

ROOT = Path(__file__).parents[2]
NAMES = ("text.ply", "binary.ply", "lines.off", "words.off", "x.obj", "text.stl", "binary.stl", "x.glb")
PROGRAM = """
import sys
from pathlib import Path
from weightgpt.shapes.readers.reading import read_mesh_file

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

before = peak()
parts = read_mesh_file(Path(sys.argv[1]))
print(peak() - before, sum(part.vertices.nbytes + part.faces.nbytes for part in parts))
"""
"""Prints the growth of the memory at its peak, and the size of the mesh, in bytes."""


def dense_files() -> dict[str, bytes]:
    """Files of numbers of one digit, which take the most memory for their size: a million vertices, many triangles."""
    vertices, faces = b"1 2 3\n" * 1_000_000, b"3 0 1 2\n" * 300_000
    head = {form: ply_head(form, 1_000_000, 300_000).encode() for form in ("ascii", "binary_little_endian")}
    binary = head["binary_little_endian"].replace(b"float", b"uchar").replace(b"uchar int", b"uchar uchar")
    facet = b"facet outer loop vertex 0 0 0 vertex 0 0 1 vertex 0 1 0 endloop endfacet\n"
    return {
        "text.ply": head["ascii"] + vertices + faces,
        "binary.ply": binary + b"\1\2\3" * 1_000_000 + b"\3\0\1\2" * 300_000,
        "lines.off": b"OFF\n1000000 300000 0\n" + vertices + faces,
        "words.off": b"OFF\n1000000 300000 0\n" + vertices.replace(b"\n", b" ") + faces.replace(b"\n", b" "),
        "x.obj": b"v 1 2 3\n" * 1_000_000 + b"f 1 2 3\n" * 300_000,
        "text.stl": b"solid\n" + facet * 150_000 + b"endsolid\n",
        "binary.stl": bytes(80) + struct.pack("<I", 300_000) + bytes(50) * 300_000,
        "x.glb": glb_of_bytes(900_000),
    }


def glb_of_bytes(count: int) -> bytes:
    """A glTF of triangles without indices, whose positions are bytes."""
    view, accessor = {"buffer": 0, "byteLength": 3 * count}, {"bufferView": 0, "componentType": 5121, "type": "VEC3"}
    mesh = {"primitives": [{"attributes": {"POSITION": 0}}]}
    tree = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": 3 * count}], "bufferViews": [view]}
    tree |= {"accessors": [{**accessor, "count": count, "normalized": True}], "meshes": [mesh], "nodes": [{"mesh": 0}]}
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", 3 * count, b"BIN\0") + bytes(3 * count)
    )
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_fault_25_a_dense_file_takes_little_more_than_its_mesh(tmp_path: Path, name: str) -> None:
    """The mesh is there once; beside it there is the file, and what is read at once."""
    content = dense_files()[name]
    (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / name)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    growth, mesh = map(int, done.stdout.split())
    assert growth < 1.1 * len(content) + 1.4 * mesh + 32 * 2**20
    assert growth < 2 * len(content) + 200 * 2**20
