"""Permuting the hidden neurons of a field changes no code, and codes decode as those of the codebook."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import generator, sphere_shape, tiny_codebook, tiny_config, tiny_graph
from tests.fields.test_canonical import coarse_weights, powers_of_two
from tests.fields.test_symmetry import SEEDS, random_factors, random_weights, rescale
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit, own_initializations
from weightgpt.fields.symmetry import permute, random_permutations
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.graph import INITIALIZATION_SEED, GraphQuantizer
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points

CODEBOOK = tiny_codebook()
GRAPH = tiny_graph(CODEBOOK)
CONFIG = tiny_config()


def fine(levels: int = 6, codes: int = 512) -> GraphQuantizer:
    """With many small code vectors, so that a difference in the last digits of a latent changes a code."""
    sizes = 0.3 ** torch.arange(float(levels))
    code_vectors = torch.randn(levels, codes, CODEBOOK.latent_width, generator=generator(3)) * sizes[:, None, None]
    return tiny_graph(replace(CODEBOOK, code_vectors=code_vectors))


FINE = fine()


def codes(flat: torch.Tensor, graph: GraphQuantizer = FINE) -> torch.Tensor:
    return graph.encode(Fields(CONFIG, flat))


@given(SEEDS, st.booleans())
@settings(deadline=None, max_examples=60)
def test_permuting_the_hidden_neurons_changes_no_code(seed, coarse):
    flat = coarse_weights(CONFIG, 4, seed) if coarse else random_weights(CONFIG, 4, seed)
    permuted = permute(CONFIG, flat, random_permutations(CONFIG, 4, seed))
    assert torch.equal(codes(permuted), codes(flat))


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_rescaling_relu_neurons_by_powers_of_two_changes_no_code(seed):
    flat = random_weights(CONFIG, 4, seed)
    assert torch.equal(codes(rescale(CONFIG, flat, powers_of_two(CONFIG, 4, seed))), codes(flat))


def test_rescaling_by_other_factors_hardly_changes_a_code():
    """A code changes only where two code vectors are equally near up to rounding."""
    flat = random_weights(CONFIG, 200)
    same = codes(rescale(CONFIG, flat, random_factors(CONFIG, 200))) == codes(flat)
    assert same.flatten(1).all(1).float().mean() > 0.97


def test_a_field_has_the_same_codes_alone_and_in_a_batch():
    flat = random_weights(CONFIG, 40)
    together = codes(flat)
    assert together.shape == (40, CODEBOOK.num_chunks, FINE.codebook.num_quantizers)
    for row in range(40):
        assert torch.equal(codes(flat[row : row + 1])[0], together[row])
    assert torch.equal(codes(flat.flip(0)), together.flip(0))
    assert codes(flat[:0]).shape == (0, *together.shape[1:])


def test_different_fields_have_different_codes():
    assert len(codes(random_weights(CONFIG, 40)).flatten(1).unique(dim=0)) == 40


def test_codes_decode_as_those_of_the_codebook():
    written = codes(random_weights(CONFIG, 3), GRAPH)
    assert torch.equal(GRAPH.decode(written).flat, CODEBOOK.decode(written).flat)
    assert torch.equal(GRAPH.decode(written, 1).flat, CODEBOOK.decode(written, 1).flat)
    assert (GRAPH.tokens_per_field, GRAPH.fingerprint) == (
        CODEBOOK.num_chunks * CODEBOOK.num_quantizers,
        CODEBOOK.fingerprint,
    )


def test_fields_of_another_architecture_are_refused():
    config = replace(CONFIG, activation="sine")
    with pytest.raises(InputError, match="learned for this architecture"):
        GRAPH.encode(Fields(config, torch.zeros(1, config.parameters)))


def test_weights_that_are_not_finite_or_overflow_are_refused():
    flat = random_weights(CONFIG, 3)
    flat[1, 4] = float("nan")
    with pytest.raises(InputError, match=r"fields \[1\] have NaN"):
        codes(flat)
    flat[1] = 1e30
    with pytest.raises(InputError, match=r"field 1 .* overflow"):
        codes(flat)


def test_parts_that_do_not_belong_together_are_refused():
    other = replace(CODEBOOK.field_config, activation="gelu")
    decoder = deepcopy(CODEBOOK.decoder)
    decoder.field_config = other
    gelu = replace(CODEBOOK, decoder=decoder)
    with pytest.raises(InputError, match="learned for another codebook"):
        GraphQuantizer(gelu, GRAPH.encoder)
    broken = tiny_graph(CODEBOOK).encoder
    broken.biases[0, 0] = float("inf")
    with pytest.raises(InputError, match="NaN or infinite"):
        GraphQuantizer(CODEBOOK, broken)


def test_a_saved_quantizer_returns_bit_for_bit(tmp_path):
    FINE.save_pretrained(tmp_path)
    again, flat = GraphQuantizer.from_pretrained(tmp_path), random_weights(CONFIG, 20)
    assert again.fingerprint == FINE.fingerprint == Codebook.from_pretrained(tmp_path).fingerprint
    assert torch.equal(codes(flat, again), codes(flat))


def test_a_file_that_is_cut_short_or_missing_is_refused(tmp_path):
    GRAPH.save_pretrained(tmp_path)
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"encoder\.safetensors"):
        GraphQuantizer.from_pretrained(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        GraphQuantizer.from_pretrained(tmp_path)


def test_samples_are_fitted_from_random_initializations():
    shapes = [sphere_shape(0.5), sphere_shape(0.6)]
    samples = sample_sdf(shapes, shared_points(shapes, 512, 0))
    starts = own_initializations(CONFIG, samples.sdf, INITIALIZATION_SEED)
    fits = fit(CONFIG, samples, FitConfig(seed=INITIALIZATION_SEED), shared_init=starts).fields
    assert torch.equal(GRAPH.encode_samples(samples), GRAPH.encode(fits))


def test_fault_38_codes_of_a_sampled_shape_do_not_depend_on_the_other_shapes():
    shapes = [sphere_shape(0.4 + 0.02 * i) for i in range(18)]
    samples = sample_sdf(shapes, shared_points(shapes, 512, 0))
    codes = GRAPH.encode_samples(samples)
    assert len(codes.unique(dim=0)) > 1
    backwards = Samples(samples.points, samples.sdf.flip(0))
    assert torch.equal(GRAPH.encode_samples(backwards).flip(0), codes)
    assert torch.equal(GRAPH.encode_samples(samples.select(slice(17, 18))), codes[17:])


def test_fault_38_codes_of_a_shape_do_not_depend_on_the_other_shapes():
    shapes, config = [sphere_shape(0.4 + 0.1 * i) for i in range(3)], EncodeConfig(num_points=512)
    codes = GRAPH.encode_shapes(shapes, config)
    assert torch.equal(GRAPH.encode_shapes(shapes[::-1], config).flip(0), codes)
    assert torch.equal(GRAPH.encode_shapes(shapes[1:2], config), codes[1:2])


@pytest.mark.parametrize(
    ("shapes", "fragment"),
    [([], "no shapes to encode"), ([sphere_shape(0.5, dimension=2)], "the quantizer is for 3D shapes")],
)
def test_shapes_of_another_dimension_and_no_shapes_are_refused(shapes, fragment):
    with pytest.raises(InputError, match=fragment):
        GRAPH.encode_shapes(shapes)
