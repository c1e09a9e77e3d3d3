"""Batches for the `Trainer` of transformers.

Dimensions: B sequences, L tokens of a sequence.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from weightgpt.errors import InputError

IGNORED = -100
"""The label that the loss of a GPT-2 ignores."""


def loss_labels(ids: Int[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """Return the labels (B, L) of sequences for the loss of a GPT-2.

    A model is sampled from a prompt of BOS and a class, so the loss ignores both.

    Args:
        ids: (B, L) token ids.
    """
    labels = ids.clone()
    labels[:, :2] = IGNORED
    return labels


class WeightDataCollator:
    """Joins rows of a dataset into one batch for the `Trainer`; BOS and the class are left out of the loss.

    Examples:
        >>> batch = WeightDataCollator()([{"input_ids": [1, 5, 6, 13, 2]}])
        >>> batch["labels"].tolist()
        [[-100, -100, 6, 13, 2]]
    """

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Int[Tensor, "B L"]]:
        """Return `input_ids`, `attention_mask` and `labels`, each (B, L) int64.

        Args:
            rows: B rows with the column `input_ids`: lists or tensors of L ids.

        Raises:
            InputError: there are no rows, a row has no `input_ids`, or the sequences have several lengths.
        """
        if not rows or any("input_ids" not in row for row in rows):
            raise InputError(
                "there are no rows, or a row has no `input_ids`; give rows of `WeightTokenizer.to_dataset`."
            )
        sequences = [torch.as_tensor(row["input_ids"], dtype=torch.long) for row in rows]
        lengths = {len(sequence) for sequence in sequences}
        if len(lengths) != 1:
            raise InputError(f"sequences have the lengths {sorted(lengths)}; join sequences of one tokenizer only.")
        ids = torch.stack(sequences)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": loss_labels(ids)}
