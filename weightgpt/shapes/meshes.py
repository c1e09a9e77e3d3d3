"""Mesh files, and folders of them, as shapes.

Decisions:

- Meshes are centered on their bounding box and scaled to a longest side of 1.8, in float64. The shape keeps that
  transform.
- Only the geometry inside the one file is read: no material, no texture, no buffer in another file, no archive and no
  pickle.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any, overload

import numpy as np
import trimesh
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.extent import SIDE as SIDE
from weightgpt.shapes.mesh_solid import build_solid
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.shape import Shape

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]

FORMATS = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
"""Extensions of the files that are read."""
MAX_BYTES = 64 * 2**20
"""Larger files are refused."""
MAX_FACES = 2_000_000
"""Meshes with more faces are refused."""
_REFUSED_FORMATS = {
    **dict.fromkeys(
        (".3ds", ".3mf", ".blend", ".ctm", ".dae", ".fbx", ".msh", ".step", ".stp", ".xyz"), "a file of another format"
    ),
    **dict.fromkeys((".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"), "a compressed file"),
    **dict.fromkeys((".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"), "a file that may run code when opened"),
}


@dataclass(frozen=True)
class Refusal:
    """A mesh file that could not be read as a shape."""

    path: Path
    """Path of the file."""
    reason: str
    """Why it was refused, in one sentence."""


@dataclass(frozen=True)
class Shapes(Sequence[Shape]):
    """The shapes of a folder: a sequence of `Shape`, together with the files that were refused."""

    shapes: tuple[Shape, ...]
    """The shapes, in the order of their paths."""
    refused: tuple[Refusal, ...] = ()
    """The mesh files that could not be read."""

    def __len__(self) -> int:
        return len(self.shapes)

    @overload
    def __getitem__(self, index: int) -> Shape: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Shape, ...]: ...

    def __getitem__(self, index: int | slice) -> Shape | tuple[Shape, ...]:
        return self.shapes[index]


def load_shapes(folder: Path | str, *, thickness: float | None = None) -> Shapes:
    """Load all meshes below a folder.

    The sub-folders of `folder` are the classes; a mesh directly in `folder` has the label 'none'. Hidden files, and
    files that are neither meshes nor archives nor pickles, are skipped. Links to folders are not followed.

    Args:
        folder: the folder; the extensions of the files that are read are in `FORMATS`.
        thickness: thickness of open surfaces, see `load_shape`.

    Returns:
        The shapes in the order of their paths; `.refused` lists the files that could not be read, with the reasons.

    Raises:
        InputError: the folder does not exist, or no mesh in it can be read.

    Examples:
        >>> shapes = load_shapes("my_meshes")  # doctest: +SKIP
        >>> len(shapes), [refusal.reason for refusal in shapes.refused]  # doctest: +SKIP
        (12, [])
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that holds meshes, in a sub-folder for each class.")
    shapes: dict[str, Shape] = {}
    refused: list[Refusal] = []
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in within.parts)
        if hidden or not path.is_file() or path.suffix.lower() not in (*FORMATS, *_REFUSED_FORMATS):
            continue
        try:
            shape = load_shape(path, within.parts[0] if len(within.parts) > 1 else "none", thickness=thickness)
        except InputError as error:
            refused.append(Refusal(path, str(error)))
            continue
        name = "-".join(within.with_suffix("").parts)
        name = name if name not in shapes else "-".join(within.parts)
        shapes[name] = replace(shape, name=name)
    if not shapes:
        if refused:
            raise InputError(
                f"{folder} has no mesh that can be read; the first of its {len(refused)} files: {refused[0].reason}"
            )
        raise InputError(f"{folder} holds no mesh; put {', '.join(FORMATS)} files into it.")
    return Shapes(tuple(shapes.values()), tuple(refused))


def load_shape(file: Path | str, label: str = "none", *, thickness: float | None = None) -> Shape:
    """Load one mesh file as a shape; a scene counts as one mesh.

    Args:
        file: path of the mesh; the extensions that are read are in `FORMATS`.
        label: name of the class of the shape.
        thickness: thickness of open surfaces that bound nothing, in unit coordinates, such as 0.02. By default they are
            dropped, and a file that has more than half of its area in them is refused.

    Returns:
        The shape, centered and scaled to a longest side of `SIDE`, with the transform back in `center` and `scale`.
        `notes` tells what was repaired or dropped.

    Raises:
        InputError: the file is missing, too large, of another format, broken, or encloses no volume.

    Examples:
        >>> shape = load_shape("my_chair.obj", label="chair")  # doctest: +SKIP
    """
    path = Path(file)
    solid = build_solid(str(path), [MeshPart(*_read_mesh(path))], thickness)
    return Shape(
        name=path.stem,
        label=label,
        sdf=solid.sdf,
        center=solid.center,
        scale=solid.scale,
        sides=solid.sides,
        volume=solid.volume,
        digest=solid.digest,
        notes=solid.notes,
    )


def _read_mesh(path: Path) -> tuple[Vertices, Faces]:
    """Read vertices (n, 3) and faces (m, 3) of a mesh file; they are finite, in range and not too many."""
    suffix, formats = path.suffix.lower(), ", ".join(FORMATS)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the path of a {formats} file.")
    if suffix not in FORMATS:
        kind = _REFUSED_FORMATS.get(suffix, "a file of another format")
        raise InputError(f"{path} is {kind}, which is not read; give the mesh itself as one of {formats}.")
    if path.stat().st_size > MAX_BYTES:
        size = f"{path.stat().st_size / 2**20:.0f} MiB"
        raise InputError(f"{path} has {size}, more than the {MAX_BYTES // 2**20} MiB allowed; simplify the mesh.")
    try:
        with _silence_loaders():
            scene = trimesh.load_scene(
                BytesIO(path.read_bytes()), file_type=suffix[1:], process=False, skip_materials=True
            )
            mesh: Any = scene.to_mesh()
        vertices, faces = np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64)
    except Exception as error:  # the loaders raise errors of any type for broken files
        reason = shorten(f"{type(error).__name__} {error}", 100)
        if isinstance(error, ImportError):  # trimesh needs another library to detect the encoding of such bytes
            reason = "its bytes are not of that format"
        if isinstance(error, TypeError) and suffix == ".gltf":
            reason = "its buffers are missing or in other files, which are not opened"
        hint = " as .glb, in one file" if suffix == ".gltf" else ""
        raise InputError(f"{path} cannot be read as a mesh ({reason}); export it again{hint}.") from error
    if len(faces) == 0 or len(vertices) == 0:
        raise InputError(f"{path} has no faces; give a mesh of triangles or polygons.")
    if len(faces) > MAX_FACES:
        raise InputError(f"{path} has {len(faces):,} faces, more than the {MAX_FACES:,} allowed; simplify the mesh.")
    if not np.isfinite(vertices).all():
        raise InputError(f"{path} has vertices that are NaN or infinite; repair or export it again.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"{path} has faces with vertices that do not exist; repair or export it again.")
    return vertices, faces


@contextmanager
def _silence_loaders() -> Iterator[None]:
    """Silence the logs and warnings of the loaders, because an error message of ours is one sentence."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
