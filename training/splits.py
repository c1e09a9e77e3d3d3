"""The shapes of a run: drawn or read from files, split, and augmented.

The quantizer and the GPT learn from the training shapes. Only the GPT learns from the extra shapes. These are new
shapes of the built-in families or further copies of files; their codes cost one pass of the encoder.
"""

import sys
from dataclasses import replace

from training.presets import PipelineConfig
from weightgpt.errors import InputError
from weightgpt.shapes.families import draw_shapes, lazy_shapes
from weightgpt.shapes.meshes import Refusal, load_shapes
from weightgpt.shapes.splits import Split, augment, split_shapes


def load_split(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
    """Draw or read the shapes of a run and split them; refused files are reported on stderr.

    Args:
        config: the configuration of the run.

    Returns:
        The split, and the files that were refused.

    Raises:
        InputError: the folder of meshes cannot be used, or there are too few shapes to hold some out and learn from the
            others.
    """
    split, refusals = _draw_split(config) if config.is_built_in else _read_split(config)
    if not split.train:
        raise InputError(
            f"held_out_fraction {config.held_out_fraction} leaves no shapes to learn from; give a smaller share."
        )
    return split, refusals


def _draw_split(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
    total = config.num_shapes + config.num_held_out
    split = split_shapes(draw_shapes(total, config.seed), config.num_held_out / total, config.seed)
    return replace(split, extra=lazy_shapes(total, config.num_extra_shapes, config.seed)), []


def _read_split(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
    shapes = load_shapes(config.corpus)
    for refusal in shapes.refused:
        print(f"refused: {refusal.reason}", file=sys.stderr)
    print(f"{len(shapes)} shapes, {len(shapes.refused)} files refused", file=sys.stderr)
    split = split_shapes(list(shapes), config.held_out_fraction, config.seed)
    num_train = (1 + config.augmentations) * len(split.train)
    extra_copies = -(-config.num_extra_shapes // len(split.train))
    copies = augment(split.train, config.augmentations + extra_copies, config.seed, config.mirror_all_axes)
    extra = copies[num_train : num_train + config.num_extra_shapes]
    return Split(copies[:num_train], split.validation, split.test, extra), list(shapes.refused)
