"""The frozen codebook gives the codes of the library that taught it, bit for bit, and refuses what is not its own."""

import json
from dataclasses import replace

import pytest
import torch
from vector_quantize_pytorch import ResidualVQ

from tests.fakes import generator, tiny_codebook, tiny_latent_decoder
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.codes import nearest_code, usage

CODEBOOK = tiny_codebook()


def with_tables(tables: torch.Tensor, chunks: int) -> Codebook:
    """A codebook of these code vectors (Q, K, r), for tests of the quantizer alone."""
    layout = ChunkLayout(FieldConfig(hidden=(1,) * (chunks - 1), num_frequencies=0), 1)
    empty = torch.zeros(chunks, layout.width)
    basis = empty[:, None].expand(-1, tables.shape[2], -1)
    return Codebook(layout, empty, basis, tiny_latent_decoder(chunks, tables.shape[2]), tables)


def oracle(tables: torch.Tensor) -> ResidualVQ:
    levels, codes, width = tables.shape
    module = ResidualVQ(dim=width, num_quantizers=levels, codebook_size=codes).eval()
    for layer, table in zip(module.layers, tables, strict=True):
        layer._codebook.embed.data.copy_(table)
    return module


def random_codes(codebook: Codebook, count: int, seed: int = 0) -> torch.Tensor:
    shape = (count, codebook.layout.num_chunks, codebook.num_quantizers)
    return torch.randint(codebook.codebook_size, shape, generator=generator(seed))


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize(("width", "codes", "levels"), [(8, 256, 8), (16, 8, 2), (24, 100, 3), (64, 256, 4), (3, 1, 2)])
@torch.no_grad()
def test_codes_and_values_are_those_of_vector_quantize_pytorch_bit_for_bit(width, codes, levels, scale):
    for seed, (fields, chunks) in enumerate([(1, 2), (17, 3), (2000, 3)]):
        draw = generator(seed)
        shrink = 0.5 ** torch.arange(float(levels))
        tables = torch.randn(levels, codes, width, generator=draw) * shrink[:, None, None] * scale
        latents = torch.randn(fields, chunks, width, generator=draw) * scale
        quantized, expected, _ = oracle(tables)(latents)
        codebook = with_tables(tables, chunks)
        assert torch.equal(codebook.quantize(latents), expected)
        assert torch.equal(codebook.latents(expected), quantized)


@torch.no_grad()
def test_equal_and_nearly_equal_code_vectors_are_told_apart_as_the_library_does():
    """Ties, and distances below the rounding of the arithmetic: the order of the sums decides."""
    draw = generator(0)
    base = torch.randn(64, 12, generator=draw)
    tables = torch.cat([base, base, base + 1e-4 * torch.randn(64, 12, generator=draw)])[None] + 5
    latents = (base[torch.randint(64, (5000,), generator=draw)] + 5)[:, None].expand(-1, 2, -1)
    assert torch.equal(with_tables(tables, 2).quantize(latents), oracle(tables)(latents)[1])


def test_a_field_has_the_same_codes_alone_and_in_a_batch():
    tables = torch.randn(2, 256, 16, generator=generator(0))
    codebook, latents = with_tables(tables, 3), torch.randn(3000, 3, 16, generator=generator(1))
    together = codebook.quantize(latents)
    for index in (0, 1, 1365, 2999):
        assert torch.equal(codebook.quantize(latents[index : index + 1])[0], together[index])


def test_the_nearest_code_is_the_nearest():
    table, vectors = torch.randn(50, 6, generator=generator(0)), torch.randn(200, 6, generator=generator(1))
    exact = (vectors[:, None] - table).double().norm(dim=-1)
    chosen = exact[torch.arange(200), nearest_code(vectors, table)]
    torch.testing.assert_close(chosen, exact.min(1).values, atol=1e-5, rtol=0)


def test_no_vectors_have_no_codes():
    latents = torch.zeros(0, CODEBOOK.layout.num_chunks, CODEBOOK.latent_width)
    assert CODEBOOK.quantize(latents).shape == (0, CODEBOOK.layout.num_chunks, CODEBOOK.num_quantizers)


def test_decoding_is_base_plus_mixed_latents_times_basis():
    codes = random_codes(CODEBOOK, 3)
    for field, expected in zip(CODEBOOK.decode(codes).flat, codes, strict=True):
        latents = [
            sum(table[k] for table, k in zip(CODEBOOK.code_vectors, row, strict=True)) for row in expected.tolist()
        ]
        mixed = CODEBOOK.latent_decoder(torch.stack(latents)[None])[0]
        chunks = [b + z @ basis for b, z, basis in zip(CODEBOOK.base, mixed, CODEBOOK.basis, strict=True)]
        torch.testing.assert_close(field[None], CODEBOOK.layout.join(torch.stack(chunks)[None]))


def test_project_undoes_join():
    latents = 0.1 * torch.randn(20, CODEBOOK.layout.num_chunks, CODEBOOK.latent_width, generator=generator(0))
    fields = Fields(CODEBOOK.layout.field_config, CODEBOOK.join(latents))
    torch.testing.assert_close(CODEBOOK.project(fields), latents, atol=1e-5, rtol=1e-5)


def test_project_finds_the_nearest_weights_that_the_codebook_can_write():
    """What is left over is at right angles to every direction in which the latents can move the weights."""
    flat = CODEBOOK.join(torch.zeros(5, CODEBOOK.layout.num_chunks, CODEBOOK.latent_width))
    flat = flat + 0.1 * torch.randn(flat.shape, generator=generator(0))
    latents = CODEBOOK.project(Fields(CODEBOOK.layout.field_config, flat)).requires_grad_()
    distance = (CODEBOOK.join(latents) - flat).square().sum()
    (slope,) = torch.autograd.grad(distance, latents)
    assert distance > 1
    assert slope.abs().max() < 1e-4


def test_the_first_levels_alone_are_a_codebook_of_fewer_levels():
    codes = random_codes(CODEBOOK, 4)
    coarse = replace(CODEBOOK, code_vectors=CODEBOOK.code_vectors[:1])
    assert torch.equal(CODEBOOK.latents(codes, 1), coarse.latents(codes[..., :1]))
    assert torch.equal(CODEBOOK.decode(codes, CODEBOOK.num_quantizers).flat, CODEBOOK.decode(codes).flat)
    assert not torch.equal(CODEBOOK.decode(codes, 1).flat, CODEBOOK.decode(codes).flat)


def test_usage_by_hand():
    first, second = torch.tensor([[0, 1], [2, 3]]), torch.tensor([[1, 1], [1, 0]])
    found = usage(torch.stack([first, second], -1), 4)
    assert found.used == (4, 2)
    assert found.dead == (0, 2)
    entropy = torch.tensor([0.75, 0.25]).log() @ torch.tensor([-0.75, -0.25])
    assert found.perplexity == pytest.approx((4.0, float(entropy.exp())))


def test_a_saved_codebook_comes_back_bit_for_bit(tmp_path):
    CODEBOOK.save_pretrained(tmp_path)
    again = Codebook.from_pretrained(tmp_path)
    assert again.layout == CODEBOOK.layout
    for name in ("base", "basis", "code_vectors"):
        assert torch.equal(getattr(again, name), getattr(CODEBOOK, name))
    assert again.fingerprint == CODEBOOK.fingerprint


def test_the_fingerprint_names_every_tensor_and_the_layout():
    others = [CODEBOOK]
    for name in ("base", "basis", "code_vectors"):
        tensor = getattr(CODEBOOK, name).clone()
        tensor.view(-1)[-1] += 1e-6
        others.append(replace(CODEBOOK, **{name: tensor}))
    sine = replace(CODEBOOK.layout.field_config, activation="sine")
    others.append(replace(CODEBOOK, layout=ChunkLayout(sine, CODEBOOK.layout.neurons_per_chunk)))
    assert len({codebook.fingerprint for codebook in others}) == len(others)
    assert all(len(codebook.fingerprint) == 16 for codebook in others)


@pytest.mark.parametrize("name", ["base", "basis", "code_vectors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite_are_refused(name, value):
    tensor = getattr(CODEBOOK, name).clone()
    tensor.view(-1)[5] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        replace(CODEBOOK, **{name: tensor})


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
    with pytest.raises(InputError, match="do not fit its layout"):
        replace(CODEBOOK, **{name: torch.zeros(shape)})


def test_fields_of_another_architecture_are_refused():
    config = replace(CODEBOOK.layout.field_config, activation="sine")
    with pytest.raises(InputError, match="learned for this architecture"):
        CODEBOOK.project(Fields(config, torch.zeros(1, config.parameters)))


@pytest.mark.parametrize("code", [-1, 8, 10_000])
def test_codes_out_of_range_are_refused(code):
    codes = random_codes(CODEBOOK, 2)
    codes[1, 2, 0] = code
    with pytest.raises(InputError, match="0 to 7"):
        CODEBOOK.decode(codes)


@pytest.mark.parametrize("shape", [(3, 2), (1, 2, 2), (1, 3, 3), (1, 3, 2, 1)])
def test_codes_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="this codebook takes"):
        CODEBOOK.decode(torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("levels", [-1, 0, 3])
def test_levels_that_are_not_there_are_refused(levels):
    with pytest.raises(InputError, match="1 to 2"):
        CODEBOOK.decode(random_codes(CODEBOOK, 1), levels)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_cut_or_missing_file_is_told(tmp_path, name):
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
        ({"version": 1}, "not a codebook of version 2"),
        ({"format": "other"}, "not a codebook"),
        ({"field": None}, "another type"),
        ({"field": {"width": 3}}, "unknown keys"),
        ({"neurons_per_chunk": "6"}, "another type"),
        ({"neurons_per_chunk": 3}, "not of this codebook"),
        ({"latent_width": 4}, "not of this codebook"),
        ({"latent_decoder_width": "wide"}, "another type"),
        ({"levels": 3}, "different codebooks"),
    ],
)
def test_another_configuration_is_refused(tmp_path, changes, fragment):
    CODEBOOK.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=fragment):
        Codebook.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "{}", "3"])
def test_json_that_is_no_configuration_is_refused(tmp_path, content):
    CODEBOOK.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="not a codebook"):
        Codebook.from_pretrained(tmp_path)
