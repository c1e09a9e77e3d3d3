"""One vertex at each position, and one copy of each face.

Decisions:

- Parts that are closed by their own vertices stay apart from all others, even where they touch them. Only the vertices
  of other faces are joined.
- Copies of faces, and closed parts that are copies of others, are dropped.

Dimensions: n vertices, m faces.
"""

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from weightgpt.shapes.solids.connectivity import Faces, Vertices, drop_unused, find_edges, label_parts


def weld(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces, int]:
    """Make one vertex of vertices at equal positions, and drop faces that have one vertex twice.

    Args:
        vertices: (n, 3).
        faces: (m, 3).

    Returns:
        The vertices, the faces, and how many copies of faces of closed parts were dropped.
    """
    faces = _without_repeats(faces)
    _, _, position, _ = igl.remove_duplicate_vertices(vertices + 0.0, np.ascontiguousarray(faces), 0.0)
    edges = find_edges(faces)
    parts = label_parts(edges.of_face)
    closed = np.ones(int(parts.max(initial=-1)) + 1, bool)
    closed[parts[(edges.num_faces[edges.of_face] != 2).any(1)]] = False
    inside, triples = closed[parts], np.sort(position[faces], axis=1)
    dropped = _copies(triples, parts, inside)
    joined = np.where(inside[:, None], faces + int(position.max(initial=0)) + 1, position[faces])[~dropped]
    _, first = np.unique(position, return_index=True)
    positions = np.concatenate([vertices[first], vertices])
    return *drop_unused(positions, _without_repeats(joined)), int(dropped.sum())


def _copies(triples: Faces, parts: NDArray[np.int64], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which faces (m,) are copies: of closed parts that are there twice, or of faces of a closed part.

    Args:
        triples: sorted positions of the corners (m, 3).
        parts: part of each face (m,).
        inside: whether the part is closed by its own vertices (m,).
    """
    dropped = np.zeros(len(triples), bool)
    _, keys = np.unique(triples, axis=0, return_inverse=True)
    keys = keys.ravel()
    if not inside.any() or int(keys.max()) + 1 == len(keys):
        return dropped
    chosen = np.flatnonzero(inside)
    chosen = chosen[np.lexsort((keys[chosen], parts[chosen]))]
    seen: set[bytes] = set()
    for members in np.split(chosen, np.flatnonzero(np.diff(parts[chosen])) + 1):
        key = keys[members].tobytes()
        dropped[members] = key in seen
        seen.add(key)
    return dropped | (~inside & np.isin(keys, keys[chosen]))


def weld_cracks(vertices: Vertices, faces: Faces, width: float) -> tuple[Vertices, Faces]:
    """Make one vertex of vertices at open edges that are very near to each other.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
        width: the largest distance of two vertices that become one.
    """
    edges = find_edges(faces)
    border = np.unique(edges.ends[edges.balance != 0])
    if len(border) == 0:
        return vertices, faces
    # Vertices in one cell of a grid are joined first, so that the number of pairs stays small.
    cells, first, cell = np.unique(
        np.floor(vertices[border] * (2 / width)), axis=0, return_index=True, return_inverse=True
    )
    pairs = cKDTree(vertices[border[first]]).query_pairs(width, output_type="ndarray")
    if len(pairs) == 0 and len(cells) == len(border):
        return vertices, faces
    joined = np.concatenate([border[first[pairs]], np.stack([border, border[first[cell.ravel()]]], 1)])
    links = coo_array((np.ones(len(joined), bool), joined.T), shape=(len(vertices),) * 2)
    _, groups = connected_components(links, directed=False)
    _, first = np.unique(groups, return_index=True)
    return drop_unused(vertices, _without_repeats(first[groups][faces].astype(np.int64)))


def _without_repeats(faces: Faces) -> Faces:
    a, b, c = faces.T
    proper: Faces = faces[(a != b) & (b != c) & (c != a)]
    return proper


def unique_faces(faces: Faces) -> tuple[Faces, int]:
    """Drop copies of faces, so that each set of three vertices is there once at most.

    Two copies that face opposite ways bound nothing together, such as the two coincident faces of halves that touch.
    They are dropped where the rest of their part is closed without them. Elsewhere one copy stays.

    Returns:
        The faces, and the number of faces dropped as copies that face the same way, or both ways on a surface.
    """
    ordered = np.sort(faces, axis=1)
    forward = _is_even(faces)
    _, index, inverse = np.unique(ordered, axis=0, return_index=True, return_inverse=True)
    if len(index) == len(faces):
        return faces, 0
    net = np.bincount(inverse.ravel(), np.where(forward, 1, -1), len(index))
    chosen = faces[index]
    chosen = np.where(((net < 0) == _is_even(chosen))[:, None] & (net != 0)[:, None], chosen[:, ::-1], chosen)
    canceled = net == 0
    edges = find_edges(chosen)
    parts = label_parts(edges.of_face)
    rest = find_edges(chosen[~canceled])
    closed = np.zeros(int(parts.max()) + 1, bool)
    closed[parts[~canceled]] = True
    closed[parts[~canceled][(rest.balance[rest.of_face] != 0).any(1)]] = False
    inner = canceled & closed[parts]
    return np.ascontiguousarray(chosen[~inner]), len(faces) - len(chosen) - int(inner.sum())


def _is_even(faces: Faces) -> NDArray[np.bool_]:
    """Whether the vertices of each face, in its order, are an even permutation of their ascending order."""
    a, b, c = faces.T
    even: NDArray[np.bool_] = ((a > b).astype(int) + (a > c) + (b > c)) % 2 == 0
    return even
