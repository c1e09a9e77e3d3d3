"""Weight VQ: the weights of plain fits, coded by a weight codebook (`weight_codebook.py`).

Decisions:

- To encode a shape, we fit a field to it as the fields of the corpus were fitted: from the same initial field, at the
  same points, with the same steps. The quantizer stores all three.
- Codes of an existing field are those of the code vectors nearest to its weights. So they are good only for plain fits
  from the same initial field: other fields have weights that the code vectors do not cover.

Files, format "weightgpt.weight-vq", version 1:

- `config.json`: `format`, `version`, `field_config`, `num_groups`, `num_quantizers`, `codebook_size`, `vector_width`,
  `fit_config`.
- `model.safetensors`, all float32: `code_vectors` (G, Q, K, d), `center` (P), `scale` (P).
- `encoder.safetensors`, all float32: `shared_init` (P), `points` (M, D).

Dimensions: B fields or shapes, P parameters of a field, C chunks, d numbers of a vector, G groups, Q num_quantizers, K
codebook_size, M points, D dimension.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.io import read_tensors, write_json, write_tensors
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codes import check_fields, fingerprint
from weightgpt.quantizers.files import read_config
from weightgpt.quantizers.weight_codebook import WeightCodebook
from weightgpt.shapes.sampling import Samples, sample_sdf
from weightgpt.shapes.shape import Shape


class WeightVQ(Quantizer):
    """A weight codebook, and the plain fit that turns shapes into weights.

    Args:
        codebook: normalization and code vectors.
        shared_init: (P,) the field that plain fits start from.
        points: (M, D) points at which shapes are sampled and fitted.
        fit_config: how fields are fitted.

    Raises:
        InputError: the tensors do not fit each other, or hold NaN or infinite values.
    """

    FORMAT, VERSION = "weightgpt.weight-vq", 1

    def __init__(
        self,
        codebook: WeightCodebook,
        shared_init: Tensor,
        points: Tensor,
        fit_config: FitConfig,
    ) -> None:
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
    def code_vectors(self) -> Float[Tensor, "Q K d"] | None:
        """(Q, K, d) of a single group; None for several groups, which have different code vectors."""
        return self.codebook.code_vectors[0] if self.codebook.num_groups == 1 else None

    def encode(self, fields: Fields, config: EncodeConfig | None = None) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of existing fields: those of the code vectors nearest to their weights.

        Args:
            fields: B plain fits of the architecture `field_config`.
            config: not used, because nothing is refined.

        Raises:
            InputError: the fields are of another architecture.
        """
        check_fields(fields, self.field_config)
        return self.codebook.quantize(self.codebook.split_weights(fields.flat))

    def encode_samples(
        self, samples: Samples, config: EncodeConfig | None = None, *, progress: bool = False
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes: a field is fitted to each shape, and its codes are returned.

        Args:
            samples: B shapes at the M points of the quantizer.
            config: not used, because nothing is refined.
            progress: whether to show a progress bar.

        Raises:
            InputError: the points are not those of the quantizer, or a distance is not finite.
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
    ) -> Int[Tensor, "B C Q"]:
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
    ) -> Int[Tensor, "B C Q"]:
        """Codes (B, C, Q) of shapes, each fitted at the points of the corpus.

        Args:
            shapes: B shapes of the dimension of `field_config`.
            config: not used, because nothing is refined.
            progress: whether to show progress bars.

        Raises:
            InputError: there are no shapes, they are of another dimension, or a distance is not finite.
        """
        self._check_shapes(shapes)
        return self.encode_samples(sample_sdf(shapes, self.points, progress), progress=progress)

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
