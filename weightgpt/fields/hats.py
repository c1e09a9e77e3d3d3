"""Hat functions: inputs of a field that act near one place.

A grid has G nodes along each axis, at the centers of G equal cells of [-1, 1]. The hat of a node is the weight that
linear interpolation gives to the node at a point: 1 at the node, 0 at all other nodes, and between them the product of
one line along each axis. Beyond the outermost nodes the hats keep their values. All hats of a grid sum to 1 everywhere.

Dimensions: n points, D dimension, G nodes along an axis.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def hats(points: Float[Tensor, "*n D"], nodes: int) -> Float[Tensor, "*n N"]:
    """The hats of all nodes of one grid at points.

    Args:
        points: (…, D) in [-1, 1].
        nodes: G.

    Returns:
        (…, G^D), the last axis of the points fastest.

    Examples:
        >>> hats(torch.tensor([[-0.5], [0.0], [1.0]]), nodes=2).tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    cells = ((points + 1) * (nodes / 2) - 0.5).clamp(0, nodes - 1)
    lines = (1 - (cells[..., None] - torch.arange(nodes).to(points)).abs()).clamp(min=0)
    product = lines[..., 0, :]
    for axis in range(1, points.shape[-1]):
        product = (product[..., None] * lines[..., axis, None, :]).flatten(-2)
    return product
