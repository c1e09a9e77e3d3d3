"""Skins of a glTF file: joints move the vertices of a mesh.

The joints are those of the file, without animation. The transform of the node that has the skin does not count.
"""

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.readers.arrays import Vertices
from weightgpt.shapes.readers.gltf_accessors import Accessors
from weightgpt.shapes.readers.gltf_json import Entry, indices
from weightgpt.shapes.readers.gltf_nodes import Matrix
from weightgpt.shapes.readers.limits import unreadable

_JOINT_TYPES, _WEIGHT_TYPES, _FLOAT = (5121, 5123), (5121, 5123, 5126), (5126,)


class Skin:
    """The transforms of the joints of one skin."""

    def __init__(self, accessors: Accessors, entry: Entry, matrices: dict[int, Matrix]) -> None:
        """Args:
        accessors: those of the file.
        entry: the JSON of the skin.
        matrices: (4, 4) transforms to the scene, of all nodes in it.

        Raises:
            InputError: a joint is not in the scene, or the skin lacks a matrix.
        """
        joints = indices(entry, "joints")
        if not joints or any(joint not in matrices for joint in joints):
            raise unreadable("a skin has no joints, or one that is not in the scene")
        self._matrices = np.stack([matrices[joint] for joint in joints])
        if "inverseBindMatrices" in entry:
            if accessors.count(entry["inverseBindMatrices"]) < len(joints):
                raise unreadable("a skin has fewer matrices than joints")
            columns = accessors.read(entry["inverseBindMatrices"], "MAT4", _FLOAT, np.arange(len(joints)))
            self._matrices = self._matrices @ columns.reshape(-1, 4, 4).transpose(0, 2, 1)

    @property
    def mirrors(self) -> bool:
        """Whether all joints turn the mesh inside out."""
        return bool((np.linalg.det(self._matrices[:, :3, :3]) < 0).all())

    def apply(self, accessors: Accessors, attributes: Entry, used: NDArray[np.int64], vertices: Vertices) -> Vertices:
        """Move vertices with their joints.

        Args:
            accessors: those of the file.
            attributes: JSON of the attributes of a primitive, with joints and their weights for each vertex.
            used: (n,) indices of the vertices.
            vertices: (n, 3) before the skin.

        Returns:
            (n, 3) in the scene.

        Raises:
            InputError: a vertex has no weights, or a joint that does not exist.
        """
        moved, total, number = np.zeros_like(vertices), np.zeros((len(vertices), 1)), 0
        while f"JOINTS_{number}" in attributes:
            for name in (f"JOINTS_{number}", f"WEIGHTS_{number}"):
                if name not in attributes or accessors.count(attributes[name]) <= used.max(initial=-1):
                    raise unreadable("a mesh with a skin lacks joints or weights")
            joints = accessors.read(attributes[f"JOINTS_{number}"], "VEC4", _JOINT_TYPES, used).astype(np.int64)
            weights = accessors.read(attributes[f"WEIGHTS_{number}"], "VEC4", _WEIGHT_TYPES, used)
            if joints.max(initial=0) >= len(self._matrices):
                raise unreadable("a vertex has a joint that its skin does not have")
            for joint, weight in zip(joints.T, weights.T, strict=True):
                moved += weight[:, None] * self._rigid(joint, vertices)
            total += weights.sum(axis=1, keepdims=True)
            number += 1
        if not (total > 0).all():
            raise unreadable("a mesh with a skin has vertices without joints or weights")
        return moved / total

    def _rigid(self, joint: NDArray[np.int64], vertices: Vertices) -> Vertices:
        """Vertices (n, 3), each transformed by its one joint (n,)."""
        moved = np.empty_like(vertices)
        for start in range(0, len(vertices), 2**16):
            part = slice(start, start + 2**16)
            matrices = self._matrices[joint[part]]
            moved[part] = np.einsum("nij,nj->ni", matrices[:, :3, :3], vertices[part]) + matrices[:, :3, 3]
        return moved
