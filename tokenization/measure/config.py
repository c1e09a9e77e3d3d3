"""Settings of a measurement of tokenizers, and its presets.

A preset measures a preset of `tokenization.presets`, the same that the pipeline trains with.
"""

import dataclasses
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tokenization.presets import TOKENIZERS, TokenizerConfig
from tokenization.registry import NAMES, find_learner, relevant_settings
from weightgpt.errors import InputError, check_at_least, check_seed
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.shapes.families import FAMILIES
from weightgpt.visual.meshing import MIN_RESOLUTION

CORPORA = {"chairs": ["chair"], "six-families": list(FAMILIES)}
"""Built-in corpora and their families; any other corpus is a folder of meshes."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """Learn tokenizers and measure them on held-out shapes."""

    corpus: str = "six-families"
    """"chairs" or "six-families" for built-in shapes, or a folder of meshes whose sub-folders are the classes."""
    output: Path = Path("runs/tokenizers")
    """Folder of the results; several measurements may share it."""
    tokenizers: tuple[str, ...] = tuple(name for name in NAMES if find_learner(name).probes is None)
    """Tokenizers to measure, names of `tokenization.registry`; each in turn replaces `tokenizer.kind`."""
    classes: tuple[str, ...] = ()
    """Sub-folders of the folder of meshes to read; empty for all."""
    corpus_name: str | None = None
    """Name of the corpus on the page and in folders; None for the name of the built-in corpus or of the folder."""
    num_train: int = 16_384
    """Shapes to learn from. A folder of fewer meshes is augmented up to this number."""
    num_held_out: int = 192
    """Shapes to measure on."""
    max_fit_steps: int = 8 * FitConfig.steps
    """Largest number of steps of the plain fits: `tokenizer.fit.steps` are doubled while the fits still improve."""
    num_eval_points: int = 16_384
    """Uniform points at which IoU is measured."""
    resolution: int = 64
    """Grid points along each axis when shapes are meshed."""
    seed: int = 0
    """Seed of the shapes, the split, the fits and the learning."""
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    """How fields are fitted and tokenizers are learned."""

    def __post_init__(self) -> None:
        check_seed(self)
        check_at_least(self, 1, "num_train", "num_held_out", "max_fit_steps", "num_eval_points")
        check_at_least(self, MIN_RESOLUTION, "resolution")
        for name in self.tokenizers:
            if find_learner(name).probes is not None:
                raise InputError(
                    f"{name!r} reads shapes at probes of its own, and all tokenizers are measured at the same points;"
                    " leave it out, or run it with training.pipeline."
                )
        if self.classes and self.is_built_in:
            raise InputError(f"{self.corpus} is not a folder, so it has no sub-folders to choose; leave classes out.")
        if self.corpus_name is not None and self.corpus_name != Path(self.corpus_name).name:
            raise InputError(f"corpus_name is {self.corpus_name!r}; give a name without slashes.")

    @property
    def is_built_in(self) -> bool:
        """Whether the shapes are drawn from the built-in families instead of read from files."""
        return self.corpus in CORPORA

    @property
    def full_corpus_name(self) -> str:
        """Name of the corpus on the page and in folders, and the number of parameters of fields of unusual size."""
        name = self.corpus_name or (self.corpus if self.is_built_in else Path(self.corpus).name)
        parameters = self.tokenizer.field.parameters
        return name if parameters == FieldConfig().parameters else f"{name}-{parameters}"

    def benchmark_settings(self) -> dict[str, Any]:
        """Everything that decides shapes, samples and plain fits; measurements are comparable where it is equal."""
        tokenizer = self.tokenizer
        return {
            "corpus": self.corpus if self.is_built_in else Path(self.corpus).name,
            "classes": list(self.classes),
            **{name: getattr(self, name) for name in ("num_train", "num_held_out", "max_fit_steps")},
            **{name: getattr(self, name) for name in ("num_eval_points", "resolution", "seed")},
            "num_points": tokenizer.num_points,
            "num_init_fits": tokenizer.num_init_fits,
            "field": tokenizer.field.to_dict(),
            "fit": {**asdict(tokenizer.fit), "seed": self.seed},
        }

    def settings(self, tokenizer: str | None = None) -> dict[str, dict[str, Any]]:
        """The settings that a row depends on, as JSON values.

        Args:
            tokenizer: the name of a tokenizer; None for the plain fits.

        Raises:
            InputError: there is no such tokenizer.
        """
        parts = relevant_settings(self.of_kind(tokenizer)) if tokenizer else {}
        return {
            "benchmark": self.benchmark_settings(),
            "tokenizer": {name: asdict(value) for name, value in parts.items()},
        }

    def of_kind(self, tokenizer: str) -> TokenizerConfig:
        """The tokenizer settings with another kind.

        Args:
            tokenizer: the kind, a name of `tokenization.registry`.
        """
        return replace(self.tokenizer, kind=tokenizer)


def _quick() -> TokenizerConfig:
    """The built-in preset with few points and steps; a measurement takes two minutes."""
    preset = TOKENIZERS["built-in"]
    codebook = replace(preset.codebook, steps=200)
    return replace(preset, num_points=4096, fit=replace(preset.fit, steps=200), codebook=codebook)


PRESETS = {
    "built-in": MeasureConfig(tokenizer=TOKENIZERS["built-in"]),
    "mesh-files": MeasureConfig(corpus="meshes", num_train=4096, num_held_out=96, tokenizer=TOKENIZERS["mesh-files"]),
    "quick": MeasureConfig(
        num_train=64,
        num_held_out=12,
        max_fit_steps=200,
        num_eval_points=4096,
        resolution=32,
        tokenizer=_quick(),
    ),
}
"""Shapes of the built-in families; a folder of meshes; and a quick test of the program, whose values mean nothing."""
