"""What does each setting of the RVQ autoencoder change? `python -m studies.sweep`.

Decisions:
- All points have the same shapes, and each point changes one setting. Only smaller chunks also get narrower latents,
  because fewer weights vary in fewer directions.
- All autoencoders train for the same few steps, so that a whole sweep takes about half an hour on one core. The figures
  can be compared with each other, but not with those of `tokenization.measure`.
- Seconds are processor time of one thread, so that other work on the machine does not count.
- A finished row stays in `OUTPUT/rows`, in a file that is named after the settings, so the same command resumes. A
  point that lies on several axes is measured once.

Dimensions: N training shapes, H held-out shapes.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from studies.sweep.page import HEADERS, Row, table_rows, write_results
from tokenization.measure.benchmark import Benchmark, prepare_benchmark
from tokenization.measure.config import MeasureConfig
from tokenization.measure.metrics import (
    ReconstructionMetrics,
    Surface,
    reconstruction_metrics,
    summarize,
    true_surfaces,
)
from tokenization.presets import TokenizerConfig
from tokenization.registry import learn_quantizer
from tokenization.train_codebook import CodebookConfig
from weightgpt import __version__
from weightgpt._programs import cached, cli_main, command_line, parse
from weightgpt.errors import check_at_least
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.formatting import text_table
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.token_metrics import token_metrics


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Change one setting of the RVQ autoencoder at a time, and measure each."""

    output: Path = Path("runs/sweep")
    """Folder of the figures, the page, the plots and the rows."""
    corpus: str = "six-families"
    """"chairs" or "six-families" for built-in shapes, or a folder of meshes."""
    num_train: int = 2048
    """N, shapes to learn from; the axis of training shapes uses fewer."""
    num_init_fits: int = 64
    """Training shapes with plain fits; base and bases start from these fits."""
    num_held_out: int = 96
    """H, shapes to measure on."""
    codebook_steps: int = 2500
    """Training steps of each autoencoder."""
    fit_steps: int = 600
    """Steps of the plain fits; they are doubled while the fits still improve."""
    resolution: int = 64
    """Grid points along each axis when shapes are meshed."""
    seed: int = 0
    """Seed of the shapes, the split, the fits and the learning."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_init_fits", "codebook_steps", "fit_steps")
        measure_config(self, SweepPoint(axis="", value=0))  # refuses impossible settings of a measurement

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that decide the figures: all but `output`."""
        return {name: value for name, value in asdict(self).items() if name != "output"}


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One value on one axis."""

    axis: str
    """Name of the axis."""
    value: int
    """Position of the point on the axis."""
    changes: dict[str, int] = field(default_factory=dict)
    """Fields of `CodebookConfig` that differ from the defaults."""
    num_shapes: int | None = None
    """The first of the training shapes to learn from; None for all."""
    field_width: int | None = None
    """Width of all hidden layers of the fields; None for the default."""

    @property
    def field_config(self) -> FieldConfig:
        """The architecture of the fields."""
        default = FieldConfig()
        return default if self.field_width is None else replace(default, hidden=(self.field_width,) * 3)


@dataclass(frozen=True)
class SweepInputs:
    """Shapes, their true surfaces, and the metrics of their plain fits."""

    benchmark: Benchmark
    surfaces: list[Surface | None]
    plain: ReconstructionMetrics


def _chunk_changes(neurons: int, latent_width: int, num_quantizers: int = 8) -> dict[str, int]:
    """Settings of chunks of this number of neurons, with as many directions as numbers of a latent."""
    return {
        "neurons_per_chunk": neurons,
        "latent_width": latent_width,
        "coefficients": latent_width,
        "num_quantizers": num_quantizers,
    }


TOKENS: dict[int, dict[str, int]] = {
    32: {},
    56: _chunk_changes(16, 48),
    104: _chunk_changes(8, 32),
    200: _chunk_changes(4, 24),
    392: _chunk_changes(2, 16),
    784: _chunk_changes(2, 16, 16),
}
"""Settings by the number of tokens of a field."""


def sweep_points() -> Iterator[SweepPoint]:
    """All points; the default is one of the points of every axis."""
    yield from (SweepPoint(axis="tokens", value=tokens, changes=changes) for tokens, changes in TOKENS.items())
    for axis, name, values in (
        ("quantizer levels", "num_quantizers", (2, 4, 8, 12, 16)),
        ("latent width", "latent_width", (8, 16, 32, 64, 96)),
        ("codebook size", "codebook_size", (64, 128, 256, 512, 1024)),
    ):
        yield from (SweepPoint(axis=axis, value=value, changes={name: value}) for value in values)
    for value in (64, 128, 256, 512, 1024, 2048):
        yield SweepPoint(axis="training shapes", value=value, num_shapes=value)
    for value in (32, 64, 128):  # every layer stays one chunk
        yield SweepPoint(axis="field width", value=value, field_width=value, changes={"neurons_per_chunk": value})


def measure_config(config: SweepConfig, point: SweepPoint) -> MeasureConfig:
    """The settings of the measurement at a point.

    Args:
        config: what all points share.
        point: the point.
    """
    return MeasureConfig(
        corpus=config.corpus,
        num_train=config.num_train,
        num_held_out=config.num_held_out,
        resolution=config.resolution,
        seed=config.seed,
        tokenizer=TokenizerConfig(
            num_init_fits=config.num_init_fits,
            field=point.field_config,
            fit=FitConfig(steps=config.fit_steps),
            codebook=CodebookConfig(steps=config.codebook_steps, **point.changes),  # type: ignore[arg-type]
            encode=EncodeConfig(steps=0),
        ),
    )


def row_settings(config: SweepConfig, point: SweepPoint) -> dict[str, Any]:
    """All settings that decide the figures of a point; equal points of several axes have equal settings.

    Args:
        config: what all points share.
        point: the point.
    """
    num_shapes = config.num_train if point.num_shapes is None else point.num_shapes
    measure = measure_config(config, point)
    return {**measure.settings(measure.tokenizer.kind), "num_shapes": min(num_shapes, config.num_train)}


def run_study(config: SweepConfig, command: str) -> list[Row]:
    """Measure every point that has no row yet, and write the page after each row.

    Args:
        config: what all points share.
        command: the command line, for the page.

    Returns:
        The rows of `sweep.json`.

    Raises:
        InputError: the corpus cannot be used.
    """

    @cache
    def inputs(field_config: FieldConfig) -> SweepInputs:
        default = measure_config(config, SweepPoint(axis="", value=0))
        tokenizer = replace(default.tokenizer, field=field_config)
        benchmark = prepare_benchmark(replace(default, tokenizer=tokenizer), config.output / "shared")
        surfaces = true_surfaces(benchmark)
        plain = reconstruction_metrics(benchmark, surfaces, benchmark.plain_fits, "plain fits")
        return SweepInputs(benchmark, surfaces, plain)

    rows: list[Row] = []
    for point in sweep_points():
        settings = row_settings(config, point)

        def measure(point: SweepPoint = point) -> Row:
            return measure_point(inputs(point.field_config), config, point)

        figures = cached(config.output / "rows", settings, measure, name="row")
        rows.append({"axis": point.axis, "value": point.value, **figures})
        write_results(config.output, {"command": command, "settings": config.settings, "rows": rows})
    return rows


def measure_point(inputs: SweepInputs, config: SweepConfig, point: SweepPoint) -> Row:
    """Learn one autoencoder, encode and decode the held-out shapes, and compare the fields with their plain fits.

    Args:
        inputs: the shapes.
        config: what all points share.
        point: the settings of the autoencoder.
    """
    benchmark, tokenizer = inputs.benchmark, measure_config(config, point).tokenizer
    first = slice(0, point.num_shapes)
    samples, fits = benchmark.corpus.samples.select(first), benchmark.corpus.fits.select(first)
    corpus = replace(benchmark.corpus, samples=samples, fits=fits)
    start = time.process_time()
    quantizer = learn_quantizer(corpus, tokenizer, progress=True).quantizer
    codes = quantizer.encode_samples(benchmark.samples, tokenizer.encode, progress=True)
    seconds = time.process_time() - start
    decoded, title = quantizer.decode(codes), f"{point.axis} {point.value}"
    metrics = reconstruction_metrics(benchmark, inputs.surfaces, decoded, title)
    tokens = token_metrics(quantizer, codes)
    return {
        "version": __version__,
        **{name: tokens[name] for name in ("tokens_per_field", "bits_per_field")},
        "parameters_per_field": benchmark.plain_fits.config.parameters,
        "train_shapes": len(samples.sdf),
        **summarize(metrics, inputs.plain),
        "steps": tokenizer.codebook.steps,
        "seconds": round(seconds, 1),
        "plain_fit_steps": benchmark.corpus.fit.steps,
        "iou_gain_last_quarter": benchmark.iou_gain_last_quarter,
    }


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    config = parse(SweepConfig, "studies.sweep")
    torch.set_num_threads(1)
    rows = run_study(config, command_line("studies.sweep"))
    print(text_table(HEADERS, table_rows(rows)))


if __name__ == "__main__":
    sys.exit(main())
