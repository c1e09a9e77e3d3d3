"""Learn the autoencoder of local chunks: base, grid decoder, codebook and grid encoder together.

Each chunk is the weights that leave the hat of one grid node (see `weightgpt.quantizers.grid_decoder`). All other
weights of a field are shared by all fields, and learned. Plain fits are not needed: the base starts from the shared
initialization of the corpus.

Dimensions: B shapes of a step, P parameters of a field, C chunks, r latent width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tokenization.corpus import Corpus, TrainedQuantizer
from tokenization.trainable_autoencoder import MAX_WIDTH, LatentConfig, TrainableAutoencoder, train
from weightgpt.errors import InputError, check_at_least, check_at_most
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.grid_decoder import HEAD_WIDTH, GridDecoder
from weightgpt.quantizers.grid_encoder import GridEncoder
from weightgpt.quantizers.local_autoencoder import LocalAutoencoder

WEIGHT_DECAY = 1e-3
"""Weight decay of AdamW."""


@dataclass(frozen=True, kw_only=True)
class LocalConfig(LatentConfig):
    """How the autoencoder of local chunks is learned."""

    latent_width: int = 32
    """r, length of the latent of a chunk."""
    num_quantizers: int = 3
    """Q, quantizer levels; a field has C · Q tokens."""
    codebook_size: int = 512
    """K, codes of a level."""
    width: int = 192
    """Width of the two transformers, a multiple of 32."""
    layers: int = 2
    """Layers of each of the two transformers."""
    balance_sides: bool = True
    """Whether half of the points near the surface lie inside. Thin parts need it: few points lie inside of them."""
    squared_weight: float = 1.0
    """Weight of squared errors in the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "width", "layers")
        check_at_most(self, MAX_WIDTH, "width", "layers")
        if self.width % HEAD_WIDTH:
            raise InputError(f"width is {self.width}; give a multiple of {HEAD_WIDTH}.")


def learn_local(
    corpus: Corpus,
    config: LocalConfig,
    *,
    progress: bool = False,
    callback: Callable[[int, float], None] | None = None,
) -> TrainedQuantizer[LocalAutoencoder]:
    """Learn an autoencoder of local chunks from the shapes of a corpus.

    Args:
        corpus: the shapes, whose first points are the probes of the encoder; the seed decides all random numbers.
        config: sizes of the autoencoder and how it is trained.
        progress: whether to show a progress bar.
        callback: called with (step, mean loss) about fifty times.

    Raises:
        InputError: the fields have no grids, the first points of the corpus are not the probes, or there are fewer
            latents than codes.
    """
    torch.manual_seed(corpus.seed)
    autoencoder = TrainableLocalAutoencoder(corpus, config)
    probes = autoencoder.encoder.probes
    if not torch.equal(corpus.samples.points[: len(probes)], probes):
        raise InputError(
            f"the first {len(probes)} points of the corpus are not the probes of the encoder; sample the shapes there."
        )
    latents = len(corpus.samples.sdf) * autoencoder.encoder.num_chunks
    if latents < config.codebook_size:
        raise InputError(
            f"{len(corpus.samples.sdf)} shapes give {latents} latents for {config.codebook_size} codes; learn from more"
            " shapes or ask for fewer codes."
        )
    title = "learning the codebook" if progress else None
    history = train(autoencoder, corpus.samples, config, corpus.seed, title, callback)
    return TrainedQuantizer(autoencoder.freeze(config.num_quantizers), history)


class TrainableLocalAutoencoder(TrainableAutoencoder):
    """All parts of the autoencoder of local chunks.

    Args:
        corpus: the shapes to learn from.
        config: sizes.
    """

    def __init__(self, corpus: Corpus, config: LocalConfig) -> None:
        field_config = corpus.fits.config
        decoder = GridDecoder(field_config, config.latent_width, config.width, config.layers)
        encoder = GridEncoder(field_config, config.latent_width, config.width, config.layers)
        with torch.no_grad():
            decoder.base.copy_(corpus.shared_init)
            decoder.outputs.weight.mul_(0.1)
        super().__init__(field_config, encoder, config)
        self.decoder = decoder

    def optimizers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        """AdamW for all parts.

        Args:
            learning_rate: peak rate.
        """
        parameters = [*self.decoder.parameters(), *self.encoder.parameters()]
        betas = (0.9, 0.98)
        return [torch.optim.AdamW(parameters, learning_rate, betas=betas, weight_decay=WEIGHT_DECAY, fused=True)]

    def weights(self, latents: Tensor) -> Tensor:
        """Weights (B, P) of latents (B, C, r)."""
        flat: Tensor = self.decoder(latents)
        return flat

    def freeze(self, num_quantizers: int) -> LocalAutoencoder:
        """The learned quantizer with its first `num_quantizers` levels."""
        encoder = self.encoder.eval()
        assert isinstance(encoder, GridEncoder)
        return LocalAutoencoder(Codebook(self.decoder, self.rvq.code_vectors[:num_quantizers]), encoder)
