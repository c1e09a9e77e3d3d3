"""What was tried to make samples better, and what it gave: `python -m studies.experiments --model DIR --output OUT`.

Decisions:
- One thing is changed at a time, against one base. A trial trains a GPT on new drawings of the built-in families in the
  tokens of a bundle, samples it, and judges the samples by shapes that `training.compare` does not use.
- Three axes are those of scaling: shapes to learn from, size of the GPT, tokens of a field. Fewer tokens are the first
  levels of the same codebook, so each is a coarser shape.
- Every GPT takes the same steps at most (early stopping may end sooner), and logs to TensorBoard in its folder.
- A trial that was measured before is only read.

Dimensions: N sequences.
"""

import argparse
import dataclasses
import hashlib
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel
from transformers.utils import logging

from studies.experiments.page import write
from studies.sequences import Ids, draw
from training.compare.flops import step_flops
from training.data.corpus import sequence_dataset
from training.pretrain import PretrainConfig, code_loss, pretrain
from weightgpt._programs import cli_main, command_line
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json
from weightgpt.metrics.evaluator import SetEvaluator
from weightgpt.metrics.shape_set import mesh_shapes
from weightgpt.model import WeightGPT
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.shape import Sdf
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import NONE

POINTS = 256
"""On each surface; half of those of `training.compare`, for many trials."""
JUDGED_BY = 2000
"""Seed of the shapes to judge by; those of `training.compare` have another."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How a GPT is trained and sampled."""

    shapes: int = 65536
    """N, drawn shapes to learn from."""
    levels: int | None = None
    """Levels of the codebook that are kept; all by default."""
    preset: str = "tiny"
    """Size of the GPT."""
    steps: int = 2000
    """Of its training, at most."""
    batch: int = 32
    """Sequences of a step."""
    learning_rate: float = 2e-3
    """Peak rate."""
    spread: float = PretrainConfig.embedding_init_scale
    """Of the embeddings at the start; 0: at random instead of as the code vectors."""
    dropout: float = 0.0
    """Of the GPT."""
    temperature: float = 1.0
    """Of sampling."""
    top_p: float = 1.0
    """Share of probability that is sampled from."""
    top_k: int = 0
    """Likeliest codes that are sampled from; 0 for all."""

    def training(self) -> PretrainConfig:
        """The settings of its GPT's training."""
        return PretrainConfig(
            model_size=self.preset,
            epochs=self.steps * self.batch / self.shapes,
            batch_size=self.batch,
            learning_rate=self.learning_rate,
            embedding_init_scale=self.spread,
            dropout=self.dropout,
            report_to="tensorboard",
        )


AXES: dict[str, list[Any]] = {
    "shapes": [256, 1024, 4096, 16384, 65536],
    "preset": ["nano", "tiny", "small"],
    "levels": [1, 2, 4, 6, None],
    "steps": [1000, 2000, 4000],
    "learning_rate": [1e-3, 2e-3, 4e-3],
    "batch": [32, 64],
    "spread": [0.0, 1.0, 2.0, 4.0],
    "dropout": [0.0, 0.1],
    "temperature": [0.8, 0.9, 1.0],
    "top_p": [0.9, 0.95, 1.0],
    "top_k": [64, 0],
}
"""What is changed, one thing at a time, and to what."""


@dataclass(frozen=True)
class Lab:
    """What all trials share."""

    tokenizer: WeightTokenizer
    ids: Ids
    judge: SetEvaluator
    seed: int
    folder: Path

    def shortened(self, levels: int | None) -> tuple[WeightTokenizer, Ids]:
        """Tokenizer and sequences of the first `levels` levels.

        Raises:
            InputError: the tokenizer has no levels that could be left out.
        """
        quantizer = self.tokenizer.quantizer
        if levels in (None, quantizer.num_quantizers):
            return self.tokenizer, self.ids
        full = RVQAutoencoder.cast(quantizer)
        shorter = dataclasses.replace(full.codebook, code_vectors=full.code_vectors[:levels])
        first = RVQAutoencoder(shorter, full.encoder)
        labels = [name for name in self.tokenizer.vocabulary.classes if name != NONE]
        short = WeightTokenizer.create(first, labels)

        def cut(rows: Tensor) -> Tensor:
            codes, own = self.tokenizer.vocabulary.parse(rows)
            return short.vocabulary.ids(codes[..., :levels], own)

        return short, Ids(*(cut(rows) for rows in (self.ids.train, self.ids.validation, self.ids.held)))

    def limit(self) -> dict[str, Any]:
        """The figures of other true shapes."""
        shapes = draw_shapes(len(self.judge.held_out.sdfs), JUDGED_BY + 1)
        return self.row([shape.sdf for shape in shapes], seed=2)

    def row(self, sdfs: list[Sdf], seed: int) -> dict[str, Any]:
        """The figures of shapes, without the guard."""
        shapes = mesh_shapes(sdfs, seed=seed, points=POINTS, title="meshing")
        return self.judge.evaluate(shapes, check_memorization=False).to_row()

    def run(self, trial: Trial) -> dict[str, Any]:
        """Train, sample and judge."""
        tokenizer, ids = self.shortened(trial.levels)
        config = trial.training()
        told = hashlib.sha256(
            repr((tokenizer.quantizer.fingerprint, config, self.seed, trial.shapes)).encode()
        ).hexdigest()[:8]
        own = self.folder / f"gpt-{told}"
        if not (own / "history.json").is_file():
            train, validation = sequence_dataset(ids.train[: trial.shapes]), sequence_dataset(ids.validation)
            pretrain(train, validation, tokenizer, own, config, seed=self.seed)
        model = GPT2LMHeadModel.from_pretrained(own / "model").eval()
        steps = read_json(own / "history.json")["log"][-1]["step"]
        bits = code_loss(model, ids.held) / math.log(2)
        bundle = WeightGPT(model, tokenizer)
        count = len(self.judge.held_out.sdfs)
        settings = {"temperature": trial.temperature, "top_p": trial.top_p, "top_k": trial.top_k}
        sampled = bundle.generate(count, seed=self.seed, progress=True, **settings)
        return {
            "tokens_per_field": tokenizer.vocabulary.codes_per_field,
            "parameters": sum(part.numel() for part in model.parameters()),
            "train_flops": steps * step_flops(model, trial.batch, tokenizer.vocabulary.length),
            "trained_steps": steps,
            "bits_per_field": bits * tokenizer.vocabulary.codes_per_field,
            "bits_fraction": bits / math.log2(tokenizer.quantizer.codebook_size),
            **self.row(sampled.fields.sdfs(), seed=0),
        }


def trials(base: Trial, axes: list[str], levels: int) -> list[tuple[str, Trial]]:
    """All trials, each with the name of what is changed; the base stands on every axis.

    Args:
        levels: of the codebook; no more are asked for.

    Raises:
        InputError: there is no such axis.
    """
    unknown = [repr(axis) for axis in axes if axis not in AXES]
    if unknown:
        raise InputError(f"there is no axis {unknown[0]}; choose among {', '.join(AXES)}.")
    found = []
    for axis in axes:
        values = [value for value in AXES[axis] if axis != "levels" or value is None or value < levels]
        own = getattr(base, axis)
        for value in values if own in values else [*values, own]:
            found.append((axis, dataclasses.replace(base, **{axis: value})))
    return found


def measure(given: argparse.Namespace, command: str) -> None:
    """Measure what is missing, and write the page after each trial."""
    tokenizer, output = WeightTokenizer.from_pretrained(given.model), given.output
    base = Trial(shapes=given.shapes, preset=given.preset, steps=given.steps, temperature=given.temperature)
    chosen = trials(base, given.axes.split(",") if given.axes else list(AXES), tokenizer.quantizer.num_quantizers)
    most = max(trial.shapes for _, trial in chosen)
    held = mesh_shapes(
        [s.sdf for s in draw_shapes(given.count, JUDGED_BY)], seed=1, title="held-out shapes", points=POINTS
    )
    ids = draw(tokenizer, most, 512, given.seed, output / "drawn")
    lab = Lab(tokenizer, ids, SetEvaluator(held_out=held, seed=given.seed), given.seed, output)
    path, fingerprint = output / "experiments.json", tokenizer.quantizer.fingerprint
    rows = read_json(path)["rows"] if path.is_file() else []
    shared = {"fingerprint": fingerprint, "seed": given.seed, "count": given.count}
    for axis, trial in [("limit", base), *chosen]:
        asked = {"axis": axis, **shared, **(asdict(trial) if axis != "limit" else {})}
        if any(asked.items() <= row.items() for row in rows):
            continue
        print(f"{axis}: {trial}", file=sys.stderr)
        found = lab.limit() if axis == "limit" else lab.run(trial)
        rows = [*(row for row in rows if row["fingerprint"] == fingerprint), {**asked, **found, "command": command}]
        write_json(path, {"rows": rows})
        write(output, rows, asdict(base))
    write(output, rows, asdict(base))


@cli_main
def main() -> None:
    """Measure."""
    torch.set_num_threads(1)  # small tensors are as fast on one thread as on two
    logging.set_verbosity_error()
    parser = argparse.ArgumentParser(prog="studies.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a bundle, for its tokenizer")
    parser.add_argument("--output", type=Path, required=True, help="folder of the page; run again to go on")
    parser.add_argument("--axes", help=f"what to change, with commas (default: all of {', '.join(AXES)})")
    parser.add_argument("--count", type=int, default=256, help="shapes of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shapes", type=int, default=Trial.shapes, help="of the base")
    parser.add_argument("--preset", default=Trial.preset, help="of the base")
    parser.add_argument("--steps", type=int, default=Trial.steps, help="of the base")
    parser.add_argument("--temperature", type=float, default=Trial.temperature, help="of the base")
    measure(parser.parse_args(), command_line("studies.experiments"))


if __name__ == "__main__":
    sys.exit(main())
