"""Sequences of `tiny_tokenizer`, and the folders that a measurement and a run leave of it."""

from pathlib import Path

import torch

from studies.sequences import Sequences
from tests.fakes import generator, tiny_tokenizer
from tokenization.presets import TokenizerConfig
from training.data.corpus import SPLITS, build_corpus, save_corpus
from training.presets import PipelineConfig
from training.run import Run
from weightgpt.io import write_json, write_tensors


def to_ids(codes: torch.Tensor) -> torch.Tensor:
    """Codes (B, 3, 2) of `tiny_tokenizer` as ids, all of the class "chair"."""
    return tiny_tokenizer().vocabulary.ids(codes, ["chair"] * len(codes))


def random_sequences(counts: tuple[int, int, int]) -> Sequences:
    """Random codes: `counts` sequences for training, validation and measurement."""
    random = generator(0)
    return Sequences(*(to_ids(torch.randint(8, (count, 3, 2), generator=random)) for count in counts))


def write_measured(folder: Path, sequences: Sequences) -> None:
    """What `tokenization.measure` leaves of a tokenizer called "tiny" of the corpus "balls"."""
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder / "balls" / "tiny-1234")
    ids = {"train": torch.cat([sequences.train, sequences.validation]).int(), "held_out": sequences.held_out.int()}
    write_tensors(folder / "balls" / "tiny-1234" / "ids.safetensors", ids)
    row = {"corpus": "balls", "tokenizer": "tiny", "fingerprint": tokenizer.quantizer.fingerprint, "iou_ratio": 0.75}
    write_json(folder / "tokenizers.json", {"rows": [row, {**row, "fingerprint": "another"}]})


def write_run(folder: Path, counts: tuple[int, int, int]) -> None:
    """What `training.pipeline` leaves of a run on files. Shape i has the code i mod 8 at every position."""
    tokenizer, count = tiny_tokenizer(), sum(counts)
    codes = torch.arange(count)[:, None, None].expand(count, 3, 2) % 8
    splits = [name for name, number in zip(SPLITS, counts, strict=True) for _ in range(number)]
    weights, names, nothing = tokenizer.quantizer.decode(codes).flat, [str(i) for i in range(count)], [None] * count
    corpus = build_corpus(names, ["chair"] * count, splits, weights, to_ids(codes), nothing, nothing)
    save_corpus(corpus, folder / "corpus")
    tokenizer.save_pretrained(folder / "model")
    Run(PipelineConfig(corpus="files/balls", tokenizer=TokenizerConfig(kind="fsq")), folder).write_config()
    write_json(folder / "metrics.json", {"iou": 0.5, "iou_ratio": 0.625})
