"""The whole road in one command: `python -m training.pipeline --output RUN [--shapes DIR]`.

Shapes -> plain fits -> codebook -> corpus -> GPT -> samples -> figures -> report. Every stage leaves files that are
whole or absent; the same command goes on after the last finished stage, and inside the fits and the GPT after the last
group or checkpoint. A run keeps its settings in `config.json` and refuses to go on with others.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset, concatenate_datasets, load_from_disk
from transformers import GPT2LMHeadModel
from transformers.utils import logging

from tokenization.corpus import Corpus
from tokenization.registry import learner
from training.data.corpus import build, column, part, save, sequences
from training.data.extra_shapes import ExtraShapes, encode_extra_shapes
from training.data.latent_augmentation import redrawn
from training.data.sdf_samples import SampledSplit, sample_split
from training.data.shapes import load_split
from training.presets import PipelineConfig, parse
from training.pretrain import pretrain
from training.report.results import LearnedRun, report_run
from training.run import Run
from weightgpt._programs import cli_main
from weightgpt.fields.fitting import Fits, fit, fit_mean_initialization
from weightgpt.io import atomic_write, read_tensors, write_json, write_tensors
from weightgpt.metrics.pairwise import field_iou
from weightgpt.model import Bundle
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.shapes.meshes import Refusal
from weightgpt.shapes.splits import Split
from weightgpt.tokens.generation import generation_config
from weightgpt.tokens.tokenizer import WeightTokenizer

Result = TypeVar("Result")


def run(config: PipelineConfig, output: Path) -> dict[str, Any]:
    """Do, or finish, everything; returns the figures of `metrics.json`.

    Raises:
        InputError: the folder of shapes or the output folder cannot be used.
    """
    job = Run(config.to_dict(), output)
    return report_run(learn(config, job, load_split), job.stage)


def learn(
    config: PipelineConfig, job: Run, load_split: Callable[[dict[str, Any]], tuple[Split, list[Refusal]]]
) -> LearnedRun:
    """Do, or finish, all stages up to the GPT.

    Args:
        job: the run and its folder.
        gather: draws or loads the shapes, which may be planar ones, and splits them.
    """
    output = job.output
    with job.stage("shapes"):
        split, refusals = load_split(job.config)
        job.keep()
        write_json(output / "refused.json", [{"path": str(r.path), "reason": r.reason} for r in refusals])
        sampled = sample_split(
            split, config.num_points, config.num_eval_points, config.seed, output / "samples.safetensors"
        )
    with job.stage("fits"):
        learned_from, plain = fit_reference_fields(config, sampled, output / "fits")
    with job.stage("codebook"):
        folder = made(output / "codebook", lambda: learn_quantizer(config, learned_from, output))
        tokenizer = WeightTokenizer.create(
            AutoQuantizer.from_pretrained(folder), [shape.label for shape in split.train]
        )
    with job.stage("corpus"):
        folder = made(output / "corpus", lambda: write_corpus(config, tokenizer, split, sampled, plain, output))
        corpus = load_from_disk(str(folder))
        more = encode_extra_shapes(
            split.extra, tokenizer, sampled.train.points, config.encode, output / "more.safetensors"
        )
    with job.stage("gpt", small=config.gpt.model_size in ("nano", "tiny")):
        model = train_gpt(config, corpus, more, tokenizer, output)
    return LearnedRun(
        output=output,
        config=config.to_dict(),
        split=split,
        refusals=refusals,
        sampled=sampled,
        fit_history=plain.history,
        iou_gain=float(
            (
                field_iou(plain.fields, sampled.judged_test) - field_iou(plain.at_three_quarters, sampled.judged_test)
            ).mean()
        ),
        corpus=corpus,
        extra_shapes=more,
        bundle=Bundle(model, tokenizer),
    )


def made(path: Path, make: Callable[[], None]) -> Path:
    """`path`, made first if it is not there."""
    if not path.exists():
        make()
    return path


def fit_reference_fields(config: PipelineConfig, sampled: SampledSplit, folder: Path) -> tuple[Corpus, Fits]:
    """Plain conditioned fits: of some training shapes, to learn from, and of the test shapes, as the reference."""
    if not (folder / "shared_init.safetensors").is_file():
        shared_init = fit_mean_initialization(config.field, sampled.train.select(slice(0, 512)), config.fit)
        write_tensors(folder / "shared_init.safetensors", {"flat": shared_init})
    shared_init = read_tensors(folder / "shared_init.safetensors")["flat"]
    some = sampled.train.select(slice(0, config.num_init_fits))
    started = fit(
        config.field, some, config.fit, shared_init=shared_init, folder=folder / "train", progress="plain fits"
    )
    plain = fit(
        config.field,
        sampled.test,
        config.fit,
        shared_init=shared_init,
        folder=folder / "test",
        progress="test fits",
    )
    return Corpus(sampled.train, started.fields, shared_init, config.fit, config.seed), plain


def learn_quantizer(config: PipelineConfig, corpus: Corpus, output: Path) -> None:
    """Learn the quantizer and write it to `output/codebook`."""
    learned = learner(config.tokenizer, config.codebook)(corpus, True)
    with atomic_write(output / "codebook") as draft:
        learned.quantizer.save_pretrained(draft)
        write_json(draft / "history.json", learned.history)


def write_corpus(
    config: PipelineConfig,
    tokenizer: WeightTokenizer,
    split: Split,
    sampled: SampledSplit,
    plain: Fits,
    output: Path,
) -> None:
    """Encode all shapes and write the corpus."""
    quantizer, codes = tokenizer.quantizer, []
    for samples in (sampled.train, sampled.validation, sampled.test):
        codes.append(quantizer.encode_samples(samples, config.encode, progress=True))
    train, validation, test = (quantizer.decode(part) for part in codes)
    judged = len(sampled.judged_train.sdf)
    first = train.select(slice(0, judged))
    known: list[float | None] = [*field_iou(first, sampled.judged_train).tolist(), *[None] * (len(train) - judged)]
    unknown: list[float | None] = [None] * len(validation)
    names = [
        name for name, part in (("train", train), ("validation", validation), ("test", test)) for _ in range(len(part))
    ]
    corpus = build(
        names=[shape.name for shape in split.all],
        labels=[shape.label for shape in split.all],
        splits=names,
        weights=torch.cat([part.flat for part in (train, validation, test)]),
        ids=tokenizer.vocabulary.ids(torch.cat(codes), [shape.label for shape in split.all]),
        fit_iou=[*[None] * (len(train) + len(validation)), *field_iou(plain.fields, sampled.judged_test).tolist()],
        roundtrip_iou=[*known, *unknown, *field_iou(test, sampled.judged_test).tolist()],
    )
    save(corpus, output / "corpus")


def train_gpt(
    config: PipelineConfig, corpus: Dataset, more: ExtraShapes, tokenizer: WeightTokenizer, output: Path
) -> GPT2LMHeadModel:
    """Train the GPT unless its bundle is there; the bundle lands in `output/model`."""
    if not (output / "model").is_dir():
        logging.set_verbosity_error()
        train = concatenate_datasets([part(corpus, "train").select_columns("ids"), more.sequences])
        if config.latent_augmentations:
            ids = column(train, "ids").long()
            train = sequences(redrawn(tokenizer, ids, config.latent_augmentations, config.latent_noise, config.seed))
        model = pretrain(train, part(corpus, "validation"), tokenizer, output / "gpt", config.gpt)
        model.generation_config = generation_config(tokenizer.vocabulary, config.temperature, config.top_p)
        with atomic_write(output / "model") as draft:
            Bundle(model, tokenizer).save_pretrained(draft)
    return GPT2LMHeadModel.from_pretrained(output / "model").eval()


@cli_main
def main() -> None:
    """Run the pipeline."""
    config, output = parse()
    figures = run(config, output)
    print(json.dumps(figures, indent=2))
    print(f"samples: {output / 'samples.png'}\nreport:  {output / 'report.html'}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
