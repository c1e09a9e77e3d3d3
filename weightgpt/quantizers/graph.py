"""The graph road: any fields of the architecture to codes through their graphs, and codes to fields.

It takes a field from whatever start it was fitted, with its neurons in whatever order. The codes are those of a
codebook, so a GPT that has learned them understands these too.

Decisions:
- Fields are brought to canonical form and encoded one at a time. So the codes are equal, not nearly equal, for all
  orders of a field's hidden neurons and whatever else is in the batch.
- Codes come from one pass of the graph encoder; nothing is optimized.

- A shape is fitted first, from a random start of its own: that is what this road is for.

Files: those of the codebook, its format named "weightgpt.graph", and `encoder.safetensors` with the graph encoder.

Dimensions: B fields or shapes, C chunks, Q num_quantizers, M points.
"""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.canonical import canonical
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.codes import check_fields
from weightgpt.quantizers.graph_encoder import GraphEncoder
from weightgpt.shapes.sampling import Samples, sample, shared_schedule
from weightgpt.shapes.shape import Shape

START = 1_000_000
"""Seed of the first random start of a shape to encode."""


class GraphQuantizer(Quantizer):
    """A graph encoder and the codebook that it writes for."""

    FORMAT, VERSION = "weightgpt.graph", 1

    def __init__(self, book: Codebook, encoder: GraphEncoder) -> None:
        wanted = (book.layout.field_config, book.layout.num_chunks, book.latent_width)
        if (encoder.field_config, encoder.num_chunks, encoder.latent_width) != wanted:
            raise InputError("the graph encoder was learned for another codebook; take both from one folder.")
        if not all(value.isfinite().all() for value in encoder.state_dict().values()):
            raise InputError("the graph encoder holds NaN or infinite values; learn it again.")
        self.codebook, self.encoder = book, encoder.eval().requires_grad_(False)
        self.field_config, self.num_chunks = book.layout.field_config, book.layout.num_chunks
        self.num_quantizers, self.codebook_size = book.num_quantizers, book.codebook_size
        # What codes mean is decided where they are decoded: a GPT that knows the codebook's understands these.
        self.fingerprint = book.fingerprint
        self.shared_init = book.layout.join(book.base[None])[0]

    @property
    def code_vectors(self) -> Tensor:
        """(Q, K, r), of the latents."""
        return self.codebook.code_vectors

    @torch.no_grad()
    def encode(self, fields: Fields, options: EncodeConfig | None = None) -> Tensor:
        """Codes (B, C, Q) of fields of any start; nothing is searched, so no option matters.

        Raises:
            InputError: the fields are of another architecture, or their values are too large for single precision.
        """
        check_fields(fields, self.field_config)
        codes = []
        for row, flat in enumerate(canonical(fields.config, fields.flat.float())):
            latents = self.encoder(flat[None])
            if not latents.isfinite().all():
                raise InputError(f"field {row} has weights so large that its values overflow; leave it out.")
            codes.append(self.codebook.quantize(latents))
        return torch.cat(codes) if codes else torch.zeros(0, self.num_chunks, self.num_quantizers).long()

    def encode_samples(
        self, samples: Samples, options: EncodeConfig, *, fits: Fields | None = None, progress: bool = False
    ) -> Tensor:
        """Codes (B, C, Q) of B shapes at M points, each fitted from a random start; conditioned fits are not used."""
        start = FitConfig(seed=START)
        return self.encode(
            fit(self.field_config, samples, start, progress="fitting" if progress else None).fields, options
        )

    def encode_shapes(self, shapes: list[Shape], options: EncodeConfig, progress: bool = False) -> Tensor:
        """Codes (B, C, Q) of shapes, each fitted from a random start at a schedule of their own."""
        if not shapes or any(shape.dimension != self.field_config.in_features for shape in shapes):
            raise InputError(
                f"the graph is for {self.field_config.in_features}D shapes; give one or more, all of them so."
            )
        samples = sample(shapes, shared_schedule(shapes, options.num_points, options.seed), progress)
        return self.encode_samples(samples, options, progress=progress)

    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes (B, C, Q); with `num_quantizers`, of the first levels only.

        Raises:
            InputError: they are not codes of this codebook.
        """
        return self.codebook.decode(codes, num_quantizers)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the codebook's files and `encoder.safetensors` to `folder`."""
        self.codebook.save_pretrained(folder, self.FORMAT)
        self.encoder.save(folder)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Read what `save_pretrained` wrote.

        Raises:
            InputError: a file is missing, cut short, of another format, or of another codebook.
        """
        book = Codebook.from_pretrained(folder, cls.FORMAT)
        return cls(book, GraphEncoder.load(folder, book.layout.field_config, book.layout.num_chunks, book.latent_width))
