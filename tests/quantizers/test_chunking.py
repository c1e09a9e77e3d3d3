"""Chunks hold every weight once, and zeros besides."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgpt.errors import InputError
from weightgpt.fields.field import Field, FieldConfig
from weightgpt.quantizers.chunking import ChunkLayout


@st.composite
def layouts(draw: st.DrawFn) -> ChunkLayout:
    hidden = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    outputs = draw(st.integers(1, 3))
    config = FieldConfig(
        in_features=draw(st.sampled_from([2, 3])),
        out_features=outputs,
        hidden=tuple(hidden),
        num_frequencies=draw(st.integers(0, 2)),
    )
    return ChunkLayout(config, draw(st.integers(1, max(*hidden, outputs))))


def distinct_weights(layout: ChunkLayout, fields: int = 2) -> torch.Tensor:
    """Weights (B, P) that are all different and none of them 0."""
    return torch.arange(1.0, fields * layout.field_config.parameters + 1).reshape(fields, -1)


@given(layouts())
@settings(deadline=None, max_examples=60)
def test_fault_46_join_undoes_split(layout):
    flat = distinct_weights(layout)
    assert torch.equal(layout.join(layout.split(flat)), flat)


@given(layouts())
@settings(deadline=None, max_examples=60)
def test_fault_46_split_undoes_join_except_in_the_padding(layout):
    chunks = torch.rand(2, layout.num_chunks, layout.width) + 1
    inside = torch.arange(layout.width) < torch.tensor(layout.sizes)[:, None]
    assert torch.equal(layout.split(layout.join(chunks)), chunks * inside)


@given(layouts())
@settings(deadline=None, max_examples=60)
def test_fault_46_sizes_sum_to_the_parameters_and_the_padding_is_zero(layout):
    chunks = layout.split(distinct_weights(layout))
    assert chunks.shape == (2, layout.num_chunks, layout.width)
    assert sum(layout.sizes) == layout.field_config.parameters
    assert int((chunks != 0).sum()) == 2 * layout.field_config.parameters
    for row, size in enumerate(layout.sizes):
        assert (chunks[:, row, :size] != 0).all()


def test_a_chunk_of_one_neuron_is_its_incoming_weights_and_its_bias():
    field = Field(FieldConfig(hidden=(4, 3), num_frequencies=1, out_features=2))
    layout = ChunkLayout(field.config, 1)
    chunks = layout.split(field.flat()[None])[0]
    neurons = [(layer, row) for layer in field.layers for row in range(len(layer.bias))]
    assert len(neurons) == layout.num_chunks
    for chunk, (layer, row), size in zip(chunks, neurons, layout.sizes, strict=True):
        assert torch.equal(chunk[: size - 1], layer.weight[row])
        assert chunk[size - 1] == layer.bias[row]


def test_a_chunk_never_spans_two_layers():
    layout = ChunkLayout(FieldConfig(hidden=(5, 4), num_frequencies=0), 3)
    assert layout.sizes == (3 * 4, 2 * 4, 3 * 6, 1 * 6, 1 * 5)


@pytest.mark.parametrize("neurons", [-1, 0, 7])
def test_chunks_outside_one_to_the_widest_layer_are_refused(neurons):
    with pytest.raises(InputError, match="choose 1 to 6"):
        ChunkLayout(FieldConfig(hidden=(4, 6), num_frequencies=0), neurons)


def test_chunks_of_another_layout_are_refused():
    layout = ChunkLayout(FieldConfig(hidden=(4, 6), num_frequencies=0), 2)
    for shape in [(1, layout.num_chunks + 1, layout.width), (1, layout.num_chunks, layout.width + 1)]:
        with pytest.raises(InputError, match="this layout takes"):
            layout.join(torch.zeros(shape))
