"""The shapes of a run: drawn or read from files, split, and augmented.

The quantizer and the GPT learn from the training shapes. Only the GPT learns from the extra shapes. These are new
drawn shapes or further copies of files; their codes cost one pass of the encoder.

Files of equal geometry stay on one side of the split, because a held-out copy of a training shape measures nothing.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.data.box_files import load_box_shapes
from training.data.distance_tables import load_distance_table
from training.data.given_split import join_given, split_given
from training.data.sources import STREAMS, partnet_paths
from training.limits import check_memory, check_sizes, enough_augmentations
from training.presets import PipelineConfig
from weightgpt.errors import InputError
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
        InputError: the files of the corpus cannot be used, or there are too few shapes to hold some out and learn from
            the others.
    """
    refusals: list[Refusal] = []
    if config.is_stream:
        split = _draw_split(config)
    elif config.partnet_classes:
        split = _add_copies(config, _read_boxes(config))
    else:
        split, refusals = (_read_table if config.is_table else _read_meshes)(config)
        split = _add_copies(config, split)
    if not split.train:
        raise InputError(
            f"held_out_fraction {config.held_out_fraction} leaves no shapes to learn from; give a smaller share."
        )
    check_sizes(config, len(split.train), len(split.validation), len(split.extra))
    return split, refusals


def _draw_split(config: PipelineConfig) -> Split:
    draw, total = STREAMS[config.corpus], config.num_shapes + config.num_held_out
    check_memory(config, total, config.num_extra_shapes, config.num_held_out // 2)
    split = split_shapes(draw(0, total, config.seed)[:], config.num_held_out / total, config.seed)
    return replace(split, extra=draw(total, config.num_extra_shapes, config.seed))


def _read_boxes(config: PipelineConfig) -> Split:
    files = [load_box_shapes(path, label) for label, path in partnet_paths(config).items()]
    return split_given(join_given(files), config.seed)


def _read_table(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
    table = load_distance_table(Path(config.corpus), config.seed)
    for refusal in table.refused:
        print(f"refused: {refusal.reason}", file=sys.stderr)
    print(f"{len(table.given.shapes)} shapes, {len(table.refused)} rows refused", file=sys.stderr)
    if table.given.parts:
        return split_given(table.given, config.seed), table.refused
    tell_duplicates(table.given.shapes)
    return split_shapes(table.given.shapes, config.held_out_fraction, config.seed), table.refused


def _read_meshes(config: PipelineConfig) -> tuple[Split, list[Refusal]]:
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
    return split_shapes(list(shapes), config.held_out_fraction, config.seed), list(shapes.refused)


def _add_copies(config: PipelineConfig, split: Split) -> Split:
    """Add the stretched and mirrored copies of the training shapes, and the extra shapes."""
    augmentations = enough_augmentations(config, len(split.train))
    num_train = (1 + augmentations) * len(split.train)
    extra_copies = -(-config.num_extra_shapes // max(1, len(split.train)))
    copies = augment(split.train, augmentations + extra_copies, config.seed, config.mirror_all_axes)
    extra = copies[num_train : num_train + config.num_extra_shapes]
    return Split(copies[:num_train], split.validation, split.test, extra)


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
