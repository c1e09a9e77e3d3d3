"""The quantizer of tables: the weights of plain conditioned fits, cut into short vectors, each the nearest of a table.

One frozen form for all ways to learn one (see `tokenization.baselines`): scalars or chunks, one or more residual
num_quantizers, one table for all vectors or G tables in turn.

Decisions:
- A weight is first normalized as (weight - center) / scale, with a center and a scale of its own. The center decides
  what is coded: raw weights, or what a fit changed of the shared initial field.
- Vectors are d neighboring numbers of the flat form of a field, the last one padded with zeros; vector i uses table
  i mod G (product quantization, Jégou et al. 2011, where G vectors make a chunk).
- A shape is encoded by fitting a field to it as those of the corpus were: from the same initial field, at the same
  points, with the same steps. The quantizer carries all three.

File: `config.json` {format, version, field, groups, num_quantizers, codes, width, fit}; `model.safetensors` {tables (G, Q, K,
d), center (P), scale (P)} float32; `encoder.safetensors` {initial (P), points (M, D)} float32.

Dimensions: B fields, P parameters, C vectors of a field, d numbers of a vector, G groups, Q num_quantizers, K codes of a level,
M points, D dimension.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.io import read_json, read_tensors, write_json, write_tensors
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codes import check_codes, check_fields, fingerprint, nearest_code
from weightgpt.shapes.sampling import Samples, sample
from weightgpt.shapes.shape import Shape


@dataclass(frozen=True)
class WeightCodebook:
    """Normalization and code vectors of one architecture."""

    field_config: FieldConfig
    center: Tensor
    """(P,)."""
    scale: Tensor
    """(P,), above 0."""
    code_vectors: Tensor
    """(G, Q, K, d)."""

    def __post_init__(self) -> None:
        parameters, fits = (
            (self.field_config.parameters,),
            self.code_vectors.ndim == 4 and self.code_vectors.numel() > 0,
        )
        if not fits or self.center.shape != parameters or self.scale.shape != parameters:
            raise InputError(
                f"center {tuple(self.center.shape)}, scale {tuple(self.scale.shape)} and tables"
                f" {tuple(self.code_vectors.shape)} do not fit fields of {parameters[0]} parameters; learn them again."
            )
        if not all(torch.isfinite(part).all() for part in (self.center, self.scale, self.code_vectors)):
            raise InputError("the tables hold NaN or infinite values; learn them again.")
        if not (self.scale > 0).all():
            raise InputError("a scale of the tables is not positive; learn them again.")

    @property
    def groups(self) -> int:
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
    def width(self) -> int:
        """d."""
        return self.code_vectors.shape[3]

    @property
    def num_chunks(self) -> int:
        """C."""
        return -(-self.field_config.parameters // self.width)

    def split(self, flat: Tensor) -> Tensor:
        """Weights (B, P) to normalized vectors (B, C, d). Inverse of `join` up to rounding."""
        return cut((flat - self.center) / self.scale, self.width)

    def join(self, vectors: Tensor) -> Tensor:
        """Normalized vectors (B, C, d) to weights (B, P); the padding is dropped."""
        weights: Tensor = vectors.flatten(1)[:, : self.field_config.parameters] * self.scale + self.center
        return weights

    def quantize(self, vectors: Tensor) -> Tensor:
        """Codes (B, C, Q) int64 of normalized vectors (B, C, d): at each level the code nearest to what is left."""
        codes = torch.empty(*vectors.shape[:2], self.num_quantizers, dtype=torch.long)
        for group, tables in enumerate(self.code_vectors):
            rest = vectors[:, group :: self.groups].flatten(0, 1)
            for level, table in enumerate(tables):
                found = nearest_code(rest, table)
                codes[:, group :: self.groups, level] = found.view(len(vectors), -1)
                rest = rest - table[found]
        return codes

    def values(self, codes: Tensor, num_quantizers: int | None = None) -> Tensor:
        """Normalized vectors (B, C, d) of codes (B, C, Q); with `num_quantizers`, of the first levels only.

        Raises:
            InputError: the codes have another shape or range, or `num_quantizers` is outside 1 … Q.
        """
        most = check_codes(codes, self.num_chunks, (self.num_quantizers, self.codebook_size), num_quantizers)
        total = self.code_vectors.new_zeros(*codes.shape[:2], self.width)
        for group, tables in enumerate(self.code_vectors):
            for level in range(most):
                total[:, group :: self.groups] += tables[level][codes[:, group :: self.groups, level]]
        return total


def cut(rows: Tensor, width: int) -> Tensor:
    """Rows (B, P) as vectors (B, C, d) of `width` = d neighbors, zeros in the padding of the last one."""
    vectors: Tensor = F.pad(rows, (0, -rows.shape[1] % width)).unflatten(1, (-1, width))
    return vectors


class WeightVQ(Quantizer):
    """Tables, and the plain conditioned fit that brings shapes to weights."""

    FORMAT, VERSION = "weightgpt.tables", 1

    def __init__(self, tables: WeightCodebook, shared_init: Tensor, points: Tensor, fit: FitConfig) -> None:
        config = tables.field_config
        if shared_init.shape != (config.parameters,) or points.ndim != 2 or points.shape[1] != config.in_features:
            raise InputError(
                f"an initial field {tuple(shared_init.shape)} and points {tuple(points.shape)} do not fit tables for"
                f" {config}; take all from one bundle."
            )
        if not (torch.isfinite(shared_init).all() and torch.isfinite(points).all()):
            raise InputError("the initial field or a point is NaN or infinite; learn the tables again.")
        self.tables, self.shared_init, self.points, self.fit = tables, shared_init, points, fit
        self.field_config, self.num_chunks = config, tables.num_chunks
        self.num_quantizers, self.codebook_size = tables.num_quantizers, tables.codebook_size
        self.fingerprint = fingerprint(self._named(), self._tensors())

    @property
    def code_vectors(self) -> Tensor | None:
        """(Q, K, d) of a single group; several groups differ."""
        return self.tables.code_vectors[0] if self.tables.groups == 1 else None

    def encode(self, fields: Fields, options: EncodeConfig) -> Tensor:
        """Codes (B, C, Q) of fields, nearest in weights; there is nothing to search, so no option matters."""
        check_fields(fields, self.field_config)
        return self.tables.quantize(self.tables.split(fields.flat))

    def encode_samples(
        self, samples: Samples, options: EncodeConfig, *, fits: Fields | None = None, progress: bool = False
    ) -> Tensor:
        """Codes (B, C, Q) of B shapes at M points: those of their fits, which are made here where none are given."""
        if fits is None:
            if not torch.equal(samples.points, self.points):
                raise InputError(
                    "the samples' points are not those of the fits that the tables were learned from; sample at these."
                )
            title = "fitting" if progress else None
            fits = fit(self.field_config, samples, self.fit, shared_init=self.shared_init, progress=title).fields
        return self.encode(fits, options)

    def encode_shapes(self, shapes: list[Shape], options: EncodeConfig, progress: bool = False) -> Tensor:
        """Codes (B, C, Q) of shapes, each fitted at the points of the corpus."""
        if not shapes or any(shape.dimension != self.field_config.in_features for shape in shapes):
            raise InputError(
                f"the tables are for {self.field_config.in_features}D shapes; give one or more, all of them so."
            )
        return self.encode_samples(sample(shapes, self.points, progress), options, progress=progress)

    def decode(self, codes: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of codes (B, C, Q)."""
        return Fields(self.field_config, self.tables.join(self.tables.values(codes, num_quantizers)))

    def _named(self) -> dict[str, Any]:
        sizes = dict(
            zip(("groups", "num_quantizers", "codebook_size", "width"), self.tables.code_vectors.shape, strict=True)
        )
        return {"format": self.FORMAT, "version": self.VERSION, "field": self.field_config.to_dict(), **sizes}

    def _tensors(self) -> dict[str, Tensor]:
        return {"tables": self.tables.code_vectors, "center": self.tables.center, "scale": self.tables.scale}

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the three files that the head of this module describes."""
        folder = Path(folder)
        write_tensors(folder / "model.safetensors", self._tensors())
        write_tensors(folder / "encoder.safetensors", {"shared_init": self.shared_init, "points": self.points})
        write_json(folder / "config.json", {**self._named(), "fit": asdict(self.fit)})

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Read what `save_pretrained` wrote."""
        folder = Path(folder)
        config: Any = read_json(folder / "config.json")
        if not isinstance(config, dict) or (config.get("format"), config.get("version")) != (cls.FORMAT, cls.VERSION):
            raise InputError(
                f"{folder / 'config.json'} is not of tables of version {cls.VERSION}; give the folder of such tables."
            )
        model, encoder = (read_tensors(folder / f"{name}.safetensors") for name in ("model", "encoder"))
        try:
            field, options = FieldConfig.from_dict(config["field"]), FitConfig(**config["fit"])
            tables = WeightCodebook(field, model["center"], model["scale"], model["tables"])
            quantizer = cls(tables, encoder["shared_init"], encoder["points"], options)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder} lacks a part of the tables or has one of another type: {error}.") from error
        if {**quantizer._named(), "fit": asdict(options)} != config:
            raise InputError(f"the files in {folder} are of different tables; take all from one folder.")
        return quantizer
