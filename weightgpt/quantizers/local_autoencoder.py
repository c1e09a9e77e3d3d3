"""The autoencoder of local chunks: each chunk acts near one grid node, so its codes describe pieces of surface.

It differs from the RVQ autoencoder in its two networks: a `GridEncoder` reads shapes, a `GridDecoder` writes weights.
Because all shapes share pieces of surface, it also reads shapes that are unlike those it was learned from (spatial
functa, Bauer et al. 2023; instance pattern composers, Kim et al. 2023; DeepLS, Chabra et al. 2020).

Files, format "weightgpt.local", version 1: the two files of the codebook (see `codebook.py`) and `encoder.safetensors`
(see `grid_encoder.py`).
"""

from pathlib import Path
from typing import Self

from weightgpt.errors import InputError
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.files import check_encoder, read_config
from weightgpt.quantizers.grid_decoder import GridDecoder
from weightgpt.quantizers.grid_encoder import GridEncoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder


class LocalAutoencoder(RVQAutoencoder):
    """A codebook of local chunks with the encoder that was learned together with it.

    Args:
        codebook: quantizes and decodes latents.
        encoder: reads shapes at its probes.

    Raises:
        InputError: the encoder is for a codebook of another size.
    """

    FORMAT = "weightgpt.local"

    def __init__(self, codebook: Codebook, encoder: GridEncoder) -> None:
        super().__init__(codebook, encoder)

    @classmethod
    def _read(cls, folder: Path) -> Self:
        codebook = Codebook.read(folder, (cls.FORMAT,))
        if not isinstance(codebook.decoder, GridDecoder):
            raise InputError(f"{folder} has no decoder of local chunks; take all files from one folder.")
        encoder = GridEncoder.load(folder, codebook.decoder)
        check_encoder(folder, read_config(folder, (cls.FORMAT,), cls.VERSION), encoder.tensors())
        return cls(codebook, encoder)
