"""Measure the graph road on one family: `python -m studies.graph --output RUN`.

A loop codebook is learned from many shapes. Fewer shapes are fitted from random starts, each its own, and graph encoders
are learned from those fields. Held-out shapes, again fitted from random starts of their own, go to tokens and back; both
they and plain conditioned fits of the same shapes are judged against the true shapes. One encoder is learned for each of
`VARIANTS`, to tell what traces, values and messages are worth.

Every stage leaves whole files, so that the same command goes on where it was stopped. `metrics.json` has the figures,
`graph.md` shows them.

Dimensions: N shapes, M points, B fields.
"""

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tokenization.corpus import Corpus
from tokenization.train_codebook import CodebookConfig, learn_codebook
from tokenization.train_graph import GraphConfig, learn_graph_encoder
from weightgpt._programs import cli_main
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit, fit_mean_initialization
from weightgpt.io import atomic_write, read_json, read_tensors, write_json, write_tensors, write_text
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points

TRAIN_STARTS, HELD_STARTS = 1000, 100_000
"""First seeds of the random starts; row i follows its number, and none is that of the shared initial field."""

VARIANTS: dict[str, dict[str, Any]] = {
    "traces and messages": {},
    "without messages": {"num_rounds": 0},
    "weights alone": {"num_traces": 0},
    "with shape encoder": {"use_shape_encoder": True},
}
"""How each learned encoder differs from `GraphConfig`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the figures."""

    family: str = "chair"
    shapes: int = 8192
    """Shapes that the codebook is learned from."""
    fields: int = 2048
    """The first of them, fitted from random starts for the graph encoder."""
    held: int = 128
    """Shapes held out, which come after them."""
    schedule: int = 8192
    """Shared points for fitting and learning."""
    judged: int = 16384
    """Uniform points at which IoU is measured."""
    steps: int = 12000
    """Of learning the codebook."""
    graph_steps: int = 2500
    """Of learning each graph encoder."""
    fit_steps: int = 600
    """Of fitting a field."""


@dataclass(frozen=True)
class Data:
    """Sampled shapes."""

    train: Samples
    held: Samples
    judged: Samples
    """The held-out shapes at uniform points."""


def measure(settings: Settings, output: Path) -> dict[str, Any]:
    """Do, or finish, everything; returns the figures of `metrics.json`.

    Raises:
        InputError: the family is unknown, or `output` holds a run of other settings.
    """
    kept = output / "settings.json"
    if kept.is_file() and read_json(kept) != asdict(settings):
        raise InputError(f"{output} holds a run of other settings; choose another output folder.")
    write_json(kept, asdict(settings))
    data, config = sampled(settings, output), FieldConfig()
    conditioned, plain = fit_reference_fields(config, settings, data, output)
    codebook, shape = loop_codebook(config, settings, conditioned, data, output)
    rows = data.train.select(slice(0, settings.fields))
    fields = fit_alone(config, settings, rows, TRAIN_STARTS, output / "fits")
    source = fit_alone(config, settings, data.held, HELD_STARTS, output / "held")
    learn_graphs(codebook, shape, fields, rows, settings.graph_steps, output)
    figures = {"plain conditioned fit": summary(plain, data.judged), "source fields": summary(source, data.judged)}
    figures["shape encoder alone"] = summary(codebook.decode(read_values(codebook, shape, source)), data.judged)
    for name in VARIANTS:
        quantizer = GraphQuantizer.from_pretrained(output / name.replace(" ", "-"))
        figures[name] = summary(quantizer.decode(quantizer.encode(source)), data.judged)
    best = max(figures["plain conditioned fit"]["iou"], 1e-9)
    table = {name: row | {"ratio": row["iou"] / best} for name, row in figures.items()}
    result = {"tokens": codebook.layout.num_chunks * codebook.num_quantizers, "held": settings.held, "rows": table}
    write_json(output / "metrics.json", result)
    write_text(output / "graph.md", page(settings, result))
    return result


def page(settings: Settings, result: dict[str, Any]) -> str:
    """The figures as Markdown, with the command that makes them."""
    changed = [f" --{k.replace('_', '-')} {v}" for k, v in asdict(settings).items() if v != getattr(Settings(), k)]
    rows = [
        f"| {name} | {row['iou']:.4f} | {row['ratio']:.3f} | {row['least']:.3f} | {row['dead']} |"
        for name, row in result["rows"].items()
    ]
    return f"""# The graph road

`python -m studies.graph --output runs/graph{"".join(changed)}` measured {result["held"]} held-out shapes of the
family "{settings.family}", each fitted from a random start of its own and brought to {result["tokens"]} tokens and
back. IoU is volume IoU with the true shapes; the ratio is to the plain conditioned fit; dead fields have an IoU of 0.1
or less. The codebook was learned from {settings.shapes} shapes, the graph encoders from {settings.fields} fields.

| | IoU | ratio | least | dead |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


def learn_graphs(
    codebook: Codebook, shape: ShapeEncoder, fields: Fields, samples: Samples, steps: int, output: Path
) -> None:
    """A graph encoder for each of `VARIANTS`, in a folder of its own."""
    for name, changes in VARIANTS.items():
        folder = output / name.replace(" ", "-")
        if not folder.exists():
            config = replace(GraphConfig(steps=steps), **changes)
            learned = learn_graph_encoder(codebook, shape, fields, samples, config, progress=True)
            with atomic_write(folder) as draft:
                learned.quantizer.save_pretrained(draft)
                write_json(draft / "history.json", learned.history)


@torch.no_grad()
def read_values(codebook: Codebook, shape: ShapeEncoder, fields: Fields) -> torch.Tensor:
    """Codes (B, C, Q) by the codebook's own shape encoder, which asks the fields as it asks shapes: no graph at all."""
    return codebook.quantize(shape(fields(shape.probes)[..., 0]))


def sampled(settings: Settings, output: Path) -> Data:
    """The shapes of the run at the shared points, and the held-out ones at uniform points too."""
    path = output / "samples.safetensors"
    if not path.is_file():
        shapes = draw_shapes(settings.shapes + settings.held, 0, [settings.family])
        train, held = shapes[: settings.shapes], shapes[settings.shapes :]
        points, uniform = shared_points(train, settings.schedule, 0), uniform_points(settings.judged, 3, 7)
        asked = {"train": (train, points), "held": (held, points), "judged": (held, uniform)}
        parts = {name: sample_sdf(shapes, where).sdf.half() for name, (shapes, where) in asked.items()}
        write_tensors(path, {**parts, "points": points, "uniform": uniform})
    parts = read_tensors(path)
    points, uniform, everything = parts["points"], parts["uniform"], slice(None)
    held, judged = Samples(points, parts["held"]), Samples(uniform, parts["judged"])
    return Data(Samples(points, parts["train"]), held.select(everything), judged.select(everything))


def fit_reference_fields(config: FieldConfig, settings: Settings, data: Data, output: Path) -> tuple[Fields, Fields]:
    """Plain conditioned fits: of 64 training shapes, for the start of the codebook, and of the held-out shapes."""
    options, path = FitConfig(steps=settings.fit_steps), output / "shared_init.safetensors"
    if not path.is_file():
        write_tensors(path, {"flat": fit_mean_initialization(config, data.train.select(slice(0, 512)), options)})
    shared_init, some = read_tensors(path)["flat"], data.train.select(slice(0, 64))
    start = fit(config, some, options, shared_init=shared_init, folder=output / "start", progress="fits to start from")
    plain = fit(config, data.held, options, shared_init=shared_init, folder=output / "plain", progress="plain fits")
    return start.fields, plain.fields


def fit_alone(config: FieldConfig, settings: Settings, samples: Samples, seed: int, folder: Path) -> Fields:
    """Unconditioned fits: each from its own random start."""
    options = FitConfig(steps=settings.fit_steps, seed=seed)
    return fit(config, samples, options, folder=folder, progress="unconditioned fits").fields


def loop_codebook(
    config: FieldConfig, settings: Settings, conditioned: Fields, data: Data, output: Path
) -> tuple[Codebook, ShapeEncoder]:
    """The codebook of all training shapes, and its shape encoder."""
    folder, options = output / "codebook", CodebookConfig(steps=settings.steps)
    if not folder.exists():
        shared_init = read_tensors(output / "shared_init.safetensors")["flat"]
        corpus = Corpus(data.train, conditioned, shared_init, FitConfig(steps=settings.fit_steps))
        learned = learn_codebook(corpus, options, progress=True)
        with atomic_write(folder) as draft:
            learned.quantizer.save_pretrained(draft)
    codebook = Codebook.from_pretrained(folder)
    return codebook, ShapeEncoder.load(folder, codebook.layout.num_chunks, codebook.latent_width)


def summary(fields: Fields, judged: Samples) -> dict[str, float]:
    """Mean and least IoU, and how many fields have a tenth of a shape or less."""
    found = field_iou(fields, judged)
    return {"iou": float(found.mean()), "least": float(found.min()), "dead": int((found <= 0.1).sum())}


@cli_main
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args())
    torch.set_num_threads(1)
    figures = measure(Settings(**{name: given[name] for name in asdict(Settings())}), given["output"])
    print(f"{'':22}  IoU   ratio   least  dead   ({figures['tokens']} tokens, {figures['held']} held-out shapes)")
    for name, row in figures["rows"].items():
        print(f"{name:22} {row['iou']:.4f}  {row['ratio']:.3f}  {row['least']:.3f}  {row['dead']:4}")


if __name__ == "__main__":
    sys.exit(main())
