"""How fast shapes and fields become tokens: `python -m benchmarks.encoding_speed --output speed.json`.

Three jobs, each beside the way that it replaces, in one run:
- *learning*: a tokenizer of a corpus of chairs, learned with no more than a few plain fits to start from, against plain
  fits of some held-out chairs. A group of fits is made after every few steps of learning. The time of learning has all
  of it: sampling, the shared initial field, the fits that it starts from, the steps. That of the fits has their
  sampling and their steps.
- *new shapes*: signed distance to tokens, against a plain fit of the same shapes, sampling included.
- *nearest codes*: codes of fields that exist, against vector-quantize-pytorch in eval mode with the very same tables.
  Fields become latents of the loop's codebook, or short vectors of their weights for residual tables.

Everything runs on one thread.

`nearest_codes.py` has the last of them, `speed_page.py` shows all.
"""

import argparse
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.nearest_codes import latents_of, race
from benchmarks.speed_page import page
from benchmarks.timing import interleaved
from tokenization.corpus import Corpus
from tokenization.train_codebook import CodebookConfig, learn_codebook
from tokenization.weight_vq_learners import learn_vector_quantizer
from weightgpt._programs import cli_main, command_line
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit, fit_mean_initialization
from weightgpt.io import write_json, write_text
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.shapes.shape import Shape
from weightgpt.tokens.tokenizer import WeightTokenizer

GROUP = FitConfig.batch_size
BOOK = CodebookConfig(auto_decoding=True, points_per_step=192, warmup_fraction=0.2)
"""Latents of their own are found in fewer steps than an encoder that must see all shapes."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides what is timed."""

    corpus: int = 1024
    """Shapes that a tokenizer is learned from."""
    held: int = 128
    """Shapes held out, which come after them; plain fits are made of all of them."""
    started: int = 8
    """Plain fits of the corpus that learning starts from."""
    steps: int = 1500
    """Of learning."""
    fit_steps: int = FitConfig.steps
    """Of plain fits."""
    refine: int = 200
    """Steps on the latents of held-out shapes after learning; their time is told apart."""
    short_steps: int = 50
    """Of the fits of the corpus whose codes are sought: enough to make them different."""
    copies: int = 16
    """How often those are repeated for the largest job of nearest codes."""
    weighed: int = 128
    """Those of them whose weights are coded; a field has many more short vectors than latents."""
    batch: int = 32
    """New shapes encoded at once."""
    turns: int = 5
    """Counted repetitions of each job but learning."""
    schedule: int = 8192
    """Shared points."""
    judged: int = 16384
    """Uniform points at which IoU is measured."""


@dataclass(frozen=True)
class TrainedQuantizer:
    """What the first job leaves to the others."""

    figures: dict[str, float]
    corpus: Corpus
    """With the plain fits that learning started from."""
    held: list[Shape]
    quantizer: RVQAutoencoder


class PlainFits:
    """Plain fits of shapes, one group at a call, with a clock of their own."""

    def __init__(self, shapes: list[Shape], corpus: Corpus) -> None:
        self.corpus, self.done, begun = corpus, [], time.perf_counter()
        self.samples = sample_sdf(shapes, corpus.samples.points)
        self.seconds = time.perf_counter() - begun

    def fit_a_group(self) -> bool:
        """Fit the next group; False if there was none left."""
        begun, part = (
            time.perf_counter(),
            self.samples.select(slice(len(self.done) * GROUP, (len(self.done) + 1) * GROUP)),
        )
        if not len(part.sdf):
            return False
        fits = fit(self.corpus.fits.config, part, self.corpus.fit, shared_init=self.corpus.shared_init)
        self.done.append(fits.fields.flat)
        self.seconds += time.perf_counter() - begun
        return True


def learning(settings: Settings) -> TrainedQuantizer:
    """A tokenizer of the corpus beside plain fits of the held-out shapes."""
    shapes = draw_shapes(settings.corpus + settings.held, 0, ["chair"])
    shapes, held = shapes[: settings.corpus], shapes[settings.corpus :]
    begun = time.perf_counter()
    corpus = prepared(settings, shapes)
    before = time.perf_counter() - begun
    plain, book = PlainFits(held, corpus), replace(BOOK, steps=settings.steps)
    begun, own = time.perf_counter(), plain.seconds
    every = max(1, settings.steps // 50)
    pause = max(1, 50 * GROUP // settings.held) * every  # learning calls back 50 times

    def turn(step: int, loss: float) -> None:
        if step % pause == 0:
            plain.fit_a_group()

    quantizer = learn_codebook(corpus, book, callback=turn).quantizer
    learned = before + time.perf_counter() - begun - (plain.seconds - own)
    while plain.fit_a_group():
        pass
    judged = sample_sdf(held, uniform_points(settings.judged, 3, 1))
    begun = time.perf_counter()
    codes = quantizer.encode_samples(plain.samples, EncodeConfig(steps=settings.refine, learning_rate=3e-2))
    figures = {
        "learning": learned,
        "before_the_first_step": before,
        "plain_fits": plain.seconds,
        "ratio": learned / plain.seconds,
        "encoding_held_out": time.perf_counter() - begun,
        "iou_plain_fits": mean_iou(Fields(corpus.fits.config, torch.cat(plain.done)), judged),
        "iou_round_trip": mean_iou(quantizer.decode(codes), judged),
    }
    return TrainedQuantizer(figures, corpus, held, quantizer)


def prepared(settings: Settings, shapes: list[Shape]) -> Corpus:
    """Shapes sampled, their initial field, and the few fits that learning starts from."""
    config, options = FieldConfig(), FitConfig(steps=settings.fit_steps)
    samples = sample_sdf(shapes, shared_points(shapes, settings.schedule, 0))
    shared_init = fit_mean_initialization(config, samples.select(slice(0, 512)), options)
    fits = fit(config, samples.select(slice(0, settings.started)), options, shared_init=shared_init).fields
    return Corpus(samples, fits, shared_init, options)


def mean_iou(fields: Fields, judged: Samples) -> float:
    """Mean volume IoU with the shapes."""
    return float(field_iou(fields, judged).mean())


def new_shapes(settings: Settings, quantizer: RVQAutoencoder, held: list[Shape]) -> list[dict[str, Any]]:
    """Seconds of a shape from its signed distance to tokens, and to a plain fit; other shapes in every turn."""
    options = FitConfig(steps=settings.fit_steps)

    def fitted(shapes: list[Shape]) -> Fields:
        samples = sample_sdf(shapes, shared_points(shapes, settings.schedule, 0))
        return fit(quantizer.field_config, samples, options, shared_init=quantizer.shared_init).fields

    def coded(shapes: list[Shape], steps: int) -> Fields:
        return quantizer.decode(quantizer.encode_shapes(shapes, EncodeConfig(steps=steps)))

    refined, roads = EncodeConfig.steps, {"plain fit": fitted}
    roads |= {f"tokens, {steps} steps": partial(coded, steps=steps) for steps in (refined, 0)}
    shown = held[: settings.batch]
    judged = sample_sdf(shown, uniform_points(settings.judged, 3, 1))
    iou = {name: mean_iou(road(shown), judged) for name, road in roads.items()}
    rows = []
    for count, grouped in ((1, 1), (settings.batch, GROUP)):
        sizes = {name: grouped if name == "plain fit" else count for name in roads}
        ways = {
            name: lambda turn, road=road, size=sizes[name]: road(
                [held[(turn * size + i) % len(held)] for i in range(size)]
            )
            for name, road in roads.items()
        }
        seconds = {name: found / sizes[name] for name, found in interleaved(ways, settings.turns).items()}
        for name, found in seconds.items():
            faster = seconds["plain fit"] / found
            rows.append({"way": name, "at_once": sizes[name], "seconds": found, "faster": faster, "iou": iou[name]})
    return rows


def nearest_codes(settings: Settings, corpus: Corpus, quantizer: RVQAutoencoder) -> list[dict[str, Any]]:
    """Codes of existing conditioned fields by our matrix products and by the library; one row for each job."""
    options = FitConfig(steps=settings.short_steps)
    fields = fit(quantizer.field_config, corpus.samples, options, shared_init=corpus.shared_init).fields
    latents, book = latents_of(quantizer, fields), quantizer.codebook
    tables = learn_vector_quantizer(corpus, width=8, codebook_size=1024, num_quantizers=3).quantizer.codebook
    vectors = tables.split_weights(fields.flat[: settings.weighed])
    return [
        race("latents", latents, book.quantize, book.code_vectors, settings.turns),
        race("latents", latents.repeat(settings.copies, 1, 1), book.quantize, book.code_vectors, settings.turns),
        race("weights", vectors, tables.quantize, tables.code_vectors[0], settings.turns),
    ]


def measure(settings: Settings, model: Path | None, command: str) -> dict[str, Any]:
    """All three jobs.

    Raises:
        InputError: the quantizer of the model is not an RVQ autoencoder.
    """
    chosen = RVQAutoencoder.cast(WeightTokenizer.from_pretrained(model).quantizer) if model else None
    learned = learning(settings)
    quantizer = chosen or learned.quantizer
    return {
        "command": command,
        "library": version("vector-quantize-pytorch"),
        "settings": asdict(settings),
        "tokenizer": f"`{model}`" if model else "the one learned above",
        "learning": learned.figures,
        "new_shapes": new_shapes(settings, quantizer, learned.held),
        "nearest_codes": nearest_codes(settings, learned.corpus, quantizer),
    }


@cli_main
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--page", type=Path, help="Markdown file for them")
    parser.add_argument(
        "--model", type=Path, help="bundle or tokenizer for new shapes and latents (default: learned here)"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(Settings(), given.model, command_line("benchmarks.encoding_speed"))
    write_json(given.output, result)
    if given.page:
        write_text(given.page, page(result))
    print(page(result))


if __name__ == "__main__":
    sys.exit(main())
