"""The shapes of a run: drawn or read, split, and multiplied.

All that learns sees the training shapes. Further shapes, new drawings or more stretched copies of files, are for the
GPT alone: the encoder writes their codes in one pass, so they cost next to nothing.
"""

import sys
from dataclasses import replace
from typing import Any

from weightgpt.shapes.families import draw_shapes, lazy_shapes
from weightgpt.shapes.meshes import Refusal, load_shapes
from weightgpt.shapes.splits import Split, augment, split_shapes


def load_split(settings: dict[str, Any]) -> tuple[Split, list[Refusal]]:
    """Draw or load the shapes, say which files were refused, and split.

    Args:
        settings: of a run, as in its `config.json`.

    Raises:
        InputError: the folder cannot be used.
    """
    held, copies, more, seed = (
        settings[name] for name in ("num_held_out", "augmentations", "num_extra_shapes", "seed")
    )
    if settings["shapes"] is None:
        total = settings["num_shapes"] + held
        split = split_shapes(draw_shapes(total, seed), held / total, seed)
        return replace(split, extra=lazy_shapes(total, more, seed)), []
    shapes = load_shapes(settings["shapes"])
    for refusal in shapes.refused:
        print(f"refused: {refusal.reason}", file=sys.stderr)
    print(f"{len(shapes)} shapes, {len(shapes.refused)} files refused", file=sys.stderr)
    split = split_shapes(shapes, settings["held_out_fraction"], seed)
    count = (copies + 1) * len(split.train)
    train = augment(split.train, copies + -(-more // len(split.train)), seed, settings["mirror_all_axes"])
    return Split(train[:count], split.validation, split.test, train[count : count + more]), list(shapes.refused)
