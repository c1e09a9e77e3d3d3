"""The shape encoder: signed distances at fixed probe points to latents, in one forward pass.

Latents found by optimization alone carry the noise of the optimizer into the codes; a small network makes them a smooth
function of the shape, so near shapes get near codes, which a GPT can predict. It is learned together with the codebook
and travels with it. Any signed distance function can be asked at the probes: a mesh, a family, or an existing field.

Dimensions: B shapes, m probes, D dimension, C chunks, r latent width.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from weightgpt.errors import InputError
from weightgpt.io import read_tensors, write_tensors


class ShapeEncoder(nn.Module):
    """Three linear layers from truncated distances (B, m) to latents (B, C, r)."""

    probes: Tensor
    """(m, D) coordinates in [-1, 1]^D."""

    def __init__(self, probes: Tensor, width: int, chunks: int, latent_width: int, truncation: float = 5.0) -> None:
        super().__init__()
        self.truncation, self.num_chunks, self.latent_width = truncation, chunks, latent_width
        self.register_buffer("probes", probes)
        self.layers = nn.Sequential(
            nn.Linear(len(probes), width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, chunks * latent_width),
        )

    def forward(self, sdf: Tensor) -> Tensor:
        """Latents (B, C, r) of signed distances (B, m) at the probes."""
        latents: Tensor = self.layers(torch.tanh(self.truncation * sdf))
        return latents.reshape(len(latents), self.num_chunks, self.latent_width)

    def save(self, folder: Path | str) -> None:
        """Write `encoder.safetensors`, beside the codebook's files."""
        tensors = {**self.state_dict(), "truncation": torch.tensor(self.truncation)}
        write_tensors(Path(folder) / "encoder.safetensors", tensors)

    @classmethod
    def load(cls, folder: Path | str, chunks: int, latent_width: int) -> "ShapeEncoder":
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, cut short, or belongs to a codebook of another size.
        """
        path = Path(folder) / "encoder.safetensors"
        tensors = read_tensors(path)
        try:
            truncation = float(tensors.pop("truncation"))
            encoder = cls(tensors["probes"], len(tensors["layers.0.bias"]), chunks, latent_width, truncation)
            encoder.load_state_dict(tensors)
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{path} is not the encoder of this codebook; take both from one bundle.") from error
        return encoder.eval()
