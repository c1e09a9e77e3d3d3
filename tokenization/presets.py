"""Named tokenizer settings: how to sample shapes, fit fields, learn a quantizer, and encode with it.

Each preset is a complete, frozen configuration. `training.presets` builds the presets of the whole pipeline from these,
and `tokenization.measure` measures them, so a setting is written down once.
"""

import dataclasses
from dataclasses import dataclass

from tokenization.autoencoder_training import MAX_STEPS
from tokenization.train_codebook import CodebookConfig
from tokenization.train_graph import GraphConfig
from tokenization.train_local import LocalConfig
from weightgpt.errors import InputError, check_at_least, check_at_most, check_types
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig

MAX_PARAMETERS = 10_000_000
"""Most weights of a field."""


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """All settings that decide what a tokenizer learns from a set of shapes."""

    kind: str = "rvq-ae"
    """How the quantizer is learned, a name of `tokenization.registry`."""
    num_points: int = 8192
    """Shared points at which all shapes are sampled for learning, besides the probes of an encoder of local chunks."""
    num_init_fits: int = 64
    """Training shapes with plain fits. The RVQ autoencoder takes its initial base and bases from them; weight VQ learns
    from these fits alone."""
    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    """The architecture of the fields."""
    fit: FitConfig = dataclasses.field(default_factory=FitConfig)
    """How plain fits are optimized."""
    codebook: CodebookConfig = dataclasses.field(default_factory=CodebookConfig)
    """How the RVQ autoencoder is learned; weight VQ ignores it."""
    local: LocalConfig = dataclasses.field(default_factory=LocalConfig)
    """How the autoencoder of local chunks is learned; all other quantizers ignore it."""
    graph: GraphConfig = dataclasses.field(default_factory=GraphConfig)
    """How the graph encoder is learned; all other quantizers ignore it."""
    encode: EncodeConfig = dataclasses.field(default_factory=EncodeConfig)
    """How the latents of a shape are refined when it is encoded."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, 1, "num_points", "num_init_fits")
        check_at_most(self, 10_000_000, "num_points", "num_init_fits")
        check_at_most(self.fit, MAX_STEPS, "steps", "points_per_step", "batch_size")
        check_at_most(self.encode, MAX_STEPS, "steps", "points_per_step", "num_points", "batch_size")
        if self.field.parameters > MAX_PARAMETERS:
            raise InputError(
                f"field has {self.field.parameters:,} parameters; give hidden layers of {MAX_PARAMETERS:,} or less."
            )


BUILT_IN = TokenizerConfig(
    # With five levels a field has 20 tokens instead of the 32 of eight levels, and is nearly as accurate as a plain
    # fit. We train eight levels, because with five trained levels more decoded shapes fell into pieces. Squared errors
    # and points from both sides of the surface keep thin parts attached. After 18,000 steps more shapes stay in one
    # piece than after 12,000.
    codebook=CodebookConfig(
        num_quantizers=5, trained_quantizers=8, steps=18_000, balance_sides=True, squared_weight=4.0
    ),
    # The encoder has seen thousands of shapes of these families, so its codes need no refinement.
    encode=EncodeConfig(steps=0),
)
"""Thousands of shapes drawn from the built-in families."""

MESH_FILES = TokenizerConfig(
    # A GPT that learns from few shapes does best with short sequences of smooth codes. Those of an encoder are smooth,
    # and a few steps of refinement leave them smooth.
    codebook=CodebookConfig(
        num_quantizers=8, trained_quantizers=16, steps=12_000, balance_sides=True, squared_weight=4.0
    ),
    # Held-out files lose their thinnest parts unless half of the points lie near the surface of the file.
    encode=EncodeConfig(steps=50, learning_rate=3e-2, surface_fraction=0.5),
)
"""A few hundred mesh files and their augmentations."""

FREE_COMPOSITIONS = TokenizerConfig(
    kind="local",
    field=FieldConfig(hidden=(96, 96, 96), grids=(4,)),
    local=LocalConfig(steps=6000, batch_size=16, points_per_step=1536),
    encode=EncodeConfig(steps=0),
)
"""Free compositions of primitives: 64 chunks, each near one place."""

TOKENIZERS = {
    "built-in": BUILT_IN,
    "mesh-files": MESH_FILES,
    "compositions": FREE_COMPOSITIONS,
    "built-in-weight-vq": dataclasses.replace(BUILT_IN, kind="residual-vq"),
    "mesh-files-weight-vq": dataclasses.replace(MESH_FILES, kind="residual-vq"),
}
"""The presets by name."""
