"""What each setting of the codebook in the loop is worth: `python -m studies.sweep --output runs/sweep`.

Decisions:
- One axis at a time is moved away from the defaults; everything else stays as it is, the held-out shapes too. Only with
  smaller chunks do their latents become narrower, as fewer weights vary in fewer directions.
- Few steps, the same for all, so that a whole sweep is done in about half an hour of one core. Figures are therefore
  lower than those of `tokenization.measure`, and to be compared with each other alone.
- Seconds are those that the process itself computed, on one thread, so that other work on the machine does not count.
- A row is a file in `DIR/rows`, named by all that decides it, so that an interrupted sweep goes on with the next one.

Dimensions: N training shapes, H held-out shapes.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib import pyplot

from tokenization.measure.benchmark import Benchmark, prepare_benchmark
from tokenization.measure.config import CORPORA, MeasureConfig
from tokenization.measure.metrics import (
    ReconstructionMetrics,
    Surface,
    reconstruction_metrics,
    summarize,
    token_metrics,
    true_surfaces,
)
from tokenization.measure.rows import PLAIN_FIT, Row
from tokenization.presets import TokenizerConfig
from tokenization.registry import learn_quantizer
from tokenization.train_codebook import CodebookConfig
from weightgpt._programs import cli_main, command_line, settings_digest
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import atomic_write, read_json, write_json, write_text
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.sampling import Samples

ROWS, PAGE = "sweep.json", "sweep.md"


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """What all rows have in common."""

    corpus: str = "six-families"
    """A name of `tokenization.measure.config.CORPORA`, or a folder of meshes."""
    train: int = 2048
    """N, where the axis is another one."""
    fitted: int = 64
    """Training shapes with plain fits, which base and bases start from."""
    held: int = 96
    """H."""
    steps: int = 2500
    """Steps of the codebook in the loop."""
    fit_steps: int = 600
    """Steps of the plain fits, at first."""
    resolution: int = 64
    """Grid points along each side when meshing."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value on one axis."""

    axis: str
    value: int
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings of the loop that are not the defaults."""
    shapes: int | None = None
    """Training shapes; None for all."""
    width: int | None = None
    """Width of the field; None for the default."""


def _chunks(neurons: int, latent_width: int, levels: int = 8) -> dict[str, int]:
    """Settings of chunks of so many neurons, with as many directions as numbers."""
    return {
        "neurons_per_chunk": neurons,
        "latent_width": latent_width,
        "coefficients": latent_width,
        "num_quantizers": levels,
    }


TOKENS = {
    32: {},
    56: _chunks(16, 48),
    104: _chunks(8, 32),
    200: _chunks(4, 24),
    392: _chunks(2, 16),
    784: _chunks(2, 16, 16),
}
"""Tokens of a field, and the chunks and levels that make so many."""


def plan() -> Iterator[Point]:
    """All points, the default among those of every axis."""
    yield from (Point(axis="tokens", value=tokens, changes=made) for tokens, made in TOKENS.items())
    yield from (Point(axis="levels", value=n, changes={"num_quantizers": n}) for n in (2, 4, 8, 12, 16))
    yield from (Point(axis="latent width", value=n, changes={"latent_width": n}) for n in (8, 16, 32, 64, 96))
    yield from (Point(axis="codes", value=n, changes={"codebook_size": n}) for n in (64, 128, 256, 512, 1024))
    yield from (Point(axis="training shapes", value=n, shapes=n) for n in (64, 128, 256, 512, 1024, 2048))
    # one chunk a layer, whatever the width
    yield from (Point(axis="field width", value=n, width=n, changes={"neurons_per_chunk": n}) for n in (32, 64, 128))


@dataclass(frozen=True)
class SweepInputs:
    """Shapes, and the figures of their plain fits."""

    benchmark: Benchmark
    truth: list[Surface | None]
    plain: ReconstructionMetrics


def sweep(config: SweepConfig, output: Path, pages: Path, command: str) -> list[Row]:
    """Measure all points and write the tables and plots to `pages` after each; returns the rows.

    Raises:
        InputError: the corpus cannot be used.
    """

    @cache
    def ground(hidden: tuple[int, ...]) -> SweepInputs:
        benchmark = prepare_benchmark(measure_config(config, hidden, {}), output / "shared")
        truth = true_surfaces(benchmark)
        plain = reconstruction_metrics(benchmark, truth, benchmark.plain_fits, PLAIN_FIT)
        return SweepInputs(benchmark, truth, plain)

    rows: list[Row] = []
    for point in plan():
        path = output / "rows" / f"{digest(config, point)}.json"
        if not path.is_file():
            write_json(path, measured(ground(hidden(point)), config, point))
        rows.append({"axis": point.axis, "value": point.value, **read_json(path)})
        write_pages(pages, config, command, rows)
    return rows


def measure_config(config: SweepConfig, widths: tuple[int, ...], changes: dict[str, Any]) -> MeasureConfig:
    """The settings of shapes, fits and tokenizer: the defaults of `CodebookConfig`, and changes to them."""
    return MeasureConfig(
        corpus=config.corpus,
        num_train=config.train,
        num_held_out=config.held,
        resolution=config.resolution,
        seed=config.seed,
        tokenizer=TokenizerConfig(
            num_init_fits=config.fitted,
            field=FieldConfig(hidden=widths),
            fit=FitConfig(steps=config.fit_steps),
            codebook=CodebookConfig(**{"steps": config.steps, **changes}),
            encode=EncodeConfig(steps=0),
        ),
    )


def hidden(point: Point) -> tuple[int, ...]:
    """Widths of the hidden layers of a point's fields."""
    usual = FieldConfig.hidden
    return usual if point.width is None else (point.width,) * len(usual)


def digest(config: SweepConfig, point: Point) -> str:
    """A name for all that decides a row; points of several axes that are the same share it."""
    tokenizer = measure_config(config, hidden(point), point.changes).tokenizer
    return settings_digest({"config": config, "tokenizer": tokenizer, "shapes": point.shapes or config.train})


def measured(ground: SweepInputs, config: SweepConfig, point: Point) -> Row:
    """Learn and judge one codebook: tokens and bits of a field, its figures, and the seconds they took."""
    benchmark, shapes = ground.benchmark, point.shapes or config.train
    tokenizer = measure_config(config, hidden(point), point.changes).tokenizer
    samples = Samples(benchmark.corpus.samples.points, benchmark.corpus.samples.sdf[:shapes])
    corpus = replace(benchmark.corpus, samples=samples, fits=benchmark.corpus.fits.select(slice(0, shapes)))
    begun = time.process_time()
    quantizer = learn_quantizer(corpus, tokenizer, progress=True).quantizer
    codes = quantizer.encode_fits(benchmark.samples, benchmark.plain_fits, tokenizer.encode, progress=True)
    seconds = time.process_time() - begun
    figures = reconstruction_metrics(benchmark, ground.truth, quantizer.decode(codes), f"{point.axis} {point.value}")
    cost = token_metrics(quantizer, codes)
    return {
        "tokens": cost["tokens_per_field"],
        "bits": cost["bits_per_field"],
        "parameters": benchmark.plain_fits.config.parameters,
        "train_shapes": len(samples.sdf),
        **{name: value for name, value in summarize(figures, ground.plain).items() if value is not None},
        "steps": tokenizer.codebook.steps,
        "seconds": round(seconds, 1),
        "plain_fit_steps": benchmark.corpus.fit.steps,
        "iou_gain_last_quarter": benchmark.iou_gain_last_quarter,
    }


COLUMNS = {
    "axis": "axis",
    "value": "value",
    "tokens": "tokens",
    "bits": "bits",
    "iou": "IoU",
    "iou_ratio": "IoU / plain fit",
    "chamfer_ratio": "Chamfer / plain fit",
    "seconds": "seconds",
}


def write_pages(folder: Path, config: SweepConfig, command: str, rows: list[Row]) -> None:
    """Write `sweep.json`, `sweep.md`, `sweep.png` (IoU against bits) and `sweep-axes.png`."""
    write_json(folder / ROWS, {"command": command, "settings": asdict(config), "rows": rows})
    _plot(rows, folder / "sweep.png")
    _plot_axes(rows, folder / "sweep-axes.png")
    write_text(folder / PAGE, page(config, command, rows))


def page(config: SweepConfig, command: str, rows: list[Row]) -> str:
    """The rows as Markdown."""
    once = {repr(sorted(row.items())): row for row in ({**row, "axis": "", "value": 0} for row in rows)}.values()
    last = rows[-1]
    table = markdown_table(list(COLUMNS.values()), [[format_number(row.get(key)) for key in COLUMNS] for row in rows])
    return f"""# Rate and distortion of the codebook in the loop

Written by `{command}`.

One axis at a time, all else as by default: {config.train} shapes to learn from, {config.held} held out, the same for
every row, {config.steps} steps of learning. Those are few steps, so compare the rows with each other and see
[tokenizers.md](tokenizers.md) for what longer learning reaches. The default stands on every axis and was learned once.
Ratios are to the plain fits of fields of the same width ({last["plain_fit_steps"]} steps). Seconds are of one core, for
learning and encoding: {format_number(sum(row["seconds"] for row in once))} in all.

![IoU against bits](sweep.png)

![Every axis](sweep-axes.png)

{table}
"""


def _groups(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each axis, in the order of their values."""
    axes = dict.fromkeys(row["axis"] for row in rows)
    return {axis: sorted((r for r in rows if r["axis"] == axis), key=lambda r: r["value"]) for axis in axes}


def _plot(rows: list[Row], path: Path) -> None:
    """IoU against bits, a color for each axis."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    for axis, found in _groups(rows).items():
        axes.plot([row["bits"] for row in found], [row["iou"] for row in found], "o", label=axis, alpha=0.8)
    axes.set(xscale="log", xlabel="bits of a field", ylabel="IoU with held-out shapes")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def _plot_axes(rows: list[Row], path: Path) -> None:
    """IoU as a share of the plain fits' along each axis."""
    groups = _groups(rows)
    figure, grid = pyplot.subplots(2, 3, figsize=(9, 5), layout="constrained", sharey=True, squeeze=False)
    for axes in grid.flat[len(groups) :]:
        axes.set_visible(False)
    for axes, (axis, found) in zip(grid.flat, groups.items(), strict=False):
        axes.plot([row["value"] for row in found], [row["iou_ratio"] for row in found], "o-")
        axes.set_xscale("log", base=2)
        values = [row["value"] for row in found]
        axes.set_xticks(values, [str(value) for value in values], fontsize="small")
        axes.minorticks_off()
        axes.set(xlabel=axis)
        axes.grid(alpha=0.3)
    figure.supylabel("IoU / plain fit")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=150, format="png")
    pyplot.close(figure)


@cli_main
def main() -> None:
    """Sweep."""
    parser = argparse.ArgumentParser(prog="studies.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the rows")
    parser.add_argument("--pages", type=Path, help="folder of tables and plots (default: the same)")
    for name, value in asdict(SweepConfig()).items():
        help = f"{', '.join(CORPORA)}, or a folder of meshes" if name == "corpus" else "default: %(default)s"
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=help)
    given = vars(parser.parse_args())
    torch.set_num_threads(1)
    told = command_line("studies.sweep")
    config = SweepConfig(**{name: given[name] for name in asdict(SweepConfig())})
    rows = sweep(config, given["output"], given["pages"] or given["output"], told)
    print(markdown_table(list(COLUMNS.values()), [[format_number(row.get(key)) for key in COLUMNS] for row in rows]))


if __name__ == "__main__":
    sys.exit(main())
