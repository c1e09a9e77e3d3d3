"""Measure what the order of hidden neurons costs: `python -m tokenization.symmetry --output RUN`.

Plain conditioned fits of one family are put into a random order of neurons and aligned to their shared initial field
again. Held-out shapes are then fitted from that field, from that field with the neurons permuted afterwards, and each
from a random start of its own. All go to tokens and back, as they came and aligned first, through tables learnt from
the conditioned fits and, where a bundle is given, through its quantiser. The results are judged by IoU against the true
shapes.

Fits are kept as files, so that the same command goes on where it was stopped. `symmetry.json` has the figures,
`symmetry.md` shows them.

Dimensions: N training shapes, H held-out shapes, P parameters.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokenization.corpus import Corpus
from tokenization.learn_codebook import CodebookConfig
from tokenization.registry import VECTOR_TABLES, learner
from weightgpt.encoding import EncodeConfig
from weightgpt.families import draw_shapes
from weightgpt.field import FieldConfig, Fields
from weightgpt.files import InputError, read_json, read_tensors, whole, write_json, write_tensors
from weightgpt.fitting import FitConfig, field_iou, fit, mean_field
from weightgpt.quantiser import Quantiser
from weightgpt.sampling import Samples, sample, shared_schedule, uniform_points
from weightgpt.symmetry import align, permute, random_permutations
from weightgpt.tokenizer import WeightTokenizer

STARTS = 100_000
"""First seed of the random starts; none is that of the shared initial field."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the figures."""

    family: str = "chair"
    fits: int = 256
    """N, shapes with plain conditioned fits."""
    held: int = 64
    """H, shapes that are judged."""
    schedule: int = 8192
    """Shared points of the fits."""
    judged: int = 16384
    """Uniform points at which IoU is measured."""
    fit_steps: int = 600
    """Of fitting a field."""
    model: str | None = None
    """A bundle whose quantiser is measured too."""
    seed: int = 3
    """Of the shapes; another than that of the built-in corpora, so that a bundle has not seen them."""


QUICK = {"fits": 24, "held": 4, "schedule": 2048, "judged": 2048, "fit_steps": 20}
"""Settings small enough for half a minute; figures that say little."""


def measure(settings: Settings, output: Path) -> dict[str, Any]:
    """Do, or finish, everything; returns the figures of `symmetry.json`.

    Raises:
        InputError: the family is unknown, the bundle cannot be read or is for other fields, or `output` holds a run of
            other settings.
    """
    kept, config = output / "settings.json", FieldConfig()
    if kept.is_file() and read_json(kept) != asdict(settings):
        raise InputError(f"{output} holds a run of other settings; choose another output folder.")
    given = {"the bundle": WeightTokenizer.from_pretrained(settings.model).quantiser} if settings.model else {}
    write_json(kept, asdict(settings))
    shapes = draw_shapes(settings.fits + settings.held, settings.seed, [settings.family])
    train, held = shapes[: settings.fits], shapes[settings.fits :]
    points = shared_schedule(train, settings.schedule, settings.seed)
    samples, seen = sample(train, points), sample(held, points)
    judged = sample(held, uniform_points(settings.judged, 3, settings.seed + 1))
    options, path = FitConfig(steps=settings.fit_steps), output / "initial.safetensors"
    if not path.is_file():
        write_tensors(path, {"flat": mean_field(config, samples, options)})
    shared = read_tensors(path)["flat"]
    fits = fit(config, samples, options, initial=shared, folder=output / "fits", progress="plain fits").fields
    plain = fit(config, seen, options, initial=shared, folder=output / "held", progress="plain fits, held out").fields
    alone = FitConfig(steps=settings.fit_steps, seed=STARTS)
    started = fit(config, seen, alone, folder=output / "random", progress="fits of random starts").fields
    corpus = Corpus(samples, fits, shared, options, settings.seed)
    tables = {name: learner(name, CodebookConfig())(corpus, False).quantiser for name in VECTOR_TABLES}
    orders = random_permutations(config, settings.held, settings.seed)
    sources = {
        "shared start": plain,
        "shared start, permuted": Fields(config, permute(config, plain.flat, orders)),
        "random starts": started,
    }
    result = {
        "settings": asdict(settings),
        "permuted": restored(fits, shared, settings.seed),
        "rows": [row for name, fields in sources.items() for row in rows(name, fields, shared, tables | given, judged)],
    }
    write_json(output / "symmetry.json", result)
    with whole(output / "symmetry.md") as draft:
        draft.write_text(page(result), encoding="utf-8")
    return result


def restored(fits: Fields, shared: Tensor, seed: int) -> dict[str, int]:
    """How many fields alignment brings back bit for bit from a random order, and how many it leaves as they came."""
    shuffled = permute(fits.config, fits.flat, random_permutations(fits.config, len(fits), seed))
    same = [(align(fits.config, flat, shared)[0] == fits.flat).all(1).sum() for flat in (shuffled, fits.flat)]
    return {"fields": len(fits), "restored": int(same[0]), "left": int(same[1])}


def rows(
    name: str, fields: Fields, shared: Tensor, quantisers: dict[str, Quantiser], judged: Samples
) -> list[dict[str, Any]]:
    """The figures of fields as they came, and aligned to the `shared` field (P,) first."""
    aligned = Fields(fields.config, align(fields.config, fields.flat, shared)[0])
    return [
        {
            "fields": name,
            "aligned": fields is not one,
            "distance": float((one.flat - shared).norm(dim=1).mean()),
            "iou": float(field_iou(one, judged).mean()),
            "iou_through": {known: through(quantiser, one, judged) for known, quantiser in quantisers.items()},
        }
        for one in (fields, aligned)
    ]


def through(quantiser: Quantiser, fields: Fields, judged: Samples) -> float:
    """Mean IoU of fields that went to codes and back."""
    codes = quantiser.encode(fields, EncodeConfig(steps=0))
    return float(field_iou(quantiser.decode(codes), judged).mean())


def page(result: dict[str, Any]) -> str:
    """The figures as Markdown, with the command that makes them."""
    settings, permuted, names = result["settings"], result["permuted"], list(result["rows"][0]["iou_through"])
    changed = [f" --{k.replace('_', '-')} {v}" for k, v in settings.items() if v != getattr(Settings(), k)]
    lines = [
        f"| {row['fields']} | {'yes' if row['aligned'] else 'no'} | {row['distance']:.3f} | {row['iou']:.4f} | "
        + " | ".join(f"{value:.4f}" for value in row["iou_through"].values())
        + " |"
        for row in result["rows"]
    ]
    return f"""# The order of neurons

`python -m tokenization.symmetry --output runs/symmetry{"".join(changed)}` fitted {settings["fits"]} shapes of the
family "{settings["family"]}" from one shared initial field and put the hidden neurons of every fit into a random order.
Aligned to the shared field, {permuted["restored"]} of {permuted["fields"]} came back bit for bit. Of the fits as they
were, alignment left {permuted["left"]} untouched.

{settings["held"]} held-out shapes were fitted from the shared field, from the shared field with the neurons permuted
afterwards, and each from a random start of its own. Distance is the mean distance of the weights from the shared field.
IoU is volume IoU with the true shapes: of the fields themselves, and after tokens. The tables were learnt from the
{settings["fits"]} fits; the bundle, where there is one, encodes without refining.

| fitted from | aligned | distance | IoU of the fields | {" | ".join(names)} |
|{"---|" * (4 + len(names))}
{chr(10).join(lines)}
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tokenization.symmetry", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="half a minute; figures that say little")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int if isinstance(value, int) else str)
    given = vars(parser.parse_args())
    asked = {name: given[name] for name in asdict(Settings()) if given[name] is not None}
    torch.set_num_threads(1)
    try:
        result = measure(Settings(**{**(QUICK if given["quick"] else {}), **asked}), given["output"])
    except InputError as error:
        sys.exit(f"error: {error}")
    print("\n".join(line for line in page(result).splitlines() if line.startswith("|")))
    print(f"page: {given['output'] / 'symmetry.md'}", file=sys.stderr)


if __name__ == "__main__":
    main()
