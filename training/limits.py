"""Sizes of a run that cannot work, refused before the first stage has cost anything.

The stages check their inputs themselves. Here we ask the same questions as soon as the number of shapes is known, and
answer in the names of the settings.
"""

import os
import sys

from transformers.integrations.integration_utils import get_available_reporting_integrations

from training.presets import PipelineConfig
from training.pretrain import check_counts
from weightgpt.errors import InputError

LATENTS_PER_CODE = 4
"""Latents of each code of the first level, where few files get more copies."""
MAX_ADDED_COPIES = 1000
"""Most copies of each file that are made where few files could not fill the codebook."""
MEMORY_SHARE = 0.8
"""Share of the memory of the machine that distances and weights may fill."""

BYTES_PER_DISTANCE, BYTES_PER_WEIGHT, BYTES_PER_EXTRA_SHAPE = 2, 4, 2 * 2048
"""Bytes of a stored distance, of a weight, and of the distances of an extra shape at the probes."""
BYTES_PER_POINT, BYTES_PER_EVAL_DISTANCE = 2 * 3 * 4, 2 * 4
"""Bytes of a point, and of a distance at a point for evaluation, which are read again while those written are there."""
BYTES_PER_STREAM_SHAPE = 20_000
"""Bytes of a shape of a stream, such as one of the built-in families."""


def check_sizes(config: PipelineConfig, num_train: int, num_validation: int, num_extra: int) -> None:
    """Refuse a run whose shapes are too few for its quantizer or its GPT, or too many for the memory.

    Args:
        config: the settings of the run.
        num_train: training shapes, with their copies.
        num_validation: validation shapes.
        num_extra: shapes that only the GPT learns from.

    Raises:
        InputError: the sizes cannot work, or the GPT cannot report where it should.
    """
    check_memory(config, num_train, num_extra, num_validation)
    check_reporting(config)
    check_codes(config, num_train)
    check_counts(config.gpt, (num_train + num_extra) * max(1, config.latent_augmentations), num_validation)


def check_codes(config: PipelineConfig, num_train: int) -> None:
    """Refuse a run whose shapes or plain fits give fewer latents or vectors than there are codes.

    Args:
        config: the settings of the run.
        num_train: training shapes, with their copies.

    Raises:
        InputError: there are too few.
    """
    more = "num_shapes" if config.is_stream else "augmentations, or more files"
    sizes, latents = config.vector_sizes, config.num_latents(num_train)
    if sizes is not None:
        fits, per_fit = min(config.tokenizer.num_init_fits, num_train), sizes.per_fit(config.tokenizer.field.parameters)
        if not per_fit:
            raise InputError(
                f"fields of {config.tokenizer.field.parameters} parameters are too small for {sizes.groups} groups of"
                f" vectors of {sizes.width}; give wider layers in tokenizer.field.hidden."
            )
        least = max(2, -(-sizes.codes // per_fit))
        if fits < least:
            raise InputError(
                f"{fits} plain fits give {fits * per_fit} vectors for {sizes.codes} codes; give a"
                f" tokenizer.num_init_fits of {least} or more, and at least as many training shapes by more {more}."
            )
    elif latents is not None and latents < (codes := config.codebook_size):
        raise InputError(
            f"{num_train} training shapes give {latents} latents for {codes} codes; give more {more}, or a"
            f" tokenizer.{config.codebook_settings}.codebook_size of {latents} or less."
        )


def check_reporting(config: PipelineConfig) -> None:
    """Refuse a place to report to that the `Trainer` does not know, or whose package is missing.

    Args:
        config: the settings of the run.

    Raises:
        InputError: the `Trainer` cannot report there.
    """
    place, allowed = config.gpt.report_to, ("none", "all", *get_available_reporting_integrations())
    if place not in allowed:
        raise InputError(
            f"report_to is {place!r}; choose one of {', '.join(allowed)}, or install the package of another."
        )


def enough_augmentations(config: PipelineConfig, num_files: int) -> int:
    """The copies of each training file: those of the settings, or more if so few files could not fill the codebook.

    Args:
        config: the settings of the run.
        num_files: training files.

    Raises:
        InputError: each file would need more than `MAX_ADDED_COPIES` copies.
    """
    num_train, codes = num_files * (1 + config.augmentations), config.codebook_size
    latents = config.num_latents(num_train)
    if not num_files or latents is None or latents >= codes:
        return config.augmentations
    per_shape = latents // num_train
    copies = -(-LATENTS_PER_CODE * codes // (per_shape * num_files)) - 1
    if copies > MAX_ADDED_COPIES:
        most = per_shape * num_files * (1 + MAX_ADDED_COPIES) // LATENTS_PER_CODE
        raise InputError(
            f"{num_files} training files would need {copies:,} copies each for {codes:,} codes, and at most"
            f" {MAX_ADDED_COPIES:,} are made; give more files, or a"
            f" tokenizer.{config.codebook_settings}.codebook_size of {most} or less."
        )
    print(
        f"the number of training files is only {num_files}, few for {codes} codes: {copies} copies of each file"
        f" instead of {config.augmentations}.",
        file=sys.stderr,
    )
    return copies


def memory_limit() -> float:
    """Most bytes that the shapes of a run may fill."""
    return MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(config: PipelineConfig, num_train: int, num_extra: int, num_test: int) -> None:
    """Refuse more shapes than fit into the memory of the machine, as distances and as weights.

    Args:
        config: the settings of the run.
        num_train: training shapes, with their copies.
        num_extra: shapes that only the GPT learns from.
        num_test: test shapes; as many training shapes are evaluated.

    Raises:
        InputError: they do not fit.
    """
    num_points, num_eval_points = config.num_shared_points, 0 if config.is_table else config.num_eval_points
    per_shape = BYTES_PER_DISTANCE * num_points + BYTES_PER_WEIGHT * config.tokenizer.field.parameters
    if config.is_stream:
        per_shape += BYTES_PER_STREAM_SHAPE
    needed = num_train * per_shape + num_extra * BYTES_PER_EXTRA_SHAPE
    per_eval_point = BYTES_PER_POINT + 2 * num_test * BYTES_PER_EVAL_DISTANCE
    needed += num_points * BYTES_PER_POINT + num_eval_points * per_eval_point
    if needed > memory_limit():
        raise InputError(
            f"{num_train:,} training and {num_extra:,} extra shapes at {num_points:,} points, and"
            f" {num_test:,} test shapes at {num_eval_points:,} points, need"
            f" {needed / 1e9:,.0f} GB of memory, this machine has {memory_limit() / MEMORY_SHARE / 1e9:.0f} GB; give a"
            " smaller num_shapes, num_extra_shapes, augmentations, tokenizer.num_points or num_eval_points."
        )
