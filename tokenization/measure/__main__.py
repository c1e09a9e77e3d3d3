"""Learn tokenizers and measure them on held-out shapes: `python -m tokenization.measure built-in --output DIR`.

Decisions:
- All tokenizers of a corpus learn from the same training shapes and the same plain fits, and are measured on the same
  held-out shapes. The plain fits are measured too, as the reference.
- Each tokenizer has a folder `DIR/CORPUS/TOKENIZER-…` for its settings, with the ids of all shapes, so that a GPT can
  be trained on them. A second measurement with equal settings reads the folder, so an interrupted one continues.
- `tokenizers.json` has the rows of all corpora, tokenizers and settings. Tables, plots and pictures show these rows,
  and nobody types a value by hand.

Dimensions: F training shapes with plain fits, H held-out shapes, C chunks, Q quantizer levels, L tokens of a sequence.
"""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokenization.measure.benchmark import Benchmark, prepare_benchmark
from tokenization.measure.config import PRESETS, MeasureConfig
from tokenization.measure.metrics import (
    ReconstructionMetrics,
    iou_by_num_quantizers,
    reconstruction_metrics,
    summarize,
    summarize_by_class,
    true_surfaces,
    weight_errors,
)
from tokenization.measure.page import PAGE_FILE, main_table, write_page
from tokenization.measure.pictures import TRUE_SHAPES, write_strip
from tokenization.measure.rows import PLAIN_FIT, Row, add_rows, make_row
from tokenization.registry import learn_quantizer
from weightgpt._programs import cached_folder, cli_main, command_line, parse
from weightgpt.fields.field import Fields
from weightgpt.io import read_json, read_tensors, write_json, write_tensors
from weightgpt.quantizers.token_metrics import token_metrics
from weightgpt.tokens.tokenizer import WeightTokenizer


@dataclass(frozen=True)
class LearnedTokenizer:
    """A tokenizer and the codes of all shapes."""

    folder: Path
    """Its folder, which holds the ids of all shapes too."""
    tokenizer: WeightTokenizer
    train: Tensor
    """(F, C, Q) codes of the training shapes that have plain fits."""
    held_out: Tensor
    """(H, C, Q) codes of the held-out shapes."""
    seconds: float
    """Time of learning and encoding."""


def measure_tokenizers(config: MeasureConfig, command: str) -> list[Row]:
    """Learn and measure tokenizers, and write folders, rows, page and pictures.

    Args:
        config: what is measured and how.
        command: the command line, which the rows show.

    Returns:
        The new rows.

    Raises:
        InputError: the corpus or the output folder cannot be used.
    """
    folder = config.output / config.full_corpus_name
    benchmark = prepare_benchmark(config, folder / "shared")
    measure_fields = partial(reconstruction_metrics, benchmark, true_surfaces(benchmark))
    plain = measure_fields(benchmark.plain_fits, PLAIN_FIT)
    rows = [make_row(benchmark, PLAIN_FIT, command, plain_fit_values(benchmark, plain))]
    strip = partial(write_strip, shapes=benchmark.held_out)
    sdfs = [shape.sdf for shape in benchmark.held_out]
    strip(folder / "pictures" / TRUE_SHAPES, name="true shape", sdfs=sdfs, captions=[""] * len(sdfs))
    picture = folder / "pictures" / rows[0]["picture"]
    strip(picture, name=PLAIN_FIT, sdfs=benchmark.plain_fits.sdfs(), captions=_captions("weights", plain))
    add_rows(config.output, rows)
    for name in config.tokenizers:
        learned = load_or_learn(benchmark, name, folder)
        decoded = learned.tokenizer.quantizer.decode(learned.held_out)
        metrics = measure_fields(decoded, name)
        rows.append(make_row(benchmark, name, command, tokenizer_values(benchmark, learned, decoded, metrics, plain)))
        captions = _captions(f"{learned.tokenizer.quantizer.tokens_per_field} tokens", metrics)
        strip(folder / "pictures" / rows[-1]["picture"], name=name, sdfs=decoded.sdfs(), captions=captions)
        add_rows(config.output, rows[-1:])
    write_page(config.output)
    return rows


def load_or_learn(benchmark: Benchmark, name: str, folder: Path) -> LearnedTokenizer:
    """Learn a tokenizer and encode all shapes, or read the results of an earlier call with equal settings.

    Args:
        benchmark: the shapes and the settings.
        name: the name of the tokenizer.
        folder: the folder that holds the tokenizers of the corpus.

    Raises:
        InputError: the corpus is too small for the tokenizer.
    """
    shapes = {"train": benchmark.train, "held_out": benchmark.held_out}
    names = {part: [{"name": shape.name, "label": shape.label} for shape in shapes[part]] for part in shapes}
    settings = {**benchmark.config.settings(name), "shapes": names}
    path = cached_folder(folder, settings, partial(_write_tokenizer, benchmark, name), name=name)
    tokenizer, ids = WeightTokenizer.from_pretrained(path), read_tensors(path / "ids.safetensors")
    codes = {part: tokenizer.vocabulary.parse(rows.long())[0] for part, rows in ids.items()}
    return LearnedTokenizer(path, tokenizer, codes["train"], codes["held_out"], read_json(path / "seconds.json"))


def _write_tokenizer(benchmark: Benchmark, name: str, folder: Path) -> None:
    """Learn a tokenizer; write it, `ids.safetensors` {train (F, L), held_out (H, L)} int32, and `seconds.json`."""
    start, corpus, config = time.perf_counter(), benchmark.corpus, benchmark.config.of_kind(name)
    quantizer = learn_quantizer(corpus, config, progress=True).quantizer
    samples = {"train": corpus.samples.select(slice(0, len(corpus.fits))), "held_out": benchmark.samples}
    fits = {"train": corpus.fits, "held_out": benchmark.plain_fits}
    codes = {part: quantizer.encode_fits(samples[part], fits[part], config.encode, progress=True) for part in samples}
    seconds = round(time.perf_counter() - start, 1)
    labels = {
        "train": [shape.label for shape in benchmark.train[: len(corpus.fits)]],
        "held_out": benchmark.labels,
    }
    tokenizer = WeightTokenizer.create(quantizer, [*labels["train"], *labels["held_out"]])
    tokenizer.save_pretrained(folder)
    ids = {part: tokenizer.vocabulary.ids(codes[part], labels[part]).int() for part in codes}
    write_tensors(folder / "ids.safetensors", ids)
    write_json(folder / "seconds.json", seconds)


def plain_fit_values(benchmark: Benchmark, plain: ReconstructionMetrics) -> dict[str, Any]:
    """Metrics of the plain fits: no tokens, and 32 bits for every weight."""
    return {
        "tokens_per_field": None,
        "bits_per_field": 32 * benchmark.plain_fits.config.parameters,
        **summarize(plain, plain),
        "by_class": summarize_by_class(benchmark, plain, plain),
    }


def tokenizer_values(
    benchmark: Benchmark,
    learned: LearnedTokenizer,
    decoded: Fields,
    metrics: ReconstructionMetrics,
    plain: ReconstructionMetrics,
) -> dict[str, Any]:
    """Metrics of a tokenizer.

    Args:
        benchmark: the held-out shapes.
        learned: the tokenizer with its codes.
        decoded: the fields of the codes of the held-out shapes.
        metrics: of these fields.
        plain: of the plain fits.
    """
    quantizer = learned.tokenizer.quantizer
    return {
        **token_metrics(quantizer, learned.train),
        **summarize(metrics, plain),
        **weight_errors(benchmark, decoded),
        "by_class": summarize_by_class(benchmark, metrics, plain),
        "by_num_quantizers": iou_by_num_quantizers(benchmark, quantizer, learned.held_out),
        "gpt_bits_fraction": None,
        "folder": learned.folder.name,
        "fingerprint": quantizer.fingerprint,
        "seconds": learned.seconds,
    }


def _captions(cost: str, metrics: ReconstructionMetrics) -> list[str]:
    """Cost and IoU of each held-out shape."""
    return [f"{cost} · IoU {iou:.2f}" for iou in metrics.iou]


@cli_main
def main() -> None:
    """Measure tokenizers."""
    config = parse(PRESETS, "tokenization.measure")
    torch.set_num_threads(1)  # small tensors are as fast on one thread as on two
    rows = measure_tokenizers(config, command_line("tokenization.measure"))
    print(main_table(rows))
    print(f"page: {config.output / PAGE_FILE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
