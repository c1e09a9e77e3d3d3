"""The canonical form of a field: equal for all orders of its hidden neurons and, for relu, for all their scales.

A field with permuted neurons is the same function, and code that reads its weights should return the same result. Sums
over neurons differ in their last digits after a permutation. Canonical forms are equal bit for bit.

Decisions:

- Layers are sorted from the input to the output, so the inputs of each layer are already in order. Neurons are sorted
  by their incoming weights and bias, the first weight first: the key of a neuron depends on that neuron only.
- Neurons with equal keys are equal functions, so they are merged: the first one sends the sum of their outgoing
  weights, added in order of size. Neurons of zeros, whose output is zero, fill the layer. This also removes ties.
- A relu neuron is scaled so that its largest incoming weight or bias is 1 or -1. The form is then equal bit for bit
  under scales that are powers of two, and equal up to rounding under others. Signs and shifts of sine neurons are not
  changed.
- The order carries no information: a small change of the weights may exchange neurons with nearly equal first weights.
  A network that reads the form should therefore not use the order; that of `graph_encoder.py` does not. The form then
  makes its results equal to the last bit.

Dimensions: B fields, P parameters.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.functional import layer_matrices


@torch.no_grad()
def canonicalize(config: FieldConfig, flat: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
    """Bring fields to their canonical form, which is the same function.

    Args:
        config: architecture of the fields.
        flat: (B, P) weights.

    Returns:
        (B, P) weights; each row depends on its own field only.

    Raises:
        InputError: the weights are not finite or of another architecture.
    """
    Fields(config, flat)
    return torch.stack([_canonicalize_row(config, row) for row in flat]) if len(flat) else flat.clone()


def _canonicalize_row(config: FieldConfig, row: Tensor) -> Tensor:
    """The canonical form (P,) of one field (P,)."""
    matrices = [matrix[0] + 0.0 for matrix in layer_matrices(config, row[None])]  # adding 0.0 turns -0.0 into 0.0
    for layer in range(len(config.hidden)):
        incoming, following = matrices[layer : layer + 2]
        outgoing = following[:, :-1]
        if config.activation == "relu":
            size = incoming.abs().amax(1)
            size = torch.where(size > 0, size, 1.0)
            incoming, outgoing = incoming / size[:, None], outgoing * size
        rows, group = torch.unique(incoming, dim=0, return_inverse=True)
        nonzero = rows.any(1).nonzero().flatten()
        padding = rows.new_zeros(len(incoming) - len(nonzero), rows.shape[1])
        matrices[layer] = torch.cat([rows[nonzero], padding])
        matrices[layer + 1] = torch.cat([_merge_columns(outgoing, group, nonzero.tolist()), following[:, -1:]], 1)
    return torch.cat([matrix.flatten() for matrix in matrices])


def _merge_columns(outgoing: Tensor, group: Tensor, numbers: list[int]) -> Tensor:
    """Outgoing weights (outputs, width), summed over the neurons of each of the groups `numbers`; then zeros.

    Args:
        outgoing: (outputs, width) weights.
        group: (width,) number of the group of each neuron.
        numbers: the groups, in order.
    """
    if len(numbers) == len(group):
        return outgoing[:, group.argsort()]
    total = torch.zeros_like(outgoing)
    for position, number in enumerate(numbers):
        for column in outgoing[:, group == number].sort(1).values.T:
            total[:, position] += column
    return total
