"""Weight VQ gives the codes of the library that learned it, returns from files, and refuses what does not fit."""

import json
from dataclasses import replace

import pytest
import torch
from vector_quantize_pytorch import GroupedResidualVQ, VectorQuantize

from tests.fakes import box_shape, fitted_sphere, generator, sphere_shape, tiny_config, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.weight_codebook import WeightCodebook, split_vectors
from weightgpt.quantizers.weight_vq import WeightVQ
from weightgpt.shapes.sampling import Samples, sample_sdf

QUANTIZER = tiny_weight_vq()


def unnormalized(vectors: torch.Tensor, parameters: int) -> WeightCodebook:
    """Code vectors (G, Q, K, d) without normalization, for fields of 4 h + 1 parameters."""
    config = FieldConfig(in_features=2, hidden=(parameters // 4,), num_frequencies=0)
    assert config.parameters == parameters
    return WeightCodebook(config, torch.zeros(parameters), torch.ones(parameters), vectors)


def with_codebook(codebook: WeightCodebook) -> WeightVQ:
    return WeightVQ(codebook, QUANTIZER.shared_init, QUANTIZER.points, QUANTIZER.fit_config)


def random_codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        QUANTIZER.codebook_size, (count, QUANTIZER.num_chunks, QUANTIZER.num_quantizers), generator=generator(seed)
    )


@pytest.mark.parametrize(("width", "codes"), [(1, 16), (1, 256), (4, 64), (7, 5)])
@torch.no_grad()
def test_codes_and_vectors_equal_those_of_vector_quantization_bit_for_bit(width, codes):
    codebook = unnormalized(torch.randn(1, 1, codes, width, generator=generator(0)), 41)
    module = VectorQuantize(dim=width, codebook_size=codes).eval()
    module._codebook.embed.data.copy_(codebook.code_vectors[0])
    vectors = split_vectors(torch.randn(50, 41, generator=generator(1)), width)
    decoded, expected, _ = module(vectors)
    assert torch.equal(codebook.quantize(vectors)[..., 0], expected)
    assert torch.equal(codebook.vectors(expected[..., None]), decoded)


@pytest.mark.parametrize(("groups", "levels"), [(1, 4), (3, 1), (4, 2)])
@torch.no_grad()
def test_codes_and_vectors_equal_those_of_residual_and_product_quantization_bit_for_bit(groups, levels):
    """Vector i of a field uses group i mod G, so fields of a multiple of G vectors are rows of the library's input."""
    width, count = 5, 12
    parameters = 4 * 15 + 1  # 61 parameters, 13 vectors; the library takes the first 12
    codebook = unnormalized(torch.randn(groups, levels, 32, width, generator=generator(0)), parameters)
    module = GroupedResidualVQ(dim=width * groups, groups=groups, num_quantizers=levels, codebook_size=32).eval()
    for group, vq in enumerate(module.rvqs):
        for level, layer in enumerate(vq.layers):
            layer._codebook.embed.data.copy_(codebook.code_vectors[group, level])
    vectors = split_vectors(torch.randn(40, parameters, generator=generator(1)), width)
    decoded, expected, _ = module(vectors[:, :count].reshape(40, count // groups, groups * width))
    codes = codebook.quantize(vectors)
    assert torch.equal(codes[:, :count], expected.permute(1, 2, 0, 3).reshape(40, count, levels))
    assert torch.equal(codebook.vectors(codes)[:, :count], decoded.reshape(40, count, width))


def test_joining_split_weights_returns_the_weights():
    flat = torch.randn(5, tiny_config().parameters, generator=generator(0))
    vectors = QUANTIZER.codebook.split_weights(flat)
    torch.testing.assert_close(QUANTIZER.codebook.join_vectors(vectors), flat, atol=1e-6, rtol=1e-6)
    assert (vectors[:, -1, 1:] == 0).all()  # 109 = 27 · 4 + 1


def test_a_decoded_field_has_the_codes_that_it_was_decoded_from():
    """Where levels do not overlap: corners of a cube, then corners of a cube a tenth of its size."""
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    vectors = torch.stack([corners, 0.1 * corners])[None].expand(2, -1, -1, -1).clone()
    quantizer = with_codebook(replace(QUANTIZER.codebook, code_vectors=vectors))
    codes = torch.randint(8, (6, quantizer.num_chunks, 2), generator=generator(3))
    codes[:, -1] = quantizer.encode(quantizer.decode(codes))[:, -1]  # one weight and padding: codes are not unique
    assert torch.equal(quantizer.encode(quantizer.decode(codes)), codes)


def test_any_codes_decode_to_finite_fields_and_first_levels_alone_are_coarser():
    codes = random_codes(20)
    assert QUANTIZER.decode(codes).flat.shape == (20, tiny_config().parameters)
    assert torch.equal(QUANTIZER.decode(codes, 2).flat, QUANTIZER.decode(codes).flat)
    coarse = replace(QUANTIZER.codebook, code_vectors=QUANTIZER.codebook.code_vectors[:, :1])
    assert torch.equal(QUANTIZER.decode(codes, 1).flat, coarse.join_vectors(coarse.vectors(codes[..., :1])))


def test_a_field_has_the_same_codes_alone_and_in_a_batch():
    flat = fitted_sphere() + 0.03 * torch.randn(300, len(fitted_sphere()), generator=generator(0))
    fields = Fields(tiny_config(), flat)
    together = QUANTIZER.encode(fields)
    for index in (0, 7, 299):
        assert torch.equal(QUANTIZER.encode(fields.select(slice(index, index + 1)))[0], together[index])


def test_a_shape_is_encoded_by_the_plain_fit_of_the_corpus():
    shapes = [sphere_shape(0.5), box_shape()]
    samples = sample_sdf(shapes, QUANTIZER.points)
    fits = fit(tiny_config(), samples, QUANTIZER.fit_config, shared_init=QUANTIZER.shared_init).fields
    expected = QUANTIZER.encode(fits)
    assert torch.equal(QUANTIZER.encode_shapes(shapes), expected)
    assert torch.equal(QUANTIZER.encode_samples(samples), expected)
    other = Fields(tiny_config(), fits.flat + 0.1)
    assert torch.equal(QUANTIZER.encode_fits(samples, other), QUANTIZER.encode(other))  # nothing is fitted


def test_a_saved_quantizer_returns_bit_for_bit(tmp_path):
    QUANTIZER.save_pretrained(tmp_path)
    again = AutoQuantizer.from_pretrained(tmp_path)
    assert isinstance(again, WeightVQ)
    assert again.fingerprint == QUANTIZER.fingerprint
    assert (again.fit_config, again.field_config) == (QUANTIZER.fit_config, QUANTIZER.field_config)
    for name in ("code_vectors", "center", "scale"):
        assert torch.equal(getattr(again.codebook, name), getattr(QUANTIZER.codebook, name))
    assert torch.equal(again.shared_init, QUANTIZER.shared_init)
    assert torch.equal(again.points, QUANTIZER.points)
    again.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "encoder.safetensors"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_everything_that_decoding_needs_changes_the_fingerprint_and_nothing_else_does():
    fingerprints = {QUANTIZER.fingerprint}
    for name in ("center", "scale", "code_vectors"):
        changed = getattr(QUANTIZER.codebook, name).clone()
        changed.view(-1)[-1] += 1e-6
        codebook = replace(QUANTIZER.codebook, **{name: changed})
        fingerprints.add(with_codebook(codebook).fingerprint)
    sine = replace(QUANTIZER.codebook, field_config=replace(QUANTIZER.field_config, activation="sine"))
    fingerprints.add(with_codebook(sine).fingerprint)
    reshaped = replace(QUANTIZER.codebook, code_vectors=QUANTIZER.codebook.code_vectors.view(1, 4, 8, 4))
    fingerprints.add(with_codebook(reshaped).fingerprint)
    assert len(fingerprints) == 6
    other = WeightVQ(QUANTIZER.codebook, QUANTIZER.shared_init + 1, QUANTIZER.points, FitConfig())
    assert other.fingerprint == QUANTIZER.fingerprint


def test_fields_of_another_architecture_are_refused():
    config = FieldConfig(hidden=(6,), num_frequencies=1)
    with pytest.raises(InputError, match="learned for this architecture"):
        QUANTIZER.encode(Fields(config, torch.zeros(1, config.parameters)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_row(value):
    flat = torch.zeros(4, tiny_config().parameters)
    flat[2, 9] = value
    with pytest.raises(InputError, match=r"fields \[2\] have NaN or infinite weights"):
        QUANTIZER.encode(Fields(tiny_config(), flat))


def test_a_shape_with_nan_distances_is_refused():
    samples = sample_sdf([sphere_shape(0.5), sphere_shape(0.6)], QUANTIZER.points)
    samples.sdf[1, 3] = float("nan")
    with pytest.raises(InputError, match="NaN or infinite"):
        QUANTIZER.encode_samples(samples)


def test_samples_at_other_points_are_refused():
    samples = sample_sdf([sphere_shape(0.5)], QUANTIZER.points + 0.01)
    with pytest.raises(InputError, match="not those of the fits"):
        QUANTIZER.encode_samples(Samples(samples.points, samples.sdf))


@pytest.mark.parametrize(
    ("shapes", "fragment"),
    [([], "no shapes to encode"), ([sphere_shape(0.5, dimension=2)], "the quantizer is for 3D shapes")],
)
def test_shapes_of_another_dimension_and_no_shapes_are_refused(shapes, fragment):
    with pytest.raises(InputError, match=fragment):
        QUANTIZER.encode_shapes(shapes)


@pytest.mark.parametrize("code", [-1, 8])
def test_codes_out_of_range_are_refused(code):
    codes = random_codes(2)
    codes[1, 3, 0] = code
    with pytest.raises(InputError, match="this quantizer has 0 to 7"):
        QUANTIZER.decode(codes)


def test_codes_of_another_codebook_are_refused():
    codes = tiny_weight_vq(groups=1, levels=1, width=1).encode(Fields(tiny_config(), fitted_sphere()[None]))
    with pytest.raises(InputError, match=r"codes have shape \(1, 109, 1\); this quantizer takes \(fields, 28, 2\)"):
        QUANTIZER.decode(codes)


@pytest.mark.parametrize("levels", [0, 3])
def test_levels_that_do_not_exist_are_refused(levels):
    with pytest.raises(InputError, match="this quantizer has 1 to 2"):
        QUANTIZER.decode(random_codes(1), levels)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"code_vectors": torch.zeros(2, 8, 4)}, "do not fit fields of 109 parameters"),
        ({"code_vectors": torch.zeros(1, 1, 0, 4)}, "do not fit fields"),
        ({"center": torch.zeros(108)}, "do not fit fields"),
        ({"code_vectors": torch.full((1, 1, 8, 4), torch.nan)}, "NaN or infinite"),
        ({"scale": torch.zeros(109)}, "scale of the weight codebook is not positive"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes, fragment):
    with pytest.raises(InputError, match=fragment):
        replace(QUANTIZER.codebook, **changes)


def test_an_initial_field_or_points_of_another_architecture_are_refused():
    with pytest.raises(InputError, match="take all from one folder"):
        WeightVQ(QUANTIZER.codebook, QUANTIZER.shared_init[:-1], QUANTIZER.points, QUANTIZER.fit_config)
    with pytest.raises(InputError, match="take all from one folder"):
        WeightVQ(QUANTIZER.codebook, QUANTIZER.shared_init, QUANTIZER.points[:, :2], QUANTIZER.fit_config)
    with pytest.raises(InputError, match="NaN or infinite"):
        WeightVQ(QUANTIZER.codebook, QUANTIZER.shared_init * torch.nan, QUANTIZER.points, QUANTIZER.fit_config)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "encoder.safetensors"])
def test_the_error_names_a_file_that_is_cut_short_or_missing(tmp_path, name):
    QUANTIZER.save_pretrained(tmp_path)
    content = (tmp_path / name).read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 2):
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(InputError, match=name):
            AutoQuantizer.from_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="does not exist"):
        AutoQuantizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"version": 2}, "is not of format weightgpt.weight-vq, version 1"),
        (
            {"format": "other"},
            "not of a quantizer",
        ),
        ({"field_config": None}, "config.json: a field configuration is a NoneType"),
        ({"field_config": {"hidden": [6]}}, "tensor 'center' of .* take all files from one folder"),
        ({"fit_config": {"steps": 1, "color": "red"}}, "does not have the keys"),
        ({"num_quantizers": 3}, "tensor 'code_vectors' of"),
    ],
)
def test_another_configuration_is_refused(tmp_path, changes, fragment):
    QUANTIZER.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=fragment):
        AutoQuantizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "{}"])
def test_json_that_is_not_a_configuration_is_refused(tmp_path, content):
    QUANTIZER.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    for load in (AutoQuantizer.from_pretrained, WeightVQ.from_pretrained):
        with pytest.raises(InputError, match="is not of"):
            load(tmp_path)
