"""Judge a run beside what it must beat: `python -m training.compare --run RUN --rivals DIR --output DIR`.

The rows always come together: other true shapes (the limit), plain fits, the round trip through tokens, codes drawn
without a model, training fields and latents with noise, every rival with a folder in `--rivals` (see
`training.baselines`), and the run's own GPT, its samples drawn each for itself and, as the library does, to differ.

Decisions:
- Independent codes know the class: each position is drawn from the codes that training shapes of the class have there.
- A class is sampled as often as it occurs among training shapes, and evenly over the sets, by ours, by rivals and by
  independent codes alike: sets whose classes are mixed by chance would look worse than they are.
- Noise is swept on some shapes. Kept is the amount of the lowest 1-NNA among those that pass the guard as samples of
  ours must: no larger share is memorized, and half are as far from training as new shapes are. Without noise, a
  training shape would be the best sample of all.
- One set of samples against one of held-out shapes says little of two models that are nearly equal. With `--sets`
  several sets are drawn from each row, and held-out shapes of built-in families as often; files are what they are, so
  that all sets are compared with the same ones.
- Rows of training shapes have no more sets than there are such shapes, copies of files not counted; samples are drawn
  for all sets asked for.
- Plain fits and the round trip are copies of known shapes; only they can tell how much of the thin parts is kept. They
  and the limit are training shapes, so that what the guard says of them shows what it would say of copies.
- A rival of the fields that our tokens decode to needs our quantizer as much as our GPT does, so what learning it cost
  is counted for both. Plain fits are counted for none.
- A rival that left no fields, as MeshGPT does, has a row of its cost alone, and the curve of its loss for a picture.
- A row is kept as soon as it is measured, so that the same command goes on where it stopped. It names the codebook of
  its run, and ours the GPT: two machines whose sums round differently make two runs of the same settings.

Dimensions: n shapes of a set, S sets, P parameters, L tokens, C chunks, r latent width.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.compare import page as compare_page
from training.compare.flops import fields_flops, of_run
from training.compare.reference_sets import ReferenceSets, load_reference_sets
from weightgpt._programs import cli_main, command_line
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import load_fields
from weightgpt.io import read_json, write_json
from weightgpt.metrics.evaluator import EMPTY_METRICS
from weightgpt.metrics.memorization import EXPECTED_SHARE
from weightgpt.metrics.set_metrics import SET_METRICS
from weightgpt.metrics.shape_set import POINTS, ShapeSet
from weightgpt.quantizers.codes import fingerprint
from weightgpt.shapes.shape import Sdf
from weightgpt.tokens.quasirandom import stratified_labels

PAIRED = ("training-fields", "round-trip")
"""Rows whose i-th shape should be the i-th training shape."""
NOISY = ("training-weights-noise", "training-latents-noise")
"""Rows of training shapes with noise."""
OWN = ("ours-independent", "ours")
"""Rows of the run's own GPT: each sample drawn for itself, and samples drawn to differ."""
AMOUNTS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5)
"""Noise, in standard deviations of the training set."""
SWEPT = 48
"""Shapes that the sweep of the noise is judged on."""


def independent(ids: Tensor, labels: list[str], count: int, seed: int) -> Tensor:
    """(count, L) sequences: a class as often as it occurs, then each code as often as it occurs there in the class."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for kind in stratified_labels(labels, count, seed):
        known = ids[torch.tensor([label == kind for label in labels])]
        rows.append(known.gather(0, torch.randint(len(known), (1, ids.shape[1]), generator=generator))[0])
    return torch.stack(rows)


def noisy(values: Tensor, amount: float, seed: int) -> Tensor:
    """Values (n, …) with Gaussian noise of `amount` standard deviations of each number over the set."""
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(seed))
    return values + amount * values.std(0) * noise


def latents(here: ReferenceSets) -> tuple[Tensor, Callable[[Tensor], Fields]]:
    """Latents (n, C, r) of the first training shapes, and how they become fields.

    Raises:
        InputError: the run's quantizer has none.
    """
    quantizer = here.bundle.tokenizer.quantizer
    if not quantizer.has_latents:
        raise InputError("the tokenizer of this run has no latents to put noise on; compare a run of the default one.")
    codes, _ = here.bundle.tokenizer.vocabulary.parse(here.ids[: here.known])
    return quantizer.latents(codes), quantizer.decode_latents


def with_noise(
    here: ReferenceSets, values: Tensor, decode: Callable[[Tensor], Fields]
) -> tuple[list[Sdf], dict[str, Any]]:
    """Training fields with the best amount of noise, and the sweep that chose it."""
    some = min(SWEPT, here.count)
    judge, sweep = replace(here.judge.with_first_held_out(some), emd=0), []
    for amount in AMOUNTS:
        fields = decode(noisy(values, amount, here.judge.seed)[:some])
        row = judge.evaluate(here.mesh(fields.sdfs(), f"noise {amount}")).to_row()
        sweep.append(
            {"amount": amount} | {key: row[key] for key in (*SET_METRICS, *(name for _, name in compare_page.GUARD))}
        )
    new = [row for row in sweep if row["one_nna"] is not None and is_new(row)]
    best = min(new, key=lambda row: row["one_nna"]) if new else sweep[-1]
    fields = decode(noisy(values, best["amount"], here.judge.seed))
    return fields.sdfs(), {"noise": best["amount"], "noise_sweep": sweep}


def is_new(row: dict[str, Any]) -> bool:
    """Whether samples of these figures pass the guard."""
    return row["memorized_share"] <= EXPECTED_SHARE and row["nearest_train_ratio"] >= 1


def of_rival(folder: Path, count: int, fields: float = 0.0) -> tuple[list[Sdf] | None, dict[str, Any]]:
    """The first `count` shapes of a rival, None if it left no fields, and what is known of it.

    Args:
        fields: what making the fields that our tokens decode to has cost, for a rival that learned those.

    Raises:
        InputError: the rival left no curves of its loss either.
    """
    cost = read_json(folder / "cost.json")
    known = {key: cost[key] for key in ("parameters", "train_flops", "sample_flops", "seconds", "bytes", "steps")}
    if (folder / "fields.safetensors").is_file():
        known["train_flops"] += 0.0 if cost["plain"] else fields
        return load_fields(folder / "fields.safetensors")[0].sdfs()[:count], known
    if "stages" not in cost:
        raise InputError(f"{folder} has neither fields nor curves of a loss; train the rival again, or remove it.")
    known |= {"count": cost["samples"], "compared": 0, "invalid": 1 - cost["closed"] / cost["samples"]}
    return None, known | {"curves": {stage: part["history"] for stage, part in cost["stages"].items()}}


def made(
    here: ReferenceSets, name: str, rivals: Path | None, sampling: dict[str, float]
) -> tuple[list[Sdf] | None, dict[str, Any]]:
    """The shapes of a row, None if it has none, and what is known of its cost; ours are drawn as `sampling` says."""
    decode, seed = here.bundle.tokenizer.decode, here.config.seed
    if name == "limit":
        return here.true.sdfs, {}
    if name == "training-fields":
        return here.plain.sdfs(), {}
    if name == "round-trip":
        return decode(here.ids[: here.known]).sdfs(), {}
    if name == "independent-codes":
        return decode(independent(here.ids, here.labels, here.total, seed)).sdfs(), {}
    if name == "training-weights-noise":
        return with_noise(here, here.plain.flat, lambda flat: Fields(here.plain.config, flat))
    if name == "training-latents-noise":
        return with_noise(here, *latents(here))
    if name in OWN:
        kinds = stratified_labels(here.labels, here.total, seed)
        sampled = here.bundle.generate(
            here.total, kinds, seed=seed, quasi_random=name == "ours", progress=True, **sampling
        )
        return sampled.fields.sdfs(), {**sampling, **of_run(here.run, here.bundle)}
    assert rivals is not None
    return of_rival(rivals / name, here.total, fields_flops(here.run, here.bundle))


def names(rivals: Path | None) -> list[str]:
    """All rows, in order."""
    found = sorted(path.parent.name for path in rivals.glob("*/cost.json")) if rivals else []
    own = ["limit", "training-fields", "round-trip", "independent-codes"]
    return [*own, *NOISY, *found, *OWN]


def judged(here: ReferenceSets, name: str, sdfs: list[Sdf]) -> tuple[ShapeSet, dict[str, Any]]:
    """The shapes of a row, meshed, and their figures."""
    shapes = here.true if name == "limit" else here.mesh(sdfs, f"meshing {name}", dense=name in PAIRED)
    truth = here.true if name in PAIRED else None
    return shapes, here.judge.evaluate(shapes, truth=truth).to_row(per_shape_values=True)


def compare(given: argparse.Namespace, command: str) -> None:
    """Measure what is missing, and write the page after each row."""
    here = load_reference_sets(given.run, given.count, given.sets, given.points, given.emd)
    corpus = given.name or Path(here.config.corpus).name
    sampling = {"temperature": here.config.temperature, "top_p": here.config.top_p}
    sampling |= {} if given.temperature is None else {"temperature": given.temperature}
    settings = {"run": str(given.run), "points": given.points, "emd": given.emd}
    settings |= {"size": here.count, "codebook": here.bundle.tokenizer.quantizer.fingerprint}
    own = {**sampling, "gpt": fingerprint({}, here.bundle.gpt.state_dict())}
    for name in names(given.rivals):
        kept, picture = (given.output / corpus / f"{name}{suffix}" for suffix in (".json", ".png"))
        total = here.known if name in ("limit", *PAIRED, *NOISY) else here.total
        asked = {"corpus": corpus, "row": name, "sets": total // here.count, **settings} | (own if name in OWN else {})
        if kept.is_file() and {**read_json(kept), **asked} == read_json(kept):
            continue
        sdfs, known = made(here, name, given.rivals, sampling)
        if sdfs is None:
            row = EMPTY_METRICS
            compare_page.plot(picture, known["curves"])
        else:
            shapes, row = judged(here, name, sdfs)
            compare_page.draw(picture, shapes)
        write_json(kept, {**asked, **known, **row, "held_out": len(here.held), "command": command})
        compare_page.write(given.output)
    compare_page.write(given.output)


@cli_main
def main() -> None:
    """Compare."""
    torch.set_num_threads(1)  # small tensors are as fast on one thread as on two
    parser = argparse.ArgumentParser(prog="training.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="a finished run of training.pipeline")
    parser.add_argument("--rivals", type=Path, help="folder with one folder for each rival of training.baselines")
    parser.add_argument("--output", type=Path, required=True, help="folder of the page; more corpora may be added")
    parser.add_argument("--name", help="of the corpus (default: six-families, or the folder of the shapes)")
    parser.add_argument("--count", type=int, default=256, help="shapes of each set")
    parser.add_argument("--sets", type=int, default=1, help="sets of each row, over which its figures are means")
    parser.add_argument("--points", type=int, default=POINTS, help="points on each surface")
    parser.add_argument("--emd", type=int, default=64, help="shapes to compare by earth mover's distance too; 0: none")
    parser.add_argument("--temperature", type=float, help="of sampling from the run's own GPT (default: the run's)")
    compare(parser.parse_args(), command_line("training.compare"))


if __name__ == "__main__":
    sys.exit(main())
