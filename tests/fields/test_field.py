"""A field is an ordinary module, a batch gives the values of its fields, and the flat form has all weights."""

import copy
import io
import math
import pickle
import pickletools
import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from weightgpt.errors import InputError
from weightgpt.fields.config import ACTIVATIONS, OUTPUTS
from weightgpt.fields.field import Field, FieldConfig, Fields
from weightgpt.fields.functional import fourier_encoding

SMALL = FieldConfig(hidden=(5, 4), num_frequencies=1)


@st.composite
def configs(draw: st.DrawFn) -> FieldConfig:
    return FieldConfig(
        in_features=draw(st.sampled_from([2, 3])),
        out_features=draw(st.integers(1, 3)),
        hidden=tuple(draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))),
        num_frequencies=draw(st.integers(0, 3)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        output=draw(st.sampled_from(OUTPUTS)),
    )


def random_fields(config: FieldConfig, count: int, seed: int = 0) -> Fields:
    generator = torch.Generator().manual_seed(seed)
    return Fields(config, torch.randn(count, config.parameters, generator=generator) * 0.5)


def points(config: FieldConfig, *shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, config.in_features, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@given(configs())
@settings(deadline=None, max_examples=40)
def test_parameters_counts_the_parameters_of_the_module(config):
    assert config.parameters == sum(parameter.numel() for parameter in Field(config).parameters())


@given(configs())
@settings(deadline=None, max_examples=40)
def test_a_configuration_comes_back_from_its_dict(config):
    assert FieldConfig.from_dict(config.to_dict()) == config


@given(configs())
@settings(deadline=None, max_examples=40)
def test_load_flat_is_the_inverse_of_flat(config):
    flat = torch.arange(float(config.parameters))
    assert torch.equal(Field(config).load_flat(flat).flat(), flat)
    field, other = Field(config), Field(config)
    other.load_flat(field.flat())
    for name, tensor in field.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


@given(configs())
@settings(deadline=None, max_examples=40)
def test_a_batch_gives_what_each_field_gives(config):
    fields = random_fields(config, 3)
    shared, different = points(config, 7), points(config, 3, 7)
    for index in range(3):
        torch.testing.assert_close(fields(shared)[index], fields[index](shared), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(fields(different)[index], fields[index](different[index]), atol=1e-5, rtol=1e-5)


def test_the_encoding_has_the_coordinates_and_their_sines_and_cosines():
    x = torch.tensor([[0.25, -0.5]])
    expected = [0.25, -0.5]
    for k in range(3):
        expected += [math.sin(2**k * math.pi * v) for v in (0.25, -0.5)]
        expected += [math.cos(2**k * math.pi * v) for v in (0.25, -0.5)]
    torch.testing.assert_close(fourier_encoding(x, 3), torch.tensor([expected]))


def modules(config: FieldConfig) -> nn.Sequential:
    """The same network as PyTorch's own layers, for points that are already encoded."""
    activation = {"relu": nn.ReLU, "gelu": nn.GELU}[config.activation]
    layers: list[nn.Module] = []
    for inputs, outputs in config.layers:
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_state_dict_loads_into_plain_layers(activation):
    field = Field(replace(SMALL, activation=activation))
    plain = modules(field.config)
    tensors = {f"{2 * int(name.split('.')[1])}.{name.split('.')[2]}": t for name, t in field.state_dict().items()}
    plain.load_state_dict(tensors)
    x = points(SMALL, 20)
    assert torch.equal(plain(fourier_encoding(x, SMALL.num_frequencies)), field(x))


def test_a_field_survives_pickle_deepcopy_and_torch_save():
    field, x = Field(SMALL), points(SMALL, 20)
    file = io.BytesIO()
    torch.save(field.state_dict(), file)
    file.seek(0)
    loaded = Field(SMALL)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for other in (pickle.loads(pickle.dumps(field)), copy.deepcopy(field), loaded):
        assert other.config == SMALL
        assert torch.equal(other(x), field(x))


def test_a_pickled_field_names_only_the_public_class():
    classes = [text for _, text, _ in pickletools.genops(pickle.dumps(Field(SMALL))) if isinstance(text, str)]
    assert "weightgpt" in classes
    assert not [text for text in classes if text.startswith("weightgpt.")]


@given(configs().filter(lambda config: config.activation != "relu"))
@settings(deadline=None, max_examples=8)
def test_gradients_are_those_of_central_differences(config):
    """In double precision, for points and for weights."""
    field, x = Field(config).double(), points(config, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(field, (x,))
    flat = random_fields(config, 2).flat.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda weights: Fields(config, weights)(x.detach()), (flat,))


@pytest.mark.parametrize("activation", ["relu", "sine"])
def test_an_exported_field_gives_the_same_values_in_another_runtime(activation, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    field, path = Field(replace(SMALL, activation=activation, output="tanh")).eval(), tmp_path / "field.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count = torch.export.Dim("n", min=2)
        torch.onnx.export(field, (points(SMALL, 8),), path, dynamo=True, dynamic_shapes=({0: count},), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = points(SMALL, 100, seed=5)
    (values,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(values), field(x).detach(), atol=1e-5, rtol=1e-5)


def test_selected_fields_have_their_weights():
    fields = random_fields(SMALL, 4)
    assert torch.equal(fields.select(torch.tensor([2, 0])).flat, fields.flat[[2, 0]])
    assert torch.equal(fields.select(slice(1, 3)).flat, fields.flat[1:3])
    assert torch.equal(fields[1:3].flat, fields.flat[1:3])


def test_a_negative_index_counts_from_the_end_and_one_out_of_range_is_an_index_error():
    fields, points = random_fields(SMALL, 4), torch.zeros(2, SMALL.in_features)
    assert torch.equal(fields[-1].flat(), fields.flat[3])
    assert torch.equal(fields.sdf(-1)(points), fields.sdf(3)(points))
    for read in (fields.__getitem__, fields.sdf):
        with pytest.raises(IndexError):
            read(4)


@pytest.mark.parametrize("shape", [(SMALL.parameters,), (2, SMALL.parameters - 1), (2, SMALL.parameters + 1), (0,)])
def test_weights_of_another_length_are_refused(shape):
    with pytest.raises(InputError, match=f"rows of {SMALL.parameters} parameters"):
        Fields(SMALL, torch.zeros(shape))


@pytest.mark.parametrize("length", [0, SMALL.parameters - 1, SMALL.parameters + 1])
def test_a_field_refuses_weights_of_another_length_and_does_not_change(length):
    field = Field(SMALL)
    before = field.flat().clone()
    with pytest.raises(InputError, match="same architecture"):
        field.load_flat(torch.zeros(length))
    assert torch.equal(field.flat(), before)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_by_row(value):
    flat = torch.zeros(4, SMALL.parameters)
    flat[1, 3] = flat[3, 0] = value
    with pytest.raises(InputError, match=r"fields \[1, 3\]"):
        Fields(SMALL, flat)


@pytest.mark.parametrize(
    ("values", "fragment"),
    [
        ({"in_features": 4}, "2 or 3 coordinates"),
        ({"out_features": 0}, "empty layer"),
        ({"hidden": ()}, "empty layer"),
        ({"hidden": None}, "give a tuple of widths"),
        ({"hidden": (4, 0)}, "empty layer"),
        ({"num_frequencies": -1}, "empty layer"),
        ({"activation": "swish"}, "choose one of relu"),
        ({"output": "relu"}, "choose one of none"),
        ({"hidden": (4.0,)}, "whole number"),
        ({"num_frequencies": 1.5}, "whole number"),
        ({"out_features": "1"}, "whole number"),
        ({"layers": 3}, "unknown keys"),
    ],
)
def test_bad_configurations_are_refused(values, fragment):
    with pytest.raises(InputError, match=fragment):
        FieldConfig.from_dict(values)
