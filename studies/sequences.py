"""A tokenizer, and its sequences for training, validating and measuring a GPT.

Decisions:
- `tokenization.measure` writes a folder for each tokenizer, and `training.pipeline` writes a folder for each run. Both
  hold the tokenizer, the sequences of its training shapes, and the sequences of held-out shapes.
- If the classes of a tokenizer are built-in families, we can also draw new shapes and encode them.

Dimensions: N training sequences, V validation sequences, H held-out sequences, L tokens of a sequence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.data.corpus import column_tensor, load_corpus, split_rows
from training.run import read_config
from weightgpt._programs import cached_folder
from weightgpt.errors import InputError
from weightgpt.io import read_json, read_tensors, write_tensors
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.families import FAMILIES, draw_shapes
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import NONE

DRAW_SEED = 1000
"""Least seed of drawn shapes. Runs and measurements use smaller seeds, so they have other shapes."""
VALIDATION_DIVISOR = 16
"""The number of validation sequences of a measured tokenizer is the number of training sequences divided by this."""


@dataclass(frozen=True)
class Sequences:
    """Token ids of one tokenizer."""

    train: Tensor
    """(N, L)."""
    validation: Tensor
    """(V, L)."""
    held_out: Tensor
    """(H, L)."""


@dataclass(frozen=True)
class TokenizedCorpus:
    """A tokenizer and the sequences of its shapes."""

    corpus: str
    """Name of the corpus."""
    name: str
    """Name of the tokenizer."""
    tokenizer: WeightTokenizer
    """The tokenizer."""
    sequences: Sequences
    """The shapes that the tokenizer was learned from, and held-out shapes."""
    reconstruction: dict[str, Any]
    """`iou` and `iou_ratio` of held-out shapes; empty if they were not measured."""


def load_measured(folder: Path) -> TokenizedCorpus:
    """A tokenizer that `tokenization.measure` wrote.

    Args:
        folder: its folder, `OUTPUT/CORPUS/TOKENIZER-…`.

    Raises:
        InputError: the folder holds no measured tokenizer.
    """
    tokenizer, ids = WeightTokenizer.from_pretrained(folder), read_tensors(folder / "ids.safetensors")
    train, rows_file = ids["train"].long(), folder.parents[1] / "tokenizers.json"
    num_train = len(train) - len(train) // VALIDATION_DIVISOR
    sequences = Sequences(train[:num_train], train[num_train:], ids["held_out"].long())
    rows = read_json(rows_file)["rows"] if rows_file.is_file() else []
    of_tokenizer = [row for row in rows if row.get("fingerprint") == tokenizer.quantizer.fingerprint]
    row = of_tokenizer[0] if of_tokenizer else {}
    reconstruction = {key: row[key] for key in ("iou", "iou_ratio") if key in row}
    name = row.get("tokenizer", folder.name)
    return TokenizedCorpus(folder.parent.name, name, tokenizer, sequences, reconstruction)


def load_run(folder: Path) -> TokenizedCorpus:
    """The tokenizer and the corpus of a run.

    Args:
        folder: folder of a finished run of `training.pipeline`.

    Raises:
        InputError: the run is not finished.
    """
    config, metrics = read_config(folder), read_json(folder / "metrics.json")
    corpus, tokenizer = load_corpus(folder / "corpus"), WeightTokenizer.from_pretrained(folder / "model")
    train, validation, test = (
        column_tensor(split_rows(corpus, split), "input_ids").long() for split in ("train", "validation", "test")
    )
    corpus_name = "built-in" if config.is_built_in else Path(config.corpus).name
    reconstruction = {key: metrics[key] for key in ("iou", "iou_ratio")}
    name = f"{config.tokenizer.kind} of {folder.name}"
    return TokenizedCorpus(corpus_name, name, tokenizer, Sequences(train, validation, test), reconstruction)


def draw_sequences(tokenizer: WeightTokenizer, num_train: int, num_held_out: int, seed: int, folder: Path) -> Sequences:
    """Draw built-in shapes and encode them, or read the sequences of an earlier call.

    The first sequences of a larger draw are those of a smaller draw.

    Args:
        tokenizer: the tokenizer.
        num_train: N.
        num_held_out: H and V.
        seed: seed of the shapes.
        folder: stores the sequences.

    Raises:
        InputError: the classes of the tokenizer are not built-in families.
    """
    families = [name for name in tokenizer.vocabulary.classes if name != NONE]
    if not set(families) <= set(FAMILIES) or not families:
        raise InputError(
            f"shapes of {', '.join(families) or 'no class'} cannot be drawn; use a tokenizer whose classes are built-in"
            " families."
        )
    fingerprint = tokenizer.quantizer.fingerprint
    parts = []
    for part, count in enumerate((num_train, num_held_out, num_held_out)):
        settings = {
            "fingerprint": fingerprint,
            "families": families,
            "count": count,
            "seed": DRAW_SEED + 3 * seed + part,
        }

        def write(draft: Path, settings: dict[str, Any] = settings) -> None:
            ids = _encode_families(tokenizer, families, settings["count"], settings["seed"])
            write_tensors(draft / "ids.safetensors", {"ids": ids.int()})

        part_folder = cached_folder(folder, settings, write, name=f"drawn-{count}")
        parts.append(read_tensors(part_folder / "ids.safetensors")["ids"].long())
    return Sequences(*parts)


def _encode_families(tokenizer: WeightTokenizer, families: list[str], count: int, seed: int) -> Tensor:
    """Ids (count, L) of drawn shapes, which are encoded in parts so that they fit into memory."""
    shapes, config = draw_shapes(count, seed, families), EncodeConfig(steps=0)
    rows = [
        tokenizer(shapes[first : first + 4096], encode=config, progress=True)["input_ids"]
        for first in range(0, count, 4096)
    ]
    return torch.cat(rows)
