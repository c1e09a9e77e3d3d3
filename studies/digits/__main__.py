"""Digits from end to end, in the plane: `python -m studies.digits full --corpus IMAGES --output runs/digits`.

Gray images -> outlines -> planar fields -> tokens -> GPT with class tokens -> new digits, compared with true images and
with the published figures of NeF-GPT.

Decisions:
- The stages up to the GPT are those of the pipeline (`training.pipeline.run_learning_stages`). Only the shapes and the
  figures are different.
- The classifier, the codebook, the GPT and the edge width of the renderer learn from the same training images. The
  classifier never learns from a rendered image. `studies.digits.metrics` says how sets of images are compared.
"""

import sys
from pathlib import Path

import torch
import tyro

from studies.digits.classifier import train_classifier
from studies.digits.comparison import (
    choose_sampling,
    compare_with_one_class,
    compare_with_test_images,
    measure_stages,
    sweep_sampling,
)
from studies.digits.images import (
    add_slanted_copies,
    fit_edge_width,
    load_images,
    shape_from_gray_image,
    ssim_matrix,
)
from studies.digits.metrics import MEMORIZED_SHARE, DigitsEvaluator, ImageSet, Row
from studies.digits.page import write_page, write_pictures
from studies.digits.presets import PRESETS, SUMMARIES
from training.data.corpus import column_tensor, split_rows
from training.pipeline import PipelineJob, run_learning_stages
from training.presets import PipelineConfig
from training.report.results import LearnedRun
from training.run import Run
from weightgpt import __version__
from weightgpt._programs import cli_main, command_line, parse
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.io import read_json, write_json
from weightgpt.shapes.meshes import Refusal
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import Split, split_shapes
from weightgpt.visual.rendering import pixel_centers

NUM_EDGE_IMAGES = 500
"""Training images that the edge width is fitted to."""


def load_split(config: PipelineConfig, images: ImageSet) -> tuple[Split, list[Refusal]]:
    """The outlines of the images as a split; the training shapes get slanted copies.

    Args:
        config: the configuration of the run.
        images: the images; a shape is named by the number of its image.

    Returns:
        The split, and the images without an outline.
    """
    shapes: list[Shape] = []
    refusals = []
    for number, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        try:
            shapes.append(shape_from_gray_image(image, f"{number:06d}", str(label)))
        except InputError as error:
            refusals.append(Refusal(Path(f"{config.corpus}/{number}"), str(error)))
    split = split_shapes(shapes, config.held_out_fraction, config.seed)
    train = add_slanted_copies(split.train, config.augmentations, config.seed)
    return Split(train, split.validation, split.test), refusals


def new_evaluator(learned: LearnedRun, images: ImageSet, seed: int) -> DigitsEvaluator:
    """Fit the edge width and train the classifier that compare the digits of the model with the images of the split.

    Args:
        learned: the results of the stages of the pipeline.
        images: all images.
        seed: seed of the classifier.
    """
    split = learned.split
    originals = [shape for shape in split.train if "~" not in shape.name]
    numbers = [torch.tensor([int(s.name) for s in group]) for group in (originals, split.validation, split.test)]
    train, validation, test = (images.select(index) for index in numbers)
    size = train.images.shape[1:]
    first = originals[:NUM_EDGE_IMAGES]
    distances = torch.stack([shape.sdf(pixel_centers(*size)).reshape(size) for shape in first])
    nearest = ssim_matrix(test.images, train.images).amax(1)
    return DigitsEvaluator(
        model=learned.model,
        edge_width=fit_edge_width(distances, train.images[: len(first)]),
        classifier=train_classifier(train.images, train.labels, seed),
        train=train,
        validation=validation,
        test=test,
        train_ids=column_tensor(split_rows(learned.corpus, "train"), "input_ids")[: len(originals)].long(),
        memorized_ssim=float(nearest.quantile(1 - MEMORIZED_SHARE)),
    )


def run_study(config: PipelineConfig, output: Path, command: str) -> Row:
    """Run, or resume, all stages, and write `digits.md`, `digits.json` and two pictures.

    Args:
        config: the configuration; `corpus` is the folder of the images.
        output: folder of the page and of the run.
        command: the command line, for the page.

    Returns:
        The figures of `digits.json`.

    Raises:
        InputError: the folder of images cannot be read.
    """
    images, run, seed = ImageSet(*load_images(config.corpus)), Run(config, output / "run"), config.seed
    with run.session():
        learned = run_learning_stages(run, lambda config: load_split(config, images))
        with run.stage("figures"):
            evaluator = new_evaluator(learned, images, seed)
            sampling = sweep_sampling(evaluator, seed)
            best = choose_sampling(sampling)
            rows, fields = compare_with_test_images(evaluator, best, seed)
            one_class = compare_with_one_class(evaluator, best, seed)
    figures = {
        "version": __version__,
        "command": command,
        "settings": shown_settings(config),
        **measure_stages(evaluator, learned),
        "best_sampling": best,
        "rows": rows,
        "one_class": one_class,
        "sampling": sampling,
        "seconds": sum(read_json(run.output / "seconds.json")["seconds"].values()),
    }
    write_json(output / "digits.json", figures)
    draw_samples(evaluator, fields, output)
    write_page(figures, output)
    return figures


def shown_settings(config: PipelineConfig) -> Row:
    """The settings that the page shows; `run/config.json` has all of them.

    Args:
        config: the configuration.
    """
    codebook = config.tokenizer.codebook
    return {
        "augmentations": config.augmentations,
        "num_quantizers": codebook.num_quantizers,
        "latent_width": codebook.latent_width,
        "codebook_steps": codebook.steps,
        "gpt_epochs": config.gpt.epochs,
        "gpt_dropout": config.gpt.dropout,
        "seed": config.seed,
    }


def draw_samples(evaluator: DigitsEvaluator, fields: Fields, output: Path) -> None:
    """Write the pictures of the page.

    Args:
        evaluator: the images.
        fields: the samples, with the classes of the test images.
        output: folder of the page.
    """
    images, train = evaluator.render(fields), evaluator.train.images
    nearest = train[ssim_matrix(images, train).argmax(1)]
    large = evaluator.render(fields, 2 * images.shape[1])
    write_pictures(output, large, evaluator.test.labels, images, nearest)


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    jobs = {name: PipelineJob(output=tyro.MISSING, config=preset) for name, preset in PRESETS.items()}
    job = parse(jobs, "studies.digits", summaries=SUMMARIES)
    run_study(job.config, job.output, command_line("studies.digits"))


if __name__ == "__main__":
    sys.exit(main())
