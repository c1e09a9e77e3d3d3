"""Residual codes equal those of vector-quantize-pytorch bit for bit, and their use is counted."""

import pytest
import torch
from vector_quantize_pytorch import ResidualVQ

from tests.fakes import generator
from weightgpt.quantizers.codes import measure_usage, nearest_codes, residual_decode, residual_encode


def library_quantizer(code_vectors: torch.Tensor) -> ResidualVQ:
    """The library's residual quantizer with these code vectors (Q, K, r)."""
    levels, codes, width = code_vectors.shape
    module = ResidualVQ(dim=width, num_quantizers=levels, codebook_size=codes).eval()
    for layer, vectors in zip(module.layers, code_vectors, strict=True):
        layer._codebook.embed.data.copy_(vectors)
    return module


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize(("width", "codes", "levels"), [(8, 256, 8), (16, 8, 2), (24, 100, 3), (64, 256, 4), (3, 1, 2)])
@torch.no_grad()
def test_codes_and_vectors_equal_those_of_vector_quantize_pytorch_bit_for_bit(width, codes, levels, scale):
    for seed, count in enumerate([2, 51, 6000]):
        random = generator(seed)
        sizes = 0.5 ** torch.arange(float(levels))[:, None, None]
        code_vectors = torch.randn(levels, codes, width, generator=random) * sizes * scale
        vectors = torch.randn(count, width, generator=random) * scale
        decoded, expected, _ = library_quantizer(code_vectors)(vectors[None])
        assert torch.equal(residual_encode(vectors, code_vectors), expected[0])
        assert torch.equal(residual_decode(expected[0], code_vectors), decoded[0])


@torch.no_grad()
def test_equal_and_nearly_equal_code_vectors_get_the_codes_of_the_library():
    """Ties, and distances below the rounding of the arithmetic: the order of the sums decides."""
    random = generator(0)
    base = torch.randn(64, 12, generator=random)
    code_vectors = torch.cat([base, base, base + 1e-4 * torch.randn(64, 12, generator=random)])[None] + 5
    vectors = base[torch.randint(64, (10_000,), generator=random)] + 5
    assert torch.equal(residual_encode(vectors, code_vectors), library_quantizer(code_vectors)(vectors[None])[1][0])


def test_the_nearest_code_has_the_least_distance():
    code_vectors, vectors = torch.randn(50, 6, generator=generator(0)), torch.randn(200, 6, generator=generator(1))
    distances = (vectors[:, None] - code_vectors).double().norm(dim=-1)
    chosen = distances[torch.arange(200), nearest_codes(vectors, code_vectors)]
    torch.testing.assert_close(chosen, distances.min(1).values, atol=1e-5, rtol=0)


def test_no_vectors_have_no_codes():
    assert residual_encode(torch.zeros(0, 3), torch.zeros(2, 4, 3)).shape == (0, 2)


def test_the_first_levels_decode_to_the_sum_of_their_code_vectors():
    code_vectors = torch.tensor([[[1.0], [2.0]], [[0.1], [0.2]], [[0.01], [0.02]]])
    codes = torch.tensor([[1, 0, 1], [0, 1, 0]])
    sums = [residual_decode(codes, code_vectors, levels).flatten().tolist() for levels in (1, 2, None)]
    assert sums == [pytest.approx([2, 1]), pytest.approx([2.1, 1.2]), pytest.approx([2.12, 1.21])]


def test_usage_counts_codes_of_each_level():
    first, second = torch.tensor([[0, 1], [2, 3]]), torch.tensor([[1, 1], [1, 0]])
    usage = measure_usage(torch.stack([first, second], -1), 4)
    assert usage.codes_used == (4, 2)
    assert usage.dead_codes == (0, 2)
    entropy = torch.tensor([0.75, 0.25]).log() @ torch.tensor([-0.75, -0.25])
    assert usage.perplexity == pytest.approx((4.0, float(entropy.exp())))
