"""Hat functions of grids, and fields whose inputs they are."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import generator
from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.field import Field, Fields
from weightgpt.fields.hats import hats
from weightgpt.fields.symmetry import permute, random_permutations

CONFIG = FieldConfig(hidden=(8, 8), num_frequencies=1, grids=(1, 3))
POINTS = torch.rand(200, 3, generator=generator(0)) * 2 - 1


@pytest.mark.parametrize("nodes", [1, 2, 5])
@pytest.mark.parametrize("dimension", [2, 3])
def test_hats_sum_to_one_everywhere(nodes, dimension):
    values = hats(POINTS[:, :dimension], nodes)
    assert values.shape == (200, nodes**dimension)
    torch.testing.assert_close(values.sum(1), torch.ones(200))
    assert values.min() >= 0


def test_hats_interpolate_a_linear_function_between_the_nodes():
    axis = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    nodes = torch.cartesian_prod(axis, axis, axis)
    slope = torch.tensor([1.0, -2.0, 0.5])
    inside = POINTS * 0.75
    torch.testing.assert_close(hats(inside, 4) @ (nodes @ slope), inside @ slope)
    torch.testing.assert_close(hats(nodes, 4), torch.eye(64))


def test_hats_are_zero_two_cells_away():
    far = hats(torch.tensor([[0.3, 0.9, 0.9]]), 4)  # the nodes next to it begin at 0.25
    assert (far.view(4, 4, 4)[:2] == 0).all()


def test_a_module_and_a_batch_with_grids_have_equal_values():
    field = Field(CONFIG)
    assert CONFIG.encoded == 9 + 1 + 27
    assert sum(value.numel() for value in field.parameters()) == CONFIG.parameters
    fields = Fields(CONFIG, torch.stack([field.flat(), Field(CONFIG).flat()]).detach())
    torch.testing.assert_close(fields(POINTS)[0], field(POINTS).detach())
    shared = fields(POINTS)
    torch.testing.assert_close(fields(POINTS.expand(2, -1, -1)), shared)


def test_permuted_neurons_are_the_same_function():
    flat = Field(CONFIG).flat().detach()[None]
    permuted = permute(CONFIG, flat, random_permutations(CONFIG, 1, seed=0))
    torch.testing.assert_close(Fields(CONFIG, permuted)(POINTS), Fields(CONFIG, flat)(POINTS))


def test_grids_are_stored_only_where_there_are_some():
    assert FieldConfig.from_dict(CONFIG.to_dict()) == CONFIG
    assert "grids" not in replace(CONFIG, grids=()).to_dict()


@pytest.mark.parametrize("grids", [(0,), (17,), (2.5,), 4, "4", (True,)])
def test_grids_that_cannot_be_are_refused(grids):
    with pytest.raises(InputError):
        FieldConfig(grids=grids)
