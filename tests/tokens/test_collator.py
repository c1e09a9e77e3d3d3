"""Rows of a dataset become a batch whose loss ignores the prompt."""

import pytest
import torch

from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.errors import InputError
from weightgpt.tokens.collator import WeightDataCollator

VOCABULARY = tiny_tokenizer().vocabulary
IDS = VOCABULARY.ids(torch.arange(12).reshape(2, 3, 2) % 8, ["chair", "none"])


def test_lists_and_tensors_give_the_same_batch():
    rows = [{"input_ids": row} for row in IDS]
    first, second = WeightDataCollator()(rows), WeightDataCollator()([{"input_ids": row.tolist()} for row in IDS])
    assert first.keys() == second.keys() == {"input_ids", "attention_mask", "labels"}
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(first["input_ids"], IDS)
    assert torch.equal(first["attention_mask"], torch.ones_like(IDS))


def test_the_loss_is_the_mean_over_codes_and_eos_alone():
    """The model's loss equals the cross-entropy of the tokens after the class, computed by hand."""
    gpt, batch = tiny_gpt(VOCABULARY), WeightDataCollator()([{"input_ids": row} for row in IDS])
    logits = gpt(IDS).logits[:, 1:-1]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), IDS[:, 2:].flatten())
    torch.testing.assert_close(gpt(**batch).loss, expected)


@pytest.mark.parametrize("rows", [[], [{"labels": [1]}]])
def test_rows_without_sequences_are_refused(rows):
    with pytest.raises(InputError, match="no rows, or a row has no `input_ids`"):
        WeightDataCollator()(rows)


def test_sequences_of_several_lengths_are_refused():
    with pytest.raises(InputError, match=r"lengths \[9, 10\]"):
        WeightDataCollator()([{"input_ids": [1] * 9}, {"input_ids": [1] * 10}])
