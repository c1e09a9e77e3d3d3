"""The settings of the pipeline for digits: small planar fields with three chunks of codes.

Each preset is a complete configuration of `training.presets`; the command line only overrides single fields.
"""

import dataclasses

from tokenization.presets import TokenizerConfig
from tokenization.train_codebook import CodebookConfig
from training.presets import PipelineConfig
from training.pretrain import PretrainConfig
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig

TRUNCATION = 15.0
"""Factor t of the loss. It is larger than the default because strokes are thin: distances far from the outline then
matter less."""

DIGITS = PipelineConfig(
    corpus="digits",
    held_out_fraction=0.125,
    augmentations=3,
    num_eval_points=4096,
    tokenizer=TokenizerConfig(
        num_points=2048,
        field=FieldConfig(in_features=2, hidden=(32, 32), num_frequencies=3),
        fit=FitConfig(steps=400, points_per_step=512, truncation=TRUNCATION),
        codebook=CodebookConfig(
            latent_width=48,
            coefficients=32,
            latent_decoder_width=384,
            num_quantizers=8,
            codebook_size=256,
            num_probes=1024,
            steps=7000,
            batch_size=64,
            points_per_step=256,
            truncation=TRUNCATION,
            surface_bandwidth=0.025,
        ),
        # The encoder has seen thousands of digits, so its codes need no refinement.
        encode=EncodeConfig(steps=0),
    ),
    gpt=PretrainConfig(model_size="small", epochs=4.0, batch_size=64),
)
"""Thousands of gray images of digits."""

QUICK = dataclasses.replace(
    DIGITS,
    held_out_fraction=0.4,
    augmentations=1,
    tokenizer=dataclasses.replace(
        DIGITS.tokenizer,
        num_init_fits=6,
        fit=dataclasses.replace(DIGITS.tokenizer.fit, steps=40),
        codebook=dataclasses.replace(
            DIGITS.tokenizer.codebook, latent_width=8, num_quantizers=2, codebook_size=32, steps=300
        ),
    ),
    gpt=PretrainConfig(model_size="nano", epochs=20.0, batch_size=16),
)
"""A run of seconds on a few hundred images; its figures mean nothing."""

PRESETS = {"full": DIGITS, "quick": QUICK}
"""The presets by name, as the command line takes them."""

SUMMARIES = {
    "full": "Thousands of gray images; give their folder as --corpus.",
    "quick": "A run of seconds on a few hundred images; its figures mean nothing.",
}
"""A sentence about each preset, for the help of the command line."""
