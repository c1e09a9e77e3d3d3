"""Mesh files, and folders of them, as shapes.

Decisions:

- Meshes are centered on their bounding box and scaled to a longest side of 1.8, in float64. The shape keeps that
  transform.
- Only the geometry inside the one file is read: no material, no texture, no buffer in another file, no archive and no
  pickle.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from weightgpt.errors import InputError
from weightgpt.shapes.names import distinct_name, joined_classes, printable_name, similar_classes
from weightgpt.shapes.readers.limits import FORMATS, REFUSED_FORMATS
from weightgpt.shapes.readers.reading import read_mesh_file
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.solids.extent import SIDE as SIDE
from weightgpt.shapes.solids.mesh_solid import build_solid, check_thickness


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
    """The mesh files and folders that could not be read, and linked folders, which are not followed."""
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


def load_shapes(folder: Path | str, *, thickness: float | None = None) -> Shapes:
    """Load all meshes below a folder.

    The sub-folders of `folder` are the classes; a mesh directly in `folder` has the label 'none'. Hidden files, and
    files that are neither meshes nor archives nor pickles, are skipped. Links to folders are not followed; `refused`
    names them. The name of a shape is its path with dashes between its parts. Where two paths give one name, the later
    shape keeps its extension or gets a number, so that no file is lost.

    Args:
        folder: the folder; the extensions of the files that are read are in `FORMATS`.
        thickness: thickness of open surfaces, see `load_shape`.

    Returns:
        The shapes in the order of their paths; `.refused` lists the files that could not be read, with the reasons.

    Raises:
        InputError: the folder does not exist, no mesh in it can be read, or the thickness is not between 0 and 1.

    Examples:
        >>> shapes = load_shapes("my_meshes")  # doctest: +SKIP
        >>> len(shapes), [refusal.reason for refusal in shapes.refused]  # doctest: +SKIP
        (12, [])
    """
    check_thickness(thickness)
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that holds meshes, in a sub-folder for each class.")
    shapes: list[Shape] = []
    names: set[str] = set()
    classes: set[str] = set()
    refused: list[Refusal] = []
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in within.parts)
        is_folder = os.path.isdir(path)
        if is_folder and not hidden and (reason := _why_unread(path)):
            refused.append(Refusal(path, reason))
        if hidden or is_folder or path.suffix.lower() not in (*FORMATS, *REFUSED_FORMATS):
            continue
        try:
            label = printable_name(within.parts[0]) if len(within.parts) > 1 else "none"
            shape = load_shape(path, label, thickness=thickness)
        except InputError as error:
            refused.append(Refusal(path, str(error)))
            continue
        name = distinct_name(("-".join(within.with_suffix("").parts), "-".join(within.parts)), names)
        shapes.append(replace(shape, name=name))
        classes.update(within.parts[:-1][:1])
    if not shapes:
        if refused:
            raise InputError(
                f"{folder} has no mesh that can be read; the first of its {len(refused)} files: {refused[0].reason}"
            )
        raise InputError(f"{folder} holds no mesh; put {', '.join(FORMATS)} files into it.")
    notes = (*joined_classes(classes), *similar_classes(shape.label for shape in shapes))
    return Shapes(tuple(shapes), tuple(refused), notes)


def _why_unread(folder: Path) -> str:
    """Why the meshes in a folder are not read; empty if they are."""
    if folder.is_symlink():
        return f"{folder} is a link to a folder, which is not followed; give the folder itself, or copy it here."
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"{folder} is a folder that you may not read; change its permissions, or copy it."
    return ""


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
    solid = build_solid(str(path), read_mesh_file(path), thickness)
    return Shape(
        name=printable_name(path.stem),
        label=label,
        sdf=solid.sdf,
        center=solid.center,
        scale=solid.scale,
        sides=solid.sides,
        volume=solid.volume,
        digest=solid.digest,
        notes=solid.notes,
    )
