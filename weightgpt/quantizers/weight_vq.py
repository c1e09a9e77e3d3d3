"""The quantiser of tables: the weights of plain conditioned fits, cut into short vectors, each the nearest of a table.

One frozen form for all ways to learn one (see `tokenization.baselines`): scalars or chunks, one or more residual
levels, one table for all vectors or G tables in turn.

Decisions:
- A weight is first normalised as (weight - centre) / scale, with a centre and a scale of its own. The centre decides
  what is coded: raw weights, or what a fit changed of the shared initial field.
- Vectors are d neighbouring numbers of the flat form of a field, the last one padded with zeros; vector i uses table
  i mod G (product quantisation, Jégou et al. 2011, where G vectors make a chunk).
- A shape is encoded by fitting a field to it as those of the corpus were: from the same initial field, at the same
  points, with the same steps. The quantiser carries all three.

File: `config.json` {format, version, field, groups, levels, codes, width, fit}; `model.safetensors` {tables (G, Q, K,
d), centre (P), scale (P)} float32; `encoder.safetensors` {initial (P), points (M, D)} float32.

Dimensions: B fields, P parameters, C vectors of a field, d numbers of a vector, G groups, Q levels, K codes of a level,
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
from weightgpt.quantizers.base import EncodeConfig, Quantiser
from weightgpt.quantizers.codes import check_codes, check_fields, fingerprint, nearest_code
from weightgpt.shapes.sampling import Samples, sample
from weightgpt.shapes.shape import Shape


@dataclass(frozen=True)
class Tables:
    """Normalisation and code vectors of one architecture."""

    config: FieldConfig
    centre: Tensor
    """(P,)."""
    scale: Tensor
    """(P,), above 0."""
    vectors: Tensor
    """(G, Q, K, d)."""

    def __post_init__(self) -> None:
        parameters, fits = (self.config.parameters,), self.vectors.ndim == 4 and self.vectors.numel() > 0
        if not fits or self.centre.shape != parameters or self.scale.shape != parameters:
            raise InputError(
                f"centre {tuple(self.centre.shape)}, scale {tuple(self.scale.shape)} and tables"
                f" {tuple(self.vectors.shape)} do not fit fields of {parameters[0]} parameters; learn them again."
            )
        if not all(torch.isfinite(part).all() for part in (self.centre, self.scale, self.vectors)):
            raise InputError("the tables hold NaN or infinite values; learn them again.")
        if not (self.scale > 0).all():
            raise InputError("a scale of the tables is not positive; learn them again.")

    @property
    def groups(self) -> int:
        """G."""
        return self.vectors.shape[0]

    @property
    def levels(self) -> int:
        """Q."""
        return self.vectors.shape[1]

    @property
    def size(self) -> int:
        """K."""
        return self.vectors.shape[2]

    @property
    def width(self) -> int:
        """d."""
        return self.vectors.shape[3]

    @property
    def chunks(self) -> int:
        """C."""
        return -(-self.config.parameters // self.width)

    def split(self, flat: Tensor) -> Tensor:
        """Weights (B, P) to normalised vectors (B, C, d). Inverse of `join` up to rounding."""
        return cut((flat - self.centre) / self.scale, self.width)

    def join(self, vectors: Tensor) -> Tensor:
        """Normalised vectors (B, C, d) to weights (B, P); the padding is dropped."""
        weights: Tensor = vectors.flatten(1)[:, : self.config.parameters] * self.scale + self.centre
        return weights

    def quantise(self, vectors: Tensor) -> Tensor:
        """Codes (B, C, Q) int64 of normalised vectors (B, C, d): at each level the code nearest to what is left."""
        codes = torch.empty(*vectors.shape[:2], self.levels, dtype=torch.long)
        for group, tables in enumerate(self.vectors):
            rest = vectors[:, group :: self.groups].flatten(0, 1)
            for level, table in enumerate(tables):
                found = nearest_code(rest, table)
                codes[:, group :: self.groups, level] = found.view(len(vectors), -1)
                rest = rest - table[found]
        return codes

    def values(self, codes: Tensor, levels: int | None = None) -> Tensor:
        """Normalised vectors (B, C, d) of codes (B, C, Q); with `levels`, of the first levels only.

        Raises:
            InputError: the codes have another shape or range, or `levels` is outside 1 … Q.
        """
        most = check_codes(codes, self.chunks, (self.levels, self.size), levels)
        total = self.vectors.new_zeros(*codes.shape[:2], self.width)
        for group, tables in enumerate(self.vectors):
            for level in range(most):
                total[:, group :: self.groups] += tables[level][codes[:, group :: self.groups, level]]
        return total


def cut(rows: Tensor, width: int) -> Tensor:
    """Rows (B, P) as vectors (B, C, d) of `width` = d neighbours, zeros in the padding of the last one."""
    vectors: Tensor = F.pad(rows, (0, -rows.shape[1] % width)).unflatten(1, (-1, width))
    return vectors


class TableQuantiser(Quantiser):
    """Tables, and the plain conditioned fit that brings shapes to weights."""

    FORMAT, VERSION = "weightgpt.tables", 1

    def __init__(self, tables: Tables, initial: Tensor, points: Tensor, fit: FitConfig) -> None:
        config = tables.config
        if initial.shape != (config.parameters,) or points.ndim != 2 or points.shape[1] != config.in_features:
            raise InputError(
                f"an initial field {tuple(initial.shape)} and points {tuple(points.shape)} do not fit tables for"
                f" {config}; take all from one bundle."
            )
        if not (torch.isfinite(initial).all() and torch.isfinite(points).all()):
            raise InputError("the initial field or a point is NaN or infinite; learn the tables again.")
        self.tables, self.initial, self.points, self.fit = tables, initial, points, fit
        self.config, self.chunks = config, tables.chunks
        self.levels, self.size = tables.levels, tables.size
        self.fingerprint = fingerprint(self._named(), self._tensors())

    @property
    def vectors(self) -> Tensor | None:
        """(Q, K, d) of a single group; several groups differ."""
        return self.tables.vectors[0] if self.tables.groups == 1 else None

    def encode(self, fields: Fields, options: EncodeConfig) -> Tensor:
        """Codes (B, C, Q) of fields, nearest in weights; there is nothing to search, so no option matters."""
        check_fields(fields, self.config)
        return self.tables.quantise(self.tables.split(fields.flat))

    def encode_samples(
        self, samples: Samples, options: EncodeConfig, *, fits: Fields | None = None, progress: bool = False
    ) -> Tensor:
        """Codes (B, C, Q) of B shapes at M points: those of their fits, which are made here where none are given."""
        if fits is None:
            if not torch.equal(samples.points, self.points):
                raise InputError(
                    "the samples' points are not those of the fits that the tables were learnt from; sample at these."
                )
            title = "fitting" if progress else None
            fits = fit(self.config, samples, self.fit, initial=self.initial, progress=title).fields
        return self.encode(fits, options)

    def encode_shapes(self, shapes: list[Shape], options: EncodeConfig, progress: bool = False) -> Tensor:
        """Codes (B, C, Q) of shapes, each fitted at the points of the corpus."""
        if not shapes or any(shape.dimension != self.config.in_features for shape in shapes):
            raise InputError(f"the tables are for {self.config.in_features}D shapes; give one or more, all of them so.")
        return self.encode_samples(sample(shapes, self.points, progress), options, progress=progress)

    def decode(self, codes: Tensor, levels: int | None = None) -> Fields:
        """Fields of codes (B, C, Q)."""
        return Fields(self.config, self.tables.join(self.tables.values(codes, levels)))

    def _named(self) -> dict[str, Any]:
        sizes = dict(zip(("groups", "levels", "codes", "width"), self.tables.vectors.shape, strict=True))
        return {"format": self.FORMAT, "version": self.VERSION, "field": self.config.to_dict(), **sizes}

    def _tensors(self) -> dict[str, Tensor]:
        return {"tables": self.tables.vectors, "centre": self.tables.centre, "scale": self.tables.scale}

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the three files that the head of this module describes."""
        folder = Path(folder)
        write_tensors(folder / "model.safetensors", self._tensors())
        write_tensors(folder / "encoder.safetensors", {"initial": self.initial, "points": self.points})
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
            tables = Tables(field, model["centre"], model["scale"], model["tables"])
            quantiser = cls(tables, encoder["initial"], encoder["points"], options)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder} lacks a part of the tables or has one of another type: {error}.") from error
        if {**quantiser._named(), "fit": asdict(options)} != config:
            raise InputError(f"the files in {folder} are of different tables; take all from one folder.")
        return quantiser
