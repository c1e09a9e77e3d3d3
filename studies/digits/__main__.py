"""Digits, end to end in the plane: `python -m studies.digits --images DIR --output DIR`.

Gray images -> outlines -> planar fields -> tokens -> GPT with class tokens -> new digits, judged beside NeF-GPT's.

Decisions:
- The road is the pipeline's own up to the GPT (`training.pipeline.learn`); only the shapes and the figures are others.
- Classifier, codebook, GPT and the renderer's one number all learn from the same training images; the classifier never
  sees a rendered one. How sets are judged is told in `digits_judge.py`.
"""

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from studies.digits.classifier import train_classifier
from studies.digits.images import load_images, outlined, slanted, softness, ssim_matrix
from studies.digits.metrics import Benchmark, Pictures, Row, choose, compare, measure, sweep
from studies.digits.page import add_run, write_page, write_pictures
from tokenization.presets import TokenizerConfig
from training.data.corpus import column_tensor, split_rows
from training.pipeline import learn
from training.presets import PipelineConfig
from training.pretrain import PretrainConfig
from training.report.results import LearnedRun
from training.run import Run
from weightgpt._programs import cli_main
from weightgpt.errors import InputError
from weightgpt.io import read_json
from weightgpt.shapes.meshes import Refusal
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import Split, split_shapes
from weightgpt.visual.rendering import pixel_centers


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The settings that were varied."""

    levels: int = 8
    """Codes of each of the three layers of a field."""
    copies: int = 3
    """Slanted copies of each training image."""
    latent_width: int = 48
    """Numbers of a layer, before quantization."""
    steps: int = 7000
    """Of learning the codebook."""
    epochs: float = 4.0
    """Passes of the GPT over images and copies."""
    dropout: float = 0.0
    """Of the GPT."""


def settings(quick: bool, seed: int, images: Path, variant: Variant) -> PipelineConfig:
    """The run of the pipeline: small planar fields, three layers of codes."""
    base, tokenizer = PipelineConfig(), TokenizerConfig()
    few = 10 if quick else 1
    return replace(
        base,
        corpus=str(images),
        augmentations=1 if quick else variant.copies,
        held_out_fraction=0.4 if quick else 0.125,
        num_eval_points=4096,
        seed=seed,
        tokenizer=replace(
            tokenizer,
            num_points=2048,
            num_init_fits=64 // few,
            field=replace(tokenizer.field, in_features=2, hidden=(32, 32), num_frequencies=3),
            fit=replace(tokenizer.fit, steps=400 // few, points_per_step=512, truncation=15.0),
            codebook=replace(
                tokenizer.codebook,
                latent_width=variant.latent_width,
                coefficients=32,
                latent_decoder_width=384,
                trained_quantizers=variant.levels,
                codebook_size=32 if quick else 256,
                num_probes=1024,
                steps=variant.steps // few,
                batch_size=64,
                points_per_step=256,
                truncation=15.0,
                surface_bandwidth=0.025,
            ),
            encode=replace(tokenizer.encode, steps=0),
        ),
        gpt=PretrainConfig(
            model_size="nano" if quick else "small",
            epochs=variant.epochs,
            batch_size=16 if quick else 64,
            dropout=variant.dropout,
        ),
    )


def load_split(config: PipelineConfig, gray: Pictures) -> tuple[Split, list[Refusal]]:
    """Outlines of images, named by their number; those without one are refused. Training images are copied."""
    shapes: list[Shape] = []
    refusals = []
    for number, (image, label) in enumerate(zip(gray.images, gray.labels.tolist(), strict=True)):
        try:
            shapes.append(outlined(image, f"{number:06d}", str(label)))
        except InputError as error:
            refusals.append(Refusal(Path(f"{config.corpus}/{number}"), str(error)))
    split = split_shapes(shapes, config.held_out_fraction, config.seed)
    return Split(slanted(split.train, config.augmentations, config.seed), split.validation, split.test), refusals


def set_up(parts: LearnedRun, gray: Pictures, seed: int) -> Benchmark:
    """The images of each part of the split, the renderer and the classifier."""
    split = parts.split
    originals = [shape for shape in split.train if "~" not in shape.name]
    numbers = [torch.tensor([int(s.name) for s in group]) for group in (originals, split.validation, split.test)]
    train, validation, test = (gray.rows(index) for index in numbers)
    size = train.images.shape[1:]
    distances = torch.stack([s.sdf(pixel_centers(*size)).reshape(size) for s in originals[:500]])
    return Benchmark(
        parts.model,
        softness(distances, train.images[:500]),
        train_classifier(train.images, train.labels, seed),
        train,
        validation,
        test,
        column_tensor(split_rows(parts.corpus, "train"), "input_ids")[: len(originals)].long(),
        float(ssim_matrix(test.images, train.images).amax(1).quantile(0.95)),
    )


def run(output: Path, quick: bool, seed: int, images: Path | None, variant: Variant | None = None) -> Row:
    """Do, or finish, a run and its page: `digits.md`, `digits.json` and two pictures in `output`.

    Raises:
        InputError: there is no folder of images, or it cannot be read.
    """
    if images is None:
        raise InputError("no images were given; give the folder of a pair of idx files of images and labels.")
    variant = variant or Variant()
    gray = Pictures(*load_images(images))
    config = settings(quick, seed, images, variant)
    name = "-".join(f"{value:g}" for value in asdict(variant).values())
    job = Run(config, output / f"run-{name}")
    parts = learn(job, lambda config: load_split(config, gray))
    with job.stage("figures"):
        benchmark = set_up(parts, gray, seed)
        swept = sweep(benchmark, seed)
        chosen = choose(swept)
        rows, fields = compare(benchmark, chosen, seed)
    varied = {key: value for key, value in asdict(variant).items() if value != getattr(Variant(), key)}
    options = "".join(f" --{key.replace('_', '-')} {value:g}" for key, value in varied.items())
    figures = {
        "command": f"python -m studies.digits --images {images} --output {output}{options}",
        "settings": asdict(variant) | {"quick": quick, "seed": seed},
        **measure(benchmark, parts),
        "chosen": chosen,
        "rows": rows,
        "sweep": swept,
        "minutes": sum(read_json(job.output / "seconds.json")["seconds"].values()) / 60,
    }
    add_run(output, figures)
    rendered = benchmark.rendered(fields)
    nearest = benchmark.train.images[ssim_matrix(rendered, benchmark.train.images).argmax(1)]
    write_pictures(output, benchmark.rendered(fields, 2 * rendered.shape[1]), benchmark.test.labels, rendered, nearest)
    write_page(output)
    return figures


@cli_main
def main() -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of a pair of idx files")
    parser.add_argument("--output", type=Path, required=True, help="run again to resume")
    parser.add_argument("--quick", action="store_true", help="too small to say anything; to see that it runs")
    parser.add_argument("--seed", type=int, default=0)
    for name, value in asdict(Variant()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args())
    fixed = [given.pop(name) for name in ("output", "quick", "seed", "images")]
    run(*fixed, Variant(**given))


if __name__ == "__main__":
    sys.exit(main())
