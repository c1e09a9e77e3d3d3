"""The rows of a comparison: where the shapes of each row come from, and what they cost.

Decisions:
- Rows of samples have every class as often as it occurs in training, stratified over the sets, because a random mix of
  classes would make the metrics of a set worse. `independent-codes` uses the class too: each code is drawn from the
  codes that training shapes of the class have at that position.
- Rows of training shapes have no more sets than there are such shapes; copies of files do not count. The memorization
  check of these rows shows how copies score.
- Plain fits and round trips are copies of single training shapes, so only these rows have a recall of thin parts.
- A baseline that learned the fields of our tokens needs our tokenizer, as our GPT does, so its cost includes learning
  the tokenizer. A baseline that learned plain fits needs no tokenizer, and the cost of the plain fits is not counted.
- A baseline that generates no fields, as MeshGPT does, has a cost and loss curves, and no metrics of shapes.

Dimensions: n shapes of a row, N training shapes, L tokens.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from training.compare.flops import run_cost, tokenizer_flops
from training.compare.noise import (
    Decoder,
    add_noise,
    best_amount,
    plain_fit_weights,
    sweep_noise,
    training_latents,
)
from training.compare.reference_sets import ReferenceSets
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import load_fields
from weightgpt.io import read_json
from weightgpt.metrics.shape_set import ShapeSet
from weightgpt.quantizers.codes import fingerprint
from weightgpt.tokens.quasirandom import stratified_labels

BASELINE_COSTS = ("parameters", "bytes", "steps", "train_flops", "sample_flops", "seconds")
"""Values of a baseline's `cost.json` that its row repeats."""


@dataclass(frozen=True)
class RowSamples:
    """The shapes of a row."""

    shapes: ShapeSet | None
    """The shapes, meshed; None for a baseline that generates no fields."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further values of the row, such as the noise sweep or loss curves."""


@dataclass(frozen=True)
class RowSource(ABC):
    """A row of the comparison."""

    uses_training_shapes: ClassVar[bool] = False
    """Whether the row has one shape for each of the first training shapes."""
    is_copy: ClassVar[bool] = False
    """Whether the i-th shape should equal the i-th training shape."""

    name: str
    """Name of the row."""

    @abstractmethod
    def samples(self, sets: ReferenceSets) -> RowSamples:
        """Get the shapes of the row.

        Args:
            sets: the run.
        """

    def cost(self, sets: ReferenceSets) -> dict[str, Any]:
        """The cost of the row, for rows that were learned.

        Args:
            sets: the run.
        """
        return {}

    def settings(self, sets: ReferenceSets) -> dict[str, Any]:
        """Settings of this row alone; the row is measured again when one changes.

        Args:
            sets: the run.
        """
        return {}

    def mesh(self, sets: ReferenceSets, fields: Fields) -> ShapeSet:
        """Mesh the fields of the row.

        Args:
            sets: the run.
            fields: n fields.
        """
        return sets.mesh(fields.sdfs(), f"meshing {self.name}", dense=self.is_copy)


class ReferenceRow(RowSource):
    """True training shapes: the score of a perfect generator."""

    uses_training_shapes = True

    def samples(self, sets: ReferenceSets) -> RowSamples:
        """The first training shapes.

        Args:
            sets: the run.
        """
        return RowSamples(sets.training_shapes)


class PlainFitRow(RowSource):
    """Fields fitted to training shapes, without quantization."""

    uses_training_shapes = is_copy = True

    def samples(self, sets: ReferenceSets) -> RowSamples:
        """Plain fits of the first training shapes.

        Args:
            sets: the run.
        """
        return RowSamples(self.mesh(sets, sets.plain_fits))


class RoundTripRow(RowSource):
    """The fields that the tokens of training shapes decode to."""

    uses_training_shapes = is_copy = True

    def samples(self, sets: ReferenceSets) -> RowSamples:
        """Decode the tokens of the first training shapes.

        Args:
            sets: the run.
        """
        return RowSamples(self.mesh(sets, sets.model.tokenizer.decode(sets.ids[: sets.num_training])))


class IndependentCodesRow(RowSource):
    """Codes drawn independently, without a model."""

    def samples(self, sets: ReferenceSets) -> RowSamples:
        """Draw sequences from the frequencies of the codes, and decode them.

        Args:
            sets: the run.
        """
        seed = sets.config.seed
        new_labels = stratified_labels(sets.labels, sets.num_samples, seed)
        ids = draw_independent_codes(sets.ids, sets.labels, new_labels, seed)
        return RowSamples(self.mesh(sets, sets.model.tokenizer.decode(ids)))


class NoiseRow(RowSource):
    """Training fields with noise, at the best amount that passes the memorization check."""

    uses_training_shapes = True

    @abstractmethod
    def values(self, sets: ReferenceSets) -> tuple[Tensor, Decoder]:
        """The values that the noise is added to, and the function that makes fields of them.

        Args:
            sets: the run.
        """

    def samples(self, sets: ReferenceSets) -> RowSamples:
        """Choose the amount of noise, and add it.

        Args:
            sets: the run.
        """
        values, decode = self.values(sets)
        sweep = sweep_noise(sets, values, decode)
        amount = best_amount(sweep)
        fields = decode(add_noise(values, amount, sets.config.seed))
        return RowSamples(self.mesh(sets, fields), {"noise": amount, "noise_sweep": sweep})


class WeightNoiseRow(NoiseRow):
    """Plain fits of training shapes with noise on their weights."""

    def values(self, sets: ReferenceSets) -> tuple[Tensor, Decoder]:
        """Weights of plain fits.

        Args:
            sets: the run.
        """
        return plain_fit_weights(sets)


class LatentNoiseRow(NoiseRow):
    """Training shapes with noise on their latents."""

    def values(self, sets: ReferenceSets) -> tuple[Tensor, Decoder]:
        """Latents of the codes of training shapes.

        Args:
            sets: the run.
        """
        return training_latents(sets)


@dataclass(frozen=True)
class ModelRow(RowSource):
    """Samples of the GPT of the run."""

    quasi_random: bool = True
    """Whether the samples of a set are quasi-random, as `generate` draws them by default, or independent."""

    def samples(self, sets: ReferenceSets) -> RowSamples:
        """Generate shapes with the sampling settings of the comparison.

        Args:
            sets: the run.
        """
        labels = stratified_labels(sets.labels, sets.num_samples, sets.config.seed)
        generated = sets.model.generate(
            sets.num_samples,
            labels,
            seed=sets.config.seed,
            quasi_random=self.quasi_random,
            progress=True,
            temperature=sets.temperature,
            top_p=sets.config.top_p,
        )
        return RowSamples(self.mesh(sets, generated.fields))

    def cost(self, sets: ReferenceSets) -> dict[str, Any]:
        """The cost of the tokenizer and of the GPT.

        Args:
            sets: the run.
        """
        return run_cost(sets.options.run, sets.model)

    def settings(self, sets: ReferenceSets) -> dict[str, Any]:
        """How the samples are drawn, and the fingerprint of the GPT.

        Args:
            sets: the run.
        """
        gpt = fingerprint({}, sets.model.gpt.state_dict())
        return {"temperature": sets.temperature, "top_p": sets.config.top_p, "gpt": gpt}


@dataclass(frozen=True)
class BaselineRow(RowSource):
    """Samples of a baseline, read from the folder that `training.baselines` wrote."""

    folder: Path
    """The folder of the baseline."""

    def samples(self, sets: ReferenceSets) -> RowSamples:
        """Read the first fields of the baseline, or its loss curves if it generates no fields.

        Args:
            sets: the run.

        Raises:
            InputError: the folder has neither fields nor loss curves.
        """
        path, cost = self.folder / "fields.safetensors", read_json(self.folder / "cost.json")
        if path.is_file():
            fields = load_fields(path)[0]
            return RowSamples(self.mesh(sets, fields.select(slice(0, sets.num_samples))))
        if "histories" not in cost:
            raise InputError(
                f"{self.folder} has neither fields nor loss curves; train the baseline again, or remove the folder."
            )
        count = cost["num_samples"]
        details = {"count": count, "compared": 0, "open_share": 1 - cost["watertight"] / count}
        return RowSamples(None, details | {"loss_curves": cost["histories"]})

    def cost(self, sets: ReferenceSets) -> dict[str, Any]:
        """The cost of the baseline, and of the tokenizer whose fields it learned.

        Args:
            sets: the run.
        """
        cost = read_json(self.folder / "cost.json")
        values = {key: cost[key] for key in BASELINE_COSTS}
        if (self.folder / "fields.safetensors").is_file() and not cost["num_plain_fits"]:
            values["train_flops"] += tokenizer_flops(sets.options.run, sets.model)
        return values


ROWS: dict[str, RowSource] = {
    row.name: row
    for row in (
        ReferenceRow("reference"),
        PlainFitRow("plain-fit"),
        RoundTripRow("round-trip"),
        IndependentCodesRow("independent-codes"),
        WeightNoiseRow("weight-noise"),
        LatentNoiseRow("latent-noise"),
        ModelRow("ours-independent", quasi_random=False),
        ModelRow("ours"),
    )
}
"""The rows of every comparison, by name."""
OURS = ("ours-independent", "ours")
"""The rows that stand after the baselines."""


def row_sources(baselines: Path | None) -> list[RowSource]:
    """All rows of a comparison, in order.

    Args:
        baselines: a folder with one folder for each trained baseline; None for no baselines.
    """
    folders = sorted(path.parent for path in baselines.glob("*/cost.json")) if baselines else []
    references = [row for name, row in ROWS.items() if name not in OURS]
    return [*references, *(BaselineRow(folder.name, folder) for folder in folders), *(ROWS[name] for name in OURS)]


def draw_independent_codes(ids: Tensor, labels: list[str], new_labels: list[str], seed: int) -> Tensor:
    """Sequences (n, L) whose codes are as frequent as among training shapes of their class.

    Args:
        ids: (N, L) tokens of training shapes.
        labels: N classes of them.
        new_labels: n classes of the new sequences.
        seed: equal seeds give equal sequences.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for name in new_labels:
        same_class = ids[torch.tensor([label == name for label in labels])]
        index = torch.randint(len(same_class), (1, ids.shape[1]), generator=generator)
        rows.append(same_class.gather(0, index)[0])
    return torch.stack(rows)
