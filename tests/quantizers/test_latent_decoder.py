"""The mixer joins what the chunks say, and what it did can be undone."""

import torch

from tests.fakes import generator, tiny_latent_decoder
from weightgpt.quantizers.latent_decoder import LatentDecoder


def test_every_chunk_hears_of_every_other():
    latent_decoder, latents = tiny_latent_decoder(3, 4), torch.randn(1, 3, 4, generator=generator(0)).requires_grad_()
    for chunk in range(3):
        (slope,) = torch.autograd.grad(latent_decoder(latents)[0, chunk].sum(), latents, retain_graph=True)
        assert (slope.abs().sum(-1) > 0).all()


def test_a_field_alone_and_in_a_batch_are_mixed_alike():
    latent_decoder, latents = tiny_latent_decoder(3, 4), torch.randn(5, 3, 4, generator=generator(0))
    torch.testing.assert_close(latent_decoder(latents)[2:3], latent_decoder(latents[2:3]))


def test_inverting_finds_the_latents_from_a_start_nearby():
    latent_decoder, latents = tiny_latent_decoder(3, 4), torch.randn(16, 3, 4, generator=generator(0))
    metric = torch.eye(4) + 0.3 * torch.randn(3, 4, 4, generator=generator(1))
    start = latents + 0.1 * torch.randn(latents.shape, generator=generator(2))
    torch.testing.assert_close(
        latent_decoder.invert(latent_decoder(latents), metric, start), latents, atol=1e-4, rtol=1e-4
    )


def test_the_metric_decides_what_near_means_where_nothing_fits():
    """More coefficients than latents: only those that the metric looks at are met."""
    torch.manual_seed(0)
    latent_decoder = LatentDecoder(1, 2, 8, 4)
    latents = torch.randn(3, 1, 2, generator=generator(0))
    wanted = latent_decoder(latents).detach()
    wanted[..., 2:] += 10
    metric = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))[None]
    found = latent_decoder.invert(wanted, metric, latents + 0.01)
    torch.testing.assert_close(latent_decoder(found)[..., :2], wanted[..., :2], atol=1e-4, rtol=1e-4)


def test_inverting_never_ends_further_away_than_it_began():
    torch.manual_seed(0)
    latent_decoder = LatentDecoder(2, 3, 8, 5)
    wanted, start = 5 * torch.randn(6, 2, 5), torch.randn(6, 2, 3)
    metric = torch.randn(2, 5, 5)

    def distance(latents: torch.Tensor) -> torch.Tensor:
        return torch.einsum("cij,bcj->bci", metric, latent_decoder(latents) - wanted).flatten(1).norm(dim=1)

    assert (distance(latent_decoder.invert(wanted, metric, start)) <= distance(start) * (1 + 1e-6)).all()
