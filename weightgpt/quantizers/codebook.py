"""The frozen codebook: chunks to codes, codes to chunks.

A chunk of weights is `base + coefficients · basis`, with one base and one small basis for each chunk position, shared
by the corpus. The coefficients of all chunks of a field come from its latents through one small perceptron
(`mixer.py`); only the latents differ between fields. A residual vector quantizer writes the latent of each chunk as Q
codes, coarse first (SoundStream, Zeghidour et al. 2021, algorithm 1). Its K code vectors of each level are shared by
all positions.

This module only applies a codebook; `tokenization.train_codebook` learns one.

File: `config.json` {format, version, field, neurons_per_chunk, num_quantizers, codes, latent_width, coefficients, mixer_width}
and `model.safetensors` {base (C, d), basis (C, k, d), codes (Q, K, r), mixer.inner.weight (h, C·r), mixer.inner.bias
(h), mixer.outer.weight (C·k, h), mixer.outer.bias (C·k)} float32.

Dimensions: B fields, C chunks, d chunk width, k coefficients of a chunk, r latent width, h hidden width of the mixer, Q
num_quantizers, K codes a level, P parameters.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.io import read_json, read_tensors, write_json, write_tensors
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codes import check_codes, check_fields, fingerprint, nearest_code
from weightgpt.quantizers.latent_decoder import LatentDecoder

FORMAT = "weightgpt.codebook"
VERSION = 2


@dataclass(frozen=True)
class Codebook:
    """Base, bases, mixer and code vectors of one field architecture."""

    layout: ChunkLayout
    base: Tensor
    """(C, d)."""
    basis: Tensor
    """(C, k, d)."""
    latent_decoder: LatentDecoder
    """Latents (B, C, r) to coefficients (B, C, k)."""
    code_vectors: Tensor
    """(Q, K, r)."""

    def __post_init__(self) -> None:
        chunks, width = self.layout.num_chunks, self.layout.width
        mixed = (chunks, self.latent_decoder.latent_width, self.latent_decoder.coefficients)
        fits = (
            self.base.shape == (chunks, width)
            and self.code_vectors.ndim == 3
            and self.latent_decoder.num_chunks == chunks
        )
        if not fits or self.basis.shape != (*mixed[::2], width) or self.code_vectors.shape[2] != mixed[1]:
            raise InputError(
                f"codebook tensors base {tuple(self.base.shape)}, basis {tuple(self.basis.shape)}, codes"
                f" {tuple(self.code_vectors.shape)}, mixer {mixed} do not fit its layout of {chunks} chunks of {width}; learn"
                " it again."
            )
        if not all(torch.isfinite(part).all() for part in self._tensors().values()):
            raise InputError("the codebook holds NaN or infinite values; learn it again.")
        self.latent_decoder.eval().requires_grad_(False)

    @property
    def num_quantizers(self) -> int:
        """Q."""
        return self.code_vectors.shape[0]

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.code_vectors.shape[1]

    @property
    def latent_width(self) -> int:
        """r."""
        return self.code_vectors.shape[2]

    def join(self, latents: Tensor) -> Tensor:
        """(B, C, r) latents -> (B, P) weights."""
        chunks = self.base + torch.einsum("bck,ckd->bcd", self.latent_decoder(latents), self.basis)
        return self.layout.join(chunks)

    def project(self, fields: Fields, start: Tensor | None = None) -> Tensor:
        """Latents (B, C, r) whose weights are nearest to those of existing fields, in the least-squares sense.

        Args:
            start: (B, C, r) where the search begins, the encoder's guess; zero by default.

        Raises:
            InputError: the fields are of another architecture.
        """
        check_fields(fields, self.layout.field_config)
        wanted = torch.einsum("bcd,cdk->bck", self.layout.split(fields.flat) - self.base, torch.linalg.pinv(self.basis))
        if start is None:
            start = wanted.new_zeros(len(fields), self.layout.num_chunks, self.latent_width)
        # |Δ · basis| = |R Δ| with basis^T = Q R: what is left over outside the span does not depend on the latents.
        return self.latent_decoder.invert(wanted, torch.linalg.qr(self.basis.mT).R, start)

    def quantize(self, latents: Tensor) -> Tensor:
        """Codes (B, C, Q) int64 of latents (B, C, r): at each level the code nearest to what is left."""
        rest, chosen = latents.flatten(0, 1), []
        for table in self.code_vectors:
            chosen.append(nearest_code(rest, table))
            rest = rest - table[chosen[-1]]
        return torch.stack(chosen, -1).reshape(*latents.shape[:2], self.num_quantizers)

    def latents(self, codes: Tensor, num_quantizers: int | None = None) -> Tensor:
        """Latents (B, C, r) of codes (B, C, Q); with `num_quantizers`, of the first levels only: a coarser shape.

        Raises:
            InputError: the codes have another shape, one is outside 0 … K-1, or `num_quantizers` is outside 1 … Q.
        """
        most = check_codes(codes, self.layout.num_chunks, (self.num_quantizers, self.codebook_size), num_quantizers)
        total = self.code_vectors.new_zeros(*codes.shape[:2], self.latent_width)
        for level in range(most):
            total = total + self.code_vectors[level][codes[..., level]]
        return total

    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes (B, C, Q)."""
        return Fields(self.layout.field_config, self.join(self.latents(codes, num_quantizers)))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name this codebook; a GPT carries those of the one it was trained with."""
        return fingerprint(self._config(), self._tensors())

    def _config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "field": self.layout.field_config.to_dict(),
            "neurons_per_chunk": self.layout.neurons_per_chunk,
            "num_quantizers": self.num_quantizers,
            "codebook_size": self.codebook_size,
            "latent_width": self.latent_width,
            "coefficients": self.latent_decoder.coefficients,
            "latent_decoder_width": self.latent_decoder.inner.out_features,
        }

    def _tensors(self) -> dict[str, Tensor]:
        own = {"base": self.base, "basis": self.basis, "code_vectors": self.code_vectors}
        return own | {f"mixer.{name}": value for name, value in self.latent_decoder.state_dict().items()}

    def save_pretrained(self, folder: Path | str, kind: str = FORMAT) -> None:
        """Write `config.json` and `model.safetensors` to `folder`, as the codebook of a quantizer of format `kind`."""
        folder = Path(folder)
        write_tensors(folder / "model.safetensors", self._tensors())
        write_json(folder / "config.json", {**self._config(), "format": kind})

    @classmethod
    def from_pretrained(cls, folder: Path | str, kind: str = FORMAT) -> "Codebook":
        """Read what `save_pretrained` wrote for a quantizer of format `kind`.

        Raises:
            InputError: a file is missing, cut short, of another format, or of a newer version.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        if not isinstance(config, dict) or config.get("format") != kind or config.get("version") != VERSION:
            raise InputError(
                f"{folder / 'config.json'} is not a codebook of version {VERSION}; give a codebook folder."
            )
        tensors = read_tensors(folder / "model.safetensors")
        try:
            layout = ChunkLayout(FieldConfig.from_dict(config["field"]), config["neurons_per_chunk"])
            latent_decoder = LatentDecoder(
                layout.num_chunks, config["latent_width"], config["latent_decoder_width"], config["coefficients"]
            )
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"{folder / 'config.json'} lacks a value or has one of another type: {error}.") from error
        try:
            own = {name: tensors.pop(name) for name in ("base", "basis", "code_vectors")}
            latent_decoder.load_state_dict({name.removeprefix("mixer."): value for name, value in tensors.items()})
        except (KeyError, RuntimeError) as error:
            raise InputError(
                f"{folder / 'model.safetensors'} is not of this codebook; take both from one folder."
            ) from error
        codebook = cls(layout, latent_decoder=latent_decoder, **own)
        if {**codebook._config(), "format": kind} != config:
            raise InputError(f"the two files in {folder} are of different codebooks; take both from one folder.")
        return codebook
