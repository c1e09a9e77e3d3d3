"""The shapes of a run: drawn or read from files, split, and augmented.

The quantizer and the GPT learn from the training shapes. Only the GPT learns from the extra shapes. These are new
shapes of the built-in families or further copies of files; their codes cost one pass of the encoder.

Files of equal geometry stay on one side of the split, because a held-out copy of a training shape measures nothing.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from training.limits import check_memory, check_sizes, enough_augmentations
from training.presets import PipelineConfig
from weightgpt.errors import InputError
from weightgpt.shapes.families import draw_shapes, lazy_shapes
from weightgpt.shapes.meshes import Refusal, load_shapes
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import Split, augment, duplicate_groups, split_shapes

NUM_NAMED = 5
"""Groups of equal files that are named on the console."""


def load_split(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
    """Draw or read the shapes of a run and split them; refused, repaired and equal files are reported on stderr.

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
    check_sizes(config, len(split.train), len(split.validation), len(split.extra))
    return split, refusals


def _draw_split(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
    total = config.num_shapes + config.num_held_out
    check_memory(config, total, config.num_extra_shapes)
    split = split_shapes(draw_shapes(total, config.seed), config.num_held_out / total, config.seed)
    return replace(split, extra=lazy_shapes(total, config.num_extra_shapes, config.seed)), []


def _read_split(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
    shapes = load_shapes(config.corpus, thickness=config.thickness)
    for refusal in shapes.refused:
        print(f"refused: {refusal.reason}", file=sys.stderr)
    for shape in shapes:
        for note in shape.notes:
            print(f"{shape.name}: {note}", file=sys.stderr)
    for note in shapes.notes:
        print(note, file=sys.stderr)
    print(f"{len(shapes)} shapes, {len(shapes.refused)} files refused", file=sys.stderr)
    tell_duplicates(shapes)
    split = split_shapes(list(shapes), config.held_out_fraction, config.seed)
    augmentations = enough_augmentations(config, len(split.train))
    num_train = (1 + augmentations) * len(split.train)
    extra_copies = -(-config.num_extra_shapes // max(1, len(split.train)))
    copies = augment(split.train, augmentations + extra_copies, config.seed, config.mirror_all_axes)
    extra = copies[num_train : num_train + config.num_extra_shapes]
    return Split(copies[:num_train], split.validation, split.test, extra), list(shapes.refused)


def tell_duplicates(shapes: Sequence[Shape]) -> None:
    """Name shapes of equal geometry on stderr; `split_shapes` keeps them on one side.

    Args:
        shapes: all shapes of the run.
    """
    equal = duplicate_groups(shapes)
    if equal:
        named = "; ".join(" = ".join(shape.name for shape in group) for group in equal[:NUM_NAMED])
        more = f" and {len(equal) - NUM_NAMED} more groups" if len(equal) > NUM_NAMED else ""
        print(
            f"duplicates: {sum(map(len, equal)) - len(equal)} files have the geometry of another file ({named}{more});"
            " equal files stay on one side of the split.",
            file=sys.stderr,
        )
