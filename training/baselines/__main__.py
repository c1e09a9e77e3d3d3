"""Train a rival on the corpus of a run: `python -m training.baselines --run RUN --rival NAME --output DIR`.

Leaves `fields.safetensors`, its samples, and `cost.json`, what they cost. A rival that has both is not trained again,
and the same folder refuses other settings.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from datasets import load_from_disk

from training.baselines.registry import RIVALS, rival
from training.baselines.rival import FieldSets, Trained
from training.corpus import column, part
from weightgpt.field import FieldConfig
from weightgpt.files import InputError, read_json, read_tensors, write_json
from weightgpt.program import program
from weightgpt.store import Catalogue, save_fields


def field_sets(run: Path) -> FieldSets:
    """The fields that the tokens of a run decode to.

    Raises:
        InputError: the folder is not that of a run with a corpus.
    """
    if not (run / "corpus").is_dir():
        raise InputError(f"{run} has no corpus; give the folder of a run of training.pipeline.")
    corpus = load_from_disk(str(run / "corpus"))
    train = part(corpus, "train")
    return FieldSets(
        config=FieldConfig.from_dict(read_json(run / "config.json")["field"]),
        train=column(train, "weights"),
        validation=column(part(corpus, "validation"), "weights"),
        labels=tuple(train["label"]),
        initial=read_tensors(run / "fits" / "initial.safetensors")["flat"],
    )


def compare(run: Path, name: str, budget: float, samples: int, seed: int, output: Path, progress: bool) -> None:
    """Train one rival and write its samples and its cost, or leave them as they are where both are there.

    Raises:
        InputError: the rival is unknown, the run has no corpus, or `output` was made with other settings.
    """
    train = rival(name)
    asked = {"run": str(run), "rival": name, "budget": budget, "samples": samples, "seed": seed}
    if (output / "cost.json").is_file():
        found = read_json(output / "cost.json")
        changed = sorted(key for key, value in asked.items() if found.get(key) != value)
        if changed:
            raise InputError(
                f"{output} holds another comparison ({', '.join(changed)} differ); choose another --output."
            )
        print(f"{name} is already trained: {output}", file=sys.stderr)
        return
    trained = train(field_sets(run), budget, seed, progress)
    begun = time.perf_counter()
    fields = trained.sample(samples, seed)
    spent = time.perf_counter() - begun
    labels = trained.label(samples, seed)
    names = [f"{name}-{i + 1:03d}" for i in range(samples)]
    save_fields(output / "fields.safetensors", fields, Catalogue.plain(names, labels, fields.config.in_features))
    write_json(output / "cost.json", asked | cost(trained, spent))


def cost(trained: Trained, sample_seconds: float) -> dict[str, Any]:
    """What a rival cost, as JSON values; `sample_seconds` are those of all its samples."""
    names = ("parameters", "train_flops", "sample_flops", "seconds", "bytes", "steps", "held_out_loss", "settings")
    return {name: getattr(trained, name) for name in (*names, "history")} | {"sample_seconds": sample_seconds}


@program
def main() -> None:
    """Parse arguments and train one rival."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run of training.pipeline")
    parser.add_argument("--rival", choices=[*RIVALS, "meshgpt"], required=True)
    parser.add_argument("--budget", type=float, default=5e13, help="floating-point operations of training")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    compare(given.run, given.rival, given.budget, given.samples, given.seed, given.output, progress=True)


if __name__ == "__main__":
    sys.exit(main())
