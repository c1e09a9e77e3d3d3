"""Train a rival on the corpus of a run: `python -m training.baselines --run RUN --rival NAME --output DIR`.

Leaves `fields.safetensors`, its samples, and `cost.json`, what they cost. A rival that has both is not trained again,
and the same folder refuses other settings.

Decisions: a rival learns the fields that the run's tokens decode to, the very fields that the GPT writes, those of the
further shapes that the GPT alone learned from among them. They lie on the few directions of our decoder, so they are
far easier to learn than plain fits, and making them is our work. With
`--plain N` a rival learns the plain conditioned fits of the run's first N training shapes instead, as published
recipes do; fitting those is not counted in its budget.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.baselines.common import FieldSets, Trained
from training.baselines.registry import RIVALS, rival
from training.data.corpus import column_tensor, load_corpus, split_rows
from training.presets import PipelineConfig
from training.run import read_config
from weightgpt._programs import cli_main
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import fit
from weightgpt.fields.storage import ShapeMetadata, save_fields
from weightgpt.io import read_json, read_tensors, write_json
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.shapes.sampling import Samples
from weightgpt.tokens.tokenizer import WeightTokenizer


def field_sets(run: Path, plain: int) -> FieldSets:
    """The fields that the tokens of a run decode to, or `plain` fits of as many of its training shapes.

    Raises:
        InputError: the folder is not that of a run with a corpus.
    """
    if not (run / "corpus").is_dir():
        raise InputError(f"{run} has no corpus; give the folder of a run of training.pipeline.")
    corpus, config = load_corpus(run / "corpus"), read_config(run)
    field = config.tokenizer.field
    parts = {name: split_rows(corpus, name) for name in ("train", "validation")}
    shared_init = read_tensors(run / "fits" / "shared_init.safetensors")["flat"]
    labels = list(parts["train"]["label"])
    if plain:
        weights = plain_fits(run, config, shared_init, plain)
    else:
        weights = {name: column_tensor(rows, "weights") for name, rows in parts.items()}
        further, kinds = more_fields(run, field, labels)
        weights["train"], labels = torch.cat([weights["train"], further]), labels + kinds
    return FieldSets(
        config=field,
        **weights,
        labels=tuple(labels[: len(weights["train"])]),
        shared_init=shared_init,
    )


def more_fields(run: Path, field: FieldConfig, labels: list[str]) -> tuple[Tensor, list[str]]:
    """Weights (N, P) and classes of the further shapes of a run, of which it keeps the tokens; there may be none."""
    path = run / "extra_shapes.safetensors"
    if not path.is_file() or not len(ids := read_tensors(path)["input_ids"].long()):
        return torch.zeros(0, field.parameters), []
    tokenizer = WeightTokenizer.create(AutoQuantizer.from_pretrained(run / "codebook"), labels)
    codes, kinds = tokenizer.vocabulary.parse(ids)
    return torch.cat([tokenizer.quantizer.decode(some).flat for some in codes.split(1024)]), kinds


def plain_fits(run: Path, config: PipelineConfig, shared_init: Tensor, count: int) -> dict[str, Tensor]:
    """Plain fits of the first `count` training shapes and of the validation shapes; kept in the run's folder."""
    found, fits = read_tensors(run / "sdf_samples.safetensors"), {}
    field, options = config.tokenizer.field, config.tokenizer.fit
    for name in ("train", "validation"):
        samples = Samples(found["points"], found[name]).select(slice(0, count))
        folder = run / "fits" / f"plain-{name}-{len(samples.sdf)}"
        made = fit(field, samples, options, shared_init=shared_init, folder=folder, progress=f"plain fits, {name}")
        fits[name] = made.fields.flat
    return fits


def compare(
    run: Path, name: str, plain: int, budget: float, samples: int, seed: int, output: Path, progress: bool
) -> None:
    """Train one rival and write its samples and its cost, or leave them as they are where both are there.

    Raises:
        InputError: the rival is unknown, the run has no corpus, or `output` was made with other settings.
    """
    train = rival(name)
    asked = {"run": str(run), "rival": name, "plain": plain, "budget": budget, "samples": samples, "seed": seed}
    if (output / "cost.json").is_file():
        found = read_json(output / "cost.json")
        changed = sorted(key for key, value in asked.items() if found.get(key) != value)
        if changed:
            raise InputError(
                f"{output} holds another comparison ({', '.join(changed)} differ); choose another --output."
            )
        print(f"{name} is already trained: {output}", file=sys.stderr)
        return
    trained = train(field_sets(run, plain), budget, seed, progress)
    begun = time.perf_counter()
    fields = trained.sample(samples, seed)
    spent = time.perf_counter() - begun
    labels = trained.label(samples, seed)
    names = [f"{name}-{i + 1:03d}" for i in range(samples)]
    save_fields(output / "fields.safetensors", fields, ShapeMetadata.plain(names, labels, fields.config.in_features))
    write_json(output / "cost.json", asked | cost(trained, spent))


def cost(trained: Trained, sample_seconds: float) -> dict[str, Any]:
    """What a rival cost, as JSON values; `sample_seconds` are those of all its samples."""
    names = ("parameters", "train_flops", "sample_flops", "seconds", "bytes", "steps", "held_out_loss", "settings")
    return {name: getattr(trained, name) for name in (*names, "history")} | {"sample_seconds": sample_seconds}


@cli_main
def main() -> None:
    """Parse arguments and train one rival."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run of training.pipeline")
    parser.add_argument("--rival", choices=[*RIVALS, "meshgpt"], required=True)
    parser.add_argument("--plain", type=int, default=0, help="learn so many plain fits, not what the tokens decode to")
    parser.add_argument("--budget", type=float, default=5e13, help="floating-point operations of training")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    settings = (given.rival, given.plain, given.budget, given.samples, given.seed)
    compare(given.run, *settings, given.output, progress=True)


if __name__ == "__main__":
    sys.exit(main())
