"""Different weights of the same function: hidden neurons permuted or rescaled, and fields aligned to a reference.

Decisions:
- A permutation says where a neuron comes from: new neuron i is old neuron permutations[i]. Inputs of the first layer
  (the encoding) and outputs of the last are never touched. Weights are only moved, so `inverse` undoes it exactly.
- Rescaling is exact mathematics for relu (positive factors) and sine (signs); gelu has neither. The shift of a sine by
  π or 2π in the bias is a symmetry as well, and is left alone.
- `align` is weight matching (Git Re-Basin, Ainsworth et al. 2023, algorithm 1): one layer after another is assigned
  anew until none gains. Where all layers are permuted at once only the encoding tells neurons apart, so a first pass
  goes from the input up and matches incoming weights alone: the inputs of each layer are then already in order. Only
  then do both sides of a layer count. So the result does not depend on the order that a field came in, ties apart.
- Signs of sine neurons are solved with the order, on |gain|. Scales of relu neurons are left as they are.

Dimensions: B fields, P parameters.
"""

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields, layer_matrices

TOLERANCE = 1e-12
"""Gain, as a share of |field| · |reference|, up to which two orders count as equally near."""


def permute(config: FieldConfig, flat: Tensor, permutations: Sequence[Tensor]) -> Tensor:
    """The same functions with their hidden neurons in another order: (B, P) -> (B, P).

    Args:
        flat: (B, P) weights.
        permutations: for each hidden layer (B, width), or (width,) for all fields; new neuron i is old neuron
            permutations[i].

    Raises:
        InputError: the permutations do not fit the architecture or are none, or the weights are not finite or of
            another architecture.
    """
    Fields(config, flat)
    orders = _for_each_field(config, flat, permutations, "permutations")
    _check_permutations(orders)
    return _permuted(config, flat, orders)


def inverse(permutations: Sequence[Tensor]) -> list[Tensor]:
    """The permutations that undo `permutations`, each (width,) or (B, width).

    Raises:
        InputError: a row is not a permutation.
    """
    _check_permutations(permutations)
    return [permutation.argsort(-1) for permutation in permutations]


def random_permutations(config: FieldConfig, fields: int, seed: int) -> list[Tensor]:
    """Independent random permutations, (fields, width) for each hidden layer; the same for the same arguments.

    Raises:
        InputError: `fields` is negative.
    """
    if fields < 0:
        raise InputError(f"permutations of {fields} fields were asked for; give a count of at least 0.")
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(fields, width, generator=generator).argsort(1) for width in config.hidden]


def rescale(config: FieldConfig, flat: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """The same functions with their hidden neurons scaled: (B, P) -> (B, P).

    A neuron's incoming weights and bias are multiplied by its factor, its outgoing weights divided by it.

    Args:
        flat: (B, P) weights.
        factors: for each hidden layer (B, width), or (width,) for all fields; positive for relu, 1 or -1 for sine.

    Raises:
        InputError: the activation has no such symmetry, the factors do not fit it or the architecture, or the weights
            are not finite or of another architecture.
    """
    Fields(config, flat)
    if config.activation == "gelu":
        raise InputError("gelu fields have no symmetry of scale or sign; rescale only relu and sine fields.")
    expanded = _for_each_field(config, flat, [factor.to(flat) for factor in factors], "factors")
    for layer, factor in enumerate(expanded):
        if config.activation == "relu" and not (factor.isfinite() & (factor > 0)).all():
            raise InputError(f"factors of hidden layer {layer} are not all positive numbers; relu allows no others.")
        if config.activation == "sine" and not (factor.abs() == 1).all():
            raise InputError(f"factors of hidden layer {layer} are not all 1 or -1; sine allows no others.")
    return _rescaled(config, flat, expanded)


@torch.no_grad()
def align(config: FieldConfig, flat: Tensor, reference: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Each field with its hidden neurons in the order that brings its weights nearest to one reference.

    The distance |aligned - reference| is never larger than before, and no single layer can be reordered to lower it
    further. Among orders that are equally near a field keeps the one that it came in.

    Args:
        flat: (B, P) weights.
        reference: (P,) the weights to be near to.

    Returns:
        The aligned weights (B, P), and for each hidden layer the permutations (B, width) that `permute` would take;
        sine neurons may have changed their sign as well.

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
    came = [torch.arange(width, device=flat.device).expand(len(flat), -1) for width in config.hidden]
    found, orders = flat, came
    for layer in range(len(config.hidden)):
        found, orders, _ = search.visit(found, orders, layer, first=True)
    found, orders = search.descend(found, orders)
    nearer = (search.overlap(found) > search.overlap(flat) + search.tolerance(flat)).to(flat.device)[:, None]
    orders = [torch.where(nearer, new, old) for new, old in zip(orders, came, strict=True)]
    return search.descend(torch.where(nearer, found, flat), orders)


class _Search:
    """Coordinate descent towards one reference, for many fields at once.

    Permutations and signs keep the norm of a field, so the nearest weights are those with the largest inner product.
    """

    def __init__(self, config: FieldConfig, reference: Tensor) -> None:
        self.config, self.reference = config, reference.cpu().double()
        self.targets = [matrix[0] for matrix in layer_matrices(config, self.reference[None])]

    def overlap(self, flat: Tensor) -> Tensor:
        """(B,) inner products with the reference."""
        products: Tensor = flat.cpu().double() @ self.reference
        return products

    def tolerance(self, flat: Tensor) -> Tensor:
        """(B,) gains too small to count."""
        gains: Tensor = TOLERANCE * self.reference.norm() * flat.cpu().double().norm(dim=1)
        return gains

    def descend(self, flat: Tensor, orders: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Visit the layers in turn until no field gains anything in any of them."""
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
        """Reorder one hidden layer of the fields that gain by it; in the `first` pass of all, by incoming weights."""
        own, following = (matrix.cpu().double() for matrix in layer_matrices(self.config, flat)[layer : layer + 2])
        gains = self.targets[layer] @ own.mT
        if not first:
            gains = gains + self.targets[layer + 1][:, :-1].T @ following[..., :-1]
        order = _assign(gains.abs() if self.config.activation == "sine" else gains)
        taken = gains.gather(2, order[..., None])[..., 0]
        signs = torch.where(taken < 0, -1.0, 1.0) if self.config.activation == "sine" else torch.ones_like(taken)
        gained = (taken * signs).sum(1) - gains.diagonal(dim1=1, dim2=2).sum(1) > self.tolerance(flat)
        moves = (gained | first)[:, None]
        order = torch.where(moves, order, torch.arange(order.shape[1])).to(flat.device)
        signs = torch.where(moves, signs, 1.0).to(flat)
        steps = [torch.arange(width, device=flat.device)[None] for width in self.config.hidden]
        scales = [torch.ones_like(step).to(flat) for step in steps]
        steps[layer], scales[layer] = order, signs
        flat = _rescaled(self.config, _permuted(self.config, flat, steps), scales)
        orders = [*orders[:layer], orders[layer].gather(1, order), *orders[layer + 1 :]]
        return flat, orders, bool(gained.any())


def _assign(gains: Tensor) -> Tensor:
    """(B, w, w) gains of putting neuron j at place i -> (B, w) the neuron for each place, with the largest sum."""
    order = torch.empty(gains.shape[:2], dtype=torch.int64)
    for row, gain in enumerate(gains.numpy()):
        order[row] = torch.from_numpy(linear_sum_assignment(gain, maximize=True)[1])
    return order


def _permuted(config: FieldConfig, flat: Tensor, orders: list[Tensor]) -> Tensor:
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


def _rescaled(config: FieldConfig, flat: Tensor, factors: list[Tensor]) -> Tensor:
    """`rescale` without checks; factors (B, width) or (1, width)."""
    one, parts = flat.new_ones(1, 1), []
    sides = zip(layer_matrices(config, flat), [one, *factors], [*factors, one], strict=True)
    for matrix, incoming, outgoing in sides:
        weights = matrix[..., :-1] / incoming[:, None]
        parts.append((torch.cat([weights, matrix[..., -1:]], 2) * outgoing[..., None]).flatten(1))
    return torch.cat(parts, 1)


def _for_each_field(config: FieldConfig, flat: Tensor, values: Sequence[Tensor], name: str) -> list[Tensor]:
    """`values` of each hidden layer as (B, width), beside the weights."""
    shapes = [tuple(value.shape) for value in values]
    allowed = [((width,), (len(flat), width)) for width in config.hidden]
    if len(shapes) != len(allowed) or any(shape not in pair for shape, pair in zip(shapes, allowed, strict=True)):
        raise InputError(
            f"{name} have shapes {shapes}; give one tensor for each of the hidden layers {config.hidden},"
            f" of shape (width,) or ({len(flat)}, width)."
        )
    return [value.to(flat.device).expand(len(flat), -1) for value in values]


def _check_permutations(permutations: Sequence[Tensor]) -> None:
    for layer, permutation in enumerate(permutations):
        width = permutation.shape[-1] if permutation.ndim else 0
        places = torch.arange(width, device=permutation.device)
        if not width or permutation.dtype != torch.int64 or (permutation.sort(-1).values != places).any():
            raise InputError(
                f"the order of hidden layer {layer} is not a permutation; give each whole number below its width once,"
                " as int64."
            )
