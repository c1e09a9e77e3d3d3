"""One form for all orders, and for relu all scales, of the hidden neurons of a field.

A permuted field is the same function, and whatever reads its weights should not notice. Sums over neurons do notice, in
their last digits; a field in canonical form is the same bit for bit, whichever order it came in.

Decisions:
- Layers are put in order from the input up, so that each layer finds its inputs already in order. Neurons are sorted by
  their incoming weights and bias, the first weight first: each neuron's key depends on nothing but itself.
- Neurons with equal keys are equal functions, so they are merged: the first sends what all of them sent, the sum taken
  in order of size. Neurons of zeros, which give zero, fill the layer up. So ties cannot be in two orders either.
- A relu neuron is scaled so that its largest incoming weight or bias is 1 or -1. Factors that are powers of two leave
  no trace at all, others only rounding. The sign and the shift of a sine are left alone.
- The order itself means nothing: neurons with nearly equal first weights change places easily. Readers should be
  equivariant in themselves, as `graph_encoder.py` is; the form only makes them so to the last bit.

Dimensions: B fields, P parameters.
"""

import torch
from torch import Tensor

from weightgpt.fields.field import FieldConfig, Fields, layer_matrices


@torch.no_grad()
def canonical(config: FieldConfig, flat: Tensor) -> Tensor:
    """The same functions in canonical form: (B, P) -> (B, P), each field by itself.

    Raises:
        InputError: the weights are not finite or of another architecture.
    """
    Fields(config, flat)
    return torch.stack([_canonical(config, row) for row in flat]) if len(flat) else flat.clone()


def _canonical(config: FieldConfig, row: Tensor) -> Tensor:
    matrices = [matrix[0] + 0.0 for matrix in layer_matrices(config, row[None])]  # there is no -0.0 among them
    for layer in range(len(config.hidden)):
        own, following = matrices[layer : layer + 2]
        sent = following[:, :-1]
        if config.activation == "relu":
            size = own.abs().amax(1)
            size = torch.where(size > 0, size, 1.0)
            own, sent = own / size[:, None], sent * size
        rows, group = torch.unique(own, dim=0, return_inverse=True)
        kept = rows.any(1).nonzero().flatten()
        matrices[layer] = torch.cat([rows[kept], rows.new_zeros(len(own) - len(kept), rows.shape[1])])
        matrices[layer + 1] = torch.cat([_merged(sent, group, kept.tolist()), following[:, -1:]], 1)
    return torch.cat([matrix.flatten() for matrix in matrices])


def _merged(sent: Tensor, group: Tensor, kept: list[int]) -> Tensor:
    """Outgoing weights (outputs, width), summed over each group that is kept; then zeros. `group` (width,) numbers."""
    if len(kept) == len(group):
        return sent[:, group.argsort()]
    total = torch.zeros_like(sent)
    for place, number in enumerate(kept):
        for column in sent[:, group == number].sort(1).values.T:
            total[:, place] += column
    return total
