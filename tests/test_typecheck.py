"""The annotated shapes of the library are checked while tests run."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from tests.fakes import tiny_config
from tests.typecheck import check_shapes
from weightgpt.fields.field import Field
from weightgpt.metrics.memorization import nearest_weights
from weightgpt.shapes.sampling import Samples
from weightgpt.visual.meshing import mesh_grid


def test_a_tensor_of_too_few_axes_is_refused():
    with pytest.raises(TypeCheckError, match="R R R"):
        mesh_grid(torch.zeros(8, 8))


def test_axes_of_one_name_must_be_equally_long():
    with pytest.raises(TypeCheckError, match="R R R"):
        mesh_grid(torch.zeros(8, 8, 4))


def test_a_tensor_of_another_kind_of_number_is_refused():
    with pytest.raises(TypeCheckError, match="B _"):
        nearest_weights(torch.zeros(1, 3, dtype=torch.long), torch.ones(2, 3))


def test_methods_and_dataclasses_are_checked_too():
    with pytest.raises(TypeCheckError, match="n D"):
        Field(tiny_config()).sdf(torch.zeros(3))
    with pytest.raises(TypeCheckError, match="N M"):
        Samples(torch.zeros(5, 3), torch.zeros(2, 4))


def test_half_precision_is_allowed():
    assert Samples(torch.zeros(5, 3), torch.zeros(2, 5).half()).sdf.dtype == torch.float16


def test_a_function_without_shapes_is_left_as_it_is():
    assert check_shapes(np.mean) is np.mean
