"""How fast shapes and fields become tokens: `python -m benchmarks.encoding_speed --output speed.json`.

We time three jobs in one run on one thread, each together with the method that it replaces:
- *learning*: learn a tokenizer of chairs from a few plain fits, and make plain fits of held-out chairs. The time of
  learning includes sampling, the shared initial field, the plain fits that it starts from, and all steps. The time of
  the plain fits includes their sampling and their steps.
- *new shapes*: from a signed distance to tokens, and to a plain fit of the same shapes; sampling is included.
- *nearest codes*: codes of existing fields, by our code and by vector-quantize-pytorch in eval mode with the same code
  vectors. Fields become latents of the RVQ autoencoder, or short vectors of their weights for residual VQ.

`timing.py` takes the times, `nearest_codes.py` has the last job, `speed_page.py` writes the page.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.nearest_codes import latents_of, time_nearest_codes
from benchmarks.speed_page import render_page
from benchmarks.timing import time_in_turns
from tokenization.corpus import Corpus
from tokenization.plain_fits import NUM_MEAN_SHAPES
from tokenization.train_codebook import CodebookConfig, learn_codebook
from tokenization.weight_vq_learners import learn_vector_quantizer
from weightgpt import __version__
from weightgpt._programs import cli_main, command_line, parse
from weightgpt.errors import check_at_least
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit, fit_fields, fit_mean_initialization
from weightgpt.io import write_json, write_text
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.shape import Shape
from weightgpt.tokens.tokenizer import WeightTokenizer

FIT_BATCH = FitConfig.batch_size
"""Plain fits that run together."""
CALLBACKS = 50
"""Learning calls its callback this number of times."""


@dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """Measure how fast shapes and fields become tokens."""

    output: Path
    """JSON file of the figures."""
    page: Path | None = None
    """Markdown file of the figures."""
    tokenizer: Path | None = None
    """Folder of a model or a tokenizer for new shapes and latents; None for the tokenizer that is learned here."""
    num_shapes: int = 1024
    """Shapes that the tokenizer learns from."""
    num_held_out: int = 128
    """Held-out shapes, drawn after the training shapes; all of them get plain fits."""
    num_init_fits: int = 8
    """Plain fits of training shapes that learning starts from."""
    # With auto-decoding few steps are enough, because the latents are optimized directly.
    codebook: CodebookConfig = dataclasses.field(
        default_factory=lambda: CodebookConfig(auto_decoding=True, points_per_step=192, warmup_fraction=0.2, steps=1500)
    )
    """How the tokenizer is learned."""
    fit_steps: int = FitConfig.steps
    """Steps of a plain fit."""
    refine_steps: int = 200
    """Steps of refinement on the latents of the held-out shapes; their time is reported separately."""
    short_fit_steps: int = 50
    """Steps of the fits whose nearest codes are searched; after these steps the fits differ from each other."""
    repeats: int = 16
    """Copies of these fits in the largest job of nearest codes."""
    num_weight_fields: int = 128
    """Number of these fits whose weights are coded: only a part, because a field has many short vectors of weights."""
    batch_size: int = 32
    """New shapes encoded at once."""
    turns: int = 5
    """Timed calls of each method, except for learning."""
    num_points: int = 8192
    """Shared points of the shapes."""
    num_eval_points: int = 16_384
    """Uniform points at which IoU is measured."""

    def __post_init__(self) -> None:
        check_at_least(
            self, 1, "num_shapes", "num_held_out", "num_init_fits", "fit_steps", "short_fit_steps", "repeats"
        )
        check_at_least(self, 1, "num_weight_fields", "batch_size", "turns", "num_points", "num_eval_points")
        check_at_least(self, 0, "refine_steps")


@dataclass(frozen=True)
class LearnedTokenizer:
    """What the first job leaves to the other jobs."""

    figures: dict[str, float]
    corpus: Corpus
    """The training shapes and the plain fits that learning started from."""
    held_out: list[Shape]
    quantizer: RVQAutoencoder


class TimedPlainFits:
    """Plain fits of shapes, one batch at a time, with their total time.

    Args:
        shapes: the shapes to fit.
        corpus: the corpus whose points, initial field and settings are used.
    """

    def __init__(self, shapes: list[Shape], corpus: Corpus) -> None:
        self.corpus, self.batches, start = corpus, [], time.perf_counter()
        self.samples = sample_sdf(shapes, corpus.samples.points)
        self.seconds = time.perf_counter() - start

    @property
    def fields(self) -> Fields:
        """The fits so far."""
        return Fields(self.corpus.fits.config, torch.cat(self.batches))

    def fit_next_batch(self) -> bool:
        """Fit the next batch; False if none was left."""
        start, first = time.perf_counter(), len(self.batches) * FIT_BATCH
        part = self.samples.select(slice(first, first + FIT_BATCH))
        if not len(part.sdf):
            return False
        fits = fit(self.corpus.fits.config, part, self.corpus.fit, shared_init=self.corpus.shared_init)
        self.batches.append(fits.fields.flat)
        self.seconds += time.perf_counter() - start
        return True


def time_learning(config: SpeedConfig) -> LearnedTokenizer:
    """Learn a tokenizer, and make plain fits of the held-out shapes between its steps.

    Args:
        config: what to measure.
    """
    shapes = draw_shapes(config.num_shapes + config.num_held_out, 0, ["chair"])
    shapes, held_out = shapes[: config.num_shapes], shapes[config.num_shapes :]
    start = time.perf_counter()
    corpus = make_corpus(config, shapes)
    seconds_before = time.perf_counter() - start
    plain_fits = TimedPlainFits(held_out, corpus)
    start, seconds_of_fits = time.perf_counter(), plain_fits.seconds
    callback_interval = max(1, config.codebook.steps // CALLBACKS)
    fit_interval = max(1, CALLBACKS * FIT_BATCH // config.num_held_out) * callback_interval

    def fit_between_steps(step: int, loss: float) -> None:
        if step % fit_interval == 0:
            plain_fits.fit_next_batch()

    quantizer = learn_codebook(corpus, config.codebook, callback=fit_between_steps).quantizer
    seconds = seconds_before + time.perf_counter() - start - (plain_fits.seconds - seconds_of_fits)
    while plain_fits.fit_next_batch():
        pass
    evaluation = sample_sdf(held_out, uniform_points(config.num_eval_points, 3, 1))
    start = time.perf_counter()
    encode_config = EncodeConfig(steps=config.refine_steps, learning_rate=3e-2)
    codes = quantizer.encode_samples(plain_fits.samples, encode_config)
    figures = {
        "seconds_learning": seconds,
        "seconds_before_first_step": seconds_before,
        "seconds_plain_fits": plain_fits.seconds,
        "seconds_ratio": seconds / plain_fits.seconds,
        "seconds_encoding": time.perf_counter() - start,
        "iou_plain_fit": mean_iou(plain_fits.fields, evaluation),
        "iou": mean_iou(quantizer.decode(codes), evaluation),
    }
    return LearnedTokenizer(figures, corpus, held_out, quantizer)


def make_corpus(config: SpeedConfig, shapes: list[Shape]) -> Corpus:
    """Sample the shapes, and make the initial field and the few plain fits that learning starts from.

    Args:
        config: the numbers of points, fits and steps.
        shapes: the training shapes.
    """
    field_config, fit_config = FieldConfig(), FitConfig(steps=config.fit_steps)
    samples = sample_sdf(shapes, shared_points(shapes, config.num_points, 0))
    shared_init = fit_mean_initialization(field_config, samples.select(slice(0, NUM_MEAN_SHAPES)), fit_config)
    first = samples.select(slice(0, config.num_init_fits))
    fits = fit(field_config, first, fit_config, shared_init=shared_init).fields
    return Corpus(samples, fits, shared_init, fit_config)


def mean_iou(fields: Fields, evaluation: Samples) -> float:
    """Mean volume IoU of fields with the shapes of `evaluation`."""
    return float(field_iou(fields, evaluation).mean())


def time_new_shapes(config: SpeedConfig, quantizer: RVQAutoencoder, held_out: list[Shape]) -> list[dict[str, Any]]:
    """Time a plain fit and encodings of new shapes, one at a time and in batches; every turn has other shapes.

    Args:
        config: what to measure.
        quantizer: the quantizer that encodes.
        held_out: the new shapes.
    """
    methods = shape_methods(config, quantizer)
    first = held_out[: config.batch_size]
    evaluation = sample_sdf(first, uniform_points(config.num_eval_points, 3, 1))
    ious = {name: mean_iou(method(first), evaluation) for name, method in methods.items()}

    def next_shapes(turn: int, size: int) -> list[Shape]:
        return [held_out[(turn * size + i) % len(held_out)] for i in range(size)]

    rows = []
    for batch_size, fit_batch in ((1, 1), (config.batch_size, FIT_BATCH)):
        sizes = {name: fit_batch if name == "plain fit" else batch_size for name in methods}
        calls = {
            name: lambda turn, method=method, size=sizes[name]: method(next_shapes(turn, size))
            for name, method in methods.items()
        }
        seconds = {name: total / sizes[name] for name, total in time_in_turns(calls, config.turns).items()}
        for name, value in seconds.items():
            row = {"method": name, "batch_size": sizes[name], "seconds": value}
            rows.append({**row, "speedup": seconds["plain fit"] / value, "iou": ious[name]})
    return rows


def shape_methods(config: SpeedConfig, quantizer: RVQAutoencoder) -> dict[str, Callable[[list[Shape]], Fields]]:
    """The methods that turn shapes into fields, by name.

    Args:
        config: the numbers of points and steps.
        quantizer: the quantizer that encodes.
    """
    fit_config = FitConfig(steps=config.fit_steps)

    def fit_plainly(shapes: list[Shape]) -> Fields:
        return fit_fields(
            shapes,
            quantizer.field_config,
            fit_config,
            shared_init=quantizer.shared_init,
            num_points=config.num_points,
        )

    def through_tokens(steps: int) -> Callable[[list[Shape]], Fields]:
        return lambda shapes: quantizer.decode(quantizer.encode_shapes(shapes, EncodeConfig(steps=steps)))

    tokens = {f"tokens, {steps} steps": through_tokens(steps) for steps in (EncodeConfig.steps, 0)}
    return {"plain fit": fit_plainly, **tokens}


def time_all_nearest_codes(config: SpeedConfig, corpus: Corpus, quantizer: RVQAutoencoder) -> list[dict[str, Any]]:
    """Time the search for codes of existing fields: one row for each kind of vectors.

    Args:
        config: what to measure.
        corpus: the shapes of the fields.
        quantizer: the quantizer of the latents.
    """
    fit_config = FitConfig(steps=config.short_fit_steps)
    fields = fit(quantizer.field_config, corpus.samples, fit_config, shared_init=corpus.shared_init).fields
    latents, codebook = latents_of(quantizer, fields), quantizer.codebook
    repeated_latents = latents.repeat(config.repeats, 1, 1)
    weight_codebook = learn_vector_quantizer(corpus, width=8, codebook_size=1024, num_quantizers=3).quantizer.codebook
    vectors, code_vectors = (
        weight_codebook.split_weights(fields.flat[: config.num_weight_fields]),
        codebook.code_vectors,
    )
    return [
        time_nearest_codes("latents", latents, codebook.quantize, code_vectors, config.turns),
        time_nearest_codes("latents", repeated_latents, codebook.quantize, code_vectors, config.turns),
        time_nearest_codes("weights", vectors, weight_codebook.quantize, weight_codebook.code_vectors[0], config.turns),
    ]


def measure_speed(config: SpeedConfig, command: str) -> dict[str, Any]:
    """Run all three jobs.

    Args:
        config: what to measure.
        command: the command line, for the page.

    Returns:
        The figures as JSON values.

    Raises:
        InputError: the quantizer of the model is not an RVQ autoencoder.
    """
    quantizer = None
    if config.tokenizer:
        quantizer = RVQAutoencoder.cast(WeightTokenizer.from_pretrained(config.tokenizer).quantizer)
    learned = time_learning(config)
    quantizer = quantizer or learned.quantizer
    return {
        "version": __version__,
        "command": command,
        "library": version("vector-quantize-pytorch"),
        "config": json.loads(json.dumps(asdict(config), default=str)),
        "tokenizer": f"`{config.tokenizer}`" if config.tokenizer else "the one that was learned above",
        "learning": learned.figures,
        "new_shapes": time_new_shapes(config, quantizer, learned.held_out),
        "nearest_codes": time_all_nearest_codes(config, learned.corpus, quantizer),
    }


@cli_main
def main() -> None:
    """Read the command line and run the benchmark."""
    config = parse(SpeedConfig, "benchmarks.encoding_speed")
    torch.set_num_threads(1)
    result = measure_speed(config, command_line("benchmarks.encoding_speed"))
    write_json(config.output, result)
    if config.page:
        write_text(config.page, render_page(result))
    print(render_page(result))


if __name__ == "__main__":
    sys.exit(main())
