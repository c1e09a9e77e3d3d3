"""Sequences of tokens to learn from, to stop by and to judge by, and the tokenizers that wrote them.

Decisions:
- A tokenizer is read from its folder, as `tokenization.measure` leaves it, or from the folder of a run; both hold the
  sequences of the shapes that it was learned from and of shapes held out.
- Of a tokenizer whose classes are built-in families more sequences are made by drawing new shapes.

Dimensions: N, V, H sequences to learn from, to stop by and held out, L tokens of a sequence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import load_from_disk
from torch import Tensor

from training.data.corpus import column_tensor, split_rows
from training.run import read_config
from weightgpt.errors import InputError
from weightgpt.io import read_json, read_tensors, write_tensors
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.families import FAMILIES, draw_shapes
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import NONE

FIRST_SEED = 1000
"""Of drawn shapes, so that they are not those of a run or a measurement."""


@dataclass(frozen=True)
class Ids:
    """Sequences of one tokenizer."""

    train: Tensor
    """(N, L)."""
    validation: Tensor
    """(V, L)."""
    held: Tensor
    """(H, L)."""


@dataclass(frozen=True)
class Source:
    """A tokenizer, where it comes from, and how near its fields are to held-out shapes."""

    corpus: str
    name: str
    tokenizer: WeightTokenizer
    ids: Ids
    """The sequences it comes with."""
    near: dict[str, Any]
    """`iou` and `iou_ratio` (to the plain fit); empty where they were not measured."""


def of_folder(folder: Path) -> Source:
    """A tokenizer in the folder DIR/CORPUS/NAME of a measurement; one in 16 of its training shapes validates.

    Raises:
        InputError: the folder holds no measured tokenizer.
    """
    tokenizer, found = WeightTokenizer.from_pretrained(folder), read_tensors(folder / "ids.safetensors")
    ids, rows = found["train"].long(), folder.parents[1] / "tokenizers.json"
    cut = len(ids) - len(ids) // 16
    known = read_json(rows)["rows"] if rows.is_file() else []
    near: dict[str, Any] = next((r for r in known if r.get("fingerprint") == tokenizer.quantizer.fingerprint), {})
    name = near.get("tokenizer", folder.name)
    return Source(folder.parent.name, name, tokenizer, Ids(ids[:cut], ids[cut:], found["held"].long()), near)


def of_run(folder: Path) -> Source:
    """The tokenizer of a run, with the sequences of the run's corpus.

    Raises:
        InputError: the run has not got so far.
    """
    config, figures = read_config(folder), read_json(folder / "metrics.json")
    corpus, tokenizer = load_from_disk(str(folder / "corpus")), WeightTokenizer.from_pretrained(folder / "model")
    ids = [column_tensor(split_rows(corpus, name), "input_ids").long() for name in ("train", "validation", "test")]
    near = {"iou": figures["iou"], "iou_ratio": figures["iou_ratio"]}
    name = f"{config.tokenizer.kind} of {folder.name}"
    return Source("built-in" if config.is_built_in else Path(config.corpus).name, name, tokenizer, Ids(*ids), near)


def draw(tokenizer: WeightTokenizer, count: int, held: int, seed: int, folder: Path) -> Ids:
    """Sequences of `count` new built-in shapes to learn from, of `held` others to stop by, and as many to judge by.

    They are kept in `folder`; a shape depends on its number, so the first of many are those of few.

    Raises:
        InputError: the classes of the tokenizer are no built-in families.
    """
    families = [name for name in tokenizer.vocabulary.classes if name != NONE]
    if not set(families) <= set(FAMILIES) or not families:
        raise InputError(f"shapes of {', '.join(families) or 'no class'} cannot be drawn; leave out --sizes.")
    parts = []
    for index, wanted in enumerate((count, held, held)):
        own = FIRST_SEED + 3 * seed + index
        path = folder / f"{tokenizer.quantizer.fingerprint}-{own}-{wanted}.safetensors"
        if not path.is_file():
            shapes, rows = draw_shapes(wanted, own, families), []
            for first in range(0, wanted, 4096):
                some = shapes[first : first + 4096]
                rows.append(tokenizer(some, encode=EncodeConfig(steps=0), progress=True)["input_ids"])
            write_tensors(path, {"ids": torch.cat(rows).int()})
        parts.append(read_tensors(path)["ids"].long())
    return Ids(*parts)
