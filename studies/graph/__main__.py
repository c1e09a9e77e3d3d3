"""How much does a graph encoder lose? `python -m studies.graph`.

We learn a codebook from many shapes of one family. We fit fewer shapes from random weights, and graph encoders learn
from these fields. Held-out shapes, also fitted from random weights, become tokens and fields again. We compare these
fields, and plain fits of the same shapes, with the true shapes. We train one graph encoder for each entry of
`VARIANTS`, because their differences show the effects of neuron values, weights and messages.

Decisions:
- Finished stages stay in a folder that is named after the settings, so the same command resumes. `metrics.json` has the
  figures, `graph.md` shows them.

Dimensions: N shapes, B fields, C chunks, Q quantizer levels.
"""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from studies.graph.page import HEADERS, render_page, table_rows
from tokenization.corpus import Corpus
from tokenization.plain_fits import load_or_fit_shared_init
from tokenization.train_codebook import CodebookConfig, learn_codebook
from tokenization.train_graph import GraphConfig, learn_graph_encoder
from weightgpt import __version__
from weightgpt._programs import cached_folder, cli_main, command_line, parse, settings_digest
from weightgpt.errors import check_at_least
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.formatting import text_table
from weightgpt.io import read_tensors, write_json, write_tensors, write_text
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points

TRAIN_SEED, HELD_OUT_SEED = 1000, 100_000
"""First seeds of the random weights. Row i uses the seed plus i; the shared initial field uses none of these seeds."""

VARIANTS: dict[str, dict[str, Any]] = {
    "neuron values and messages": {},
    "without messages": {"num_rounds": 0},
    "weights only": {"num_traces": 0},
    "with shape encoder": {"use_shape_encoder": True},
}
"""How the configuration of each graph encoder differs from the default `GraphConfig`."""


@dataclass(frozen=True, kw_only=True)
class GraphStudyConfig:
    """Measure graph encoders on fields that were fitted from random weights."""

    output: Path = Path("runs/graph")
    """Folder of the figures, the page and the stages."""
    family: str = "chair"
    """Built-in family of the shapes."""
    num_shapes: int = 8192
    """Shapes that the codebook learns from."""
    num_fields: int = 2048
    """Number of these shapes, the first ones, that are fitted from random weights for the graph encoders."""
    num_held_out: int = 128
    """Held-out shapes, drawn after the training shapes."""
    num_points: int = 8192
    """Shared points at which all shapes are sampled for learning."""
    num_eval_points: int = 16_384
    """Uniform points at which IoU is measured."""
    codebook_steps: int = 12_000
    """Training steps of the codebook."""
    graph_steps: int = 2500
    """Training steps of each graph encoder."""
    fit_steps: int = 600
    """Steps of each fit."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_shapes", "num_fields", "num_held_out", "num_points", "num_eval_points")
        check_at_least(self, 1, "codebook_steps", "graph_steps", "fit_steps")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that decide the figures: all but `output`."""
        return {name: value for name, value in asdict(self).items() if name != "output"}


@dataclass(frozen=True)
class GraphStudySamples:
    """Signed distances of the shapes."""

    train: Samples
    held_out: Samples
    evaluation: Samples
    """The held-out shapes at uniform points."""


def run_study(config: GraphStudyConfig, command: str) -> dict[str, Any]:
    """Run all stages that are not finished, and write `metrics.json` and `graph.md`.

    Args:
        config: what to measure.
        command: the command line, for the page.

    Returns:
        The figures of `metrics.json`.

    Raises:
        InputError: the family is unknown.
    """
    folder = config.output / f"stages-{settings_digest(config.settings)}"
    samples, field_config = sample_shapes(config, folder), FieldConfig()
    corpus, plain_fits = fit_shared_init(field_config, config, samples, folder)
    autoencoder = learn_autoencoder(corpus, config, folder)
    train_samples = samples.train.select(slice(0, config.num_fields))
    train_fields = fit_random_init(field_config, config, train_samples, TRAIN_SEED, folder / "random-init")
    held_out = fit_random_init(field_config, config, samples.held_out, HELD_OUT_SEED, folder / "random-init-held-out")
    decoded = {
        "plain-fit": plain_fits,
        "random-init fits": held_out,
        "shape encoder without graph": autoencoder.decode(encode_values(autoencoder, held_out)),
    }
    for name, changes in VARIANTS.items():
        graph_config = replace(GraphConfig(steps=config.graph_steps), **changes)
        quantizer = learn_graph(name, graph_config, autoencoder, train_fields, train_samples, folder)
        decoded[name] = quantizer.decode(quantizer.encode(held_out))
    rows = {name: summarize(fields, samples.evaluation) for name, fields in decoded.items()}
    iou_plain_fit = max(rows["plain-fit"]["iou"], 1e-9)
    result = {
        "version": __version__,
        "command": command,
        "settings": config.settings,
        "tokens_per_field": autoencoder.tokens_per_field,
        "rows": {name: row | {"iou_ratio": row["iou"] / iou_plain_fit} for name, row in rows.items()},
    }
    write_json(config.output / "metrics.json", result)
    write_text(config.output / "graph.md", render_page(result))
    return result


def sample_shapes(config: GraphStudyConfig, folder: Path) -> GraphStudySamples:
    """Sample all shapes at the shared points, and the held-out shapes at uniform points too.

    Args:
        config: the numbers of shapes and points.
        folder: folder of the stages; a file there is read instead.
    """
    path = folder / "samples.safetensors"
    if not path.is_file():
        shapes = draw_shapes(config.num_shapes + config.num_held_out, 0, [config.family])
        train, held_out = shapes[: config.num_shapes], shapes[config.num_shapes :]
        points, uniform = shared_points(train, config.num_points, 0), uniform_points(config.num_eval_points, 3, 7)
        parts = {"train": (train, points), "held_out": (held_out, points), "evaluation": (held_out, uniform)}
        distances = {name: sample_sdf(*part).sdf.half() for name, part in parts.items()}
        write_tensors(path, {**distances, "points": points, "uniform": uniform})
    tensors = read_tensors(path)
    points, uniform = tensors["points"], tensors["uniform"]
    return GraphStudySamples(
        Samples(points, tensors["train"]),
        Samples(points, tensors["held_out"].float()),
        Samples(uniform, tensors["evaluation"].float()),
    )


def fit_shared_init(
    field_config: FieldConfig, config: GraphStudyConfig, samples: GraphStudySamples, folder: Path
) -> tuple[Corpus, Fields]:
    """Fit shapes from a shared initial field.

    Args:
        field_config: the architecture.
        config: the number of steps.
        samples: the shapes.
        folder: folder of the stages.

    Returns:
        The corpus of the codebook, with fits of its first 64 shapes, and fits of the held-out shapes.
    """
    fit_config, path = FitConfig(steps=config.fit_steps), folder / "shared_init.safetensors"
    shared_init = load_or_fit_shared_init(field_config, samples.train, fit_config, path)
    parts = {"init": samples.train.select(slice(0, 64)), "plain": samples.held_out}
    init_fits, plain_fits = (
        fit(field_config, part, fit_config, shared_init=shared_init, folder=folder / name, progress=f"{name} fits")
        for name, part in parts.items()
    )
    return Corpus(samples.train, init_fits.fields, shared_init, fit_config), plain_fits.fields


def fit_random_init(
    field_config: FieldConfig, config: GraphStudyConfig, samples: Samples, seed: int, folder: Path
) -> Fields:
    """Fit each shape from different random weights.

    Args:
        field_config: the architecture.
        config: the number of steps.
        samples: N shapes.
        seed: seed of the first shape.
        folder: folder of the finished fits.
    """
    fit_config = FitConfig(steps=config.fit_steps, seed=seed)
    return fit(field_config, samples, fit_config, folder=folder, progress="random-init fits").fields


def learn_autoencoder(corpus: Corpus, config: GraphStudyConfig, folder: Path) -> RVQAutoencoder:
    """Learn the codebook and its shape encoder from all training shapes.

    Args:
        corpus: the training shapes.
        config: the number of steps.
        folder: folder of the stages.
    """
    codebook_config = CodebookConfig(steps=config.codebook_steps)

    def write(draft: Path) -> None:
        learn_codebook(corpus, codebook_config, progress=True).quantizer.save_pretrained(draft)

    path = cached_folder(folder, codebook_config, write, name="codebook")
    return RVQAutoencoder.from_pretrained(path)


def learn_graph(
    name: str,
    graph_config: GraphConfig,
    autoencoder: RVQAutoencoder,
    fields: Fields,
    samples: Samples,
    folder: Path,
) -> GraphQuantizer:
    """Train one graph encoder.

    Args:
        name: name of the variant.
        graph_config: the encoder and its training.
        autoencoder: the codebook and its shape encoder.
        fields: N fields that were fitted from random weights.
        samples: the N shapes of these fields.
        folder: folder of the stages.
    """

    def write(draft: Path) -> None:
        result = learn_graph_encoder(
            autoencoder.codebook, autoencoder.encoder, fields, samples, graph_config, progress=True
        )
        result.quantizer.save_pretrained(draft)

    path = cached_folder(folder, graph_config, write, name=name.replace(" ", "-"))
    return GraphQuantizer.from_pretrained(path)


@torch.no_grad()
def encode_values(autoencoder: RVQAutoencoder, fields: Fields) -> torch.Tensor:
    """Encode fields by their values at the probes alone; no graph and no refinement.

    Args:
        autoencoder: the codebook and its shape encoder.
        fields: B fields.

    Returns:
        (B, C, Q) codes.
    """
    return autoencoder.quantize(autoencoder.encoder(fields(autoencoder.probes)[..., 0]))


def summarize(fields: Fields, evaluation: Samples) -> dict[str, float]:
    """Mean and lowest IoU, and the number of fields with an IoU of 0.1 or less.

    Args:
        fields: B fields.
        evaluation: the B true shapes at uniform points.
    """
    ious = field_iou(fields, evaluation)
    return {"iou": float(ious.mean()), "iou_lowest": float(ious.min()), "failed": int((ious <= 0.1).sum())}


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    config = parse(GraphStudyConfig, "studies.graph")
    torch.set_num_threads(1)
    result = run_study(config, command_line("studies.graph"))
    print(f"{result['tokens_per_field']} tokens, {config.num_held_out} held-out shapes")
    print(text_table(HEADERS, table_rows(result)))


if __name__ == "__main__":
    sys.exit(main())
