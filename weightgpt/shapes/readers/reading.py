"""Mesh files of all formats, as parts with vertices and triangles.

Decisions:

- Each format has a decoder here that follows its specification and compares every count with the bytes of the file
  before it allocates memory. The time and the memory are linear in the size of the file.
- A file is read once, as a whole. No other file is opened.
- Every error of a decoder is one sentence that names the file.
"""

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten

import numpy as np

from weightgpt.errors import InputError
from weightgpt.shapes.readers import limits
from weightgpt.shapes.readers.content import foreign_content
from weightgpt.shapes.readers.gltf import read_gltf
from weightgpt.shapes.readers.obj import read_obj
from weightgpt.shapes.readers.off import read_off
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.ply import read_ply
from weightgpt.shapes.readers.polygons import check_corners
from weightgpt.shapes.readers.stl import read_stl

_READERS: dict[str, Callable[[bytes], list[MeshPart]]] = {
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".off": read_off,
    ".ply": read_ply,
    ".stl": read_stl,
}

_STEPS = 1000  # a mesh of fewer steps of single precision than this may have lost its shape
_COARSE = 0.01  # a step by which a whole mesh may become a point


def read_mesh_file(path: Path) -> list[MeshPart]:
    """Read a mesh file.

    Args:
        path: a file; the extensions that are read are in `limits.FORMATS`.

    Returns:
        Its parts, at least one; together they have at least one face, and all vertices are finite.

    Raises:
        InputError: the file is missing, too large, of another format, broken or without faces.
    """
    suffix, formats = path.suffix.lower(), ", ".join(limits.FORMATS)
    if not os.path.isfile(path):
        what = "is a link to a file that does not exist" if path.is_symlink() else "is not a file"
        raise InputError(f"{path} {what}; give the path of a {formats} file.")
    if suffix not in _READERS:
        kind = limits.REFUSED_FORMATS.get(suffix, "a file of another format")
        raise InputError(f"{path} is {kind}, which is not read; give the mesh itself as one of {formats}.")
    try:
        return _decode(_read_bytes(path), suffix)
    except InputError as error:
        raise InputError(f"{path} {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file that you may read.") from error
    except Exception as error:  # a decoder met something that its rules leave out
        reason = shorten(f"{type(error).__name__} {error}", 100)
        raise InputError(f"{path} cannot be read as a mesh ({reason}); export it again.") from error


def _decode(data: bytes, suffix: str) -> list[MeshPart]:
    """The parts of a file with faces."""
    try:
        with np.errstate(all="ignore"):
            parts = [part for part in _READERS[suffix](data) if len(part.faces)]
            for part in parts:
                check_corners(part.vertices, part.faces)
            _check_digits(parts)
    except InputError as error:
        raise foreign_content(data, suffix) or error from error
    if not parts:
        raise foreign_content(data, suffix) or InputError("has no faces; give a mesh of triangles or polygons.")
    return parts


def _check_digits(parts: list[MeshPart]) -> None:
    """Refuse a mesh in single precision so far from the origin that corners of its faces became one."""
    if not parts:
        return
    low = np.min([part.vertices.min(0) for part in parts], axis=0)
    high = np.max([part.vertices.max(0) for part in parts], axis=0)
    largest, size = float(np.abs([low, high]).max()), float((high - low).max())
    step = float(np.spacing(np.float32(largest)))
    if not size < _STEPS * step or (size == 0 and step < _COARSE):
        return
    single = all((part.vertices == part.vertices.astype(np.float32)).all() for part in parts)
    corners = [part.vertices[part.faces] for part in parts]
    if single and any((np.roll(faces, 1, axis=1) == faces).all(2).any() for faces in corners):
        raise InputError(
            f"has a size of {size:.3g} at coordinates near {largest:.3g}, where single precision has steps of"
            f" {step:.3g}, so corners fell together; move the mesh to the origin before you export it."
        )


def _read_bytes(path: Path) -> bytes:
    """The content of a file that is not too large, also if it grows while it is read."""
    with path.open("rb") as file:
        data = file.read(limits.MAX_BYTES + 1)
    if len(data) > limits.MAX_BYTES:
        size = f"{path.stat().st_size / 2**20:.0f} MiB"
        raise InputError(f"has {size}, more than the {limits.MAX_BYTES // 2**20} MiB allowed; simplify the mesh.")
    return data
