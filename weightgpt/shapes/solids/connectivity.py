"""Which triangles of a mesh hang together: edges, connected parts, and where they are open.

Dimensions: n vertices, m faces, E edges, k parts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]
_MOST = 2**31  # larger numbers of vertices are replaced by smaller ones while edges are found


@dataclass(frozen=True)
class Edges:
    """The undirected edges of a mesh, and how its faces run along them."""

    ends: NDArray[np.int64]
    """Vertices (E, 2) of the edges, the smaller first."""
    of_face: NDArray[np.int64]
    """Edges (m, 3) of the faces; edge i of a face goes from its corner i to its corner i + 1."""
    direction: NDArray[np.int64]
    """Whether a face runs along an edge from its first end (1) or from its second (-1), (m, 3)."""

    @property
    def num_faces(self) -> NDArray[np.int64]:
        """Number of faces of each edge (E,)."""
        return np.bincount(self.of_face.ravel(), minlength=len(self.ends))

    @property
    def balance(self) -> NDArray[np.int64]:
        """Faces that run forward less those that run backward, for each edge (E,); 0 at every edge of a closed mesh."""
        return np.rint(np.bincount(self.of_face.ravel(), self.direction.ravel(), len(self.ends))).astype(np.int64)


def find_edges(faces: Faces) -> Edges:
    """Find the undirected edges of faces (m, 3)."""
    if int(faces.max(initial=0)) >= _MOST:  # the product of two numbers of vertices would overflow
        used, inverse = np.unique(faces, return_inverse=True)
        edges = find_edges(inverse.reshape(-1, 3).astype(np.int64))
        return Edges(used[edges.ends], edges.of_face, edges.direction)
    start, end = faces, np.roll(faces, -1, axis=1)
    low, high = np.minimum(start, end).ravel(), np.maximum(start, end).ravel()
    count = int(faces.max(initial=0)) + 1
    keys, of_face = np.unique(low * count + high, return_inverse=True)
    direction = np.where(start < end, 1, -1).astype(np.int64)
    return Edges(np.stack([keys // count, keys % count], 1), of_face.reshape(-1, 3).astype(np.int64), direction)


def label_parts(of_face: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the connected parts: faces that share an edge are in one part.

    Args:
        of_face: numbers of the edges (m, 3) of the faces.

    Returns:
        The part of each face (m,), numbered from 0.
    """
    count = len(of_face)
    rows, columns = np.repeat(np.arange(count), 3), of_face.ravel() + count
    size = count + int(of_face.max(initial=-1)) + 1
    _, labels = connected_components(coo_array((np.ones(3 * count, bool), (rows, columns)), shape=(size, size)), False)
    _, parts = np.unique(labels[:count], return_inverse=True)
    return parts.astype(np.int64)


def label_patches(faces: Faces, chosen: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Number the patches: faces that share an edge are in one patch, unless the edge has three faces or more.

    Args:
        faces: (m, 3).
        chosen: which faces to number (m,), as if the others were not there; all by default.

    Returns:
        The patch of each chosen face, numbered from 0.
    """
    edges = find_edges(faces)
    of_face = edges.of_face.copy()
    apart = edges.num_faces[of_face] > 2
    of_face[apart] = len(edges.ends) + np.arange(int(apart.sum()))
    return label_parts(of_face if chosen is None else of_face[chosen])


def open_parts(edges: Edges, parts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which parts are open.

    Args:
        edges: the edges of the faces.
        parts: part of each face (m,).

    Returns:
        Whether faces of the part run along some edge more often in one direction than in the other, (k,).
    """
    is_open = np.zeros(int(parts.max(initial=-1)) + 1, bool)
    is_open[parts[(edges.balance[edges.of_face] != 0).any(1)]] = True
    return is_open


def drop_unused(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Drop the vertices that no face has.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
    """
    used, inverse = np.unique(faces, return_inverse=True)
    return np.ascontiguousarray(vertices[used]), np.ascontiguousarray(inverse.reshape(-1, 3).astype(np.int64))


def label_solids(faces: Faces) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Number the parts of a mesh, and tell which are open.

    A part is a set of faces that hang together by edges. Solids that only touch along an edge are different parts, and
    so are the surfaces of an open part that meet where an edge has three faces or more.

    Args:
        faces: (m, 3).

    Returns:
        The part of each face (m,), and whether each part is open (k,).
    """
    edges = find_edges(faces)
    parts = label_parts(edges.of_face)
    is_open = open_parts(edges, parts)
    if not (edges.num_faces > 2).any():
        return parts, is_open
    patches = label_patches(faces)
    closed = ~open_parts(find_edges(faces + patches[:, None] * (int(faces.max()) + 1)), patches)
    split = closed[patches] | is_open[parts]
    _, parts = np.unique(np.where(split, patches + len(is_open), parts), return_inverse=True)
    parts = parts.astype(np.int64)
    return parts, open_parts(find_edges(faces + parts[:, None] * (int(faces.max()) + 1)), parts)
