"""Which losses keep thin parts attached? `python -m studies.pieces`.

We learn RVQ autoencoders of six families with four losses: with and without balanced sides near the surface, with and
without squared errors. New shapes become tokens and fields again, and we count the fields that are in one piece. We
also count fields with noise on their latents, because a GPT does not write exact codes.

Decisions:
- Every loss is measured with several seeds, because autoencoders of one loss differ: some lose the column of many
  pedestal chairs.
- A finished row stays in `OUTPUT/rows`, in a file that is named after the settings, so the same command resumes.

Dimensions: n new shapes, C chunks, r latent width.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studies.pages import measured_by
from tokenization.measure.benchmark import Benchmark, prepare_benchmark
from tokenization.measure.config import MeasureConfig
from tokenization.train_codebook import CodebookConfig, learn_codebook
from weightgpt import __version__
from weightgpt._programs import cached, cli_main, command_line, parse
from weightgpt.errors import check_at_least
from weightgpt.fields.field import Fields
from weightgpt.formatting import format_number, markdown_table, text_table
from weightgpt.io import write_json, write_text
from weightgpt.metrics.pairwise import field_iou, solid_pieces
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import sample_sdf, uniform_points
from weightgpt.visual.meshing import sdf_grid

ROWS_FILE, PAGE_FILE = "pieces.json", "pieces.md"
NEW_SHAPES_SEED = 2000
"""Seed of the new shapes, of the points at which they are measured, and of the noise."""
NOISE = 0.3
"""Standard deviation of the noise, in standard deviations of each latent."""
SHARES = {
    "one_piece": "one piece",
    "one_piece_chairs": "one piece, chairs",
    "one_piece_noise": "one piece, noise",
    "one_piece_chairs_noise": "one piece, chairs, noise",
}
"""Keys of the shares of a row and the headers of their columns."""
HEADERS = ("sides", "squared weight", "seed", "IoU", *SHARES.values())

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PiecesConfig:
    """Learn RVQ autoencoders with different losses, and count the decoded shapes that are in one piece."""

    output: Path = Path("runs/pieces")
    """Folder of the figures, the page and the rows."""
    num_train: int = 16_384
    """Shapes to learn from."""
    codebook_steps: int = 12_000
    """Training steps of each autoencoder."""
    num_seeds: int = 2
    """Autoencoders of each loss."""
    num_shapes: int = 1536
    """n, new shapes that become tokens and fields again."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_train", "codebook_steps", "num_seeds", "num_shapes")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that decide the figures: all but `output`."""
        return {name: value for name, value in asdict(self).items() if name != "output"}

    @property
    def measure_config(self) -> MeasureConfig:
        """The training shapes and their plain fits; the held-out shapes are not used."""
        return MeasureConfig(corpus="six-families", num_train=self.num_train, num_held_out=96)


def run_study(config: PiecesConfig, command: str) -> list[Row]:
    """Measure every loss that has no row yet, and write the page after each row.

    Args:
        config: the sizes of the study.
        command: the command line, for the page.

    Returns:
        The rows of `pieces.json`.
    """

    @cache
    def benchmark() -> Benchmark:
        return prepare_benchmark(config.measure_config, config.output / "shared")

    rows: list[Row] = []
    for seed, codebook_config in product(range(config.num_seeds), codebook_configs(config.codebook_steps)):
        settings = {
            "benchmark": config.measure_config.benchmark_settings(),
            "codebook": codebook_config,
            "seed": seed,
            "num_shapes": config.num_shapes,
        }

        def measure_row(codebook_config: CodebookConfig = codebook_config, seed: int = seed) -> Row:
            return measure_codebook(benchmark(), codebook_config, seed, config.num_shapes)

        rows.append(cached(config.output / "rows", settings, measure_row, name="row"))
        result = {"command": command, "settings": config.settings, "rows": rows}
        write_json(config.output / ROWS_FILE, result)
        write_text(config.output / PAGE_FILE, render_page(result))
    return rows


def codebook_configs(steps: int) -> list[CodebookConfig]:
    """The configuration of each loss. As in the preset of built-in shapes, five of eight trained levels are used.

    Args:
        steps: training steps.
    """
    usual = CodebookConfig(steps=steps, num_quantizers=5, trained_quantizers=8)
    return [
        replace(usual, balance_sides=balance_sides, squared_weight=squared_weight)
        for squared_weight in (0.0, 4.0)
        for balance_sides in (False, True)
    ]


def measure_codebook(benchmark: Benchmark, config: CodebookConfig, seed: int, num_shapes: int) -> Row:
    """Learn an autoencoder, and measure fields decoded from codes of new shapes.

    Args:
        benchmark: the shapes to learn from.
        config: the autoencoder and its loss.
        seed: seed of the learning.
        num_shapes: n.
    """
    quantizer = learn_codebook(replace(benchmark.corpus, seed=seed), config, progress=True).quantizer
    shapes = draw_shapes(num_shapes, NEW_SHAPES_SEED)
    codes = quantizer.encode_samples(sample_sdf(shapes, quantizer.probes), EncodeConfig(steps=0))
    latents = quantizer.latents(codes)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(NEW_SHAPES_SEED))
    fields, noisy_fields = (quantizer.decode_latents(z) for z in (latents, latents + NOISE * latents.std(0) * noise))
    chairs = torch.tensor([shape.label == "chair" for shape in shapes])
    one_piece, one_piece_noise = in_one_piece(fields), in_one_piece(noisy_fields)
    evaluation = sample_sdf(shapes, uniform_points(benchmark.config.num_eval_points, 3, NEW_SHAPES_SEED))
    return {
        "version": __version__,
        "balance_sides": config.balance_sides,
        "squared_weight": config.squared_weight,
        "seed": seed,
        "iou": float(field_iou(fields, evaluation).mean()),
        "one_piece": float(one_piece.mean()),
        "one_piece_chairs": float(one_piece[chairs].mean()),
        "one_piece_noise": float(one_piece_noise.mean()),
        "one_piece_chairs_noise": float(one_piece_noise[chairs].mean()),
    }


@torch.no_grad()
def in_one_piece(fields: Fields, resolution: int = 64) -> Tensor:
    """Whether the solid of each field is one connected piece.

    Args:
        fields: n fields.
        resolution: grid points along each side.

    Returns:
        (n,) 1 for one piece, else 0.
    """
    return torch.tensor([float(solid_pieces(sdf_grid(sdf, resolution)) == 1) for sdf in fields.sdfs()])


def table_rows(rows: Sequence[Row]) -> list[list[str]]:
    """The cells of the table.

    Args:
        rows: the rows of `pieces.json`.
    """
    return [
        [
            "balanced" if row["balance_sides"] else "not balanced",
            format_number(row["squared_weight"]),
            format_number(row["seed"]),
            f"{row['iou']:.3f}",
            *(f"{row[key]:.3f}" for key in SHARES),
        ]
        for row in rows
    ]


def render_page(result: dict[str, Any]) -> str:
    """The figures as Markdown.

    Args:
        result: the content of `pieces.json`.
    """
    return f"""# Losses that keep thin parts attached

{measured_by(result["rows"], result["command"])}

RVQ autoencoders were learned with different losses. *Balanced* sides: half of the points near the surface lie inside.
*Squared weight*: the weight of squared errors, which are added to absolute errors (`squared_weight` of
`CodebookConfig`). {result["settings"]["num_shapes"]} new shapes of six families became tokens and fields again. The
columns give the share of fields that are in one piece, of all shapes and of chairs, without and with noise of {NOISE}
standard deviations on the latents. A quarter of the chairs stand on a thin column.

{markdown_table(HEADERS, table_rows(result["rows"]))}
"""


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    config = parse(PiecesConfig, "studies.pieces")
    torch.set_num_threads(1)
    print(text_table(HEADERS, table_rows(run_study(config, command_line("studies.pieces")))))


if __name__ == "__main__":
    sys.exit(main())
