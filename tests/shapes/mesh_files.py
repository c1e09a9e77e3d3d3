"""Small mesh files of every format, written by hand for the tests of the readers."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from weightgpt.shapes.readers.part import MeshPart

CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
SQUARES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
CUBE = SQUARES[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
"""Triangles of a cube of side 2; the faces point outwards."""


def volume(parts: list[MeshPart]) -> float:
    """The volume that closed parts enclose, positive where the faces point outwards."""
    return sum(float(np.linalg.det(part.vertices[part.faces]).sum()) / 6 for part in parts)


def bounds(parts: list[MeshPart]) -> list[list[float]]:
    """Lowest and highest corner of the box around the triangles."""
    points = np.concatenate([part.vertices[part.faces].reshape(-1, 3) for part in parts])
    return np.round([points.min(axis=0), points.max(axis=0)], 6).tolist()


def open_edges(part: MeshPart) -> int:
    """The number of edges whose opposite is missing."""
    faces = part.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    balance: dict[tuple[int, int], int] = {}
    for a, b in edges:
        balance[min(a, b), max(a, b)] = balance.get((min(a, b), max(a, b)), 0) + (1 if a < b else -1)
    return sum(map(abs, balance.values()))


def obj_text(polygons: np.ndarray = CUBE, move: tuple[float, float, float] = (0, 0, 0)) -> str:
    """A cube as OBJ."""
    rows = ["v {:g} {:g} {:g}\n".format(*corner) for corner in CORNERS + move]
    return "".join(rows + ["f " + " ".join(str(i + 1) for i in polygon) + "\n" for polygon in polygons])


def off_text(header: str = "OFF\n8 6 12\n", tail: str = "") -> str:
    """A cube as OFF, with `tail` behind every vertex."""
    rows = ["{:g} {:g} {:g}{}\n".format(*corner, tail) for corner in CORNERS]
    return header + "".join(rows + ["4 {} {} {} {}\n".format(*square) for square in SQUARES])


def stl_text(facets: np.ndarray = CUBE) -> str:
    """The facets of a cube as STL text, without the lines around them."""
    text = ""
    for triangle in facets:
        corners = "".join("  vertex {:g} {:g} {:g}\n".format(*corner) for corner in CORNERS[triangle])
        text += f"facet normal 0 0 0\n outer loop\n{corners} endloop\nendfacet\n"
    return text


def stl_bytes(header: bytes = b"made for a test", count: int = 12) -> bytes:
    """A cube as binary STL that states `count` triangles."""
    rows = [struct.pack("<12fH", 0, 0, 0, *CORNERS[triangle].ravel(), 0) for triangle in CUBE]
    return header.ljust(80) + struct.pack("<I", count) + b"".join(rows)


def ply_head(form: str, vertices: int = 8, faces: int = 6, extra: str = "", indices: str = "vertex_indices") -> str:
    """The header of a PLY; `extra` goes between the vertices and the faces."""
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    table = f"element face {faces}\nproperty list uchar int {indices}\n" if faces else ""
    return f"ply\nformat {form} 1.0\nelement vertex {vertices}\n{axes}{extra}{table}end_header\n"


def ply_bytes(order: str = "<", indices: str = "vertex_indices") -> bytes:
    """A cube of quads as binary PLY."""
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    quads = b"".join(struct.pack(f"{order}B4i", 4, *square.tolist()) for square in SQUARES)
    return ply_head(form, indices=indices).encode() + CORNERS.astype(f"{order}f4").tobytes() + quads


class Glb:
    """A writer of binary glTF that checks nothing."""

    def __init__(self) -> None:
        self.binary = b""
        self.tree: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}
        self.tree |= {name: [] for name in ("bufferViews", "accessors", "meshes", "nodes")}

    def view(self, data: bytes, **more: Any) -> int:
        """Add bytes; returns the index of their view."""
        self.binary += bytes(-len(self.binary) % 4)
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **more})
        self.binary += data
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, values: Any, code: str, kind: str, **more: Any) -> int:
        """Add numbers of a type of numpy; returns the index of their accessor."""
        array = np.asarray(values).astype(code)
        component = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}[code]
        entry = {"bufferView": self.view(array.tobytes()), "componentType": component, "count": len(array)}
        self.tree["accessors"].append({**entry, "type": kind, **more})
        return len(self.tree["accessors"]) - 1

    def mesh(self, corners: Any = CORNERS, triangles: Any = CUBE, **more: Any) -> int:
        """Add a mesh of one primitive; returns its index."""
        attributes = {"POSITION": self.accessor(corners, "f4", "VEC3")}
        indices = self.accessor(np.ravel(triangles), "u2", "SCALAR")
        return self.primitive(attributes=attributes, indices=indices, **more)

    def primitive(self, **entry: Any) -> int:
        """Add a mesh of one primitive; returns its index."""
        self.tree["meshes"].append({"primitives": [entry]})
        return len(self.tree["meshes"]) - 1

    def node(self, root: bool = True, **entry: Any) -> int:
        """Add a node; returns its index."""
        self.tree["nodes"].append(entry)
        if root:
            self.tree["scenes"][0]["nodes"].append(len(self.tree["nodes"]) - 1)
        return len(self.tree["nodes"]) - 1

    def require(self, extension: str) -> None:
        """Note an extension as required."""
        for name in ("extensionsUsed", "extensionsRequired"):
            self.tree.setdefault(name, []).append(extension)

    def content(self) -> bytes:
        """The bytes of the file."""
        self.tree.setdefault("buffers", [{"byteLength": len(self.binary)}])
        text = json.dumps(self.tree).encode()
        text += b" " * (-len(text) % 4)
        binary = self.binary + bytes(-len(self.binary) % 4)
        head = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(binary), len(text), b"JSON")
        return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary

    def save(self, folder: Path) -> Path:
        """Write the file into a folder; returns its path."""
        path = folder / "x.glb"
        path.write_bytes(self.content())
        return path


def cube_glb() -> bytes:
    """A cube as GLB, with an indexed mesh on a moved node below another."""
    glb = Glb()
    child = glb.node(root=False, mesh=glb.mesh(), translation=[1, 2, 3])
    glb.node(children=[child], rotation=[0, 0, 1, 0], scale=[2, 1, 1])
    return glb.content()
