"""How many bits a GPT needs for a field: `python -m studies.bits --tokenizers DIR --corpus NAME --output OUT`.

Decisions:
- Bits are those of the code tokens alone, their class given, on shapes that neither tokenizer nor GPT has seen; early
  stopping looks at others. The share is of uniform bits, the logarithm of the number of codes.
- The tokenizers of a measured corpus come with sequences of the same shapes, so their figures stand side by side. With
  `--sizes` new built-in shapes are drawn and encoded, as many as are asked for.
- Every GPT has the same layers and may spend the same compute, on no more than so many passes; so a GPT of long
  sequences takes fewer steps. Steps, tokens and compute stand in every row.
- Beside it, the bits of the same codes taken as independent of each other: what entropy coding needs that knows only
  the frequencies of the codes at each position.
- A GPT that was trained with the same settings before is only read, and half a one goes on.

Dimensions: N, V, H sequences to learn from, to stop by and held out, L tokens of a sequence, T of them codes, K codes.
"""

import argparse
import dataclasses
import hashlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers.utils import logging

from studies.bits.page import PAGE, add_rows, show, table
from studies.sequences import Ids, Source, draw, of_folder, of_run
from training.pretrain import MODEL_SIZES, PretrainConfig, code_loss, pretrain
from weightgpt._programs import cli_main, command_line
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

SMOOTHING = tuple(4.0**power for power in range(-6, 4))
"""What may be added to every count of a code; the validation sequences choose."""
STEP_TOKENS = 2048
"""Tokens of a step, about, where sequences are long; short ones come 32 a step."""


@dataclass(frozen=True, kw_only=True)
class BitsConfig:
    """How the GPTs are trained."""

    preset: str = "small"
    """Size of the GPT."""
    compute: float = 12.0
    """10^12 operations that its training may take."""
    passes: float = 24.0
    """Passes over the training sequences at most."""
    dropout: float = 0.0
    """Of the GPT."""
    held: int = 512
    """H, and V, where shapes are drawn."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.preset not in MODEL_SIZES:
            raise InputError(f"preset is {self.preset!r}; choose one of {', '.join(MODEL_SIZES)}.")
        if min(self.compute, self.passes, self.held) <= 0:
            raise InputError(f"{self} measures nothing; compute, passes and held-out shapes must be positive.")


def operations(preset: str, length: int) -> int:
    """Operations of training on one token of sequences of L tokens: 6 N + 6 · layers · width · L.

    Kaplan et al., Scaling Laws for Neural Language Models, 2020, section 2.1, forwards and backwards; N = 12 · layers ·
    width² are the parameters without the embeddings.
    """
    layers, _, width = MODEL_SIZES[preset]
    return 6 * layers * width * (12 * width + length)


def pretrain_config(config: BitsConfig, ids: Ids) -> PretrainConfig:
    """Settings for sequences: as many passes as compute allows, and no more than are asked for.

    No more sequences are read for validation than for training.
    """
    count, length = ids.train.shape
    passes = min(config.passes, config.compute * 1e12 / (count * length * operations(config.preset, length)))
    return PretrainConfig(
        model_size=config.preset,
        epochs=passes,
        num_evaluations=max(1, min(PretrainConfig.num_evaluations, int(passes * count / len(ids.validation)))),
        batch_size=max(1, min(32, STEP_TOKENS // length)),
        dropout=config.dropout,
    )


def independent_bits(codes: Ids, size: int) -> float:
    """Mean bits of a held-out code under the smoothed frequencies that K = `size` codes have at each position.

    Args:
        codes: codes (N, T), (V, T) and (H, T) in 0 … K-1, not ids.
    """
    counts = torch.zeros(codes.train.shape[1], size, dtype=torch.double)
    counts.scatter_add_(1, codes.train.T, torch.ones_like(codes.train.T, dtype=torch.double))

    def bits(added: float, found: Tensor) -> float:
        shares = (counts + added) / (len(codes.train) + added * size)
        return float(-shares.gather(1, found.T).log2().mean())

    best = min(SMOOTHING, key=lambda added: bits(added, codes.validation))
    return bits(best, codes.held)


def measured(source: Source, ids: Ids, config: BitsConfig, folder: Path) -> dict[str, Any]:
    """Train a GPT on `ids` in a folder of its own inside `folder`, or read what that gave before; the figures."""
    vocabulary, fingerprint = source.tokenizer.vocabulary, source.tokenizer.quantizer.fingerprint
    gpt, parts = pretrain_config(config, ids), (ids.train, ids.validation, ids.held)
    told = repr((fingerprint, dataclasses.astuple(gpt), config.seed, [len(rows) for rows in parts]))
    own = folder / f"{source.name}-{len(ids.train)}-{hashlib.sha256(told.encode()).hexdigest()[:8]}".replace(" ", "-")
    if not (own / "figures.json").is_file():
        print(f"{source.corpus}, {source.name}: {len(ids.train)} sequences of {vocabulary.length}", file=sys.stderr)
        train, validation = (Dataset.from_dict({"input_ids": rows.numpy()}) for rows in parts[:2])
        model = pretrain(train, validation, source.tokenizer, own, gpt, seed=config.seed).eval()
        with torch.autocast(model.device.type, torch.bfloat16, enabled=gpt.mixed_precision):
            bits = code_loss(model, ids.held, 2 * gpt.batch_size) / math.log(2)
        steps = read_json(own / "history.json")["log"][-1]["step"]
        parameters = sum(parameter.numel() for parameter in model.parameters())
        write_json(own / "figures.json", {"bits_per_token": bits, "steps": steps, "parameters": parameters})
    found, uniform = read_json(own / "figures.json"), math.log2(vocabulary.codebook_size)
    codes = Ids(*(vocabulary.parse(rows)[0].mT.flatten(1) for rows in parts))
    independent = independent_bits(codes, vocabulary.codebook_size)
    tokens = found["steps"] * gpt.batch_size * vocabulary.length
    return {
        "preset": config.preset,
        "parameters": found["parameters"],
        "train_shapes": len(ids.train),
        "validation_shapes": len(ids.validation),
        "held_out_shapes": len(ids.held),
        "steps": found["steps"],
        "tokens_seen": tokens,
        "passes": found["steps"] * gpt.batch_size / len(ids.train),
        "tera_operations": tokens * operations(config.preset, vocabulary.length) / 1e12,
        "tokens_per_field": vocabulary.codes_per_field,
        "uniform_bits_per_field": uniform * vocabulary.codes_per_field,
        "independent_bits_per_field": independent * vocabulary.codes_per_field,
        "bits_per_token": found["bits_per_token"],
        "bits_per_field": found["bits_per_token"] * vocabulary.codes_per_field,
        "independent_bits_fraction": independent / uniform,
        "gpt_bits_fraction": found["bits_per_token"] / uniform,
    }


def sources(given: argparse.Namespace) -> list[Source]:
    """The tokenizers that the command line asks for.

    Raises:
        InputError: there are none.
    """
    if given.run:
        return [of_run(given.run)]
    if not given.tokenizers or not given.corpus:
        raise InputError("no tokenizer was given; give --tokenizers with --corpus, or --run.")
    folder = given.tokenizers / given.corpus
    found = [of_folder(path.parent) for path in sorted(folder.glob("*/ids.safetensors"))]
    if given.names:
        found = [source for source in found if source.name in given.names.split(",")]
    if not found:
        called = f" called {given.names}" if given.names else ""
        raise InputError(f"{folder} holds no tokenizers{called}; measure some with tokenization.measure.")
    return found


def run(given: argparse.Namespace, command: str) -> list[dict[str, Any]]:
    """Measure everything that the command line asks for and write the page; the new rows."""
    names = [field.name for field in dataclasses.fields(BitsConfig)]
    config, output, rows = BitsConfig(**{name: getattr(given, name) for name in names}), given.output, []
    sizes = [int(size) for size in given.sizes.split(",")] if given.sizes else []
    for source in sources(given):
        new = draw(source.tokenizer, max(sizes), config.held, config.seed, output / "drawn") if sizes else source.ids
        for size in sizes or [len(new.train)]:
            ids = Ids(new.train[:size], new.validation, new.held)
            rows.append(
                {
                    "table": "drawn" if sizes else "side by side",
                    "corpus": source.corpus,
                    "tokenizer": source.name,
                    "fingerprint": source.tokenizer.quantizer.fingerprint,
                    "settings": dataclasses.asdict(config),
                    "command": command,
                    **measured(source, ids, config, output / "gpt"),
                    **{key: source.near.get(key) for key in ("iou", "iou_ratio")},
                }
            )
            add_rows(output, rows[-1:], given.tokenizers)
    show(output)
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="studies.bits", description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizers", type=Path, help="folder of tokenization.measure; its rows get the figures too")
    parser.add_argument("--corpus", help="a corpus in it")
    parser.add_argument("--names", help="tokenizers of that corpus, with commas between them (default: all)")
    parser.add_argument("--run", type=Path, help="or else the folder of a run")
    parser.add_argument("--sizes", help="draw and encode so many new built-in shapes to learn from; with commas")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results; more may be added to it")
    parser.add_argument("--preset", choices=MODEL_SIZES, default=BitsConfig.preset, help="size of the GPT")
    for name in ("compute", "passes", "dropout"):
        told = "10^12 operations of a training" if name == "compute" else "of the GPT"
        parser.add_argument(f"--{name}", type=float, default=getattr(BitsConfig, name), help=told)
    parser.add_argument("--held", type=int, default=BitsConfig.held, help="drawn shapes to judge by")
    parser.add_argument("--seed", type=int, default=BitsConfig.seed)
    return parser.parse_args(arguments)


@cli_main
def main() -> None:
    """Measure."""
    logging.set_verbosity_error()
    given = parse()
    rows = run(given, command_line("studies.bits"))
    print(table(rows))
    print(f"page: {given.output / PAGE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
