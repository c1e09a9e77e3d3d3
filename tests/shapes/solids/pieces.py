"""Meshes of known solids, and the exact distances of boxes."""

import numpy as np
import torch
import trimesh

from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.solids.mesh_solid import MeshSolid, build_solid

CUBE = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def part(mesh: trimesh.Trimesh) -> MeshPart:
    """The vertices and faces of a mesh."""
    return MeshPart(np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64))


def box(low=CUBE[0], high=CUBE[1]) -> MeshPart:
    """A box of 12 triangles."""
    return part(trimesh.creation.box(bounds=[low, high]))


def inverted(piece: MeshPart) -> MeshPart:
    """The same surface, facing the other way."""
    return MeshPart(piece.vertices, piece.faces[:, ::-1].copy())


def soup(*pieces: MeshPart) -> MeshPart:
    """All triangles with vertices of their own, as in an STL file."""
    triangles = np.concatenate([piece.vertices[piece.faces] for piece in pieces])
    return MeshPart(triangles.reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3))


def square(low, high, axis: int, at: float) -> MeshPart:
    """A flat square of two triangles."""
    u, v = (i for i in range(3) if i != axis)
    corners = np.full((4, 3), at)
    corners[:, u], corners[:, v] = [low, high, high, low], [low, low, high, high]
    return MeshPart(corners, np.array([[0, 1, 2], [0, 2, 3]]))


def without(piece: MeshPart, axis: int, at: float) -> MeshPart:
    """A mesh without its faces in a plane."""
    in_plane = np.isclose(piece.vertices[piece.faces][:, :, axis], at).all(1)
    return MeshPart(piece.vertices, piece.faces[~in_plane])


def solid(*pieces: MeshPart, thickness: float | None = None) -> MeshSolid:
    """The solid of some parts."""
    return build_solid("x.obj", list(pieces), thickness)


def points(n: int = 4000, reach: float = 1.4) -> np.ndarray:
    """Random points in a cube."""
    return np.random.default_rng(0).uniform(-reach, reach, (n, 3))


def distances(shape: MeshSolid, queries: np.ndarray) -> np.ndarray:
    """Signed distances at points in the units of the file, in those units."""
    unit = (np.asarray(queries, float) - np.array(shape.center)) / shape.scale
    return shape.sdf(torch.tensor(unit, dtype=torch.float32)).numpy().astype(float) * shape.scale


def box_distances(queries: np.ndarray, low=CUBE[0], high=CUBE[1]) -> np.ndarray:
    """The exact signed distance of a box, whatever the library says."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    gap = np.abs(queries - (low + high) / 2) - (high - low) / 2
    return np.linalg.norm(np.maximum(gap, 0), axis=-1) + np.minimum(gap.max(-1), 0)
