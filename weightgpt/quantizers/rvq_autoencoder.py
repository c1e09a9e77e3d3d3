"""The RVQ autoencoder: a shape encoder and a codebook that are learned together.

Decisions:

- A *shape* starts from the latents of the encoder. An *existing field* starts from those or from its projection on the
  bases, whichever has the smaller loss.
- The latents are then refined (`_refinement.py`) and quantized.
- The codes of an existing field decode to other weights, whose function resembles that of the field.

Files, format "weightgpt.rvq-ae", version 1: the two files of the codebook (see `codebook.py`) and `encoder.safetensors`
(see `shape_encoder.py`).

Dimensions: B fields or shapes, C chunks, Q num_quantizers, m probes, M points, r latent width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.quantizers._refinement import Refinement
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codebook import VERSION, Codebook
from weightgpt.quantizers.codes import check_fields
from weightgpt.quantizers.files import check_encoder, read_config
from weightgpt.quantizers.latent_quantizer import LatentQuantizer
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points
from weightgpt.shapes.shape import Shape


class RVQAutoencoder(LatentQuantizer):
    """A codebook with the shape encoder that was learned together with it.

    Args:
        codebook: quantizes and decodes latents.
        encoder: reads shapes at its probes.

    Raises:
        InputError: the encoder is for a codebook of another size.
    """

    FORMAT, VERSION = "weightgpt.rvq-ae", VERSION

    def __init__(self, codebook: Codebook, encoder: ShapeEncoder) -> None:
        super().__init__(codebook)
        sizes = (encoder.num_chunks, encoder.latent_width, encoder.probes.shape[-1])
        expected = (codebook.layout.num_chunks, codebook.latent_width, codebook.layout.field_config.in_features)
        if sizes != expected:
            raise InputError(
                f"the encoder is for (chunks, latent width, dimension) {sizes}, the codebook for {expected}; take both"
                " from one folder."
            )
        self.encoder = encoder

    @classmethod
    def cast(cls, quantizer: Quantizer) -> Self:
        """The same quantizer with the type of this class, for code that needs the codebook or the encoder.

        Args:
            quantizer: any quantizer.

        Raises:
            InputError: it is of another class.
        """
        if not isinstance(quantizer, cls):
            raise InputError(
                f"a quantizer of class {type(quantizer).__name__} has no codebook with a shape encoder; use an RVQ"
                " autoencoder."
            )
        return quantizer

    @property
    def probes(self) -> Float[Tensor, "m D"]:
        """(m, D) points at which the encoder reads a shape."""
        return self.encoder.probes

    def encode(self, fields: Fields, config: EncodeConfig | None = None) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of existing fields, refined against the signed distances of the fields.

        Args:
            fields: B fields of the architecture `field_config`.
            config: how latents are refined; the defaults of `EncodeConfig` when None.

        Raises:
            InputError: the fields are of another architecture.
        """
        config = config or EncodeConfig()
        check_fields(fields, self.field_config)
        with torch.no_grad():
            points = shared_points(self._as_shapes(fields), config.num_points, config.seed)
            samples, probed = Samples(points, fields(points)[..., 0]), fields(self.probes)[..., 0]
            projection = self.codebook.project(fields, self.encoder(probed))
        return self._encode(samples, probed, config, projection=projection)

    def encode_samples(
        self, samples: Samples, config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes that are sampled at the probes and, for refinement, at further points.

        Args:
            samples: B shapes at M shared points; the first m points are the probes.
            config: how latents are refined; the defaults of `EncodeConfig` when None.
            progress: whether to show a progress bar.

        Raises:
            InputError: the first points are not the probes, or a distance is not finite.
        """
        count = len(self.probes)
        if not torch.equal(samples.points[:count], self.probes):
            raise InputError(
                f"the first {count} points of the samples are not the probes of the encoder; sample at the points that"
                " the codebook was learned at."
            )
        return self._encode(samples, samples.sdf[:, :count], config or EncodeConfig(), progress=progress)

    def encode_shapes(
        self, shapes: Sequence[Shape], config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes; without refinement they are sampled at the probes alone.

        Args:
            shapes: B shapes of the dimension of `field_config`.
            config: where shapes are sampled and how latents are refined; the defaults of `EncodeConfig` when None.
            progress: whether to show progress bars.

        Raises:
            InputError: there are no shapes, they are of another dimension, or a distance is not finite.
        """
        config = config or EncodeConfig()
        self._check_shapes(shapes)
        samples = probed = sample_sdf(shapes, self.probes, progress)
        if config.steps:
            samples = sample_sdf(shapes, shared_points(shapes, config.num_points, config.seed), progress)
        return self._encode(samples, probed.sdf, config, progress=progress)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json`, `model.safetensors` and `encoder.safetensors`.

        Args:
            folder: where to write; it is created if it does not exist.
        """
        self.codebook.write(folder, self.FORMAT, self.encoder.tensors())

    @classmethod
    def _read(cls, folder: Path) -> Self:
        codebook = Codebook.read(folder, (cls.FORMAT,))
        layout = codebook.layout
        sizes = (layout.num_chunks, codebook.latent_width, layout.field_config.in_features)
        encoder = ShapeEncoder.load(folder, *sizes)
        check_encoder(folder, read_config(folder, (cls.FORMAT,), cls.VERSION), encoder.tensors())
        return cls(codebook, encoder)

    def _encode(
        self,
        samples: Samples,
        probed: Tensor,
        config: EncodeConfig,
        *,
        projection: Tensor | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Codes (B, C, Q); `probed` (B, m) are distances at the probes, `projection` (B, C, r) other first latents."""
        if not (torch.isfinite(samples.sdf).all() and torch.isfinite(probed).all()):
            raise InputError("signed distances hold NaN or infinite values; leave those shapes out.")
        refinement = Refinement(self.codebook, samples.points, config)
        codes = []
        with tqdm(total=len(probed), desc="encoding", unit="shape", disable=not progress) as bar:
            for first in range(0, len(probed), config.batch_size):
                rows = slice(first, first + config.batch_size)
                sdf = samples.sdf[rows].float()
                with torch.no_grad():
                    latents = self.encoder(probed[rows].float())
                    if projection is not None:
                        latents = refinement.choose_nearer(latents, projection[rows], sdf)
                codes.append(refinement.refine(latents, sdf))
                bar.update(len(latents))
        return torch.cat(codes)

    @staticmethod
    def _as_shapes(fields: Fields) -> list[Shape]:
        """Each field as a shape with its signed distance."""
        dimension = fields.config.in_features
        return [
            Shape(name=str(row), label="none", sdf=sdf, dimension=dimension) for row, sdf in enumerate(fields.sdfs())
        ]
