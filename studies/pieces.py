"""What keeps thin parts whole: `python -m studies.pieces --output DIR`.

Codebooks of six families that differ in what they learn by alone: points near a surface drawn as they come or half of
them from inside, and plain errors or squared ones beside them. Fresh shapes go through each and back, as they are and
with noise on their latents, as a GPT's samples are not exactly right either.

Decisions: each may be learned with several seeds. Codebooks of the same kind differ: some lose the columns of many
pedestal chairs, all in the same places.

Dimensions: n fresh shapes, C chunks, r latent width.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokenization.measure.benchmark import Benchmark, prepare_benchmark
from tokenization.measure.config import MeasureConfig
from tokenization.presets import TokenizerConfig
from tokenization.train_codebook import CodebookConfig, learn_codebook
from weightgpt._programs import cli_main, command_line
from weightgpt.fields.field import Fields
from weightgpt.formatting import markdown_table
from weightgpt.io import read_json, write_json, write_text
from weightgpt.metrics.pairwise import field_iou, solid_pieces
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import sample_sdf, uniform_points
from weightgpt.visual.meshing import sdf_grid

FRESH = 2000
"""Seed of the fresh shapes."""
NOISE = 0.3
"""In standard deviations of the latents."""
SQUARED = (0.0, 4.0)
"""Weights of squared errors."""
COLUMNS = (
    *("near points", "weight of squares", "seed", "IoU"),
    *("one piece", "… of chairs", "one piece, noise", "… of chairs, noise"),
)


def measured(benchmark: Benchmark, config: CodebookConfig, seed: int, count: int) -> dict[str, Any]:
    """Learn a codebook, and send `count` fresh shapes through it and back."""
    quantizer = learn_codebook(replace(benchmark.corpus, seed=seed), config, progress=True).quantizer
    shapes = draw_shapes(count, FRESH)
    codes = quantizer.encode_samples(sample_sdf(shapes, quantizer.probes), EncodeConfig(steps=0))
    latents = quantizer.latents(codes)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(FRESH))
    near, off = (quantizer.decode_latents(z) for z in (latents, latents + NOISE * latents.std(0) * noise))
    chairs = torch.tensor([shape.label == "chair" for shape in shapes])
    whole, shaken = in_one_piece(near), in_one_piece(off)
    judged = sample_sdf(shapes, uniform_points(benchmark.config.num_eval_points, 3, FRESH))
    return {
        "near": "half inside" if config.balance_sides else "as they come",
        "squared": f"{config.squared_weight:g}",
        "seed": str(seed),
        "iou": float(field_iou(near, judged).mean()),
        "one_piece": float(whole.mean()),
        "chairs": float(whole[chairs].mean()),
        "one_piece_noise": float(shaken.mean()),
        "chairs_noise": float(shaken[chairs].mean()),
    }


@torch.no_grad()
def in_one_piece(fields: Fields, resolution: int = 64) -> Tensor:
    """(n,) 1 where a field's solid is in one piece on a grid, else 0."""
    return torch.tensor([float(solid_pieces(sdf_grid(sdf, resolution)) == 1) for sdf in fields.sdfs()])


def page(rows: list[dict[str, Any]], count: int, told: str) -> str:
    """The rows as Markdown."""
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row.values()] for row in rows]
    return f"""# What keeps thin parts whole

Written by `{told}`.

Codebooks that differ in what they learn by alone: points near a surface drawn as they come, or half of them from
inside; plain errors of the distance, or squared ones beside them (see `truncated_loss` in `weightgpt/fitting.py`).
{count} fresh shapes of six families went through each and back, as they are and with noise of {NOISE} standard
deviations on their latents. A quarter of the chairs stand on a thin column.

{markdown_table(COLUMNS, cells)}
"""


@cli_main
def main() -> None:
    """Measure all of them."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(prog="studies.pieces", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the rows and the page")
    parser.add_argument("--train", type=int, default=16384, help="shapes to learn from")
    parser.add_argument("--steps", type=int, default=CodebookConfig.steps, help="of the codebook in the loop")
    parser.add_argument("--seeds", type=int, default=2, help="codebooks of each kind")
    parser.add_argument("--count", type=int, default=1536, help="fresh shapes")
    given = parser.parse_args()
    usual = CodebookConfig(steps=given.steps, num_quantizers=5, trained_quantizers=8)
    told, rows = command_line("studies.pieces"), []
    kinds = [(balanced, squared) for squared in SQUARED for balanced in (False, True)]
    for seed in range(given.seeds):
        for balanced, squared in kinds:
            config = replace(usual, balance_sides=balanced, squared_weight=squared)
            asked = {"train": given.train, "steps": given.steps, "count": given.count}
            path = given.output / f"{'inside' if balanced else 'any'}-{squared:g}-{seed}.json"
            if not path.is_file() or read_json(path)["asked"] != asked:
                shapes = MeasureConfig(num_train=given.train, num_held_out=96, tokenizer=TokenizerConfig())
                benchmark = prepare_benchmark(shapes, given.output)
                write_json(path, {"asked": asked, "row": measured(benchmark, config, seed, given.count)})
            rows.append(read_json(path)["row"])
            write_text(given.output / "pieces.md", page(rows, given.count, told))
    print(page(rows, given.count, told))


if __name__ == "__main__":
    sys.exit(main())
