"""Low-polygon meshes for MeshGPT: written from the shapes of a run, read from files, cut into batches.

Dimensions: B meshes of a batch, n vertices, m faces.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor, nn
from tqdm import tqdm

from training.run import read_config
from training.splits import load_split
from weightgpt.errors import InputError
from weightgpt.io import atomic_write
from weightgpt.shapes.readers.reading import read_mesh_file
from weightgpt.visual.meshing import mesh_sdf

MAX_FACES = 200
"""Most triangles of a mesh."""
LATTICE = 64
"""Cells of the vertex lattice along each axis."""
RESOLUTION = 48
"""Grid points along each side when shapes are meshed."""

Mesh = tuple[np.ndarray, np.ndarray]
"""Vertices (n, 3) in [-1, 1] and faces (m, 3)."""


def snap_to_lattice(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Move vertices to the centers of LATTICE³ cells, merge equal vertices, drop degenerate faces, sort the rest.

    Args:
        vertices: (n, 3) in [-1, 1].
        faces: (m, 3) vertex indices; their orientation does not change.
    """
    cells = np.clip(np.floor((vertices + 1) / 2 * LATTICE), 0, LATTICE - 1).astype(np.int64)
    unique_cells, index = np.unique(cells[:, ::-1], axis=0, return_inverse=True)  # sorted by z, y, x
    faces = index.reshape(-1)[faces]
    faces = faces[(faces != np.roll(faces, 1, 1)).all(1)]
    first = faces.argmin(1)[:, None]
    faces = np.take_along_axis(faces, (first + np.arange(3)) % 3, 1)  # a rotation, so the orientation does not change
    faces = np.unique(faces, axis=0)
    return (unique_cells[:, ::-1] + 0.5) / LATTICE * 2 - 1, faces


def write_meshes(run: Path, count: int, folder: Path) -> None:
    """Write the first training shapes of a run as low-polygon meshes.

    Args:
        run: folder of a run of training.pipeline.
        count: largest number of shapes.
        folder: folder of the .ply files.

    Raises:
        InputError: the run learned from files instead of the built-in families.
    """
    config = read_config(run)
    if not config.is_built_in:
        raise InputError(f"{run} learned from {config.corpus}; give a run over the built-in families.")
    import fast_simplification  # only in the environment of MeshGPT

    shapes = load_split(config)[0].train[:count]
    with atomic_write(folder) as draft:
        draft.mkdir()
        for i, shape in enumerate(tqdm(shapes, "meshes", unit="shape", mininterval=5)):
            fine = mesh_sdf(shape.sdf, RESOLUTION).mesh
            if fine is None:
                continue
            vertices, faces = fine.vertices.astype(np.float32), fine.faces
            if len(faces) > MAX_FACES:
                vertices, faces = fast_simplification.simplify(vertices, faces, target_count=MAX_FACES)
            vertices, faces = snap_to_lattice(vertices, faces)
            if len(faces):
                trimesh.Trimesh(vertices, faces, process=False).export(draft / f"{i:05d}-{shape.label}.ply")


def read_meshes(folder: Path) -> list[Mesh]:
    """Read the meshes of a folder that have at most `MAX_FACES` triangles.

    Args:
        folder: folder of .ply files.

    Raises:
        InputError: there is no such mesh, or a file is broken.
    """
    meshes = []
    for path in sorted(folder.glob("*.ply")):
        (part,) = read_mesh_file(path)
        vertices, faces = snap_to_lattice(part.vertices, part.faces)
        if 0 < len(faces) <= MAX_FACES:
            meshes.append((vertices, faces))
    if not meshes:
        raise InputError(f"{folder} has no .ply meshes of {MAX_FACES} triangles or fewer; write them with --run RUN.")
    return meshes


def mesh_batches(meshes: list[Mesh], batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Vertices (B, n, 3) and faces (B, m, 3), padded with -1, in shuffled passes without end.

    Args:
        meshes: the training set.
        batch_size: B.
        seed: seed of the order.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(meshes))
        for start in range(0, max(1, len(order) - batch_size + 1), batch_size):
            batch = [meshes[i] for i in order[start : start + batch_size]]
            parts = [nn.utils.rnn.pad_sequence([torch.as_tensor(mesh[k]) for mesh in batch], True, -1) for k in (0, 1)]
            yield parts[0].float(), parts[1].long()
