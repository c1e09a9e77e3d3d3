"""How many bits does a GPT need for a field? `python -m studies.bits`.

We train a GPT-2 on the sequences of each tokenizer. We measure its cross-entropy on the code tokens of shapes that
neither the tokenizer nor the GPT has seen, and the cross-entropy of the same codes under a model of independent codes.

Decisions:
- Bits count the code tokens alone; the GPT reads the class first. Early stopping uses other shapes.
- The tokenizers of a corpus were learned from the same shapes, so their rows can be compared. With `--sizes` we draw
  new built-in shapes instead, and train one GPT for each number of shapes.
- All GPTs have the same layers and the same budget of floating-point operations, and make at most `max_epochs` passes
  over their sequences. So a GPT of long sequences takes fewer steps.
- A trained GPT stays in a folder that is named after its settings, so the same command resumes.

Dimensions: N, V, H sequences for training, validation and measurement, L tokens of a sequence, T codes of a field, K
codes of a level.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging

from studies.bits.page import BUILT_IN_SHAPES, CORPUS, PAGE_FILE, Row, add_rows, markdown_rows, write_page
from studies.sequences import Sequences, TokenizedCorpus, draw_sequences, load_measured, load_run
from training.compare.flops import step_flops
from training.data.corpus import sequence_dataset
from training.pretrain import MODEL_SIZES, PretrainConfig, code_loss, new_model, pretrain
from weightgpt import __version__
from weightgpt._programs import cached, cli_main, command_line, parse, settings_digest
from weightgpt.errors import InputError, check_at_least, check_positive, check_seed, check_share
from weightgpt.io import read_json
from weightgpt.tokens.tokenizer import WeightTokenizer

SMOOTHING = tuple(4.0**power for power in range(-6, 4))
"""Candidates for the number that is added to every count of a code; the validation sequences decide."""
STEP_TOKENS = 2048
"""Tokens of a training step, about. A step never has more than 32 sequences."""


@dataclass(frozen=True, kw_only=True)
class BitsConfig:
    """Train GPTs on the sequences of tokenizers, and measure the bits that they need for a field."""

    output: Path = Path("runs/bits")
    """Folder of the figures, the page and the GPTs; several commands may share it."""
    measurements: Path = Path("runs/tokenizers")
    """Folder of `tokenization.measure`; the bits are also added to the rows of its `tokenizers.json`."""
    corpus: str = "six-families"
    """Name of a corpus in that folder."""
    tokenizers: tuple[str, ...] = ()
    """Names of tokenizers of that corpus; empty for all."""
    run: Path | None = None
    """Folder of a run of `training.pipeline`; its tokenizer is measured instead of those of the corpus."""
    sizes: tuple[int, ...] = ()
    """Numbers of new built-in shapes to train on; empty to train on the sequences that come with the tokenizer."""
    num_held_out: int = 512
    """New built-in shapes to measure on, and further ones for early stopping; only with `sizes`."""
    model_size: str = "small"
    """Size of the GPT: nano, tiny, small, medium or large."""
    max_train_flops: float = 12e12
    """Largest number of floating-point operations of the training of a GPT."""
    max_epochs: float = 24.0
    """Largest number of passes over the training sequences; early stopping may end sooner."""
    dropout: float = 0.0
    """Dropout of the GPT."""
    seed: int = 0
    """Seed of the new shapes, of the initial weights and of the order of the data."""

    def __post_init__(self) -> None:
        if self.model_size not in MODEL_SIZES:
            raise InputError(f"model_size is {self.model_size!r}; choose one of {', '.join(MODEL_SIZES)}.")
        check_seed(self)
        check_at_least(self, 1, "num_held_out")
        check_positive(self, "max_train_flops", "max_epochs")
        check_share(self, "dropout")
        if min(self.sizes, default=1) < 1:
            raise InputError(f"sizes are {', '.join(map(str, self.sizes))}; give numbers of 1 or more.")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that decide the figures of a tokenizer."""
        names = ("model_size", "max_train_flops", "max_epochs", "dropout", "num_held_out", "seed")
        return {name: getattr(self, name) for name in names}


def run_study(config: BitsConfig, command: str) -> list[Row]:
    """Measure all tokenizers and write the page.

    Args:
        config: what to measure.
        command: the command line, for the page.

    Returns:
        The new rows of `predictability.json`.

    Raises:
        InputError: there are no such tokenizers, or shapes of their classes cannot be drawn.
    """
    rows: list[Row] = []
    for source in load_sources(config):
        sequences, sizes = source.sequences, config.sizes
        if sizes:
            folder = config.output / "drawn"
            sequences = draw_sequences(source.tokenizer, max(sizes), config.num_held_out, config.seed, folder)
        for size in sizes or (len(sequences.train),):
            part = Sequences(sequences.train[:size], sequences.validation, sequences.held_out)
            rows.append(
                {
                    "training_set": BUILT_IN_SHAPES if sizes else CORPUS,
                    "corpus": source.corpus,
                    "tokenizer": source.name,
                    "fingerprint": source.tokenizer.quantizer.fingerprint,
                    "settings": config.settings,
                    "command": command,
                    **measure_bits(source, part, config),
                    **{key: source.reconstruction.get(key) for key in ("iou", "iou_ratio")},
                }
            )
            add_rows(config.output, rows[-1:], None if config.run else config.measurements)
    write_page(config.output)
    return rows


def load_sources(config: BitsConfig) -> list[TokenizedCorpus]:
    """The tokenizers to measure.

    Args:
        config: the run, or the folder, the corpus and the names.

    Raises:
        InputError: there are none.
    """
    if config.run:
        return [load_run(config.run)]
    folder = config.measurements / config.corpus
    sources = [load_measured(path.parent) for path in sorted(folder.glob("*/ids.safetensors"))]
    if config.tokenizers:
        sources = [source for source in sources if source.name in config.tokenizers]
    if not sources:
        names = f" {', '.join(config.tokenizers)}" if config.tokenizers else ""
        raise InputError(f"{folder} has no tokenizers{names}; measure them with tokenization.measure.")
    return sources


def pretrain_config(config: BitsConfig, tokenizer: WeightTokenizer, sequences: Sequences) -> PretrainConfig:
    """The training of a GPT: as many epochs as the budget pays for, and at most `max_epochs`.

    There are so few evaluations that they read no more sequences than the training.

    Args:
        config: the size of the GPT and the budget.
        tokenizer: the tokenizer of the sequences.
        sequences: the sequences to train on.
    """
    count, length = sequences.train.shape
    batch_size = max(1, min(32, STEP_TOKENS // length))
    model = new_model(tokenizer, PretrainConfig(model_size=config.model_size))
    max_steps = config.max_train_flops / step_flops(model, batch_size, length)
    epochs = min(config.max_epochs, max_steps * batch_size / count)
    num_evaluations = min(PretrainConfig.num_evaluations, int(epochs * count / len(sequences.validation)))
    return PretrainConfig(
        model_size=config.model_size,
        epochs=epochs,
        num_evaluations=max(1, num_evaluations),
        batch_size=batch_size,
        dropout=config.dropout,
    )


def independent_bits(codes: Sequences, codebook_size: int) -> float:
    """Mean bits of a held-out code under the frequencies of the codes at its position in the training sequences.

    A constant is added to all counts; the validation codes decide which of `SMOOTHING`.

    Args:
        codes: codes (N, T), (V, T) and (H, T) in 0 … K-1, not ids.
        codebook_size: K.
    """
    counts = torch.zeros(codes.train.shape[1], codebook_size, dtype=torch.double)
    counts.scatter_add_(1, codes.train.T, torch.ones_like(codes.train.T, dtype=torch.double))

    def mean_bits(constant: float, rows: Tensor) -> float:
        frequencies = (counts + constant) / (len(codes.train) + constant * codebook_size)
        return float(-frequencies.gather(1, rows.T).log2().mean())

    best = min(SMOOTHING, key=lambda constant: mean_bits(constant, codes.validation))
    return mean_bits(best, codes.held_out)


def measure_bits(source: TokenizedCorpus, sequences: Sequences, config: BitsConfig) -> Row:
    """Train a GPT, or read the figures of an earlier call with equal settings.

    Args:
        source: the tokenizer.
        sequences: the sequences to train on and to measure.
        config: the size of the GPT, the budget and the folder of the GPTs.

    Returns:
        The figures of a row.
    """
    vocabulary = source.tokenizer.vocabulary
    gpt = train_gpt(source, sequences, config)
    bits_per_token, tokens = math.log2(vocabulary.codebook_size), vocabulary.codes_per_field
    parts = (sequences.train, sequences.validation, sequences.held_out)
    codes = Sequences(*(vocabulary.parse(rows)[0].mT.flatten(1) for rows in parts))
    independent = independent_bits(codes, vocabulary.codebook_size)
    return {
        **gpt,
        "model_size": config.model_size,
        "train_shapes": len(sequences.train),
        "validation_shapes": len(sequences.validation),
        "held_out": len(sequences.held_out),
        "tokens_per_field": tokens,
        "bits_per_field": bits_per_token * tokens,
        "independent_bits_per_field": independent * tokens,
        "independent_bits_fraction": independent / bits_per_token,
        "gpt_bits_per_field": gpt["gpt_bits_per_token"] * tokens,
        "gpt_bits_fraction": gpt["gpt_bits_per_token"] / bits_per_token,
    }


def train_gpt(source: TokenizedCorpus, sequences: Sequences, config: BitsConfig) -> Row:
    """Train a GPT in a folder that is named after its settings.

    Args:
        source: the tokenizer.
        sequences: the sequences to train on and to measure.
        config: the size of the GPT, the budget and the folder of the GPTs.

    Returns:
        `version`, `gpt_bits_per_token`, `gpt_parameters` and the cost of the training.
    """
    gpt_config, length = pretrain_config(config, source.tokenizer, sequences), sequences.train.shape[1]
    parts = (sequences.train, sequences.validation, sequences.held_out)
    fingerprint, counts = source.tokenizer.quantizer.fingerprint, [len(part) for part in parts]
    settings = {"fingerprint": fingerprint, "gpt": gpt_config, "seed": config.seed, "counts": counts}
    name = f"{source.name.replace(' ', '-')}-{counts[0]}"

    def train() -> Row:
        print(f"{source.corpus}, {source.name}: {counts[0]} sequences of {length} tokens", file=sys.stderr)
        folder = config.output / "gpt" / f"{name}-{settings_digest(settings)}"
        train_rows, validation_rows = sequence_dataset(sequences.train), sequence_dataset(sequences.validation)
        model = pretrain(train_rows, validation_rows, source.tokenizer, folder, gpt_config, seed=config.seed).eval()
        with torch.autocast(model.device.type, torch.bfloat16, enabled=gpt_config.mixed_precision):
            loss = code_loss(model, sequences.held_out, 2 * gpt_config.batch_size)
        steps = read_json(folder / "history.json")["log"][-1]["step"]
        return {
            "version": __version__,
            "gpt_bits_per_token": loss / math.log(2),
            "gpt_parameters": model.num_parameters(),
            "steps": steps,
            "epochs": steps * gpt_config.batch_size / counts[0],
            "tokens_seen": steps * gpt_config.batch_size * length,
            "train_flops": steps * step_flops(model.cpu(), gpt_config.batch_size, length),
        }

    row: Row = cached(config.output / "gpt", settings, train, name=name)
    return row


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    logging.set_verbosity_error()
    config = parse(BitsConfig, "studies.bits")
    print(markdown_rows(run_study(config, command_line("studies.bits"))))
    print(f"page: {config.output / PAGE_FILE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
