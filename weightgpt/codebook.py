"""The frozen codebook: chunks to codes, codes to chunks.

A chunk of weights is `base + coefficients · basis`, with one base and one small basis for each chunk position, shared
by the corpus. The coefficients of all chunks of a field come from its latents through one small perceptron
(`mixer.py`); only the latents differ between fields. A residual vector quantiser writes the latent of each chunk as Q
codes, coarse first (SoundStream, Zeghidour et al. 2021, algorithm 1). Its K code vectors of each level are shared by
all positions.

This module only applies a codebook; `tokenization.learn_codebook` learns one. Nearest codes are found with the same
arithmetic as vector-quantize-pytorch, so that both give the same codes bit for bit.

File: `config.json` {format, version, field, neurons_per_chunk, levels, codes, latent_width, coefficients, mixer_width}
and `model.safetensors` {base (C, d), basis (C, k, d), codes (Q, K, r), mixer.inner.weight (h, C·r), mixer.inner.bias
(h), mixer.outer.weight (C·k, h), mixer.outer.bias (C·k)} float32.

Dimensions: B fields, C chunks, d chunk width, k coefficients of a chunk, r latent width, h hidden width of the mixer, Q
levels, K codes a level, P parameters.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightgpt.chunking import ChunkLayout
from weightgpt.field import FieldConfig, Fields
from weightgpt.files import InputError, read_json, read_tensors, write_json, write_tensors
from weightgpt.mixer import Mixer

FORMAT = "weightgpt.codebook"
VERSION = 2


@dataclass(frozen=True)
class Usage:
    """How a set of codes uses the K codes of each level."""

    used: tuple[int, ...]
    """Codes that occur, for each level."""
    dead: tuple[int, ...]
    """Codes that never occur, for each level."""
    perplexity: tuple[float, ...]
    """exp(entropy) of the code frequencies, for each level: K when all are equally frequent."""


@dataclass(frozen=True)
class Codebook:
    """Base, bases, mixer and code vectors of one field architecture."""

    layout: ChunkLayout
    base: Tensor
    """(C, d)."""
    basis: Tensor
    """(C, k, d)."""
    mixer: Mixer
    """Latents (B, C, r) to coefficients (B, C, k)."""
    codes: Tensor
    """(Q, K, r)."""

    def __post_init__(self) -> None:
        chunks, width = self.layout.chunks, self.layout.width
        mixed = (chunks, self.mixer.latent_width, self.mixer.coefficients)
        fits = self.base.shape == (chunks, width) and self.codes.ndim == 3 and self.mixer.chunks == chunks
        if not fits or self.basis.shape != (*mixed[::2], width) or self.codes.shape[2] != mixed[1]:
            raise InputError(
                f"codebook tensors base {tuple(self.base.shape)}, basis {tuple(self.basis.shape)}, codes"
                f" {tuple(self.codes.shape)}, mixer {mixed} do not fit its layout of {chunks} chunks of {width}; learn"
                " it again."
            )
        if not all(torch.isfinite(part).all() for part in self._tensors().values()):
            raise InputError("the codebook holds NaN or infinite values; learn it again.")
        self.mixer.eval().requires_grad_(False)

    @property
    def levels(self) -> int:
        """Q."""
        return self.codes.shape[0]

    @property
    def size(self) -> int:
        """K."""
        return self.codes.shape[1]

    @property
    def latent_width(self) -> int:
        """r."""
        return self.codes.shape[2]

    @property
    def tokens_per_field(self) -> int:
        """C · Q."""
        return self.layout.chunks * self.levels

    def join(self, latents: Tensor) -> Tensor:
        """(B, C, r) latents -> (B, P) weights."""
        chunks = self.base + torch.einsum("bck,ckd->bcd", self.mixer(latents), self.basis)
        return self.layout.join(chunks)

    def check(self, fields: Fields) -> None:
        """Refuse fields of another architecture.

        Raises:
            InputError: they are.
        """
        if fields.config != self.layout.config:
            raise InputError(
                f"the fields are {fields.config}, the codebook is for {self.layout.config}; use the codebook that was"
                " learnt for this architecture."
            )

    def project(self, fields: Fields, start: Tensor | None = None) -> Tensor:
        """Latents (B, C, r) whose weights are nearest to those of existing fields, in the least-squares sense.

        Args:
            start: (B, C, r) where the search begins, the encoder's guess; zero by default.

        Raises:
            InputError: the fields are of another architecture.
        """
        self.check(fields)
        wanted = torch.einsum("bcd,cdk->bck", self.layout.split(fields.flat) - self.base, torch.linalg.pinv(self.basis))
        if start is None:
            start = wanted.new_zeros(len(fields), self.layout.chunks, self.latent_width)
        # |Δ · basis| = |R Δ| with basis^T = Q R: what is left over outside the span does not depend on the latents.
        return self.mixer.invert(wanted, torch.linalg.qr(self.basis.mT).R, start)

    def quantise(self, latents: Tensor) -> Tensor:
        """Codes (B, C, Q) int64 of latents (B, C, r): at each level the code nearest to what is left."""
        rest, chosen = latents.flatten(0, 1), []
        for table in self.codes:
            chosen.append(nearest_code(rest, table))
            rest = rest - table[chosen[-1]]
        return torch.stack(chosen, -1).reshape(*latents.shape[:2], self.levels)

    def latents(self, codes: Tensor, levels: int | None = None) -> Tensor:
        """Latents (B, C, r) of codes (B, C, Q); with `levels`, of the first levels only: a coarser shape.

        Raises:
            InputError: the codes have another shape, one is outside 0 … K-1, or `levels` is outside 1 … Q.
        """
        if codes.ndim != 3 or codes.shape[1:] != (self.layout.chunks, self.levels):
            raise InputError(
                f"codes have shape {tuple(codes.shape)}; this codebook takes (fields, {self.layout.chunks},"
                f" {self.levels}): use codes that it wrote."
            )
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.size):
            raise InputError(
                f"codes run from {int(codes.min())} to {int(codes.max())}; this codebook has 0 to {self.size - 1}: use"
                " codes that it wrote."
            )
        if levels is not None and not 1 <= levels <= self.levels:
            raise InputError(f"levels is {levels}; this codebook has 1 to {self.levels}.")
        total = self.codes.new_zeros(*codes.shape[:2], self.latent_width)
        for level in range(self.levels if levels is None else levels):
            total = total + self.codes[level][codes[..., level]]
        return total

    def decode(self, codes: Tensor, levels: int | None = None) -> Fields:
        """Fields of codes (B, C, Q)."""
        return Fields(self.layout.config, self.join(self.latents(codes, levels)))

    def usage(self, codes: Tensor) -> Usage:
        """Usage of the codebook by codes (B, C, Q)."""
        counts = [torch.bincount(codes[..., level].flatten(), minlength=self.size) for level in range(self.levels)]
        share = [count / count.sum().clamp(min=1) for count in counts]
        used = tuple(int((count > 0).sum()) for count in counts)
        return Usage(
            used=used,
            dead=tuple(self.size - n for n in used),
            perplexity=tuple(float(torch.exp(-torch.special.xlogy(p, p).sum())) for p in share),
        )

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name this codebook; a GPT carries those of the one it was trained with."""
        digest = hashlib.sha256(repr(sorted(self._config().items())).encode())
        for _, part in sorted(self._tensors().items()):
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "field": self.layout.config.to_dict(),
            "neurons_per_chunk": self.layout.neurons,
            "levels": self.levels,
            "codes": self.size,
            "latent_width": self.latent_width,
            "coefficients": self.mixer.coefficients,
            "mixer_width": self.mixer.inner.out_features,
        }

    def _tensors(self) -> dict[str, Tensor]:
        own = {"base": self.base, "basis": self.basis, "codes": self.codes}
        return own | {f"mixer.{name}": value for name, value in self.mixer.state_dict().items()}

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json` and `model.safetensors` to `folder`."""
        folder = Path(folder)
        write_tensors(folder / "model.safetensors", self._tensors())
        write_json(folder / "config.json", self._config())

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "Codebook":
        """Read what `save_pretrained` wrote.

        Raises:
            InputError: a file is missing, cut short, of another format, or of a newer version.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        if not isinstance(config, dict) or config.get("format") != FORMAT or config.get("version") != VERSION:
            raise InputError(
                f"{folder / 'config.json'} is not a codebook of version {VERSION}; give a codebook folder."
            )
        tensors = read_tensors(folder / "model.safetensors")
        try:
            layout = ChunkLayout(FieldConfig.from_dict(config["field"]), config["neurons_per_chunk"])
            mixer = Mixer(layout.chunks, config["latent_width"], config["mixer_width"], config["coefficients"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"{folder / 'config.json'} lacks a value or has one of another type: {error}.") from error
        try:
            own = {name: tensors.pop(name) for name in ("base", "basis", "codes")}
            mixer.load_state_dict({name.removeprefix("mixer."): value for name, value in tensors.items()})
        except (KeyError, RuntimeError) as error:
            raise InputError(
                f"{folder / 'model.safetensors'} is not of this codebook; take both from one folder."
            ) from error
        codebook = cls(layout, mixer=mixer, **own)
        if codebook._config() != config:
            raise InputError(f"the two files in {folder} are of different codebooks; take both from one folder.")
        return codebook


def nearest_code(vectors: Tensor, table: Tensor) -> Tensor:
    """Index (n,) of the row of `table` (K, r) nearest to each of `vectors` (n, r), in slices that stay in the cache."""
    norms = (table**2).sum(-1)
    found = []
    for part in vectors.split(4096):
        cross = part @ table.T * -2
        squared = (part**2).sum(-1, keepdim=True) + norms + cross
        found.append(squared.clamp(min=1e-8).sqrt().argmin(-1))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.long)
