"""The latent decoder decodes all chunks together, and can be inverted."""

import pytest
import torch

from tests.fakes import generator, tiny_latent_decoder
from weightgpt.quantizers.latent_decoder import LatentDecoder, _gelu_slope


def test_every_chunk_depends_on_the_latents_of_every_other():
    decoder, latents = tiny_latent_decoder(3, 4), torch.randn(1, 3, 4, generator=generator(0)).requires_grad_()
    for chunk in range(3):
        (slope,) = torch.autograd.grad(decoder(latents)[0, chunk].sum(), latents, retain_graph=True)
        assert (slope.abs().sum(-1) > 0).all()


def test_a_field_has_the_same_coefficients_alone_and_in_a_batch():
    decoder, latents = tiny_latent_decoder(3, 4), torch.randn(5, 3, 4, generator=generator(0))
    torch.testing.assert_close(decoder(latents)[2:3], decoder(latents[2:3]))


def test_invert_returns_the_latents_from_a_start_nearby():
    decoder, latents = tiny_latent_decoder(3, 4), torch.randn(16, 3, 4, generator=generator(0))
    metric = torch.eye(4) + 0.3 * torch.randn(3, 4, 4, generator=generator(1))
    start = latents + 0.1 * torch.randn(latents.shape, generator=generator(2))
    inverse = decoder.invert(decoder(latents), metric, start)
    torch.testing.assert_close(inverse, latents, atol=1e-4, rtol=1e-4)


def test_the_metric_decides_which_coefficients_are_met():
    """More coefficients than latents: invert meets those with a weight in the metric."""
    torch.manual_seed(0)
    decoder = LatentDecoder(1, 2, 8, 4)
    latents = torch.randn(3, 1, 2, generator=generator(0))
    target = decoder(latents).detach()
    target[..., 2:] += 10
    metric = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))[None]
    inverse = decoder.invert(target, metric, latents + 0.01)
    torch.testing.assert_close(decoder(inverse)[..., :2], target[..., :2], atol=1e-4, rtol=1e-4)


def test_invert_never_ends_further_away_than_its_start():
    torch.manual_seed(0)
    decoder = LatentDecoder(2, 3, 8, 5)
    target, start = 5 * torch.randn(6, 2, 5), torch.randn(6, 2, 3)
    metric = torch.randn(2, 5, 5)

    def distance(latents: torch.Tensor) -> torch.Tensor:
        return torch.einsum("cij,bcj->bci", metric, decoder(latents) - target).flatten(1).norm(dim=1)

    assert (distance(decoder.invert(target, metric, start)) <= distance(start) * (1 + 1e-6)).all()


def test_the_slope_of_the_gelu_is_its_derivative():
    values = torch.linspace(-4, 4, 81, dtype=torch.float64)
    step = 1e-5
    rise = torch.nn.functional.gelu(values + step) - torch.nn.functional.gelu(values - step)
    assert _gelu_slope(values).tolist() == pytest.approx((rise / (2 * step)).tolist(), abs=1e-8)
