"""The helpers of the benchmarks: codes compared, seconds taken in turns."""

import torch

from benchmarks.encoding_speed import Seconds, compare, holding, in_turns, row
from tests.fakes import generator

TABLES = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]])


def test_codes_that_differ_are_told_from_ties():
    latents = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.2, 0.0], [0.0, 2.5]])
    ours = torch.tensor([[0, 1], [0, 1], [1, 0], [0, 0], [2, 2]])
    theirs = torch.tensor([[0, 1], [1, 0], [1, 0], [2, 0], [2, 0]])
    # Row 1 lies midway between two codes; row 3 has a nearer code, and so has the second level of row 4.
    assert compare(TABLES, latents, ours, theirs) == {"vectors": 5, "different": 3, "ties": 1}
    assert compare(TABLES, latents, ours, ours) == {"vectors": 5, "different": 0, "ties": 0}


def test_a_gap_is_a_tie_only_up_to_the_tolerance():
    latents, left, right = torch.tensor([[1.001, 0.0]]), torch.tensor([[0, 0]]), torch.tensor([[1, 0]])
    assert compare(TABLES, latents, left, right)["ties"] == 0
    assert compare(TABLES, latents, left, right, tolerance=1e-2)["ties"] == 1


def test_the_library_holds_our_tables():
    latents = torch.randn(40, 3, 2, generator=generator(0))
    with torch.no_grad():
        found, codes, *_ = holding(TABLES)(latents)
    expected = TABLES[0][codes[..., 0]] + TABLES[1][codes[..., 1]]
    torch.testing.assert_close(found, expected)
    nearest = (latents[..., None, :] - TABLES[0]).norm(dim=-1).argmin(-1)
    assert torch.equal(codes[..., 0], nearest)


def test_calls_take_turns_and_the_first_turn_is_not_counted():
    turns: list[tuple[str, int]] = []
    seconds = in_turns([lambda turn: turns.append(("a", turn)), lambda turn: turns.append(("b", turn))], 2)
    assert turns == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert [len(side) for side in seconds] == [2, 2]


def test_a_row_has_medians_and_their_ratio():
    ours, other = ([Seconds(value, 2 * value) for value in values] for values in ([1.0, 2.0, 9.0], [5.0, 6.0, 100.0]))
    found = row("x", ours, [other[0], other[1], Seconds(100.0, 0.0)], note=1)
    assert (found["ours"], found["other"], found["faster"], found["note"]) == (2.0, 6.0, 3.0, 1)
    assert found["faster_on_the_clock"] == 10.0 / 4.0
    assert (Seconds(1.0, 2.0) + Seconds(0.5, 0.25)) == Seconds(1.5, 2.25)
