"""The Shape type, and meshes, folders of meshes and images as shapes.

Decisions: a shape is a name, a class and a signed distance function over the unit cube or square; positive is outside.
Meshes are centered on their bounding box and scaled to a longest side of 1.8, in float64, and keep that transform.
Inside is where the generalized winding number exceeds 1/2 (Jacobson et al. 2013; Barill et al. 2018), which closes
small holes and overlaps; a mesh that is mostly inside out is flipped, one that encloses nothing is refused. Only the
geometry inside the one file is read: no material, texture or buffer beside it, no archive, no pickle. A shape of a mesh
is not differentiable; a shape of an image is, by bilinear interpolation.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import igl
import numpy as np
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.shape import Sdf, Shape

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]

FORMATS = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
MAX_BYTES = 64 * 2**20
MAX_FACES = 2_000_000
SIDE = 1.8  # longest side of a mesh in unit coordinates

_UNREAD = {
    **dict.fromkeys(
        (".3ds", ".3mf", ".blend", ".ctm", ".dae", ".fbx", ".msh", ".step", ".stp", ".xyz"), "another format"
    ),
    **dict.fromkeys((".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"), "a compressed file"),
    **dict.fromkeys((".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"), "a file that may run code when opened"),
}


@dataclass(frozen=True)
class Refusal:
    """A mesh file that did not become a shape, and why, in one sentence."""

    path: Path
    reason: str


def load_folder(folder: Path | str) -> tuple[list[Shape], list[Refusal]]:
    """All meshes below `folder`, in the order of their paths, and those refused.

    The sub-folders of `folder` are the classes; a mesh directly in it has the label 'none'. Hidden files, and files
    that are neither meshes nor archives or pickles, are passed over; links to folders are not followed.

    Raises:
        InputError: the folder does not exist, or no mesh in it can be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that holds meshes, in a sub-folder for each class.")
    shapes: dict[str, Shape] = {}
    refusals: list[Refusal] = []
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in within.parts)
        if hidden or not path.is_file() or path.suffix.lower() not in (*FORMATS, *_UNREAD):
            continue
        try:
            shape = shape_from_file(path, within.parts[0] if len(within.parts) > 1 else "none")
        except InputError as error:
            refusals.append(Refusal(path, str(error)))
            continue
        name = "-".join(within.with_suffix("").parts)
        name = name if name not in shapes else "-".join(within.parts)
        shapes[name] = replace(shape, name=name)
    if not shapes:
        found = (
            f"none of its {len(refusals)} meshes can be read, the first because {refusals[0].reason}"
            if refusals
            else ""
        )
        raise InputError(f"{folder}: {found or 'holds no mesh; put ' + ', '.join(FORMATS) + ' files into it.'}")
    return list(shapes.values()), refusals


def shape_from_file(path: Path | str, label: str = "none") -> Shape:
    """The shape of a mesh file; a scene counts as one mesh.

    Raises:
        InputError: the file is missing, too large, in a format that is not read, broken, or encloses no volume.
    """
    path = Path(path)
    vertices, faces = _read_mesh(path)
    vertices, faces, center, scale = _normalized(path, vertices, faces)
    faces, sides = _oriented(path, vertices, faces), tuple(np.ptp(vertices, axis=0).tolist())
    return Shape(name=path.stem, label=label, sdf=_mesh_sdf(vertices, faces), center=center, scale=scale, sides=sides)


def _read_mesh(path: Path) -> tuple[Vertices, Faces]:
    """Vertices (n, 3) and faces (m, 3) of a mesh file: finite, in range, not too many, nothing else checked."""
    suffix, formats = path.suffix.lower(), ", ".join(FORMATS)
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the path of a {formats} file.")
    if suffix not in FORMATS:
        kind = _UNREAD.get(suffix, "another format")
        raise InputError(f"{path} is {kind}, which is not read; give the mesh itself as one of {formats}.")
    if path.stat().st_size > MAX_BYTES:
        size = f"{path.stat().st_size / 2**20:.0f} MiB"
        raise InputError(f"{path} has {size}, more than the {MAX_BYTES // 2**20} MiB allowed; simplify the mesh.")
    try:
        with _quiet():
            scene = trimesh.load_scene(
                BytesIO(path.read_bytes()), file_type=suffix[1:], process=False, skip_materials=True
            )
            mesh: Any = scene.to_mesh()
        vertices, faces = np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64)
    except Exception as error:  # a loader fed with a broken file raises whatever it trips over
        reason = shorten(f"{type(error).__name__} {error}", 100)
        if isinstance(error, ImportError):  # trimesh asks for another library to guess the encoding of such bytes
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
def _quiet() -> Iterator[None]:
    """Loaders log and warn about every oddity; a file ends as a shape or as one sentence instead."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _normalized(
    path: Path, vertices: Vertices, faces: Faces
) -> tuple[Vertices, Faces, tuple[float, float, float], float]:
    """Vertices in unit coordinates, the faces that have an area, and the transform back: center and scale."""
    used, faces = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], faces.reshape(-1, 3)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    center, scale = low / 2 + high / 2, float((high / SIDE - low / SIDE).max())
    if not np.finfo(np.float64).tiny < scale < np.finfo(np.float64).max:
        raise InputError(f"{path} has no extent, or one beyond all measure; give a mesh with a size.")
    vertices = (vertices - center) / scale
    a, b, c = vertices[faces].transpose(1, 0, 2)
    faces = faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12]
    if len(faces) < 4:
        raise InputError(
            f"{path} has too few faces with an area: {len(faces)}, at least 4 make a solid; give a closed mesh."
        )
    return vertices, faces, (float(center[0]), float(center[1]), float(center[2])), scale


def _oriented(path: Path, vertices: Vertices, faces: Faces, probes: int = 2048, depth: float = 0.004) -> Faces:
    """The faces, turned over if more of the volume beside the surface is inside out than inside."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    areas = np.linalg.norm(normals, axis=1)
    rng = np.random.default_rng(0)
    at = rng.choice(len(faces), probes, p=areas / areas.sum())
    u, v, w = rng.dirichlet((1.0, 1.0, 1.0), probes).T[:, :, None]
    middle, step = u * a[at] + v * b[at] + w * c[at], depth * normals[at] / areas[at, None]
    winding = igl.fast_winding_number(vertices, faces, np.concatenate([middle - step, middle + step]))
    inside, inverted = np.mean(winding > 0.5), np.mean(winding < -0.5)
    if max(inside, inverted) < 0.06:
        raise InputError(f"{path} encloses no volume; close the surface and make its faces point outwards.")
    return np.ascontiguousarray(faces if inside >= inverted else faces[:, ::-1])


def _mesh_sdf(vertices: Vertices, faces: Faces) -> Sdf:
    def sdf(points: Tensor) -> Tensor:
        """Distance to the nearest triangle, negative where the winding number exceeds 1/2."""
        queries = points.detach().cpu().numpy().astype(np.float64)
        if len(queries) == 0:
            return points.new_zeros(0)
        squares, _, _ = igl.point_mesh_squared_distance(queries, vertices, faces)
        inside = igl.fast_winding_number(vertices, faces, queries) > 0.5
        return points.new_tensor(np.where(inside, -1.0, 1.0) * np.sqrt(squares))

    return sdf
