"""Mesh files, and folders of them, as shapes.

Decisions:

- Meshes are centered on their bounding box and scaled to a longest side of 1.8, in float64. The shape keeps that
  transform.
- A point is inside where the generalized winding number exceeds 1/2 (Jacobson et al. 2013; Barill et al. 2018), which
  closes small holes and overlaps. A mesh that is mostly inside out is flipped; one that encloses nothing is refused.
- Only the geometry inside the one file is read: no material, no texture, no buffer in another file, no archive and no
  pickle.
- The signed distance of a mesh is not differentiable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import igl
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.names import distinct_name, printable_name, similar_classes
from weightgpt.shapes.readers.limits import FORMATS, REFUSED_FORMATS
from weightgpt.shapes.readers.reading import read_mesh_file
from weightgpt.shapes.shape import Sdf, Shape

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]

SIDE = 1.8
"""Longest side of a mesh in unit coordinates."""


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
    """The mesh files that could not be read, and linked folders, which are not followed."""
    notes: tuple[str, ...] = ()
    """What is odd about the folder, one sentence each, such as classes whose names only look equal."""

    def __len__(self) -> int:
        return len(self.shapes)

    @overload
    def __getitem__(self, index: int) -> Shape: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Shape, ...]: ...

    def __getitem__(self, index: int | slice) -> Shape | tuple[Shape, ...]:
        return self.shapes[index]


def load_shapes(folder: Path | str) -> Shapes:
    """Load all meshes below a folder.

    The sub-folders of `folder` are the classes; a mesh directly in `folder` has the label 'none'. Hidden files, and
    files that are neither meshes nor archives nor pickles, are skipped. Links to folders are not followed; `refused`
    names them. The name of a shape is its path with dashes between its parts. Where two paths give one name, the later
    shape keeps its extension or gets a number, so that no file is lost.

    Args:
        folder: the folder; the extensions of the files that are read are in `FORMATS`.

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
    shapes: list[Shape] = []
    names: set[str] = set()
    refused: list[Refusal] = []
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in within.parts)
        if path.is_symlink() and path.is_dir() and not hidden:
            reason = f"{path} is a link to a folder, which is not followed; give the folder itself, or copy it here."
            refused.append(Refusal(path, reason))
        if hidden or not path.is_file() or path.suffix.lower() not in (*FORMATS, *REFUSED_FORMATS):
            continue
        try:
            shape = load_shape(path, printable_name(within.parts[0]) if len(within.parts) > 1 else "none")
        except InputError as error:
            refused.append(Refusal(path, str(error)))
            continue
        name = distinct_name(("-".join(within.with_suffix("").parts), "-".join(within.parts)), names)
        shapes.append(replace(shape, name=name))
    if not shapes:
        if refused:
            raise InputError(
                f"{folder} has no mesh that can be read; the first of its {len(refused)} files: {refused[0].reason}"
            )
        raise InputError(f"{folder} holds no mesh; put {', '.join(FORMATS)} files into it.")
    return Shapes(tuple(shapes), tuple(refused), tuple(similar_classes(shape.label for shape in shapes)))


def load_shape(file: Path | str, label: str = "none") -> Shape:
    """Load one mesh file as a shape; a scene counts as one mesh.

    Args:
        file: path of the mesh; the extensions that are read are in `FORMATS`.
        label: name of the class of the shape.

    Returns:
        The shape, centered and scaled to a longest side of `SIDE`, with the transform back in `center` and `scale`.

    Raises:
        InputError: the file is missing, too large, of another format, broken, or encloses no volume.

    Examples:
        >>> shape = load_shape("my_chair.obj", label="chair")  # doctest: +SKIP
    """
    path = Path(file)
    vertices, faces = _read_mesh(path)
    vertices, faces, center, scale = _normalize(path, vertices, faces)
    faces, sides = _orient(path, vertices, faces), tuple(np.ptp(vertices, axis=0).tolist())
    return Shape(
        name=printable_name(path.stem),
        label=label,
        sdf=_mesh_sdf(vertices, faces),
        center=center,
        scale=scale,
        sides=sides,
    )


def _read_mesh(path: Path) -> tuple[Vertices, Faces]:
    """Read vertices (n, 3) and faces (m, 3) of a mesh file; they are finite, in range and not too many."""
    parts = read_mesh_file(path)
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, starts[:-1], strict=True)]
    return np.concatenate([part.vertices for part in parts]), np.concatenate(faces)


def _normalize(
    path: Path, vertices: Vertices, faces: Faces
) -> tuple[Vertices, Faces, tuple[float, float, float], float]:
    """Transform vertices to unit coordinates and drop faces without area; returns the center and the scale as well."""
    used, faces = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], faces.reshape(-1, 3)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    center, scale = low / 2 + high / 2, float((high / SIDE - low / SIDE).max())
    if not np.finfo(np.float64).tiny < scale < np.finfo(np.float64).max:
        raise InputError(f"{path} has no extent, or one that is not finite; give a mesh of a finite size.")
    vertices = (vertices - center) / scale
    a, b, c = vertices[faces].transpose(1, 0, 2)
    faces = faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12]
    if len(faces) < 4:
        raise InputError(
            f"{path} has too few faces with an area: {len(faces)}, at least 4 make a solid; give a closed mesh."
        )
    return vertices, faces, (float(center[0]), float(center[1]), float(center[2])), scale


def _orient(path: Path, vertices: Vertices, faces: Faces, probes: int = 2048, depth: float = 0.004) -> Faces:
    """Flip the faces if, close to the surface, more of the volume is inside out than inside.

    Args:
        path: the file, for the error.
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3).
        probes: number of random surface points; the winding number is taken on both sides of each.
        depth: distance of the two sides from the surface.
    """
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    areas = np.linalg.norm(normals, axis=1)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(faces), probes, p=areas / areas.sum())
    u, v, w = rng.dirichlet((1.0, 1.0, 1.0), probes).T[:, :, None]
    middle, step = u * a[chosen] + v * b[chosen] + w * c[chosen], depth * normals[chosen] / areas[chosen, None]
    winding = igl.fast_winding_number(vertices, faces, np.concatenate([middle - step, middle + step]))
    inside, inverted = np.mean(winding > 0.5), np.mean(winding < -0.5)
    if max(inside, inverted) < 0.06:
        raise InputError(f"{path} encloses no volume; close the surface and make its faces point outwards.")
    return np.ascontiguousarray(faces if inside >= inverted else faces[:, ::-1])


def _mesh_sdf(vertices: Vertices, faces: Faces) -> Sdf:
    """The distance to the nearest triangle, negative where the winding number exceeds 1/2."""

    def sdf(points: Tensor) -> Tensor:
        queries = points.detach().cpu().numpy().astype(np.float64)
        if len(queries) == 0:
            return points.new_zeros(0)
        squares, _, _ = igl.point_mesh_squared_distance(queries, vertices, faces)
        inside = igl.fast_winding_number(vertices, faces, queries) > 0.5
        return points.new_tensor(np.where(inside, -1.0, 1.0) * np.sqrt(squares))

    return sdf
