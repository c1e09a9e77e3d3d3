"""The graph road: any fields of the architecture to codes through their graphs, and codes to fields.

It takes a field from whatever start it was fitted, with its neurons in whatever order. The codes are those of a
codebook, so a GPT that has learnt them understands these too.

Decisions:
- Fields are brought to canonical form and encoded one at a time. So the codes are equal, not nearly equal, for all
  orders of a field's hidden neurons and whatever else is in the batch.
- Codes come from one pass of the graph encoder; nothing is optimised.

Files: those of the codebook, and `graph.safetensors` beside them.

Dimensions: B fields, C chunks, Q levels.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from weightgpt.canonical import canonical
from weightgpt.codebook import Codebook
from weightgpt.field import Fields
from weightgpt.files import InputError
from weightgpt.graph_encoder import GraphEncoder


@dataclass(frozen=True)
class GraphQuantiser:
    """A graph encoder and the codebook that it writes for."""

    codebook: Codebook
    encoder: GraphEncoder

    def __post_init__(self) -> None:
        book, encoder = self.codebook, self.encoder
        wanted = (book.layout.config, book.layout.chunks, book.latent_width)
        if (encoder.config, encoder.chunks, encoder.latent_width) != wanted:
            raise InputError("the graph encoder was learnt for another codebook; take both from one folder.")
        if not all(value.isfinite().all() for value in encoder.state_dict().values()):
            raise InputError("the graph encoder holds NaN or infinite values; learn it again.")
        encoder.eval().requires_grad_(False)

    @property
    def tokens_per_field(self) -> int:
        """C · Q."""
        return self.codebook.tokens_per_field

    @property
    def fingerprint(self) -> str:
        """That of the codebook: what codes mean is decided where they are decoded."""
        return self.codebook.fingerprint

    @torch.no_grad()
    def encode(self, fields: Fields) -> Tensor:
        """Codes (B, C, Q) of fields.

        Raises:
            InputError: the fields are of another architecture, or their values are too large for single precision.
        """
        self.codebook.check(fields)
        codes = []
        for row, flat in enumerate(canonical(fields.config, fields.flat.float())):
            latents = self.encoder(flat[None])
            if not latents.isfinite().all():
                raise InputError(f"field {row} has weights so large that its values overflow; leave it out.")
            codes.append(self.codebook.quantise(latents))
        return torch.cat(codes) if codes else torch.zeros(0, self.codebook.layout.chunks, self.codebook.levels).long()

    def decode(self, codes: Tensor, levels: int | None = None) -> Fields:
        """Fields of codes (B, C, Q); with `levels`, of the first levels only.

        Raises:
            InputError: they are not codes of this codebook.
        """
        return self.codebook.decode(codes, levels)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the codebook's files and `graph.safetensors` to `folder`."""
        self.codebook.save_pretrained(folder)
        self.encoder.save(folder)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "GraphQuantiser":
        """Read what `save_pretrained` wrote.

        Raises:
            InputError: a file is missing, cut short, of another format, or of another codebook.
        """
        codebook = Codebook.from_pretrained(folder)
        encoder = GraphEncoder.load(folder, codebook.layout.config, codebook.layout.chunks, codebook.latent_width)
        return cls(codebook, encoder)
