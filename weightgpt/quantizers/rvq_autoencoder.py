"""The quantizer that was learned in the loop: codebook and shape encoder, joined.

Shapes and fields go through the encoder to latents, are refined through the quantizer (`encoding.py`) and decode to
weights that the codebook chooses itself; they resemble the function of a field, not its weights.

Dimensions: B fields, C chunks, Q num_quantizers, m probes, M points, P parameters.
"""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.quantizers import codebook
from weightgpt.quantizers import refinement as encoding
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples
from weightgpt.shapes.shape import Shape


class RVQAutoencoder(Quantizer):
    """A codebook with the encoder that was learned together with it."""

    FORMAT, VERSION = codebook.FORMAT, codebook.VERSION

    def __init__(self, book: Codebook, encoder: ShapeEncoder) -> None:
        sizes = (encoder.num_chunks, encoder.latent_width, encoder.probes.shape[-1])
        if sizes != (book.layout.num_chunks, book.latent_width, book.layout.field_config.in_features):
            raise InputError(
                f"the encoder is for (chunks, latent width, dimension) {sizes}, the codebook for others; take both from"
                " one bundle."
            )
        self.codebook, self.encoder = book, encoder
        self.field_config, self.num_chunks = book.layout.field_config, book.layout.num_chunks
        self.num_quantizers, self.codebook_size, self.fingerprint = (
            book.num_quantizers,
            book.codebook_size,
            book.fingerprint,
        )
        self.shared_init = book.layout.join(book.base[None])[0]

    @property
    def code_vectors(self) -> Tensor:
        """(Q, K, r), of the latents."""
        return self.codebook.code_vectors

    def encode(self, fields: Fields, options: EncodeConfig) -> Tensor:
        """Codes (B, C, Q) of fields, refined against their own signed distances."""
        return encoding.encode_fields(self.codebook, self.encoder, fields, options)

    def encode_samples(
        self, samples: Samples, options: EncodeConfig, *, fits: Fields | None = None, progress: bool = False
    ) -> Tensor:
        """Codes (B, C, Q) of B shapes at M points that begin with the encoder's probes; fits are not needed."""
        count = len(self.encoder.probes)
        if not torch.equal(samples.points[:count], self.encoder.probes):
            raise InputError(
                f"the first {count} of the samples' points are not the encoder's probes; sample at the points that the"
                " codebook was learned at."
            )
        probed = samples.sdf[:, :count]
        return encoding.encode_samples(self.codebook, self.encoder, samples, probed, options, progress=progress)

    def encode_shapes(self, shapes: list[Shape], options: EncodeConfig, progress: bool = False) -> Tensor:
        """Codes (B, C, Q) of shapes, refined against their signed distances at a schedule of their own."""
        return encoding.encode_shapes(self.codebook, self.encoder, shapes, options, progress)

    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes (B, C, Q)."""
        return self.codebook.decode(codes, num_quantizers)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the files of the codebook (see `codebook.py`) and `encoder.safetensors`."""
        self.codebook.save_pretrained(folder)
        self.encoder.save(folder)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Read what `save_pretrained` wrote."""
        book = Codebook.from_pretrained(folder)
        return cls(book, ShapeEncoder.load(folder, book.layout.num_chunks, book.latent_width))
