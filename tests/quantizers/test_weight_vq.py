"""Tables give the codes of the library that taught them, come back from files, and refuse what is not their own."""

import json
from dataclasses import replace

import pytest
import torch
from vector_quantize_pytorch import GroupedResidualVQ, VectorQuantize

from tests.fakes import box_shape, fitted_sphere, generator, sphere_shape, tiny_config, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.quantizers.auto import load_quantizer
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.weight_vq import WeightCodebook, WeightVQ, cut
from weightgpt.shapes.sampling import Samples, sample

TABLES = tiny_weight_vq()
ANY = EncodeConfig()


def plain(vectors: torch.Tensor, parameters: int) -> WeightCodebook:
    """Tables (G, Q, K, d) without normalization for fields of 4 h + 1 parameters."""
    config = FieldConfig(in_features=2, hidden=(parameters // 4,), num_frequencies=0)
    assert config.parameters == parameters
    return WeightCodebook(config, torch.zeros(parameters), torch.ones(parameters), vectors)


def random_codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        TABLES.codebook_size, (count, TABLES.num_chunks, TABLES.num_quantizers), generator=generator(seed)
    )


@pytest.mark.parametrize(("width", "codes"), [(1, 16), (1, 256), (4, 64), (7, 5)])
@torch.no_grad()
def test_codes_and_values_are_those_of_vector_quantization_bit_for_bit(width, codes):
    tables = plain(torch.randn(1, 1, codes, width, generator=generator(0)), 41)
    module = VectorQuantize(dim=width, codebook_size=codes).eval()
    module._codebook.embed.data.copy_(tables.code_vectors[0])
    vectors = cut(torch.randn(50, 41, generator=generator(1)), width)
    values, expected, _ = module(vectors)
    assert torch.equal(tables.quantize(vectors)[..., 0], expected)
    assert torch.equal(tables.values(expected[..., None]), values)


@pytest.mark.parametrize(("groups", "levels"), [(1, 4), (3, 1), (4, 2)])
@torch.no_grad()
def test_codes_and_values_are_those_of_residual_and_product_quantization_bit_for_bit(groups, levels):
    """Vector i of a field uses group i mod G, so fields of a multiple of G vectors are rows of the library's input."""
    width, count = 5, 12
    parameters = 4 * 15 + 1  # 61 parameters, 13 vectors; the library takes the first 12
    tables = plain(torch.randn(groups, levels, 32, width, generator=generator(0)), parameters)
    module = GroupedResidualVQ(dim=width * groups, groups=groups, num_quantizers=levels, codebook_size=32).eval()
    for group, vq in enumerate(module.rvqs):
        for level, layer in enumerate(vq.layers):
            layer._codebook.embed.data.copy_(tables.code_vectors[group, level])
    vectors = cut(torch.randn(40, parameters, generator=generator(1)), width)
    values, expected, _ = module(vectors[:, :count].reshape(40, count // groups, groups * width))
    codes = tables.quantize(vectors)
    assert torch.equal(codes[:, :count], expected.permute(1, 2, 0, 3).reshape(40, count, levels))
    assert torch.equal(tables.values(codes)[:, :count], values.reshape(40, count, width))


def test_split_and_join_are_inverse():
    flat = torch.randn(5, tiny_config().parameters, generator=generator(0))
    torch.testing.assert_close(TABLES.tables.join(TABLES.tables.split(flat)), flat, atol=1e-6, rtol=1e-6)
    assert (TABLES.tables.split(flat)[:, -1, 1:] == 0).all()  # 109 = 27 · 4 + 1


def test_encoding_what_was_decoded_gives_the_codes_again():
    """Where levels do not overlap: corners of a cube, then corners of a cube a tenth of its size."""
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    vectors = torch.stack([corners, 0.1 * corners])[None].expand(2, -1, -1, -1).clone()
    quantizer = WeightVQ(replace(TABLES.tables, code_vectors=vectors), TABLES.shared_init, TABLES.points, TABLES.fit)
    codes = torch.randint(8, (6, quantizer.num_chunks, 2), generator=generator(3))
    codes[:, -1] = quantizer.encode(quantizer.decode(codes), ANY)[:, -1]  # one weight and padding: codes are not unique
    assert torch.equal(quantizer.encode(quantizer.decode(codes), ANY), codes)


def test_any_codes_decode_to_finite_fields_and_first_levels_alone_are_coarser():
    codes = random_codes(20)
    assert TABLES.decode(codes).flat.shape == (20, tiny_config().parameters)
    assert torch.equal(TABLES.decode(codes, 2).flat, TABLES.decode(codes).flat)
    coarse = replace(TABLES.tables, code_vectors=TABLES.tables.code_vectors[:, :1])
    assert torch.equal(TABLES.decode(codes, 1).flat, coarse.join(coarse.values(codes[..., :1])))


def test_a_field_has_the_same_codes_alone_and_in_a_batch():
    flat = fitted_sphere() + 0.03 * torch.randn(300, len(fitted_sphere()), generator=generator(0))
    fields = Fields(tiny_config(), flat)
    together = TABLES.encode(fields, ANY)
    for index in (0, 7, 299):
        assert torch.equal(TABLES.encode(fields.select(slice(index, index + 1)), ANY)[0], together[index])


def test_a_shape_is_encoded_by_the_plain_fit_of_the_corpus():
    shapes = [sphere_shape(0.5), box_shape()]
    samples = sample(shapes, TABLES.points)
    fits = fit(tiny_config(), samples, TABLES.fit, shared_init=TABLES.shared_init).fields
    expected = TABLES.encode(fits, ANY)
    assert torch.equal(TABLES.encode_shapes(shapes, ANY), expected)
    assert torch.equal(TABLES.encode_samples(samples, ANY), expected)
    assert torch.equal(TABLES.encode_samples(samples, ANY, fits=fits), expected)


def test_saved_tables_come_back_bit_for_bit(tmp_path):
    TABLES.save_pretrained(tmp_path)
    again = load_quantizer(tmp_path)
    assert isinstance(again, WeightVQ)
    assert again.fingerprint == TABLES.fingerprint
    assert (again.fit, again.field_config) == (TABLES.fit, TABLES.field_config)
    for name in ("code_vectors", "center", "scale"):
        assert torch.equal(getattr(again.tables, name), getattr(TABLES.tables, name))
    assert torch.equal(again.shared_init, TABLES.shared_init)
    assert torch.equal(again.points, TABLES.points)
    again.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "encoder.safetensors"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_fingerprint_names_all_that_decoding_needs():
    found = {TABLES.fingerprint}
    for name in ("center", "scale", "code_vectors"):
        changed = getattr(TABLES.tables, name).clone()
        changed.view(-1)[-1] += 1e-6
        tables = replace(TABLES.tables, **{name: changed})
        found.add(WeightVQ(tables, TABLES.shared_init, TABLES.points, TABLES.fit).fingerprint)
    sine = replace(TABLES.tables, field_config=replace(TABLES.field_config, activation="sine"))
    found.add(WeightVQ(sine, TABLES.shared_init, TABLES.points, TABLES.fit).fingerprint)
    reshaped = replace(TABLES.tables, code_vectors=TABLES.tables.code_vectors.view(1, 4, 8, 4))
    found.add(WeightVQ(reshaped, TABLES.shared_init, TABLES.points, TABLES.fit).fingerprint)
    assert len(found) == 6
    assert WeightVQ(TABLES.tables, TABLES.shared_init + 1, TABLES.points, FitConfig()).fingerprint in found


def test_fields_of_another_architecture_are_refused():
    config = FieldConfig(hidden=(6,), num_frequencies=1)
    with pytest.raises(InputError, match="learned for this architecture"):
        TABLES.encode(Fields(config, torch.zeros(1, config.parameters)), ANY)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_row(value):
    flat = torch.zeros(4, tiny_config().parameters)
    flat[2, 9] = value
    with pytest.raises(InputError, match=r"fields \[2\] have NaN or infinite weights"):
        TABLES.encode(Fields(tiny_config(), flat), ANY)


def test_a_shape_with_nan_distances_is_refused():
    samples = sample([sphere_shape(0.5), sphere_shape(0.6)], TABLES.points)
    samples.sdf[1, 3] = float("nan")
    with pytest.raises(InputError, match="NaN or infinite"):
        TABLES.encode_samples(samples, ANY)


def test_samples_at_other_points_are_refused():
    samples = sample([sphere_shape(0.5)], TABLES.points + 0.01)
    with pytest.raises(InputError, match="not those of the fits that the tables were learned from"):
        TABLES.encode_samples(Samples(samples.points, samples.sdf), ANY)


@pytest.mark.parametrize("shapes", [[], [sphere_shape(0.5, dimension=2)]])
def test_shapes_of_another_dimension_and_no_shapes_are_refused(shapes):
    with pytest.raises(InputError, match="tables are for 3D shapes"):
        TABLES.encode_shapes(shapes, ANY)


@pytest.mark.parametrize("code", [-1, 8])
def test_codes_out_of_range_are_refused(code):
    codes = random_codes(2)
    codes[1, 3, 0] = code
    with pytest.raises(InputError, match="this codebook has 0 to 7"):
        TABLES.decode(codes)


def test_codes_of_another_codebook_are_refused():
    codes = tiny_weight_vq(groups=1, levels=1, width=1).encode(Fields(tiny_config(), fitted_sphere()[None]), ANY)
    with pytest.raises(InputError, match=r"codes have shape \(1, 109, 1\); this codebook takes \(fields, 28, 2\)"):
        TABLES.decode(codes)


@pytest.mark.parametrize("levels", [0, 3])
def test_levels_that_are_not_there_are_refused(levels):
    with pytest.raises(InputError, match="this codebook has 1 to 2"):
        TABLES.decode(random_codes(1), levels)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"code_vectors": torch.zeros(2, 8, 4)}, "do not fit fields of 109 parameters"),
        ({"code_vectors": torch.zeros(1, 1, 0, 4)}, "do not fit fields"),
        ({"center": torch.zeros(108)}, "do not fit fields"),
        ({"code_vectors": torch.full((1, 1, 8, 4), torch.nan)}, "NaN or infinite"),
        ({"scale": torch.zeros(109)}, "scale of the tables is not positive"),
    ],
)
def test_tables_that_cannot_be_are_refused(changes, fragment):
    with pytest.raises(InputError, match=fragment):
        replace(TABLES.tables, **changes)


def test_an_initial_field_or_points_of_others_are_refused():
    with pytest.raises(InputError, match="take all from one bundle"):
        WeightVQ(TABLES.tables, TABLES.shared_init[:-1], TABLES.points, TABLES.fit)
    with pytest.raises(InputError, match="take all from one bundle"):
        WeightVQ(TABLES.tables, TABLES.shared_init, TABLES.points[:, :2], TABLES.fit)
    with pytest.raises(InputError, match="NaN or infinite"):
        WeightVQ(TABLES.tables, TABLES.shared_init * torch.nan, TABLES.points, TABLES.fit)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "encoder.safetensors"])
def test_a_cut_or_missing_file_is_told(tmp_path, name):
    TABLES.save_pretrained(tmp_path)
    content = (tmp_path / name).read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 2):
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(InputError, match=name):
            load_quantizer(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="does not exist"):
        load_quantizer(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"version": 2}, "not of tables of version 1"),
        (
            {"format": "other"},
            "not of a quantizer; it must name one of weightgpt.codebook, weightgpt.graph, weightgpt.tables",
        ),
        ({"field": None}, "lacks a part"),
        ({"field": {"hidden": [6]}}, "do not fit fields"),
        ({"fit": {"steps": 1, "color": "red"}}, "lacks a part"),
        ({"levels": 3}, "are of different tables"),
    ],
)
def test_another_configuration_is_refused(tmp_path, changes, fragment):
    TABLES.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=fragment):
        load_quantizer(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "{}"])
def test_json_that_is_no_configuration_is_refused(tmp_path, content):
    TABLES.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    for load in (load_quantizer, WeightVQ.from_pretrained):
        with pytest.raises(InputError, match="is not of"):
            load(tmp_path)
