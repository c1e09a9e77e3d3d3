"""Symmetries of fields: permutations of hidden neurons that do not change the function, and alignment to a reference.

Decisions:

- Permutation p moves old neuron p[i] to place i. The inputs of the first layer (the encoding) and the outputs of the
  last layer are never permuted. Weights are only moved, so the inverse permutation restores them exactly.
- `align` is weight matching (Git Re-Basin, Ainsworth et al. 2023, algorithm 1): the layers are assigned one after the
  other until none gains. If all layers are permuted at once, only the encoding distinguishes neurons. A first pass from
  the input to the output therefore matches incoming weights only, so that the inputs of each layer are already sorted;
  later passes match both sides of a layer. The result does not depend on the order of the neurons of the field, except
  for ties.
- The signs of sine neurons are found together with the order: the assignment compares absolute gains. The scales of
  relu neurons, and shifts of sine neurons by π, are symmetries as well and are not changed.

Dimensions: B fields, P parameters.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.functional import layer_matrices

TOLERANCE = 1e-12
"""Gain, as a share of |field| · |reference|, up to which two orders are equally good."""


def permute(config: FieldConfig, flat: Tensor, permutations: Sequence[Tensor]) -> Float[Tensor, "B P"]:
    """Permute the hidden neurons of fields, which does not change the functions.

    Args:
        config: architecture of the fields.
        flat: (B, P) weights.
        permutations: for each hidden layer (B, width), or (width,) for all fields, int64; new neuron i is old neuron
            permutations[i].

    Returns:
        (B, P) weights.

    Raises:
        InputError: the permutations do not fit the architecture or are no permutations, or the weights are not finite
            or of another architecture.
    """
    Fields(config, flat)
    orders = _check_permutations(config, flat, permutations)
    return _permute(config, flat, orders)


def random_permutations(config: FieldConfig, count: int, seed: int) -> list[Int[Tensor, "B width"]]:
    """Draw independent random permutations of the hidden neurons of fields.

    Args:
        config: architecture of the fields.
        count: number of fields.
        seed: equal seeds give equal permutations.

    Returns:
        (count, width) for each hidden layer.

    Raises:
        InputError: `count` is negative.
    """
    if count < 0:
        raise InputError(f"count is {count}; give a number of fields of at least 0.")
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, width, generator=generator).argsort(1) for width in config.hidden]


@torch.no_grad()
def align(
    config: FieldConfig, flat: Tensor, reference: Tensor
) -> tuple[Float[Tensor, "B P"], list[Int[Tensor, "B width"]]]:
    """Permute the hidden neurons of each field so that its weights are as near as possible to one reference.

    The distance |aligned - reference| is never larger than before, and reordering a single layer cannot lower it
    further. If several orders are equally near and the order of the field is one of them, the field is not changed.

    Args:
        config: architecture of the fields.
        flat: (B, P) weights.
        reference: (P,) weights of the reference.

    Returns:
        The aligned weights (B, P), and for each hidden layer the permutations (B, width) that `permute` would take.
        Sine neurons may have changed their signs as well.

    Raises:
        InputError: weights are not finite or of another architecture.
    """
    Fields(config, flat)
    if reference.shape != (config.parameters,):
        raise InputError(
            f"the reference has shape {tuple(reference.shape)}; pass the {config.parameters} weights of one field."
        )
    if not reference.isfinite().all():
        raise InputError("the reference has NaN or infinite weights; pass a field that was fitted.")
    search = _Search(config, reference)
    identity = [torch.arange(width, device=flat.device).expand(len(flat), -1) for width in config.hidden]
    aligned, orders = flat, identity
    for layer in range(len(config.hidden)):
        aligned, orders, _ = search.visit(aligned, orders, layer, first=True)
    aligned, orders = search.descend(aligned, orders)
    nearer = (search.overlap(aligned) > search.overlap(flat) + search.tolerance(flat)).to(flat.device)[:, None]
    orders = [torch.where(nearer, new, old) for new, old in zip(orders, identity, strict=True)]
    return search.descend(torch.where(nearer, aligned, flat), orders)


class _Search:
    """Coordinate descent towards one reference, for many fields at once.

    Permutations and signs do not change the norm of a field, so the nearest weights have the largest inner product.
    """

    def __init__(self, config: FieldConfig, reference: Tensor) -> None:
        self.config, self.reference = config, reference.cpu().double()
        self.targets = [matrix[0] for matrix in layer_matrices(config, self.reference[None])]

    def overlap(self, flat: Tensor) -> Tensor:
        """Compute the inner products (B,) with the reference."""
        products: Tensor = flat.cpu().double() @ self.reference
        return products

    def tolerance(self, flat: Tensor) -> Tensor:
        """Compute the gains (B,) that are too small to count."""
        gains: Tensor = TOLERANCE * self.reference.norm() * flat.cpu().double().norm(dim=1)
        return gains

    def descend(self, flat: Tensor, orders: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Visit the layers in turn until no field gains in any of them."""
        changed = True
        while changed:
            changed = False
            for layer in range(len(self.config.hidden)):
                flat, orders, gained = self.visit(flat, orders, layer)
                changed = changed or gained
        return flat, orders

    def visit(
        self, flat: Tensor, orders: list[Tensor], layer: int, first: bool = False
    ) -> tuple[Tensor, list[Tensor], bool]:
        """Reorder one hidden layer of each field that gains; the `first` pass reorders all by incoming weights."""
        incoming, following = (matrix.cpu().double() for matrix in layer_matrices(self.config, flat)[layer : layer + 2])
        gains = self.targets[layer] @ incoming.mT
        if not first:
            gains = gains + self.targets[layer + 1][:, :-1].T @ following[..., :-1]
        order = _assign(gains.abs() if self.config.activation == "sine" else gains)
        assigned = gains.gather(2, order[..., None])[..., 0]
        signs = torch.where(assigned < 0, -1.0, 1.0) if self.config.activation == "sine" else torch.ones_like(assigned)
        gained = (assigned * signs).sum(1) - gains.diagonal(dim1=1, dim2=2).sum(1) > self.tolerance(flat)
        moves = (gained | first)[:, None]
        order = torch.where(moves, order, torch.arange(order.shape[1])).to(flat.device)
        signs = torch.where(moves, signs, 1.0).to(flat)
        steps = [torch.arange(width, device=flat.device)[None] for width in self.config.hidden]
        scales = [torch.ones_like(step).to(flat) for step in steps]
        steps[layer], scales[layer] = order, signs
        flat = _rescale(self.config, _permute(self.config, flat, steps), scales)
        orders = [*orders[:layer], orders[layer].gather(1, order), *orders[layer + 1 :]]
        return flat, orders, bool(gained.any())


def _assign(gains: Tensor) -> Tensor:
    """The neuron (B, w) of each place, with the largest sum of gains (B, w, w) of neuron j at place i."""
    order = torch.empty(gains.shape[:2], dtype=torch.int64)
    for row, gain in enumerate(gains.numpy()):
        order[row] = torch.from_numpy(linear_sum_assignment(gain, maximize=True)[1])
    return order


def _permute(config: FieldConfig, flat: Tensor, orders: list[Tensor]) -> Tensor:
    """`permute` without checks; orders (B, width) or (1, width)."""
    encoding = torch.arange(config.encoded, device=flat.device)[None]
    outputs = torch.arange(config.out_features, device=flat.device)[None]
    parts = []
    sides = zip(layer_matrices(config, flat), [encoding, *orders], [*orders, outputs], strict=True)
    for matrix, columns, rows in sides:
        weights = torch.take_along_dim(matrix[..., :-1], columns[:, None], 2)
        joined = torch.cat([weights, matrix[..., -1:]], 2)
        parts.append(torch.take_along_dim(joined, rows[..., None], 1).flatten(1))
    return torch.cat(parts, 1)


def _rescale(config: FieldConfig, flat: Tensor, factors: list[Tensor]) -> Tensor:
    """Multiply the incoming weights and bias of each neuron by its factor, and divide its outgoing weights by it.

    The factors are (B, width) or (1, width) for each hidden layer.
    """
    one, parts = flat.new_ones(1, 1), []
    sides = zip(layer_matrices(config, flat), [one, *factors], [*factors, one], strict=True)
    for matrix, incoming, outgoing in sides:
        weights = matrix[..., :-1] / incoming[:, None]
        parts.append((torch.cat([weights, matrix[..., -1:]], 2) * outgoing[..., None]).flatten(1))
    return torch.cat(parts, 1)


def _check_permutations(config: FieldConfig, flat: Tensor, permutations: Sequence[Tensor]) -> list[Tensor]:
    """Check permutations, and expand them to (B, width) on the device of the weights."""
    shapes = [tuple(order.shape) for order in permutations]
    allowed = [((width,), (len(flat), width)) for width in config.hidden]
    if len(shapes) != len(allowed) or any(shape not in pair for shape, pair in zip(shapes, allowed, strict=True)):
        raise InputError(
            f"permutations have shapes {shapes}; give one tensor for each of the hidden layers {config.hidden},"
            f" of shape (width,) or ({len(flat)}, width)."
        )
    for layer, order in enumerate(permutations):
        numbers = torch.arange(order.shape[-1], device=order.device)
        if order.dtype != torch.int64 or (order.sort(-1).values != numbers).any():
            raise InputError(
                f"the order of hidden layer {layer} is not a permutation; give each whole number below its width once,"
                " as int64."
            )
    return [order.to(flat.device).expand(len(flat), -1) for order in permutations]
