"""The base class of quantizers whose codes are those of a `Codebook`; they differ only in how they compute latents.

Dimensions: B fields, C chunks, Q num_quantizers, K codebook_size, r latent width.
"""

from jaxtyping import Float, Int
from torch import Tensor

from weightgpt.fields.field import Fields
from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.codebook import Codebook


class LatentQuantizer(Quantizer):
    """A quantizer that decodes with a codebook.

    Args:
        codebook: the codebook. It alone decides what codes mean, so the quantizer has the fingerprint of the codebook.
    """

    codebook: Codebook
    """Code vectors and weight decoder."""

    def __init__(self, codebook: Codebook) -> None:
        self.codebook = codebook
        self.field_config, self.num_chunks = codebook.field_config, codebook.num_chunks
        self.num_quantizers, self.codebook_size = codebook.num_quantizers, codebook.codebook_size
        self.shared_init = codebook.decoder.shared_init
        self.fingerprint = codebook.fingerprint

    @property
    def code_vectors(self) -> Float[Tensor, "Q K r"]:
        """(Q, K, r)."""
        return self.codebook.code_vectors

    @property
    def has_latents(self) -> bool:
        """True."""
        return True

    def latents(self, codes: Tensor, num_quantizers: int | None = None) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """
        return self.codebook.latents(codes, num_quantizers)

    def quantize(self, latents: Float[Tensor, "B C r"]) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of latents: at each level, the code vector nearest to the residual.

        Args:
            latents: (B, C, r).
        """
        return self.codebook.quantize(latents)

    def decode_latents(self, latents: Float[Tensor, "B C r"]) -> Fields:
        """Fields of latents that need not be those of any codes.

        Args:
            latents: (B, C, r).
        """
        return self.codebook.decode_latents(latents)

    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones: fewer give coarser fields; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """
        return self.codebook.decode(codes, num_quantizers)
