"""Weight VQ: the weights of plain fits, split into short vectors, each coded by its nearest code vector.

One frozen form serves all ways to learn code vectors (see `tokenization.baselines`): single weights or chunks of them,
one or more residual levels, the same code vectors for all chunks or G groups in turn.

Decisions:
- A weight is first normalized as (weight - center) / scale, with a center and a scale for each weight. The center
  decides what is coded: raw weights, or what a fit changed of the shared initial field.
- A chunk is a vector of d neighboring numbers of the flat weights; the last one is padded with zeros. Chunk i uses the
  code vectors of group i mod G (product quantization, Jégou et al. 2011, where G chunks make one of their vectors).
- A shape is encoded by a plain fit, made as those of the corpus were: from the same initial field, at the same points,
  with the same steps. The quantizer stores all three.

Files, format "weightgpt.weight-vq", version 1:
- `config.json`: `format`, `version`, `field_config`, `num_groups`, `num_quantizers`, `codebook_size`, `vector_width`,
  `fit_config`.
- `model.safetensors`, all float32: `code_vectors` (G, Q, K, d), `center` (P), `scale` (P).
- `encoder.safetensors`, all float32: `shared_init` (P), `points` (M, D).

Dimensions: B fields, P parameters of a field, C chunks, d numbers of a vector, G groups, Q num_quantizers, K
codebook_size, M points, D dimension.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.io import read_tensors, write_json, write_tensors
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codes import check_codes, check_fields, fingerprint, residual_decode, residual_encode
from weightgpt.quantizers.files import read_config
from weightgpt.shapes.sampling import Samples, sample
from weightgpt.shapes.shape import Shape


@dataclass(frozen=True)
class WeightCodebook:
    """Normalization and code vectors of one field architecture."""

    field_config: FieldConfig
    center: Tensor
    """(P,)."""
    scale: Tensor
    """(P,), above 0."""
    code_vectors: Tensor
    """(G, Q, K, d)."""

    def __post_init__(self) -> None:
        parameters = self.field_config.parameters
        if (
            self.code_vectors.ndim != 4
            or not self.code_vectors.numel()
            or self.center.shape != (parameters,)
            or self.scale.shape != (parameters,)
        ):
            raise InputError(
                f"center {tuple(self.center.shape)}, scale {tuple(self.scale.shape)} and code_vectors"
                f" {tuple(self.code_vectors.shape)} do not fit fields of {parameters} parameters; learn them again."
            )
        if not all(torch.isfinite(tensor).all() for tensor in (self.center, self.scale, self.code_vectors)):
            raise InputError("the weight codebook holds NaN or infinite values; learn it again.")
        if not (self.scale > 0).all():
            raise InputError("a scale of the weight codebook is not positive; learn it again.")

    @property
    def num_groups(self) -> int:
        """G."""
        return self.code_vectors.shape[0]

    @property
    def num_quantizers(self) -> int:
        """Q."""
        return self.code_vectors.shape[1]

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.code_vectors.shape[2]

    @property
    def vector_width(self) -> int:
        """d."""
        return self.code_vectors.shape[3]

    @property
    def num_chunks(self) -> int:
        """C."""
        return -(-self.field_config.parameters // self.vector_width)

    def split_weights(self, flat: Tensor) -> Tensor:
        """Normalized vectors (B, C, d) of weights. Inverse of `join_vectors` up to rounding.

        Args:
            flat: (B, P).
        """
        return split_vectors((flat - self.center) / self.scale, self.vector_width)

    def join_vectors(self, vectors: Tensor) -> Tensor:
        """Weights (B, P) of normalized vectors; the padding is dropped.

        Args:
            vectors: (B, C, d).
        """
        weights: Tensor = vectors.flatten(1)[:, : self.field_config.parameters] * self.scale + self.center
        return weights

    def quantize(self, vectors: Tensor) -> Tensor:
        """Codes (B, C, Q) int64 of normalized vectors: at each level, the code vector nearest to what is left over.

        Args:
            vectors: (B, C, d).
        """
        codes = vectors.new_empty(*vectors.shape[:2], self.num_quantizers, dtype=torch.long)
        for group, code_vectors in enumerate(self.code_vectors):
            part = vectors[:, group :: self.num_groups]
            codes[:, group :: self.num_groups] = residual_encode(part.flatten(0, 1), code_vectors).unflatten(
                0, part.shape[:2]
            )
        return codes

    def vectors(self, codes: Tensor, num_quantizers: int | None = None) -> Tensor:
        """Normalized vectors (B, C, d) of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """
        sizes = (self.num_chunks, self.num_quantizers, self.codebook_size)
        levels = check_codes(codes, sizes, num_quantizers)
        vectors = self.code_vectors.new_empty(*codes.shape[:2], self.vector_width)
        for group, code_vectors in enumerate(self.code_vectors):
            part = codes[:, group :: self.num_groups]
            vectors[:, group :: self.num_groups] = residual_decode(part, code_vectors, levels)
        return vectors


def split_vectors(rows: Tensor, vector_width: int) -> Tensor:
    """Split rows into vectors of neighbors, with zeros at the end of the last vector.

    Args:
        rows: (B, P).
        vector_width: d.

    Returns:
        (B, C, d) with C = P / d, rounded up.

    Example:
        >>> split_vectors(torch.tensor([[1.0, 2.0, 3.0]]), 2)
        tensor([[[1., 2.],
                 [3., 0.]]])
    """
    vectors: Tensor = F.pad(rows, (0, -rows.shape[1] % vector_width)).unflatten(1, (-1, vector_width))
    return vectors


class WeightVQ(Quantizer):
    """A weight codebook, and the plain fit that turns shapes into weights.

    Args:
        codebook: normalization and code vectors.
        shared_init: (P,) the field that plain fits start from.
        points: (M, D) points at which shapes are sampled and fitted.
        fit_config: how plain fits are made.

    Raises:
        InputError: the tensors do not fit each other, or hold NaN or infinite values.
    """

    FORMAT, VERSION = "weightgpt.weight-vq", 1

    def __init__(self, codebook: WeightCodebook, shared_init: Tensor, points: Tensor, fit_config: FitConfig) -> None:
        config = codebook.field_config
        if shared_init.shape != (config.parameters,) or points.ndim != 2 or points.shape[1] != config.in_features:
            raise InputError(
                f"an initial field {tuple(shared_init.shape)} and points {tuple(points.shape)} do not fit a weight"
                f" codebook for {config}; take all from one folder."
            )
        if not (torch.isfinite(shared_init).all() and torch.isfinite(points).all()):
            raise InputError("the initial field or a point is NaN or infinite; learn the weight codebook again.")
        self.codebook, self.shared_init, self.points, self.fit_config = codebook, shared_init, points, fit_config
        self.field_config, self.num_chunks = config, codebook.num_chunks
        self.num_quantizers, self.codebook_size = codebook.num_quantizers, codebook.codebook_size
        self.fingerprint = fingerprint(self._sizes(), self._tensors())

    @property
    def code_vectors(self) -> Tensor | None:
        """(Q, K, d) of a single group; None for several groups, which have different code vectors."""
        return self.codebook.code_vectors[0] if self.codebook.num_groups == 1 else None

    def encode(self, fields: Fields, config: EncodeConfig | None = None) -> Tensor:
        """Codes (B, C, Q) of existing fields: those of the code vectors nearest to their weights.

        Args:
            fields: B fields of the architecture `field_config`; the codes are good for plain fits only.
            config: not used, because nothing is refined.

        Raises:
            InputError: the fields are of another architecture.
        """
        check_fields(fields, self.field_config)
        return self.codebook.quantize(self.codebook.split_weights(fields.flat))

    def encode_samples(self, samples: Samples, config: EncodeConfig | None = None, *, progress: bool = False) -> Tensor:
        """Codes (B, C, Q) of shapes: those of their plain fits, which are made here.

        Args:
            samples: B shapes at the M points of the quantizer.
            config: not used, because nothing is refined.
            progress: whether to show a progress bar.

        Raises:
            InputError: the points are others, or a distance is not finite.
        """
        if not torch.equal(samples.points, self.points):
            raise InputError(
                "the points of the samples are not those of the fits that the weight codebook was learned from; sample"
                " at the points of the quantizer."
            )
        title = "fitting" if progress else None
        fits = fit(self.field_config, samples, self.fit_config, shared_init=self.shared_init, progress=title)
        return self.encode(fits.fields)

    def encode_fits(
        self, samples: Samples, fits: Fields, config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Tensor:
        """Codes (B, C, Q) of plain fits.

        Args:
            samples: not used, because the fits are encoded.
            fits: B plain fits, from `shared_init`.
            config: not used, because nothing is refined.
            progress: not used, because nothing takes long.

        Raises:
            InputError: the fits are of another architecture.
        """
        return self.encode(fits)

    def encode_shapes(
        self, shapes: Sequence[Shape], config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Tensor:
        """Codes (B, C, Q) of shapes, each fitted at the points of the corpus.

        Args:
            shapes: B shapes of the dimension of `field_config`.
            config: not used, because nothing is refined.
            progress: whether to show progress bars.

        Raises:
            InputError: there are no shapes, they are of another dimension, or a distance is not finite.
        """
        self._check_shapes(shapes)
        return self.encode_samples(sample(shapes, self.points, progress), progress=progress)

    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes.

        Args:
            codes: (B, C, Q).
            num_quantizers: levels to use, the first ones: fewer give coarser fields; None for all Q.

        Raises:
            InputError: the codes have another shape, one is outside 0 to K-1, or `num_quantizers` is outside 1 to Q.
        """
        return Fields(self.field_config, self.codebook.join_vectors(self.codebook.vectors(codes, num_quantizers)))

    def _sizes(self) -> dict[str, Any]:
        """What `config.json` says of the codebook."""
        names = ("num_groups", "num_quantizers", "codebook_size", "vector_width")
        sizes = dict(zip(names, self.codebook.code_vectors.shape, strict=True))
        return {"format": self.FORMAT, "version": self.VERSION, "field_config": self.field_config.to_dict(), **sizes}

    def _tensors(self) -> dict[str, Tensor]:
        """What decoding needs."""
        codebook = self.codebook
        return {"code_vectors": codebook.code_vectors, "center": codebook.center, "scale": codebook.scale}

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `config.json`, `model.safetensors` and `encoder.safetensors`.

        Args:
            folder: where to write; it is created if it does not exist.
        """
        folder = Path(folder)
        write_tensors(folder / "model.safetensors", self._tensors())
        write_tensors(folder / "encoder.safetensors", {"shared_init": self.shared_init, "points": self.points})
        write_json(folder / "config.json", {**self._sizes(), "fit_config": asdict(self.fit_config)})

    @classmethod
    def _read(cls, folder: Path) -> Self:
        config = read_config(folder, (cls.FORMAT,), cls.VERSION)
        model, encoder = (read_tensors(folder / f"{name}.safetensors") for name in ("model", "encoder"))
        try:
            field_config, fit_config = FieldConfig.from_dict(config["field_config"]), FitConfig(**config["fit_config"])
            codebook = WeightCodebook(field_config, model["center"], model["scale"], model["code_vectors"])
            quantizer = cls(codebook, encoder["shared_init"], encoder["points"], fit_config)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder} lacks a value or has one of another type: {error}.") from error
        if {**quantizer._sizes(), "fit_config": asdict(fit_config)} != config:
            raise InputError(f"the files in {folder} are of different weight codebooks; take all from one folder.")
        return quantizer
