"""The graph quantizer: it reads fields fitted from any initialization, with their hidden neurons in any order.

Decisions:

- The codes are those of an RVQ autoencoder's codebook, so a GPT that was trained on the codes of
  that autoencoder can continue with these codes.
- Fields are brought to canonical form and encoded one at a time. So the codes of a field are equal, not nearly equal,
  for all orders of its hidden neurons and in any batch.
- Codes come from one pass of the graph encoder; nothing is refined.
- A shape is first fitted from a random initialization, because this quantizer is for such fields. The initialization
  depends on the distances of the shape alone, so the codes do not depend on the other shapes of the call.

Files, format "weightgpt.graph", version 1: the two files of the codebook (see `codebook.py`) and `encoder.safetensors`
(see `graph_encoder.py`).

Dimensions: B fields or shapes, C chunks, Q num_quantizers, M points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Int
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.canonical import canonicalize
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit, fit_fields, own_initializations
from weightgpt.fields.reproducible import one_thread
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.codebook import VERSION, Codebook
from weightgpt.quantizers.codes import check_fields
from weightgpt.quantizers.files import check_encoder, read_config
from weightgpt.quantizers.graph_encoder import GraphEncoder
from weightgpt.quantizers.latent_quantizer import LatentQuantizer
from weightgpt.shapes.sampling import Samples
from weightgpt.shapes.shape import Shape

INITIALIZATION_SEED = 1_000_000
"""Seed of the random initializations."""


class GraphQuantizer(LatentQuantizer):
    """A graph encoder and the codebook of an RVQ autoencoder.

    Args:
        codebook: quantizes and decodes latents.
        encoder: reads fields.

    Raises:
        InputError: the encoder is for another codebook, or holds NaN or infinite values.
    """

    FORMAT, VERSION = "weightgpt.graph", VERSION

    def __init__(self, codebook: Codebook, encoder: GraphEncoder) -> None:
        super().__init__(codebook)
        expected = (self.field_config, self.num_chunks, codebook.latent_width)
        if (encoder.field_config, encoder.num_chunks, encoder.latent_width) != expected:
            raise InputError("the graph encoder was learned for another codebook; take both from one folder.")
        if not all(value.isfinite().all() for value in encoder.state_dict().values()):
            raise InputError("the graph encoder holds NaN or infinite values; learn it again.")
        self.encoder = encoder.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, fields: Fields, config: EncodeConfig | None = None) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of fields fitted from any initialization.

        Args:
            fields: B fields of the architecture `field_config`.
            config: not used, because nothing is refined.

        Raises:
            InputError: the fields are of another architecture, or their values are too large for single precision.
        """
        check_fields(fields, self.field_config)
        codes = [torch.zeros(0, self.num_chunks, self.num_quantizers, dtype=torch.long)]
        with one_thread():
            for row, flat in enumerate(canonicalize(fields.config, fields.flat.float())):
                latents = self.encoder(flat[None])
                if not latents.isfinite().all():
                    raise InputError(f"field {row} has weights so large that its values overflow; leave it out.")
                codes.append(self.quantize(latents))
        return torch.cat(codes)

    def encode_samples(
        self, samples: Samples, config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes, each fitted from a random initialization.

        Args:
            samples: B shapes at M shared points, which may be any.
            config: not used, because nothing is refined.
            progress: whether to show a progress bar.

        Raises:
            InputError: a distance is not finite.
        """
        title = "fitting" if progress else None
        starts = own_initializations(self.field_config, samples.sdf, INITIALIZATION_SEED)
        options = FitConfig(seed=INITIALIZATION_SEED)
        return self.encode(fit(self.field_config, samples, options, shared_init=starts, progress=title).fields)

    def encode_shapes(
        self, shapes: Sequence[Shape], config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes, each fitted from a random initialization.

        Args:
            shapes: B shapes of the dimension of `field_config`.
            config: number and seed of the points at which shapes are sampled; the defaults of `EncodeConfig` when None.
            progress: whether to show progress bars.

        Raises:
            InputError: there are no shapes, they are of another dimension, or a distance is not finite.
        """
        config = config or EncodeConfig()
        self._check_shapes(shapes)
        fit_config = FitConfig(seed=INITIALIZATION_SEED + config.seed)
        fields = fit_fields(shapes, self.field_config, fit_config, num_points=config.num_points, progress=progress)
        return self.encode(fields)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json`, `model.safetensors` and `encoder.safetensors`.

        Args:
            folder: where to write; it is created if it does not exist.
        """
        self.codebook.write(folder, self.FORMAT, self.encoder.tensors())

    @classmethod
    def _read(cls, folder: Path) -> Self:
        codebook = Codebook.read(folder, (cls.FORMAT,))
        sizes = (codebook.field_config, codebook.num_chunks, codebook.latent_width)
        encoder = GraphEncoder.load(folder, *sizes)
        check_encoder(folder, read_config(folder, (cls.FORMAT,), cls.VERSION), encoder.tensors())
        return cls(codebook, encoder)
