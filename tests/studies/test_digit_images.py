"""Small images are read, taken as shapes, rendered and compared; expected values are by hand or of scikit-image."""

import gzip
import struct

import pytest
import torch
from skimage.metrics import structural_similarity

from studies.digits.images import (
    add_slanted_copies,
    fit_edge_width,
    load_images,
    render_images,
    shape_from_gray_image,
    soft_occupancy,
    ssim_matrix,
)
from tests.fakes import generator
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.functional import evaluate
from weightgpt.visual.rendering import pixel_centers


def disc(radius: float = 0.6, size: int = 28) -> torch.Tensor:
    """A disc with a soft edge of about two pixels."""
    distance = pixel_centers(size, size).norm(dim=1) - radius
    return soft_occupancy(distance, 0.02).reshape(size, size)


def write_idx(path, values: torch.Tensor, compress: bool = False) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape)
    data = header + values.to(torch.uint8).numpy().tobytes()
    path.write_bytes(gzip.compress(data) if compress else data)


def test_a_pair_of_idx_files_is_read(tmp_path):
    images = torch.randint(0, 256, (3, 4, 5), generator=generator(0))
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images, compress=True)
    write_idx(tmp_path / "train-labels-idx1-ubyte", torch.tensor([7, 0, 2]))
    read, labels = load_images(tmp_path)
    assert torch.equal((read * 255).round().long(), images)
    assert labels.tolist() == [7, 0, 2]


@pytest.mark.parametrize("fault", ["missing", "second", "short", "long", "type", "count", "gzip", "header"])
def test_a_folder_with_a_fault_is_refused(tmp_path, fault):
    path = tmp_path / "images-idx3-ubyte"
    write_idx(path, torch.zeros(3, 4, 5))
    write_idx(tmp_path / "labels-idx1-ubyte", torch.zeros(2 if fault == "count" else 3))
    data = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "second":
        write_idx(tmp_path / "second-images-idx3-ubyte.gz", torch.zeros(3, 4, 5), compress=True)
    elif fault == "gzip":
        path.rename(path.with_name(path.name + ".gz"))
    elif fault != "count":
        changed = {"short": data[:-1], "long": data + b"0", "type": b"\0\0\x09" + data[3:], "header": data[:7]}
        path.write_bytes(changed[fault])
    with pytest.raises(InputError):
        load_images(tmp_path)


def test_the_outline_of_a_soft_disc_lies_where_its_gray_is_one_half():
    shape = shape_from_gray_image(disc(0.6), "disc", "round")
    angles = torch.linspace(0, 6.28, 100)
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    assert (shape.name, shape.label, shape.dimension) == ("disc", "round", 2)
    assert shape.sdf(0.6 * circle).abs().max() < 0.02  # a pixel is 0.07 wide
    assert (shape.sdf(0.8 * circle) - 0.2).abs().max() < 0.03


def test_up_in_the_image_is_up_in_the_field():
    image = torch.zeros(28, 28)
    image[2:8, 10:18] = 1  # rows near the top
    assert shape_from_gray_image(image, "bar").sdf(torch.tensor([[0.0, 0.65], [0.0, -0.65]])).sign().tolist() == [-1, 1]


def test_an_empty_image_is_refused():
    with pytest.raises(InputError):
        shape_from_gray_image(torch.zeros(28, 28), "nothing")


def test_copies_are_slanted_about_the_center_and_not_mirrored():
    image = torch.zeros(28, 28)
    image[4:24, 8:11] = image[21:24, 8:20] = 1  # an L
    shape = shape_from_gray_image(image, "L", "l")
    copies = add_slanted_copies([shape], 20, 0)
    assert copies[0] is shape
    assert [copy.name for copy in copies[1:3]] == ["L~1", "L~2"]
    corners = torch.tensor([[-0.32, 0.5], [0.25, -0.61], [0.3, 0.5]])  # on the upright, on the foot, in the gap
    inside = torch.stack([copy.sdf(corners) < 0 for copy in copies[1:]]).float().mean(0)
    assert inside[0] > 0.3
    assert inside[1] > 0.3
    assert inside[2] == 0
    assert len({float(copy.sdf(corners[2:])) for copy in copies}) == 21
    center = torch.zeros(1, 2)
    for copy in copies[1:]:
        assert copy.sdf(center) == pytest.approx(float(shape.sdf(center)), rel=0.3)
    assert add_slanted_copies([shape], 20, 0)[7].sdf(corners).tolist() == copies[7].sdf(corners).tolist()


def test_a_slanted_disc_is_an_ellipse_of_the_same_distances_on_average():
    shape = shape_from_gray_image(disc(0.5), "disc")
    (copy,) = add_slanted_copies([shape], 1, 3)[1:]
    angles = torch.linspace(0, 2 * torch.pi, 181)[:-1]
    radii = [copy.sdf(r * torch.stack([angles.cos(), angles.sin()], 1)) for r in (0.7, 0.8)]
    slope = (radii[1] - radii[0]) / 0.1
    assert slope.mean() == pytest.approx(1, abs=0.05)


def test_rendering_is_the_field_at_the_pixels():
    config = FieldConfig(in_features=2, hidden=(5,), num_frequencies=1)
    flat = torch.randn(3, config.parameters, generator=generator(1))
    images = render_images(Fields(config, flat), 6, 4, 0.1, batch_size=2)
    one = torch.tensor([[-0.75, 1 - 1 / 6]])  # the center of the first pixel of 6 rows and 4 columns
    assert images.shape == (3, 6, 4)
    assert torch.allclose(images[:, 0, 0], torch.sigmoid(-evaluate(config, flat, one)[:, 0, 0] / 0.1), atol=1e-6)


def test_the_edge_width_of_rendered_images_is_recovered():
    distances = (pixel_centers(28, 28).norm(dim=1) - 0.5).reshape(1, 28, 28)
    assert fit_edge_width(distances, soft_occupancy(distances, 0.037)) == pytest.approx(0.037, rel=0.02)


def test_similarity_equals_that_of_scikit_image():
    a = torch.rand(3, 12, 15, generator=generator(2))
    b = torch.cat([a[:1], a[1:] * 0.5 + 0.1, torch.zeros(1, 12, 15)])
    expected = [[structural_similarity(x.numpy(), y.numpy(), data_range=1.0) for y in b] for x in a]
    similarities = ssim_matrix(a, b)
    assert torch.allclose(similarities, torch.tensor(expected, dtype=torch.float32), atol=1e-5)
    assert similarities[0, 0] == pytest.approx(1, abs=1e-6)


def test_images_of_different_or_small_sizes_are_refused():
    for shape in ((2, 12, 12), (2, 6, 6)):
        with pytest.raises(InputError):
            ssim_matrix(torch.zeros(2, *shape[1:]), torch.zeros(2, 12, 12) if shape[1] == 6 else torch.zeros(2, 9, 9))
