"""Whether a mesh is convex, so that its faces cannot cross.

Decisions:

- A closed surface in one piece is convex if it is convex at each edge and at each vertex (van Heijenoort 1952). It is
  at an edge if the faces bend inward, and at a vertex if the angles of its faces add up to at most a full turn. So the
  time is linear in the number of faces, however much their boxes overlap.

Dimensions: n vertices, m faces.
"""

import numpy as np

from weightgpt.shapes.solids.connectivity import Faces, Vertices, find_edges, label_parts

_FLAT = 1e-10  # height above the plane of a neighbor that rounding explains, in unit coordinates
_FULL_TURN = 2 * np.pi + 1e-6


def is_convex(vertices: Vertices, faces: Faces) -> bool:
    """Tell whether a mesh is one closed convex surface that faces outward.

    Args:
        vertices: (n, 3) in unit coordinates.
        faces: (m, 3).
    """
    edges = find_edges(faces)
    if not len(faces) or (edges.num_faces != 2).any() or edges.balance.any() or label_parts(edges.of_face).any():
        return False
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sizes = np.linalg.norm(normals, axis=1, keepdims=True)
    if not sizes.all():
        return False
    normals /= sizes
    # The two faces of each edge, and the corner of the second that is not on the edge.
    order = np.argsort(edges.of_face.ravel(), kind="stable").reshape(-1, 2)
    one, two = order.T // 3
    opposite = vertices[faces[two, (order[:, 1] + 2) % 3]]
    heights = ((opposite - vertices[edges.ends[:, 0]]) * normals[one]).sum(1)
    if (heights > _FLAT).any() or ((heights > -_FLAT) & ((normals[one] * normals[two]).sum(1) < 0)).any():
        return False
    ahead, behind = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    angles = np.arctan2(np.linalg.norm(np.cross(ahead, behind), axis=2), (ahead * behind).sum(2))
    return bool((np.bincount(faces.ravel(), angles.ravel()) <= _FULL_TURN).all())
