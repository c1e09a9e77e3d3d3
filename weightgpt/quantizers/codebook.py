"""The frozen codebook of the RVQ autoencoder: codes to latents, latents to weights, and weights back to latents.

A chunk of weights is `base + coefficients · basis`. Each chunk position has one base and one small basis, shared by all
fields. The coefficients of all chunks come from the latents of the field through one latent decoder
(`latent_decoder.py`); only the latents differ between fields. A residual vector quantizer writes the latent vector of
each chunk as Q codes, coarse level first. All chunk positions share its K code vectors of each level.

This module only applies a codebook; `tokenization.train_codebook` learns one.

Files, version 1:

- `config.json`: `format` ("weightgpt.codebook", or the format of the quantizer that the codebook belongs to),
  `version`, `field_config`, `neurons_per_chunk`, `num_quantizers`, `codebook_size`, `latent_width`,
  `num_coefficients`, `latent_decoder_width`; and `encoder_fingerprint` where there is an encoder.
- `model.safetensors`, all float32: `base` (C, d), `basis` (C, k, d), `code_vectors` (Q, K, r),
  `latent_decoder.inner.weight` (h, C·r), `latent_decoder.inner.bias` (h), `latent_decoder.outer.weight` (C·k, h),
  `latent_decoder.outer.bias` (C·k).

Dimensions: B fields, C chunks, d chunk width, k coefficients of a chunk, r latent width, h hidden width of the latent
decoder, Q num_quantizers, K codebook_size, P parameters of a field.
"""

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.reproducible import in_blocks, one_thread
from weightgpt.hub import HubObject
from weightgpt.io import Expected, read_tensors
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codes import check_codes, check_fields, fingerprint, residual_decode, residual_encode
from weightgpt.quantizers.files import (
    ENCODER_KEY,
    FILES,
    check_config,
    pretrained_folder,
    read_config,
    read_field_config,
    save_files,
    whole_number,
)
from weightgpt.quantizers.latent_decoder import LatentDecoder

FORMAT = "weightgpt.codebook"
"""The format of a codebook that is saved alone."""
FORMATS = (FORMAT, "weightgpt.rvq-ae", "weightgpt.graph")
"""The formats of all folders that hold a codebook."""
VERSION = 1
PREFIX = "latent_decoder."
"""The start of the names of the tensors of the latent decoder."""


@dataclass(frozen=True)
class Codebook(HubObject):
    """Base, bases, latent decoder and code vectors of one field architecture.

    Examples:
        >>> codebook = Codebook.from_pretrained("tests/golden/rvq-ae")
        >>> codes = torch.zeros(1, codebook.layout.num_chunks, codebook.num_quantizers, dtype=torch.long)
        >>> torch.equal(codebook.decode(codes).flat, codebook.decode_latents(codebook.latents(codes)).flat)
        True
    """

    hub_files = FILES[:2]

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
        decoder = self.latent_decoder
        if (
            self.base.shape != (chunks, width)
            or self.basis.shape != (chunks, decoder.num_coefficients, width)
            or self.code_vectors.ndim != 3
            or self.code_vectors.shape[2] != decoder.latent_width
            or decoder.num_chunks != chunks
        ):
            raise InputError(
                f"codebook tensors base {tuple(self.base.shape)}, basis {tuple(self.basis.shape)}, code_vectors"
                f" {tuple(self.code_vectors.shape)} and a latent decoder of {decoder.num_chunks} chunks,"
                f" {decoder.latent_width} latents and {decoder.num_coefficients} coefficients do not fit a layout of"
                f" {chunks} chunks of width {width}; learn the codebook again."
            )
        if not all(torch.isfinite(tensor).all() for tensor in self._tensors().values()):
            raise InputError("the codebook holds NaN or infinite values; learn it again.")
        decoder.eval().requires_grad_(False)

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
        """The number r of latents of a chunk."""
        return self.code_vectors.shape[2]

    def to(self, device: torch.device | str) -> "Codebook":
        """The same codebook with its tensors on another device.

        Args:
            device: where the tensors lie.
        """
        return replace(
            self,
            base=self.base.to(device),
            basis=self.basis.to(device),
            latent_decoder=deepcopy(self.latent_decoder).to(device),
            code_vectors=self.code_vectors.to(device),
        )

    def quantize(self, latents: Float[Tensor, "B C r"]) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) int64 of latents: at each level, the code vector nearest to the residual.

        Args:
            latents: (B, C, r).
        """
        codes = residual_encode(latents.flatten(0, 1), self.code_vectors)
        return codes.view(*latents.shape[:2], self.num_quantizers)

    def latents(self, codes: Tensor, num_quantizers: int | None = None) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones: fewer give coarser shapes; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """
        sizes = (self.layout.num_chunks, self.num_quantizers, self.codebook_size)
        return residual_decode(codes, self.code_vectors, check_codes(codes, sizes, num_quantizers))

    def weights(self, latents: Float[Tensor, "B C r"]) -> Float[Tensor, "B P"]:
        """Weights (B, P) of latents; gradients flow through. The last bits depend on the number of rows.

        Args:
            latents: (B, C, r).
        """
        chunks = self.base + torch.einsum("bck,ckd->bcd", self.latent_decoder(latents), self.basis)
        return self.layout.join(chunks)

    def project(self, fields: Fields, start: Float[Tensor, "B C r"] | None = None) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) whose weights are nearest to those of existing fields, by least squares.

        Args:
            fields: B fields of the architecture of the layout.
            start: (B, C, r) where the search begins, such as latents of an encoder; zero when None.

        Raises:
            InputError: the fields are of another architecture.
        """
        check_fields(fields, self.layout.field_config)
        target = torch.einsum("bcd,cdk->bck", self.layout.split(fields.flat) - self.base, torch.linalg.pinv(self.basis))
        if start is None:
            start = target.new_zeros(len(fields), self.layout.num_chunks, self.latent_width)
        # |Δ · basis| = |R Δ| with basis^T = Q R. The part outside the span does not depend on the latents.
        return self.latent_decoder.invert(target, torch.linalg.qr(self.basis.mT).R, start)

    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """
        return self.decode_latents(self.latents(codes, num_quantizers))

    def decode_latents(self, latents: Float[Tensor, "B C r"]) -> Fields:
        """Fields of latents; a field has equal bits alone, in any batch, and with any number of threads.

        Args:
            latents: (B, C, r).
        """
        with one_thread():
            return Fields(self.layout.field_config, in_blocks(self.weights, latents))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify this codebook; a GPT stores those of the codebook it was trained with."""
        return fingerprint(self._config(FORMAT), self._tensors())

    def _config(self, kind: str) -> dict[str, Any]:
        return {
            "format": kind,
            "version": VERSION,
            "field_config": self.layout.field_config.to_dict(),
            "neurons_per_chunk": self.layout.neurons_per_chunk,
            "num_quantizers": self.num_quantizers,
            "codebook_size": self.codebook_size,
            "latent_width": self.latent_width,
            "num_coefficients": self.latent_decoder.num_coefficients,
            "latent_decoder_width": self.latent_decoder.inner.out_features,
        }

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"base": self.base, "basis": self.basis, "code_vectors": self.code_vectors}
        return tensors | {f"{PREFIX}{name}": value for name, value in self.latent_decoder.state_dict().items()}

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json` and `model.safetensors` of a codebook without an encoder.

        Args:
            folder: where to write; it is created if it does not exist.
        """
        self.write(folder, FORMAT)

    @classmethod
    def from_pretrained(
        cls, path_or_repo: Path | str, *, subfolder: str = "", revision: str | None = None, token: str | None = None
    ) -> "Codebook":
        """Read what `save_pretrained` wrote, or the codebook of a saved RVQ autoencoder or graph quantizer.

        Args:
            path_or_repo: a folder, or "owner/name" on the Hub.
            subfolder: folder inside `path_or_repo` that holds the files; a model has its codebook in "codebook".
            revision: branch, tag or commit on the Hub.
            token: access token of the Hub; the stored one when None.

        Raises:
            InputError: a file is missing, cut short, of another format, or of another version.
        """
        return cls.read(pretrained_folder(path_or_repo, subfolder, revision, token), FORMATS)

    def write(self, folder: Path | str, kind: str, encoder: dict[str, Tensor] | None = None) -> None:
        """Write the files of a codebook that belongs to a quantizer.

        Args:
            folder: where to write.
            kind: the `format` of the quantizer.
            encoder: the tensors of its encoder, if it has one.
        """
        save_files(folder, self._config(kind), self._tensors(), encoder)

    @classmethod
    def read(cls, folder: Path, kinds: Collection[str]) -> "Codebook":
        """Read the codebook of a local folder.

        Args:
            folder: the folder.
            kinds: values of `format` that are allowed.

        Raises:
            InputError: a file is missing, cut short, of another format, or of another version.
        """
        config, path = read_config(folder, kinds, VERSION), folder / "config.json"
        field_config = read_field_config(path, config)
        layout = ChunkLayout(field_config, whole_number(path, config, "neurons_per_chunk"))
        names = ("latent_width", "latent_decoder_width", "num_coefficients", "num_quantizers", "codebook_size")
        latents, hidden, coefficients, *counts = (whole_number(path, config, name) for name in names)
        tensors = read_tensors(
            folder / "model.safetensors", _expected(layout, latents, hidden, coefficients, (counts[0], counts[1]))
        )
        latent_decoder = LatentDecoder(layout.num_chunks, latents, hidden, coefficients)
        parts = {name: tensors.pop(name) for name in ("base", "basis", "code_vectors")}
        latent_decoder.load_state_dict({name.removeprefix(PREFIX): value for name, value in tensors.items()})
        codebook = cls(layout, latent_decoder=latent_decoder, **parts)
        if codebook._config(config["format"]) != {key: config[key] for key in config if key != ENCODER_KEY}:
            raise InputError(f"the files in {folder} are of different codebooks; take both from one folder.")
        check_config(folder)
        return codebook


def _expected(layout: ChunkLayout, latents: int, hidden: int, coefficients: int, counts: tuple[int, int]) -> Expected:
    """The tensors of `model.safetensors`; `counts` are Q and K."""
    chunks, width, single = layout.num_chunks, layout.width, torch.float32
    return {
        "base": (single, (chunks, width)),
        "basis": (single, (chunks, coefficients, width)),
        "code_vectors": (single, (*counts, latents)),
        f"{PREFIX}inner.weight": (single, (hidden, chunks * latents)),
        f"{PREFIX}inner.bias": (single, (hidden,)),
        f"{PREFIX}outer.weight": (single, (chunks * coefficients, hidden)),
        f"{PREFIX}outer.bias": (single, (chunks * coefficients,)),
    }
