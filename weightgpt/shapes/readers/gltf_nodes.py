"""The nodes of a glTF file: which are in the scene, and where each lies.

The tree is walked without recursion. A node that is reached twice is refused, which also ends a cycle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.gltf_json import Entry, child, entries, entry, indices, numbers
from weightgpt.shapes.readers.limits import unreadable

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Node:
    """A node of the scene."""

    index: int
    """Index of the node in the file."""
    entry: Entry
    """Its JSON."""
    matrix: Matrix
    """(4, 4) transform to the scene."""
    visible: bool
    """False if the node or one above it is hidden (KHR_node_visibility)."""


def scene_nodes(tree: Entry) -> list[Node]:
    """All nodes of the scene that the file shows, those above before those below.

    Args:
        tree: the JSON of the file.

    Returns:
        The nodes; without scenes, all nodes of the file.

    Raises:
        InputError: a node does not exist or is reached twice, or a transform is none.
    """
    count, reached = len(entries(tree, "nodes")), dict[int, Entry]()
    above: list[int] = []
    waiting = [(index, -1) for index in reversed(_roots(tree, count))]
    while waiting:
        index, parent = waiting.pop()
        node = entry(tree, "nodes", index)
        if index in reached:
            raise InputError(f"uses node {index} in two places, where glTF allows one; export it again.")
        waiting += [(below, len(reached)) for below in reversed(indices(node, "children"))]
        reached[index] = node
        above.append(parent)
    nodes: list[Node] = []
    local = local_matrices(list(reached.values()))
    for (index, node), parent, matrix in zip(reached.items(), above, local, strict=True):
        visible = child(node, "extensions", "KHR_node_visibility").get("visible", True) is not False
        if parent >= 0:
            matrix, visible = nodes[parent].matrix @ matrix, visible and nodes[parent].visible
        nodes.append(Node(index, node, matrix, visible))
    return nodes


def _roots(tree: Entry, count: int) -> list[int]:
    """The nodes at the top of the scene that the file names, else of the first scene, else those without a parent."""
    if entries(tree, "scenes"):
        return indices(entry(tree, "scenes", tree.get("scene", 0)), "nodes")
    below = {index for node in entries(tree, "nodes") for index in indices(node, "children")}
    if count and not set(range(count)) - below:
        raise unreadable("each of its nodes is below another")
    return [index for index in range(count) if index not in below]


def local_matrices(nodes: list[Entry]) -> Matrix:
    """The transforms (n, 4, 4) of nodes to the nodes above them.

    Args:
        nodes: their JSON, with a matrix, or with a translation, rotation and scale.

    Raises:
        InputError: a transform is not affine.
    """
    matrices = compose(
        _numbers(nodes, "translation", [0, 0, 0]),
        _numbers(nodes, "rotation", [0, 0, 0, 1]),
        _numbers(nodes, "scale", [1, 1, 1]),
    )
    for number, node in enumerate(nodes):
        if "matrix" in node:
            matrix = np.array(numbers(node, "matrix", 16, [])).reshape(4, 4).T
            if matrix.any() and (matrix[3] != (0, 0, 0, 1)).any():
                raise unreadable("the matrix of a node is not affine")
            matrices[number, :3] = matrix[:3]
    return matrices


def _numbers(nodes: list[Entry], name: str, default: list[float]) -> Matrix:
    """A list of numbers (n, d) of each node; only those that are there are read one by one."""
    values = np.tile(np.array(default, np.float64), (len(nodes), 1))
    for number, node in enumerate(nodes):
        if name in node:
            values[number] = numbers(node, name, len(default), default)
    return values


def compose(translations: Matrix, rotations: Matrix, scales: Matrix) -> Matrix:
    """Transforms (n, 4, 4) that scale, then rotate, then translate.

    Args:
        translations: (n, 3).
        rotations: (n, 4) quaternions x, y, z, w, of any length but 0.
        scales: (n, 3).

    Raises:
        InputError: a quaternion is 0.
    """
    lengths = np.linalg.norm(rotations, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise unreadable("a rotation is the quaternion 0")
    x, y, z, w = (rotations / lengths).T
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    matrices = np.zeros((len(x), 4, 4))
    matrices[:, :3, :3] = turn * scales[:, None, :]
    matrices[:, :3, 3] = translations
    matrices[:, 3, 3] = 1
    return matrices
