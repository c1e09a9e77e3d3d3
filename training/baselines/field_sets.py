"""The fields that a baseline learns, read from a run of the pipeline.

Decisions:
- A baseline learns from weights and classes; it does not see the shapes.
- By default a baseline learns the fields that our tokens decode to, including those of the extra shapes. All models of
  a comparison then learn the same fields. These fields lie in the small subspace of our decoder, so they are much
  easier to learn than plain fits. Learning the decoder is part of our method.
- With plain fits a baseline learns as its authors published. The budget does not include the cost of the fits.

Dimensions: N training fields, V held-out fields, P parameters of a field.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.data.corpus import column_tensor, load_corpus, split_rows
from training.presets import PipelineConfig
from training.run import read_config
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import fit
from weightgpt.io import read_tensors
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.shapes.sampling import Samples
from weightgpt.tokens.quasirandom import stratified_labels
from weightgpt.tokens.tokenizer import WeightTokenizer

DECODE_BATCH = 1024
"""Fields decoded at once."""


@dataclass(frozen=True)
class FieldSets:
    """The fields that every baseline learns."""

    field_config: FieldConfig
    """The architecture of the fields."""
    train: Tensor
    """(N, P) weights."""
    validation: Tensor
    """(V, P) weights of held-out shapes, for the reported loss; no choice depends on them."""
    labels: tuple[str, ...]
    """N class names of the training fields."""
    shared_init: Tensor
    """(P,) weights that all fits started from."""

    def __post_init__(self) -> None:
        rows = {"training": self.train, "held-out": self.validation, "shared_init": self.shared_init[None]}
        for name, weights in rows.items():
            if weights.ndim != 2 or weights.shape[1] != self.field_config.parameters or not len(weights):
                raise InputError(
                    f"the {name} fields have shape {tuple(weights.shape)}; give rows of"
                    f" {self.field_config.parameters} weights."
                )
            if not torch.isfinite(weights).all():
                raise InputError(f"the {name} fields have NaN or infinite weights; leave those fields out.")
        if len(self.labels) != len(self.train):
            raise InputError(f"{len(self.train)} training fields have {len(self.labels)} labels; give one for each.")

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def class_index(self) -> Tensor:
        """(N,) the index in `classes` of each training field."""
        index = {name: i for i, name in enumerate(self.classes)}
        return torch.tensor([index[label] for label in self.labels])

    def draw_labels(self, n: int, seed: int) -> list[str]:
        """Draw n class names, as often as they occur in training (see `weightgpt.tokens.quasirandom`).

        Args:
            n: number of classes to draw.
            seed: equal seeds give equal classes.
        """
        return stratified_labels(self.labels, n, seed)

    def draw_classes(self, n: int, seed: int) -> Tensor:
        """Draw n classes like `draw_labels`, as indices (n,) in `classes`.

        Args:
            n: number of classes to draw.
            seed: equal seeds give equal classes.
        """
        index = {name: i for i, name in enumerate(self.classes)}
        return torch.tensor([index[label] for label in self.draw_labels(n, seed)])


def load_field_sets(run: Path, num_plain_fits: int = 0) -> FieldSets:
    """Read the fields of a run.

    Args:
        run: folder of a run of training.pipeline.
        num_plain_fits: 0 for the fields that the tokens of the run decode to; else plain fits of that many training
            shapes.

    Raises:
        InputError: the folder is not a run with a corpus.
    """
    if not (run / "corpus").is_dir():
        raise InputError(f"{run} has no corpus; give the folder of a run of training.pipeline.")
    corpus, config = load_corpus(run / "corpus"), read_config(run)
    splits = {name: split_rows(corpus, name) for name in ("train", "validation")}
    shared_init = read_tensors(run / "fits" / "shared_init.safetensors")["flat"]
    labels = list(splits["train"]["label"])
    if num_plain_fits:
        weights = fit_plainly(run, config, shared_init, num_plain_fits)
    else:
        weights = {name: column_tensor(rows, "weights") for name, rows in splits.items()}
        extra, extra_labels = decode_extra_fields(run, config.tokenizer.field, labels)
        weights["train"], labels = torch.cat([weights["train"], extra]), labels + extra_labels
    return FieldSets(
        field_config=config.tokenizer.field,
        **weights,
        labels=tuple(labels[: len(weights["train"])]),
        shared_init=shared_init,
    )


def decode_extra_fields(run: Path, field_config: FieldConfig, labels: list[str]) -> tuple[Tensor, list[str]]:
    """Weights (N, P) and classes of the extra shapes of a run, which stores only their tokens; N may be 0.

    Args:
        run: folder of the run.
        field_config: the architecture of the fields.
        labels: classes of the training shapes, for the vocabulary.
    """
    path = run / "extra_shapes.safetensors"
    if not path.is_file() or not len(ids := read_tensors(path)["input_ids"].long()):
        return torch.zeros(0, field_config.parameters), []
    tokenizer = WeightTokenizer.create(AutoQuantizer.from_pretrained(run / "codebook"), labels)
    codes, extra_labels = tokenizer.vocabulary.parse(ids)
    return torch.cat([tokenizer.quantizer.decode(part).flat for part in codes.split(DECODE_BATCH)]), extra_labels


def fit_plainly(run: Path, config: PipelineConfig, shared_init: Tensor, count: int) -> dict[str, Tensor]:
    """Plain fits of the first training shapes and of the validation shapes; the folder of the run caches them.

    Args:
        run: folder of the run.
        config: its configuration.
        shared_init: (P,) weights that the fits start from.
        count: largest number of shapes of each split.
    """
    tensors, weights = read_tensors(run / "sdf_samples.safetensors"), {}
    for name in ("train", "validation"):
        samples = Samples(tensors["points"], tensors[name]).select(slice(0, count))
        weights[name] = fit(
            config.tokenizer.field,
            samples,
            config.tokenizer.fit,
            shared_init=shared_init,
            folder=run / "fits" / f"plain-{name}-{len(samples.sdf)}",
            progress=f"plain fits, {name}",
        ).fields.flat
    return weights
