"""The RVQ autoencoder: a shape encoder and a codebook that are learned together.

Decisions:

- A *shape* starts from the latents of the encoder. An *existing field* starts from those or from its projection on the
  bases, whichever has the smaller loss.
- A shape and a field are encoded at points of their own, so their codes do not depend on the others of the call. Shapes
  of a corpus share the points of the corpus (`encode_samples`).
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
from weightgpt.fields.reproducible import add_spare_rows, in_blocks, one_thread
from weightgpt.quantizers._refinement import COMPARED, Refinement
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codebook import VERSION, Codebook
from weightgpt.quantizers.codes import check_fields
from weightgpt.quantizers.files import check_encoder, read_config
from weightgpt.quantizers.grid_encoder import GridEncoder
from weightgpt.quantizers.latent_quantizer import LatentQuantizer
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.sampling import POOL, Samples, finite_distances, own_samples, uniform_points
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

    def __init__(self, codebook: Codebook, encoder: ShapeEncoder | GridEncoder) -> None:
        super().__init__(codebook)
        sizes = (encoder.num_chunks, encoder.latent_width, encoder.probes.shape[-1])
        expected = (codebook.num_chunks, codebook.latent_width, codebook.field_config.in_features)
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
        if not len(fields):
            return torch.zeros(0, self.num_chunks, self.num_quantizers, dtype=torch.long)
        return self._encode_each(self._as_shapes(fields), config, False, fields)

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
        if not torch.isfinite(samples.sdf).all():
            raise InputError("signed distances hold NaN or infinite values; leave those shapes out.")
        config, codes = config or EncodeConfig(), []
        with one_thread(), _progress_bar(len(samples.sdf), progress) as bar:
            for first in range(0, len(samples.sdf), config.batch_size):
                sdf = samples.select(slice(first, first + config.batch_size)).sdf
                codes.append(self._encode_batch(samples.points, sdf, sdf[:, :count], config))
                bar.update(len(sdf))
        return torch.cat(codes)

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
        self._check_shapes(shapes)
        return self._encode_each(shapes, config or EncodeConfig(), progress)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json`, `model.safetensors` and `encoder.safetensors`.

        Args:
            folder: where to write; it is created if it does not exist.
        """
        self.codebook.write(folder, self.FORMAT, self.encoder.tensors())

    @classmethod
    def _read(cls, folder: Path) -> Self:
        codebook = Codebook.read(folder, (cls.FORMAT,))
        sizes = (codebook.num_chunks, codebook.latent_width, codebook.field_config.in_features)
        encoder = ShapeEncoder.load(folder, *sizes)
        check_encoder(folder, read_config(folder, (cls.FORMAT,), cls.VERSION), encoder.tensors())
        return cls(codebook, encoder)

    def _encode_each(
        self, shapes: Sequence[Shape], config: EncodeConfig, progress: bool, fields: Fields | None = None
    ) -> Tensor:
        """Codes (B, C, Q) of shapes, independent of each other; `fields` are those that the shapes show, if any."""
        codes = []
        with one_thread(), _progress_bar(len(shapes), progress) as bar:
            for first in range(0, len(shapes), config.batch_size):
                rows = slice(first, first + config.batch_size)
                probed = torch.stack([finite_distances(shape, self.probes) for shape in shapes[rows]])
                points, sdf = self.probes, probed
                if config.steps or fields is not None:
                    points, sdf = _sample_for_refinement(shapes[rows], config)
                flat = None if fields is None else fields.flat[rows]
                codes.append(self._encode_batch(points, sdf, probed, config, flat))
                bar.update(len(sdf))
        return torch.cat(codes)

    def _encode_batch(
        self, points: Tensor, sdf: Tensor, probed: Tensor, config: EncodeConfig, flat: Tensor | None = None
    ) -> Tensor:
        """Codes (B, C, Q) from distances `sdf` (B, M) at points (M, D) or (B, M, D) and `probed` (B, m) at the probes.

        Latents start from the encoder, or from the projection of the weights `flat` (B, P) where that is nearer.
        """
        sizes = [min(size, sdf.shape[1]) for size in (config.points_per_step, COMPARED.stop)]
        widths = (self.num_chunks * self.codebook.latent_width, *sizes)
        with torch.no_grad():
            latents = in_blocks(self.encoder, probed)
            start, distances = add_spare_rows(latents, *widths), add_spare_rows(sdf, *widths)
            if points.ndim == 3:
                points = add_spare_rows(points, *widths)
            refinement = Refinement(self.codebook, points, config)
            if flat is not None:
                projection = add_spare_rows(in_blocks(self._project, flat, latents), *widths)
                start = refinement.choose_nearer(start, projection, distances)
        return refinement.refine(start, distances)[: len(sdf)]

    def _project(self, flat: Tensor, start: Tensor) -> Tensor:
        """Latents (B, C, r) whose weights are nearest to `flat` (B, P)."""
        return self.codebook.project(Fields(self.field_config, flat), start)

    @staticmethod
    def _as_shapes(fields: Fields) -> list[Shape]:
        """Each field as a shape with its signed distance."""
        dimension = fields.config.in_features
        return [
            Shape(name=str(row), label="none", sdf=sdf, dimension=dimension) for row, sdf in enumerate(fields.sdfs())
        ]


def _sample_for_refinement(shapes: Sequence[Shape], config: EncodeConfig) -> tuple[Tensor, Tensor]:
    """Points and distances (B, M): points of each shape (B, M, D), or (M, D) where each step draws points from them."""
    if config.surface_fraction:
        points = uniform_points(POOL * config.num_points, shapes[0].dimension, config.seed)
        return points, torch.stack([finite_distances(shape, points) for shape in shapes])
    samples = [own_samples(shape, config.num_points, config.seed) for shape in shapes]
    return torch.stack([points for points, _ in samples]), torch.stack([sdf for _, sdf in samples])


def _progress_bar(total: int, progress: bool) -> tqdm:
    return tqdm(total=total, desc="encoding", unit="shape", disable=not progress)
