"""The frozen codebook: codes to latents, latents to weights, and weights back to latents.

A residual vector quantizer writes the latent vector of each chunk as Q codes, coarse level first. All chunk positions
share its K code vectors of each level. A weight decoder turns the latents of all chunks of a field into its weights
(see `weight_decoder.py`).

This module only applies a codebook; the programs of `tokenization` learn one.

Files, version 1:

- `config.json`: `format` ("weightgpt.codebook", or the format of the quantizer that the codebook belongs to),
  `version`, `field_config`, `num_quantizers`, `codebook_size`, `latent_width`, the settings of the weight decoder;
  `decoder`, its kind, where it is not "basis"; and `encoder_fingerprint` where there is an encoder.
- `model.safetensors`: `code_vectors` (Q, K, r) float32 and the tensors of the weight decoder.

Dimensions: B fields, C chunks, r latent width, Q num_quantizers, K codebook_size, P parameters of a field.
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
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.field import Fields
from weightgpt.fields.reproducible import in_blocks, one_thread
from weightgpt.hub import HubObject
from weightgpt.io import read_tensors
from weightgpt.quantizers.basis_decoder import BasisDecoder
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
from weightgpt.quantizers.grid_decoder import GridDecoder
from weightgpt.quantizers.weight_decoder import WeightDecoder

FORMAT = "weightgpt.codebook"
"""The format of a codebook that is saved alone."""
FORMATS = (FORMAT, "weightgpt.rvq-ae", "weightgpt.graph", "weightgpt.local")
"""The formats of all folders that hold a codebook."""
VERSION = 1
DECODERS: dict[str, type[WeightDecoder]] = {decoder.KIND: decoder for decoder in (BasisDecoder, GridDecoder)}
"""The weight decoders by their kind."""


@dataclass(frozen=True)
class Codebook(HubObject):
    """Weight decoder and code vectors of one field architecture.

    Examples:
        >>> codebook = Codebook.from_pretrained("tests/golden/rvq-ae")
        >>> codes = torch.zeros(1, codebook.num_chunks, codebook.num_quantizers, dtype=torch.long)
        >>> torch.equal(codebook.decode(codes).flat, codebook.decode_latents(codebook.latents(codes)).flat)
        True
    """

    hub_files = FILES[:2]

    decoder: WeightDecoder
    """Latents (B, C, r) to weights (B, P)."""
    code_vectors: Tensor
    """(Q, K, r)."""

    def __post_init__(self) -> None:
        if self.code_vectors.ndim != 3 or self.code_vectors.shape[2] != self.decoder.latent_width:
            raise InputError(
                f"code vectors of shape {tuple(self.code_vectors.shape)} do not fit a weight decoder of"
                f" {self.decoder.latent_width} latents; learn the codebook again."
            )
        if not all(torch.isfinite(tensor).all() for tensor in self._tensors().values()):
            raise InputError("the codebook holds NaN or infinite values; learn it again.")
        self.decoder.eval().requires_grad_(False)

    @property
    def field_config(self) -> FieldConfig:
        """The architecture of the fields."""
        return self.decoder.field_config

    @property
    def num_chunks(self) -> int:
        """C."""
        return self.decoder.num_chunks

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
        return replace(self, decoder=deepcopy(self.decoder).to(device), code_vectors=self.code_vectors.to(device))

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
        sizes = (self.num_chunks, self.num_quantizers, self.codebook_size)
        return residual_decode(codes, self.code_vectors, check_codes(codes, sizes, num_quantizers))

    def weights(self, latents: Float[Tensor, "B C r"]) -> Float[Tensor, "B P"]:
        """Weights (B, P) of latents; gradients flow through. The last bits depend on the number of rows.

        Args:
            latents: (B, C, r).
        """
        flat: Tensor = self.decoder(latents)
        return flat

    def project(self, fields: Fields, start: Float[Tensor, "B C r"] | None = None) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) whose weights are near to those of existing fields, as the weight decoder finds them.

        Args:
            fields: B fields of the architecture `field_config`.
            start: (B, C, r) where the search begins, such as latents of an encoder; zero when None.

        Raises:
            InputError: the fields are of another architecture.
        """
        check_fields(fields, self.field_config)
        if start is None:
            start = fields.flat.new_zeros(len(fields), self.num_chunks, self.latent_width)
        return self.decoder.invert(fields.flat, start)

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
            return Fields(self.field_config, in_blocks(self.weights, latents))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify this codebook; a GPT stores those of the codebook it was trained with."""
        return fingerprint(self._config(FORMAT), self._tensors())

    def _config(self, kind: str) -> dict[str, Any]:
        decoder = {} if self.decoder.KIND == BasisDecoder.KIND else {"decoder": self.decoder.KIND}
        sizes = {
            "num_quantizers": self.num_quantizers,
            "codebook_size": self.codebook_size,
            "latent_width": self.latent_width,
        }
        field = {"format": kind, "version": VERSION, "field_config": self.field_config.to_dict()}
        return field | decoder | self.decoder.settings(sizes)

    def _tensors(self) -> dict[str, Tensor]:
        return self.decoder.tensors() | {"code_vectors": self.code_vectors}

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
        kind = DECODERS.get(str(config.get("decoder", BasisDecoder.KIND)))
        if kind is None:
            raise InputError(f"{path} names the decoder {config['decoder']!r:.100}; update the library.")
        field_config = read_field_config(path, config)
        sizes = (whole_number(path, config, name) for name in ("num_quantizers", "codebook_size", "latent_width"))
        expected = {"code_vectors": (torch.float32, tuple(sizes)), **kind.expected(path, config, field_config)}
        tensors = read_tensors(folder / "model.safetensors", expected)
        code_vectors = tensors.pop("code_vectors")
        codebook = cls(kind.create(config, field_config, tensors), code_vectors)
        if codebook._config(config["format"]) != {key: config[key] for key in config if key != ENCODER_KEY}:
            raise InputError(f"the files in {folder} are of different codebooks; take both from one folder.")
        check_config(folder)
        return codebook
