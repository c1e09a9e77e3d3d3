"""Equal bits for a field alone, in any batch, in any order, and with any number of threads.

Decisions, measured with torch 2.13 and MKL 2024.2 on CPUs with AVX-512:

- One field is multiplied by other kernels than a batch, so a batch never has fewer than two rows.
- Elementwise kernels work on 32 numbers at once and on single numbers at the end of a tensor; `tanh`, `gelu` and the
  fused Adam then round differently. The end of a tensor therefore lies in a spare row, which is thrown away. A batch
  whose tensors have no such end needs no spare row, and full batches of 16 keep their bits.
- Products in which the fields are rows of one matrix, such as those of encoders and decoders, are made in blocks of
  exactly 32 rows. A row has the same bits at every place of a block, and in full batches of 16 or more.
- The product of all first layers with shared points is reproducible where a first layer has a multiple of 8 neurons.
  For others, each field has a product of its own.
- Several threads split sums and tensors at other places, so these computations use one. Threads of Python wait for
  each other meanwhile, because the number of threads is a setting of the whole process.
- A single field costs a seventh more than without a spare row. To fill each batch up to 16 rows would cost five times
  as much.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

import torch
from torch import Tensor

from weightgpt.fields.config import FieldConfig
from weightgpt.fields.functional import first_layer_inputs

BLOCK = 32
"""Rows of the blocks of `in_blocks`."""
KERNEL_WIDTH = 32
"""Numbers that an elementwise kernel handles at once."""
_ONE_AT_A_TIME = RLock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of torch inside the block."""
    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def add_spare_rows(rows: Tensor, *widths: int) -> Tensor:
    """Repeat the last row of a batch where its bits would otherwise depend on the size of the batch.

    Args:
        rows: (B, ...), one row for each field.
        widths: numbers of a field in the tensors that elementwise kernels work on.

    Returns:
        The rows and, where they are needed, spare ones; (B, ...) or more.

    Examples:
        >>> len(add_spare_rows(torch.zeros(16, 3), 1024)), len(add_spare_rows(torch.zeros(1, 3), 1024))
        (16, 2)
    """
    count = len(rows)
    if count > 1 and not any(count * width % KERNEL_WIDTH for width in widths):
        return rows
    spare = 1 + (KERNEL_WIDTH - 1) // min(widths)
    return torch.cat([rows, rows[-1:].expand(spare, *rows.shape[1:])])


def in_blocks(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Apply a function of rows to blocks of `BLOCK` rows, so that no row depends on the number of rows.

    Args:
        function: takes as many tensors as there are in `rows` and returns one row for each of their rows.
        rows: tensors of B rows each.

    Returns:
        B rows.
    """
    count, results = len(rows[0]), []
    if not count:
        return function(*rows)
    for first in range(0, count, BLOCK):
        parts = [part[first : first + BLOCK] for part in rows]
        filled = [torch.cat([part, part[-1:].expand(BLOCK - len(part), *part.shape[1:])]) for part in parts]
        results.append(function(*filled)[: len(parts[0])])
    return torch.cat(results)


def encode_points(config: FieldConfig, points: Tensor) -> Tensor:
    """Encode points for `evaluate_encoded` so that the values of a field do not depend on the other fields.

    Args:
        config: architecture of the fields.
        points: (M, D) shared by all fields, or (B, M, D).

    Returns:
        (E + 1, M), (1, E + 1, M) or (B, E + 1, M).
    """
    encoded = first_layer_inputs(points, config)
    return encoded[None] if encoded.ndim == 2 and config.layers[0][1] % 8 else encoded
