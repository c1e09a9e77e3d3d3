"""The shape encoder: signed distances at fixed probe points to latents, in one forward pass.

Decisions:

- We use an encoder because latents that are optimized for each shape alone carry the noise of the optimizer into the
  codes. A network is a smooth function of the shape, so similar shapes get similar codes, which a GPT can predict.
- The encoder is learned together with the codebook and saved with it.
- Anything with a signed distance can be encoded: a mesh, a built-in shape, or an existing field.

File: `encoder.safetensors`, all float32: `probes` (m, D), `truncation` (), and `layers.*` with the weights of three
linear layers and two layer norms.

Dimensions: B shapes, m probes, D dimension, C chunks, r latent width.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weightgpt.fields.optimization import DEFAULT_TRUNCATION
from weightgpt.io import Dtypes, read_tensors


class ShapeEncoder(nn.Module):
    """Three linear layers from truncated distances (B, m) to latents (B, C, r).

    Args:
        probes: (m, D) points in [-1, 1]^D.
        width: width of the hidden layers.
        num_chunks: C.
        latent_width: r.
        truncation: t; the encoder reads tanh(t · sdf).
    """

    probes: Tensor
    """(m, D) points in [-1, 1]^D."""

    def __init__(
        self,
        probes: Float[Tensor, "m D"],
        width: int,
        num_chunks: int,
        latent_width: int,
        truncation: float = DEFAULT_TRUNCATION,
    ) -> None:
        super().__init__()
        self.truncation, self.num_chunks, self.latent_width = truncation, num_chunks, latent_width
        self.register_buffer("probes", probes)
        self.layers = nn.Sequential(
            nn.Linear(len(probes), width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, num_chunks * latent_width),
        )

    def forward(self, sdf: Float[Tensor, "B m"]) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) of shapes.

        Args:
            sdf: (B, m) signed distances at the probes.
        """
        latents: Tensor = self.layers(torch.tanh(self.truncation * sdf))
        return latents.reshape(len(latents), self.num_chunks, self.latent_width)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of `encoder.safetensors`."""
        return {**self.state_dict(), "truncation": torch.tensor(self.truncation)}

    @classmethod
    def load(cls, folder: Path | str, num_chunks: int, latent_width: int, dimension: int) -> "ShapeEncoder":
        """Read the `encoder.safetensors` of a quantizer.

        Args:
            folder: the folder of the quantizer.
            num_chunks: C of the codebook.
            latent_width: r of the codebook.
            dimension: D of its fields.

        Raises:
            InputError: the file is missing, cut short, or belongs to a codebook of another size.
        """
        path = Path(folder) / "encoder.safetensors"
        tensors = read_tensors(path, expected_tensors(num_chunks * latent_width, dimension))
        truncation = float(tensors.pop("truncation"))
        encoder = cls(tensors["probes"], len(tensors["layers.0.bias"]), num_chunks, latent_width, truncation)
        encoder.load_state_dict(tensors)
        return encoder.eval()


def expected_tensors(outputs: int, dimension: int, prefix: str = "") -> dict[str, tuple[Dtypes, tuple[int | str, ...]]]:
    """The tensors of a shape encoder, as `weightgpt.io.read_tensors` takes them.

    Args:
        outputs: C·r.
        dimension: D.
        prefix: the start of the names of all but `truncation`.
    """
    widths: dict[str, tuple[int | str, ...]] = {
        "probes": ("m", dimension),
        "layers.0.weight": ("w", "m"),
        "layers.3.weight": ("w", "w"),
        "layers.6.weight": (outputs, "w"),
        "layers.6.bias": (outputs,),
    }
    widths |= {f"layers.{layer}.bias": ("w",) for layer in (0, 1, 3, 4)}
    widths |= {f"layers.{layer}.weight": ("w",) for layer in (1, 4)}
    return {"truncation": (torch.float32, ()), **{prefix + name: (torch.float32, widths[name]) for name in widths}}
