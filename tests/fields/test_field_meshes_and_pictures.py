"""A field gives distances, a mesh and a picture, and fields that have none are refused with the reason."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.fakes import fitted_sphere, tiny_config
from weightgpt.errors import InputError
from weightgpt.fields.field import Field, FieldConfig, Fields
from weightgpt.visual.meshing import mesh_sdf
from weightgpt.visual.rendering import render, render_2d

POINTS = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
ANY_DEVICE = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def sphere() -> Field:
    """Roughly a ball of radius 0.6."""
    return Field(tiny_config()).load_flat(fitted_sphere())


def constant(value: float) -> Field:
    """A field with one value everywhere."""
    flat = torch.zeros(tiny_config().parameters)
    flat[-1] = value
    return Field(tiny_config()).load_flat(flat)


def planar(outputs: int, count: int = 2) -> Fields:
    config = FieldConfig(in_features=2, out_features=outputs, hidden=(4,), num_frequencies=1, output="sigmoid")
    return Fields(config, torch.randn(count, config.parameters, generator=torch.Generator().manual_seed(0)))


def test_the_distance_is_the_value_of_the_field():
    assert torch.equal(sphere().sdf(POINTS), sphere()(POINTS)[:, 0])
    assert torch.equal(Fields(tiny_config(), fitted_sphere()[None]).sdf(0)(POINTS), sphere().sdf(POINTS))


def test_the_mesh_is_that_of_the_distance():
    mesh, expected = sphere().to_mesh(resolution=32), mesh_sdf(sphere().sdf, 32).mesh
    assert np.array_equal(mesh.vertices, expected.vertices)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.6).max() < 0.15
    assert len(sphere().to_mesh().faces) > len(mesh.faces)


@pytest.mark.parametrize(("value", "outcome"), [(1.0, "empty"), (-1.0, "full"), (torch.nan, "nonfinite")])
def test_a_field_without_a_surface_has_no_mesh_and_the_error_names_the_outcome(value, outcome):
    with pytest.raises(InputError, match=f"no surface .* outcome is '{outcome}'"):
        constant(value).to_mesh(resolution=16)


def test_planar_fields_have_no_mesh():
    with pytest.raises(InputError, match="is no solid and has no mesh"):
        planar(1)[0].to_mesh()


def test_fields_of_several_outputs_are_no_distances():
    with pytest.raises(InputError, match="3 outputs"):
        planar(3)[0].sdf(torch.zeros(1, 2))
    with pytest.raises(InputError, match="3 outputs"):
        planar(3).sdf(0)


def test_the_picture_of_a_solid_is_that_of_its_distance():
    picture = sphere().render(size=24)
    assert isinstance(picture, Image.Image)
    assert np.array_equal(np.asarray(picture), render([sphere().sdf], 24)[0])


def test_the_pictures_of_planar_fields_are_shapes_or_images():
    shapes, images = planar(1), planar(3)
    assert np.array_equal(np.asarray(shapes[1].render(16)), render_2d(shapes.sdf(1), 16))
    assert np.array_equal(np.asarray(images[1].render(16)), render_2d(images[1], 16))


def test_a_contact_sheet_has_the_picture_of_each_field():
    fields = Fields(tiny_config(), fitted_sphere() * torch.linspace(0.9, 1.1, 18)[:, None])
    sheet = np.asarray(fields.render(size=16, columns=6))
    assert sheet.shape == (48, 96, 3)
    assert np.array_equal(sheet[32:48, 80:96], np.asarray(fields[17].render(16)))
    assert fields.render(16, captions=["a"] * 18, columns=6).height > 48


def test_fields_that_cannot_be_rendered_are_refused():
    config = FieldConfig(out_features=2, hidden=(4,))
    for fields in (Fields(config, torch.zeros(1, config.parameters)), planar(2)):
        with pytest.raises(InputError, match="cannot be drawn"):
            fields.render()
        with pytest.raises(InputError, match="cannot be drawn"):
            fields[0].render()


@pytest.mark.parametrize("device", ANY_DEVICE)
def test_fields_on_a_device_give_distances_meshes_and_pictures_on_the_cpu(device):
    fields = Fields(tiny_config(), fitted_sphere()[None]).to(device)
    assert fields.flat.device.type == device
    assert fields[0].flat().device.type == device
    for sdf in (fields.sdf(0), fields[0].sdf):
        torch.testing.assert_close(sdf(POINTS), sphere().sdf(POINTS), atol=1e-5, rtol=1e-5)
    assert fields[0].to_mesh(resolution=16).is_watertight
    assert fields.render(16).size == fields[0].render(16).size == (16, 16)
