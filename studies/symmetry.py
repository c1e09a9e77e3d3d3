"""What neurons in another order do to tokens, measured: `python -m studies.symmetry --output RUN`.

Three questions:
- *Permuted*: plain conditioned fits, their hidden neurons shuffled. Does `align` to the shared initial field bring back
  the very same weights?
- *Strangers*: the same architecture fitted from random starts, each its own. How near to the shared field does `align`
  bring their weights, and how much of the shape survives a tokenizer, with and without?
- *The function*: how far apart a field and its shuffled self are, in single and in double precision.

A tokenizer is asked to encode the fields themselves, without the shapes, and what it decodes is judged against the true
shapes. It is asked three times: for fits as they came from its own initial field, for the same fits shuffled, and for
strangers; each time without and with `align` to its initial field. Two tables are learned here, from the fits of the
first question; `--tokenizer` adds others, of any kind.

Fits are kept in the folder of the run, so that the same command goes on where it was stopped. `symmetry.json` has the
figures, `symmetry.md` shows them.

Dimensions: B fields, P parameters.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokenization.corpus import Corpus
from tokenization.weight_vq_learners import learn_vector_quantizer
from weightgpt._programs import cli_main, command_line
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit, fit_mean_initialization
from weightgpt.fields.symmetry import align, permute, random_permutations
from weightgpt.io import read_json, write_json, write_text
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codes import fingerprint
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.tokens.tokenizer import WeightTokenizer

STRANGERS = 100_000
"""First seed of the random starts; row i follows its number, and none is that of the shared initial field."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the figures."""

    family: str = "chair"
    fits: int = 256
    """Conditioned fits, shuffled and aligned; the tables are learned from them too."""
    held: int = 64
    """Other shapes, which go through the tokenizers."""
    fit_steps: int = FitConfig.steps
    """Of fitting a field."""
    codes: int = 1024
    """Codes of a level of the residual table; the scalar table has a quarter of them."""
    schedule: int = 8192
    """Shared points for fitting."""
    judged: int = 16384
    """Uniform points at which IoU is measured and functions are compared."""


QUICK = Settings(fits=16, held=4, fit_steps=100, codes=256, schedule=2048, judged=4096)
"""Settings of `--quick`: every stage, with figures that say little."""


@dataclass(frozen=True)
class Data:
    """Sampled shapes and the field that their fits start from."""

    train: Samples
    held: Samples
    judged: Samples
    """The held-out shapes at uniform points."""
    shared_init: Tensor
    """(P,)."""


def measure(settings: Settings, tokenizers: list[Path], output: Path, command: str) -> dict[str, Any]:
    """Do, or finish, everything; returns the figures of `symmetry.json`.

    Raises:
        InputError: `output` holds a run of other settings, or a tokenizer cannot be read or is for other fields.
    """
    kept = output / "settings.json"
    if kept.is_file() and read_json(kept) != asdict(settings):
        raise InputError(f"{output} holds a run of other settings; choose another output folder.")
    given = {str(folder): WeightTokenizer.from_pretrained(folder).quantizer for folder in tokenizers}
    config, options = FieldConfig(), FitConfig(steps=settings.fit_steps)
    if any(quantizer.field_config != config for quantizer in given.values()):
        raise InputError(f"a tokenizer is not for fields of {config}; leave it out.")
    write_json(kept, asdict(settings))
    data = sampled(config, settings, options)
    fits = fit(
        config, data.train, options, shared_init=data.shared_init, folder=output / "fits", progress="fits"
    ).fields
    strangers = FitConfig(steps=settings.fit_steps, seed=STRANGERS)
    alone = fit(config, data.held, strangers, folder=output / "strangers", progress="strangers").fields
    quantizers = {**learned_tables(Corpus(data.train, fits, data.shared_init, options), settings), **given}
    rows = []
    for name, quantizer in quantizers.items():
        shared_init = quantizer.shared_init
        folder = output / f"held-{fingerprint({}, {'initial': shared_init})}"  # tokenizers of one corpus share its fits
        own = fit(config, data.held, options, shared_init=shared_init, folder=folder, progress=f"fits for {name}")
        rows += round_trips(name, quantizer, {"own": own.fields, "strangers": alone}, data.judged)
    result = {
        "command": command,
        "settings": asdict(settings),
        "permuted": permuted(fits, data.shared_init),
        "strangers": distances(alone, data.shared_init),
        "function": function(fits, data.judged.points),
        "round_trips": rows,
    }
    write_json(output / "symmetry.json", result)
    write_text(output / "symmetry.md", page(result))
    return result


def sampled(config: FieldConfig, settings: Settings, options: FitConfig) -> Data:
    """The shapes of the run, and the field that is fitted to their mean."""
    shapes = draw_shapes(settings.fits + settings.held, 0, [settings.family])
    train, held = shapes[: settings.fits], shapes[settings.fits :]
    points = shared_points(train, settings.schedule, 0)
    samples = sample_sdf(train, points)
    judged = sample_sdf(held, uniform_points(settings.judged, 3, 7))
    return Data(samples, sample_sdf(held, points), judged, fit_mean_initialization(config, samples, options))


def learned_tables(corpus: Corpus, settings: Settings) -> dict[str, Quantizer]:
    """A table of scalars, and one of short vectors in three residual levels."""
    codes = settings.codes
    return {
        "scalar table": learn_vector_quantizer(corpus, width=1, codebook_size=codes // 4).quantizer,
        "residual table": learn_vector_quantizer(corpus, width=8, codebook_size=codes, num_quantizers=3).quantizer,
    }


def permuted(fits: Fields, shared_init: Tensor) -> dict[str, Any]:
    """Conditioned fits shuffled and aligned again: how many are the same to the last bit."""
    shuffled = permute(fits.config, fits.flat, random_permutations(fits.config, len(fits), 1))
    aligned, _ = align(fits.config, shuffled, shared_init)
    return {
        "fields": len(fits),
        "exact": int((aligned == fits.flat).all(1).sum()),
        "distance_as_fitted": distance(fits.flat, shared_init),
        "distance_shuffled": distance(shuffled, shared_init),
        "distance_aligned": distance(aligned, shared_init),
        "distance_from_fit_shuffled": distance(shuffled, fits.flat),
        "distance_from_fit_aligned": distance(aligned, fits.flat),
    }


def distances(fields: Fields, shared_init: Tensor) -> dict[str, Any]:
    """Distance to the shared initial field, before and after `align`."""
    aligned, _ = align(fields.config, fields.flat, shared_init)
    before, after = distance(fields.flat, shared_init), distance(aligned, shared_init)
    return {"fields": len(fields), "distance_before": before, "distance_aligned": after, "ratio": after / before}


def distance(flat: Tensor, other: Tensor) -> float:
    """Mean Euclidean distance of weights (B, P) to others, (B, P) or (P,)."""
    return float((flat - other).norm(dim=1).mean())


@torch.no_grad()
def function(fits: Fields, points: Tensor) -> dict[str, float]:
    """The largest difference of a field and its shuffled self at any of the points."""
    found = {}
    for name, kind in (("single", torch.float32), ("double", torch.float64)):
        flat = fits.flat.to(kind)
        both = flat, permute(fits.config, flat, random_permutations(fits.config, len(flat), 1))
        values = [[Fields(fits.config, row)(points.to(kind)) for row in part.split(1)] for part in both]
        found[name] = max(float((a - b).abs().max()) for a, b in zip(*values, strict=True))
    return found


def round_trips(name: str, quantizer: Quantizer, fields: dict[str, Fields], judged: Samples) -> list[dict[str, Any]]:
    """IoU after a round trip, without and with `align`, of own fits of a quantizer, these shuffled, and strangers."""
    config, own = quantizer.field_config, fields["own"].flat
    sources = {
        "as fitted": own,
        "shuffled": permute(config, own, random_permutations(config, len(own), 2)),
        "random starts": fields["strangers"].flat,
    }
    rows = []
    for source, flat in sources.items():
        aligned, _ = align(config, flat, quantizer.shared_init)
        without, wanted = (
            mean_iou(quantizer.decode(quantizer.encode(Fields(config, part), EncodeConfig())), judged)
            for part in (flat, aligned)
        )
        itself = mean_iou(Fields(config, flat), judged)
        row = {"tokenizer": name, "tokens": quantizer.tokens_per_field, "source": source, "iou_of_the_fit": itself}
        rows.append({**row, "iou_without": without, "iou_aligned": wanted, "gained": wanted - without})
    return rows


def mean_iou(fields: Fields, judged: Samples) -> float:
    """Mean volume IoU with the shapes."""
    return float(field_iou(fields, judged).mean())


def page(result: dict[str, Any]) -> str:
    """The figures as Markdown, with the command that makes them."""
    own, alone, difference = result["permuted"], result["strangers"], result["function"]
    rows = [
        f"| {row['tokenizer']} | {row['tokens']} | {row['source']} | {row['iou_of_the_fit']:.3f} |"
        f" {row['iou_without']:.3f} | {row['iou_aligned']:.3f} | {row['gained']:+.3f} |"
        for row in result["round_trips"]
    ]
    near = [
        f"| to the shared initial field | {own['distance_as_fitted']:.3f} | {own['distance_shuffled']:.3f} |"
        f" {own['distance_aligned']:.3f} |",
        f"| to the fit itself | 0 | {own['distance_from_fit_shuffled']:.3f} | {own['distance_from_fit_aligned']:.3g} |",
    ]
    return f"""# Neurons in another order

Written by `{result["command"]}`, on the family "{result["settings"]["family"]}". Distances are mean Euclidean distances
of all weights of a field; IoU is volume IoU with the true shapes.

## Conditioned fits, shuffled

The hidden neurons of {own["fields"]} plain conditioned fits were put in random orders. `align` to the shared initial
field brought {own["exact"]} of {own["fields"]} back exactly, bit for bit.

| distance | as fitted | shuffled | aligned |
|---|---|---|---|
{chr(10).join(near)}

The function stays what it was: the largest difference of a field and its shuffled self at
{result["settings"]["judged"]} points is {difference["single"]:.1e} in single precision and
{difference["double"]:.1e} in double.

## Fields of random starts

{alone["fields"]} fields, each fitted from a random start of its own, lie {alone["distance_before"]:.3f} from the shared
initial field, and {alone["distance_aligned"]:.3f} when aligned to it: {alone["ratio"]:.3f} of the distance.

## Round trips through tokens

Fields alone are encoded, without the shapes; "aligned" means aligned first to the tokenizer's own initial field, which
none of these does by itself. "As fitted" and "shuffled" are conditioned fits from that initial field, "random starts"
those above.

| tokenizer | tokens | fields | IoU of the fit | IoU of the round trip | … aligned | gained |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


@cli_main
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, action="append", default=[], help="bundle or tokenizer; repeatable")
    parser.add_argument("--quick", action="store_true", help="small enough for a minute; figures that say little")
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(
        QUICK if given.quick else Settings(), given.tokenizer, given.output, command_line("studies.symmetry")
    )
    print(page(result))


if __name__ == "__main__":
    sys.exit(main())
