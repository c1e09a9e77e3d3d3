"""The shape encoder ignores how far far points are, and returns from its file bit for bit."""

import pytest
import torch

from tests.fakes import tiny_codebook, tiny_encoder
from weightgpt.errors import InputError
from weightgpt.io import write_tensors
from weightgpt.quantizers.shape_encoder import ShapeEncoder

CODEBOOK = tiny_codebook()
ENCODER = tiny_encoder(CODEBOOK)


def test_a_saved_encoder_returns_bit_for_bit(tmp_path):
    write_tensors(tmp_path / "encoder.safetensors", ENCODER.tensors())
    again = ShapeEncoder.load(tmp_path, CODEBOOK.num_chunks, CODEBOOK.latent_width, 3)
    sdf = torch.rand(5, 32) - 0.5
    assert again.state_dict().keys() == ENCODER.state_dict().keys()
    assert torch.equal(again(sdf), ENCODER(sdf))
    assert again.truncation == ENCODER.truncation
    assert not again.training


def test_large_distances_with_equal_signs_have_equal_latents():
    far = torch.where(torch.arange(32) % 2 == 0, 3.0, -3.0)[None]
    torch.testing.assert_close(ENCODER(far), ENCODER(2 * far), atol=1e-5, rtol=0)


def test_small_distances_change_the_latents():
    near = torch.where(torch.arange(32) % 2 == 0, 0.1, -0.1)[None]
    assert (ENCODER(near) - ENCODER(2 * near)).abs().max() > 1e-3


@pytest.mark.parametrize(("chunks", "width"), [(4, 3), (3, 4), (9, 9)])
def test_an_encoder_of_another_size_is_refused(tmp_path, chunks, width):
    write_tensors(tmp_path / "encoder.safetensors", ENCODER.tensors())
    with pytest.raises(InputError, match=r"tensor 'layers\.6\.weight' of .* take all files from one folder"):
        ShapeEncoder.load(tmp_path, chunks, width, 3)


def test_a_file_that_is_missing_or_cut_short_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        ShapeEncoder.load(tmp_path, 3, 3, 3)
    write_tensors(tmp_path / "encoder.safetensors", ENCODER.tensors())
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        ShapeEncoder.load(tmp_path, 3, 3, 3)
