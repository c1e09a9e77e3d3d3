"""Weight VQ: the weights of plain fits, coded by a weight codebook (`weight_codebook.py`).

Decisions:

- To encode a shape, we fit a field to it as the fields of the corpus were fitted: from the same initial field, at the
  same points, with the same steps. The quantizer stores all three.
- Codes of an existing field are those of the code vectors nearest to its weights. So they are good only for plain fits
  from the same initial field: other fields have weights that the code vectors do not cover.

Files, format "weightgpt.weight-vq", version 1:

- `config.json`: `format`, `version`, `field_config`, `num_groups`, `num_quantizers`, `codebook_size`, `vector_width`,
  `fit_config`, `encoder_fingerprint`.
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

from weightgpt.errors import MAX_SEED, InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.fields.reproducible import in_blocks, one_thread
from weightgpt.io import Expected, read_tensors
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codes import check_fields, fingerprint
from weightgpt.quantizers.files import (
    ENCODER_KEY,
    check_encoder,
    read_config,
    read_field_config,
    save_files,
    whole_number,
)
from weightgpt.quantizers.weight_codebook import WeightCodebook
from weightgpt.shapes.sampling import Samples, sample_sdf
from weightgpt.shapes.shape import Shape

SIZES = ("num_groups", "num_quantizers", "codebook_size", "vector_width")
"""The keys of the sizes (G, Q, K, d) in `config.json`."""


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
        with one_thread():
            return in_blocks(lambda flat: self.codebook.quantize(self.codebook.split_weights(flat)), fields.flat)

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
        sizes = dict(zip(SIZES, self.codebook.code_vectors.shape, strict=True))
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
        config = {**self._sizes(), "fit_config": asdict(self.fit_config)}
        save_files(folder, config, self._tensors(), self._encoder())

    def _encoder(self) -> dict[str, Tensor]:
        """What only encoding needs."""
        return {"shared_init": self.shared_init, "points": self.points}

    @classmethod
    def _read(cls, folder: Path) -> Self:
        config, path = read_config(folder, (cls.FORMAT,), cls.VERSION), folder / "config.json"
        field_config = read_field_config(path, config)
        sizes = tuple(whole_number(path, config, name) for name in SIZES)
        parameters, single = field_config.parameters, torch.float32
        model = read_tensors(
            folder / "model.safetensors",
            {
                "code_vectors": (single, sizes),
                "center": (single, (parameters,)),
                "scale": (single, (parameters,)),
            },
        )
        points: Expected = {
            "shared_init": (single, (parameters,)),
            "points": (single, ("M", field_config.in_features)),
        }
        encoder = read_tensors(folder / "encoder.safetensors", points)
        codebook = WeightCodebook(field_config, model["center"], model["scale"], model["code_vectors"])
        fit_config = _fit_config(path, config.get("fit_config"))
        quantizer = cls(codebook, encoder["shared_init"], encoder["points"], fit_config)
        values = {key: config[key] for key in config if key != ENCODER_KEY}
        if {**quantizer._sizes(), "fit_config": asdict(fit_config)} != values:
            raise InputError(f"the files in {folder} are of different weight codebooks; take all from one folder.")
        check_encoder(folder, config, encoder)
        return quantizer


def _fit_config(path: Path, values: Any) -> FitConfig:
    """The settings of a fit in a file, with numbers that end in a reasonable time."""
    names = {"steps", "points_per_step", "learning_rate", "truncation", "batch_size", "seed"}
    if not isinstance(values, dict) or set(values) != names:
        raise InputError(f"fit_config of {path} does not have the keys {', '.join(sorted(names))}; make it again.")
    for name, most in (("steps", 10**5), ("points_per_step", 2**22), ("batch_size", 2**12)):
        whole_number(path, values, name, most)
    for name in ("learning_rate", "truncation"):
        if type(values[name]) not in (int, float) or not 0 < values[name] <= 10**6:
            raise InputError(f"{name} of {path} is {values[name]!r:.50}, not a number above 0; make it again.")
    if type(values["seed"]) is not int or not 0 <= values["seed"] <= MAX_SEED:
        raise InputError(f"seed of {path} is {values['seed']!r:.50}, not a whole number of 32 bits; make it again.")
    return FitConfig(**values)
