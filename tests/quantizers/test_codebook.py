"""The codebook decodes what it encodes, returns from files bit for bit, and refuses what does not fit."""

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.fakes import generator, tiny_codebook, tiny_encoder, tiny_graph, tiny_latent_decoder
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.quantizers.basis_decoder import BasisDecoder
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder

CODEBOOK = tiny_codebook()
DECODER = CODEBOOK.decoder
assert isinstance(DECODER, BasisDecoder)
PARTS = {
    "layout": DECODER.layout,
    "base": DECODER.base,
    "basis": DECODER.basis,
    "latent_decoder": DECODER.latent_decoder,
}


def with_part(name: str, part: Any) -> Codebook:
    """The tiny codebook with another part."""
    if name == "code_vectors":
        return replace(CODEBOOK, code_vectors=part)
    return replace(CODEBOOK, decoder=BasisDecoder(**{**PARTS, name: part}))


def with_code_vectors(code_vectors: torch.Tensor, chunks: int) -> Codebook:
    """A codebook of these code vectors (Q, K, r), with weights that are all zero."""
    layout = ChunkLayout(FieldConfig(hidden=(1,) * (chunks - 1), num_frequencies=0), 1)
    zeros = torch.zeros(chunks, layout.width)
    basis = zeros[:, None].expand(-1, code_vectors.shape[2], -1)
    decoder = BasisDecoder(layout, zeros, basis, tiny_latent_decoder(chunks, code_vectors.shape[2]))
    return Codebook(decoder, code_vectors)


def tensor_of(name: str) -> torch.Tensor:
    """A copy of a tensor of the tiny codebook."""
    return (CODEBOOK.code_vectors if name == "code_vectors" else DECODER.tensors()[name]).clone()


def random_codes(count: int, seed: int = 0) -> torch.Tensor:
    shape = (count, CODEBOOK.num_chunks, CODEBOOK.num_quantizers)
    return torch.randint(CODEBOOK.codebook_size, shape, generator=generator(seed))


def test_a_field_has_the_same_codes_alone_and_in_a_batch():
    codebook = with_code_vectors(torch.randn(2, 256, 16, generator=generator(0)), 3)
    latents = torch.randn(3000, 3, 16, generator=generator(1))
    together = codebook.quantize(latents)
    for index in (0, 1, 1365, 2999):
        assert torch.equal(codebook.quantize(latents[index : index + 1])[0], together[index])


def test_no_latents_have_no_codes():
    latents = torch.zeros(0, CODEBOOK.num_chunks, CODEBOOK.latent_width)
    assert CODEBOOK.quantize(latents).shape == (0, CODEBOOK.num_chunks, CODEBOOK.num_quantizers)


def test_decoded_weights_are_base_plus_coefficients_times_basis():
    codes = random_codes(3)
    for field, rows in zip(CODEBOOK.decode(codes).flat, codes.tolist(), strict=True):
        latents = [sum(vectors[code] for vectors, code in zip(CODEBOOK.code_vectors, row, strict=True)) for row in rows]
        coefficients = DECODER.latent_decoder(torch.stack(latents)[None])[0]
        parts = zip(DECODER.base, coefficients, DECODER.basis, strict=True)
        chunks = torch.stack([base + numbers @ basis for base, numbers, basis in parts])
        torch.testing.assert_close(field[None], DECODER.layout.join(chunks[None]))


def test_project_undoes_weights():
    latents = 0.1 * torch.randn(20, CODEBOOK.num_chunks, CODEBOOK.latent_width, generator=generator(0))
    fields = Fields(CODEBOOK.field_config, CODEBOOK.weights(latents))
    torch.testing.assert_close(CODEBOOK.project(fields), latents, atol=1e-5, rtol=1e-5)


def test_project_returns_the_latents_of_the_nearest_weights():
    """The difference is at right angles to every direction in which the latents can move the weights."""
    flat = CODEBOOK.weights(torch.zeros(5, CODEBOOK.num_chunks, CODEBOOK.latent_width))
    flat = flat + 0.1 * torch.randn(flat.shape, generator=generator(0))
    latents = CODEBOOK.project(Fields(CODEBOOK.field_config, flat)).requires_grad_()
    distance = (CODEBOOK.weights(latents) - flat).square().sum()
    (slope,) = torch.autograd.grad(distance, latents)
    assert distance > 1
    assert slope.abs().max() < 1e-4


def test_the_first_levels_alone_are_a_codebook_of_fewer_levels():
    codes = random_codes(4)
    coarse = replace(CODEBOOK, code_vectors=CODEBOOK.code_vectors[:1])
    assert torch.equal(CODEBOOK.latents(codes, 1), coarse.latents(codes[..., :1]))
    assert torch.equal(CODEBOOK.decode(codes, CODEBOOK.num_quantizers).flat, CODEBOOK.decode(codes).flat)
    assert not torch.equal(CODEBOOK.decode(codes, 1).flat, CODEBOOK.decode(codes).flat)


def test_moving_to_a_device_leaves_the_original_as_it_is():
    moved = CODEBOOK.to("cpu")
    assert moved.decoder is not CODEBOOK.decoder
    assert torch.equal(moved.decode(random_codes(3)).flat, CODEBOOK.decode(random_codes(3)).flat)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_codes_and_weights_are_computed_on_the_device_of_the_codebook():
    moved, codes = CODEBOOK.to("cuda"), random_codes(5)
    fields = moved.decode(codes.cuda())
    assert fields.flat.device.type == "cuda"
    torch.testing.assert_close(fields.flat.cpu(), CODEBOOK.decode(codes).flat)
    latents = moved.project(fields)
    torch.testing.assert_close(latents, moved.latents(codes.cuda()), atol=1e-3, rtol=1e-3)
    assert moved.quantize(latents).shape == codes.shape


def test_a_saved_codebook_returns_bit_for_bit(tmp_path):
    CODEBOOK.save_pretrained(tmp_path)
    again = Codebook.from_pretrained(tmp_path)
    assert again.field_config == CODEBOOK.field_config
    assert torch.equal(again.code_vectors, CODEBOOK.code_vectors)
    for name, tensor in DECODER.tensors().items():
        assert torch.equal(again.decoder.tensors()[name], tensor)
    assert again.fingerprint == CODEBOOK.fingerprint


def test_the_codebook_of_a_saved_quantizer_can_be_read_alone(tmp_path):
    for quantizer in (RVQAutoencoder(CODEBOOK, tiny_encoder(CODEBOOK)), tiny_graph(CODEBOOK)):
        quantizer.save_pretrained(tmp_path / "model" / "codebook")
        again = Codebook.from_pretrained(tmp_path / "model", subfolder="codebook")
        assert again.fingerprint == CODEBOOK.fingerprint


def test_every_tensor_and_the_layout_change_the_fingerprint():
    others = [CODEBOOK]
    for name in ("base", "basis", "code_vectors"):
        tensor = tensor_of(name)
        tensor.view(-1)[-1] += 1e-6
        others.append(with_part(name, tensor))
    sine = replace(CODEBOOK.field_config, activation="sine")
    others.append(with_part("layout", ChunkLayout(sine, DECODER.layout.neurons_per_chunk)))
    latent_decoder = deepcopy(DECODER.latent_decoder)
    latent_decoder.inner.bias[0] += 1e-6
    others.append(with_part("latent_decoder", latent_decoder))
    assert len({codebook.fingerprint for codebook in others}) == len(others)
    assert all(len(codebook.fingerprint) == 16 for codebook in others)


@pytest.mark.parametrize("name", ["base", "basis", "code_vectors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite_are_refused(name, value):
    tensor = tensor_of(name)
    tensor.view(-1)[5] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        with_part(name, tensor)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("base", (3,)),
        ("base", (2, 60)),
        ("basis", (3, 4, 60)),
        ("basis", (3, 3, 59)),
        ("code_vectors", (8, 3)),
        ("code_vectors", (3,)),
        ("code_vectors", (2, 8, 4)),
    ],
)
def test_tensors_of_another_shape_are_refused(name, shape):
    with pytest.raises(InputError, match=r"do not fit a (layout|weight decoder)"):
        with_part(name, torch.zeros(shape))


def test_fields_of_another_architecture_are_refused():
    config = replace(CODEBOOK.field_config, activation="sine")
    with pytest.raises(InputError, match="learned for this architecture"):
        CODEBOOK.project(Fields(config, torch.zeros(1, config.parameters)))


@pytest.mark.parametrize("code", [-1, 8, 10_000])
def test_codes_out_of_range_are_refused(code):
    codes = random_codes(2)
    codes[1, 2, 0] = code
    with pytest.raises(InputError, match="0 to 7"):
        CODEBOOK.decode(codes)


@pytest.mark.parametrize("shape", [(3, 2), (1, 2, 2), (1, 3, 3), (1, 3, 2, 1)])
def test_codes_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="this quantizer takes"):
        CODEBOOK.decode(torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("levels", [-1, 0, 3])
def test_levels_that_do_not_exist_are_refused(levels):
    with pytest.raises(InputError, match="1 to 2"):
        CODEBOOK.decode(random_codes(1), levels)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_the_error_names_a_file_that_is_cut_short_or_missing(tmp_path, name):
    CODEBOOK.save_pretrained(tmp_path)
    content = (tmp_path / name).read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 2):
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(InputError, match=name):
            Codebook.from_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="does not exist"):
        Codebook.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"version": 2}, "is not of format .* version 1"),
        ({"format": "other"}, "is not of format weightgpt.codebook or"),
        ({"format": "weightgpt.weight-vq"}, "is not of format"),
        ({"format": ["weightgpt.codebook"]}, "is not of format"),
        ({"field_config": None}, "config.json: a field configuration is a NoneType"),
        ({"field_config": {"width": 3}}, "unknown keys"),
        ({"neurons_per_chunk": "6"}, "is '6', not a whole number"),
        ({"neurons_per_chunk": 3}, "tensor 'base' of .* take all files from one folder"),
        ({"latent_width": 4}, "tensor 'code_vectors' of"),
        ({"latent_decoder_width": "wide"}, "is 'wide', not a whole number"),
        ({"num_quantizers": 3}, "tensor 'code_vectors' of"),
        ({"levels": 2}, "different codebooks"),
    ],
)
def test_another_configuration_is_refused(tmp_path, changes, fragment):
    CODEBOOK.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=fragment):
        Codebook.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "{}", "3"])
def test_json_that_is_not_a_configuration_is_refused(tmp_path, content):
    CODEBOOK.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="is not of format"):
        Codebook.from_pretrained(tmp_path)
