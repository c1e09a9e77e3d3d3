"""Everything in one command: `python -m training.pipeline built-in --output RUN`.

Shapes -> plain fits -> codebook -> corpus -> GPT -> samples -> figures -> report. The first argument names a preset of
`training.presets`; options override single fields.

Decisions:
- A stage writes each file completely or not at all. The same command resumes after the last finished stage, and within
  the plain fits and the GPT after the last finished batch or checkpoint.
- A run writes its configuration to `config.json` and refuses to resume with another one, because the files of its
  stages would not belong together. `manifest.json` has the hashes of the mesh files and of the results: a changed mesh
  stops the run, and a broken result is made again.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from datasets import Dataset, concatenate_datasets
from transformers import GPT2LMHeadModel
from transformers.utils import logging

from tokenization import registry
from tokenization.corpus import Corpus
from tokenization.plain_fits import iou_gain_last_quarter, load_or_fit_shared_init
from training.data.corpus import build_corpus, column_tensor, load_corpus, save_corpus, sequence_dataset, split_rows
from training.data.extra_shapes import ExtraShapes, encode_extra_shapes
from training.data.latent_augmentation import augment_sequences
from training.data.sdf_samples import SampledSplit, sample_split
from training.presets import PRESETS, SUMMARIES, PipelineConfig
from training.pretrain import pretrain
from training.report.results import LearnedRun, report_run
from training.run import Run
from training.splits import load_split
from weightgpt._programs import cli_main, parse
from weightgpt.fields.fitting import Fits, fit
from weightgpt.io import atomic_write, write_json
from weightgpt.metrics.pairwise import field_iou
from weightgpt.model import WeightGPT
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import Quantizer
from weightgpt.shapes.meshes import Refusal
from weightgpt.shapes.splits import Split
from weightgpt.tokens.generation import generation_config
from weightgpt.tokens.tokenizer import WeightTokenizer

LoadSplit = Callable[[PipelineConfig], tuple[Split, list[Refusal]]]
"""Draws or reads the shapes of a run and splits them; also returns the refused files."""


def run_pipeline(config: PipelineConfig, output: Path) -> dict[str, Any]:
    """Run, or resume, all stages.

    Args:
        config: the configuration of the run.
        output: the folder of the run.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: the folder of meshes or the output folder cannot be used.
    """
    run = Run(config, output)
    with run.session():
        return report_run(run_learning_stages(run, load_split), run.stage)


def run_learning_stages(run: Run, load_split: LoadSplit) -> LearnedRun:
    """Run, or resume, all stages up to the GPT.

    Args:
        run: the run and its folder.
        load_split: loads the shapes, which may be planar ones.

    Returns:
        The results of the stages.

    Raises:
        InputError: the shapes or the output folder cannot be used, or the run was started with other settings.
    """
    config, output = run.config, run.output
    with run.stage("shapes"):
        split, refusals = load_split(config)
        run.start()
        write_json(output / "refused.json", [{"path": str(r.path), "reason": r.reason} for r in refusals])
        path = output / "sdf_samples.safetensors"
        probes = registry.probes(config.tokenizer)
        counts = (config.tokenizer.num_points, config.num_eval_points)
        sdf_samples = sample_split(split, *counts, config.seed, path, probes)
    with run.stage("fits"):
        quantizer_corpus, test_fits = fit_reference_fields(config, sdf_samples, output / "fits")
    with run.stage("codebook"):
        quantizer = learn_quantizer(config, quantizer_corpus, output / "codebook")
        tokenizer = WeightTokenizer.create(quantizer, [shape.label for shape in split.train])
    with run.stage("corpus"):
        corpus = encode_corpus(config, tokenizer, split, sdf_samples, test_fits, output / "corpus")
        path, points = output / "extra_shapes.safetensors", sdf_samples.train.points
        extra = encode_extra_shapes(split.extra, tokenizer, points, config.tokenizer.encode, path)
    with run.stage("gpt", small=config.gpt.model_size in ("nano", "tiny")):
        model = train_gpt(config, corpus, extra, tokenizer, output)
        update_sampling(run, model, tokenizer)
    return LearnedRun(
        output=output,
        config=config,
        split=split,
        refusals=refusals,
        sdf_samples=sdf_samples,
        fit_history=test_fits.history,
        iou_gain=iou_gain_last_quarter(test_fits, sdf_samples.eval_test),
        corpus=corpus,
        extra_shapes=extra,
        model=WeightGPT(model, tokenizer),
    )


def fit_reference_fields(config: PipelineConfig, sdf_samples: SampledSplit, folder: Path) -> tuple[Corpus, Fits]:
    """Make plain shared-init fits, or read the fits of an earlier call.

    Args:
        config: the configuration of the run.
        sdf_samples: the signed distances of the run.
        folder: folder of the fits.

    Returns:
        The corpus of the quantizer, with fits of the first training shapes; and fits of the test shapes, as the
        reference of the round trip.
    """
    field_config, fit_config = config.tokenizer.field, config.tokenizer.fit
    count = config.tokenizer.num_points
    shared_init = load_or_fit_shared_init(
        field_config, sdf_samples.train.last(count), fit_config, folder / "shared_init.safetensors"
    )
    first = sdf_samples.train.select(slice(0, config.tokenizer.num_init_fits))
    # Half of the shared points lie near surfaces, but the probes of an encoder do not.
    parts = ((first.last(count), "train", "plain fits"), (sdf_samples.test.last(count), "test", "test fits"))
    train, test = (
        fit(field_config, samples, fit_config, shared_init=shared_init, folder=folder / name, progress=title)
        for samples, name, title in parts
    )
    return Corpus(sdf_samples.train, train.fields, shared_init, fit_config, config.seed), test


def learn_quantizer(config: PipelineConfig, corpus: Corpus, folder: Path) -> Quantizer:
    """Learn the quantizer, or read it from a folder.

    Args:
        config: the configuration of the run.
        corpus: what the quantizer is learned from.
        folder: the folder that it is written to or read from.
    """
    if not folder.is_dir():
        learned = registry.learn_quantizer(corpus, config.tokenizer, progress=True)
        with atomic_write(folder) as draft:
            learned.quantizer.save_pretrained(draft)
            write_json(draft / "history.json", learned.history)
    return AutoQuantizer.from_pretrained(folder)


def encode_corpus(
    config: PipelineConfig,
    tokenizer: WeightTokenizer,
    split: Split,
    sdf_samples: SampledSplit,
    test_fits: Fits,
    folder: Path,
) -> Dataset:
    """Encode all shapes into a corpus, or read the corpus from a folder.

    Args:
        config: the configuration of the run.
        tokenizer: encodes the shapes.
        split: the shapes.
        sdf_samples: their signed distances.
        test_fits: plain fits of the test shapes.
        folder: the folder that the corpus is written to or read from.
    """
    if folder.is_dir():
        return load_corpus(folder)
    quantizer, labels = tokenizer.quantizer, [shape.label for shape in split.all]
    codes = [
        quantizer.encode_samples(samples, config.tokenizer.encode, progress=True)
        for samples in (sdf_samples.train, sdf_samples.validation, sdf_samples.test)
    ]
    train, validation, test = (quantizer.decode(part) for part in codes)
    # IoU is measured on as many training shapes as there are test shapes, and on the test shapes.
    num_measured = len(sdf_samples.eval_train.sdf)
    train_iou = field_iou(train.select(slice(0, num_measured)), sdf_samples.eval_train).tolist()
    no_iou: list[float | None] = [None] * (len(train) - num_measured + len(validation))
    no_fits: list[float | None] = [None] * (len(train) + len(validation))
    corpus = build_corpus(
        names=[shape.name for shape in split.all],
        labels=labels,
        splits=["train"] * len(train) + ["validation"] * len(validation) + ["test"] * len(test),
        weights=torch.cat([train.flat, validation.flat, test.flat]),
        input_ids=tokenizer.vocabulary.ids(torch.cat(codes), labels),
        iou_plain_fit=[*no_fits, *field_iou(test_fits.fields, sdf_samples.eval_test).tolist()],
        iou=[*train_iou, *no_iou, *field_iou(test, sdf_samples.eval_test).tolist()],
        notes=[shape.notes for shape in split.all],
    )
    save_corpus(corpus, folder)
    return load_corpus(folder)


def train_gpt(
    config: PipelineConfig, corpus: Dataset, extra: ExtraShapes, tokenizer: WeightTokenizer, output: Path
) -> GPT2LMHeadModel:
    """Train the GPT and write the model to `output/model`, or read it from there.

    Args:
        config: the configuration of the run.
        corpus: the corpus.
        extra: shapes that only the GPT learns from.
        tokenizer: the tokenizer of the sequences.
        output: the folder of the run.
    """
    if not (output / "model").is_dir():
        logging.set_verbosity_error()
        train = concatenate_datasets([split_rows(corpus, "train").select_columns("input_ids"), extra.sequences])
        if config.latent_augmentations:
            input_ids, times = column_tensor(train, "input_ids").long(), config.latent_augmentations
            train = sequence_dataset(augment_sequences(tokenizer, input_ids, times, config.latent_noise, config.seed))
        validation = split_rows(corpus, "validation")
        model = pretrain(train, validation, tokenizer, output / "gpt", config.gpt, seed=config.seed)
        model.generation_config = generation_config(tokenizer.vocabulary, config.temperature, config.top_p)
        with atomic_write(output / "model") as draft:
            WeightGPT(model, tokenizer).save_pretrained(draft)
    return GPT2LMHeadModel.from_pretrained(output / "model").eval()


def update_sampling(run: Run, model: GPT2LMHeadModel, tokenizer: WeightTokenizer) -> None:
    """Store the temperature and the `top_p` of the run with the model, if the run resumed with other ones.

    Args:
        run: the run and its folder.
        model: the GPT; its generation configuration is changed.
        tokenizer: its tokenizer.
    """
    stored, config = model.generation_config, run.config
    if (stored.temperature, stored.top_p) != (config.temperature, config.top_p):
        if run.manifest is not None:
            run.manifest.reopen("gpt")
        model.generation_config = generation_config(tokenizer.vocabulary, config.temperature, config.top_p)
        with atomic_write(run.output / "model") as draft:
            WeightGPT(model, tokenizer).save_pretrained(draft)


@dataclass(frozen=True, kw_only=True)
class PipelineJob:
    """Shapes, fits, codebook, corpus, GPT, samples, figures and a report; run the same command again to resume."""

    output: Path
    """Folder of the run."""
    config: Annotated[PipelineConfig, tyro.conf.arg(name="")]
    """The settings of the run."""


def read_job(arguments: list[str] | None = None) -> PipelineJob:
    """The run that the command line describes.

    Args:
        arguments: the command line without the program; that of the process when None.

    Raises:
        InputError: the preset or an option is unknown, or the configuration is impossible.
    """
    jobs = {name: PipelineJob(output=tyro.MISSING, config=preset) for name, preset in PRESETS.items()}
    return parse(jobs, "training.pipeline", arguments, summaries=SUMMARIES)


@cli_main
def main() -> None:
    """Read the command line and run the pipeline."""
    job = read_job()
    metrics = run_pipeline(job.config, job.output)
    print(json.dumps(metrics, indent=2))
    print(f"samples: {job.output / 'samples.png'}\nreport:  {job.output / 'report.html'}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
