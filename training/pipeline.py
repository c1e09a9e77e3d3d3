"""The whole road in one command: `python -m training.pipeline --output RUN [--shapes DIR]`.

Shapes -> plain fits -> codebook -> corpus -> GPT -> samples -> figures -> report. Every stage leaves files that are
whole or absent; the same command goes on after the last finished stage, and inside the fits and the GPT after the last
group or checkpoint. A run keeps its settings in `config.json` and refuses to go on with others.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset, concatenate_datasets, load_from_disk
from transformers import GPT2LMHeadModel
from transformers.utils import logging

from tokenization.corpus import Corpus
from tokenization.learn_codebook import CodebookConfig
from tokenization.registry import DEFAULT, NAMES, learner
from training.corpus import build, column, part, save, sequences
from training.data import Sampled, sample_split
from training.gather import gather
from training.more import More, encode_more
from training.pretrain import PRESETS, PretrainConfig, pretrain
from training.redrawn import redrawn
from training.results import Parts, show
from training.run import Run
from weightgpt.encoding import EncodeConfig
from weightgpt.field import FieldConfig
from weightgpt.files import read_tensors, whole, write_json, write_tensors
from weightgpt.fitting import FitConfig, Fits, field_iou, fit, mean_field
from weightgpt.hub import Bundle
from weightgpt.kinds import load_quantiser
from weightgpt.program import program
from weightgpt.shapes import Refusal
from weightgpt.splits import Split
from weightgpt.tokenizer import WeightTokenizer

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Everything that decides what a run makes."""

    shapes: str | None = None
    """Folder of meshes, its sub-folders the classes; None for the built-in families."""
    tokenizer: str = DEFAULT
    """How the quantiser is learnt, a name of `tokenization.registry`."""
    count: int = 16384
    """Built-in shapes to learn from; the held-out ones come on top."""
    held: int = 192
    """Built-in shapes held out, half for validation and half for test."""
    held_out: float = 0.2
    """Share of the files held out, half for validation and half for test."""
    copies: int = 8
    """Stretched or mirrored copies of each training file; built-in shapes need none."""
    mirrored: bool = False
    """Whether copies are mirrored in every axis, not in x alone; for files that have no top and no front."""
    more: int = 0
    """Further shapes that the GPT alone learns from: new drawings, or more copies of the files."""
    redrawn: int = 0
    """Times that the codes of each training shape are drawn anew, for the GPT; 0 for the codes as they are."""
    schedule: int = 8192
    """Shared points at which shapes are sampled for learning."""
    judged: int = 16384
    """Uniform points at which IoU is measured."""
    started: int = 64
    """Training shapes whose plain fits give base and bases their start."""
    samples: int = 96
    """Shapes to generate."""
    temperature: float = 1.0
    """Of sampling; 1 is the model's own distribution, lower keeps to its likelier codes."""
    resolution: int = 64
    """Grid points along each side when meshing samples."""
    seed: int = 0
    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    fit: FitConfig = dataclasses.field(default_factory=FitConfig)
    codebook: CodebookConfig = dataclasses.field(default_factory=CodebookConfig)
    encode: EncodeConfig = dataclasses.field(default_factory=EncodeConfig)
    gpt: PretrainConfig = dataclasses.field(default_factory=PretrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        values = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        values = {name: asdict(value) if dataclasses.is_dataclass(value) else value for name, value in values.items()}
        return json.loads(json.dumps(values))


def run(config: PipelineConfig, output: Path) -> dict[str, Any]:
    """Do, or finish, everything; returns the figures of `metrics.json`.

    Raises:
        InputError: the folder of shapes or the output folder cannot be used.
    """
    job = Run(config.to_dict(), output)
    return show(learn(config, job, gather), job.stage)


def learn(config: PipelineConfig, job: Run, gather: Callable[[dict[str, Any]], tuple[Split, list[Refusal]]]) -> Parts:
    """Do, or finish, all stages up to the GPT.

    Args:
        job: the run and its folder.
        gather: draws or loads the shapes, which may be planar ones, and splits them.
    """
    output = job.output
    with job.stage("shapes"):
        split, refusals = gather(job.config)
        job.keep()
        write_json(output / "refused.json", [{"path": str(r.path), "reason": r.reason} for r in refusals])
        sampled = sample_split(split, config.schedule, config.judged, config.seed, output / "samples.safetensors")
    with job.stage("fits"):
        learnt_from, plain = fit_plainly(config, sampled, output / "fits")
    with job.stage("codebook"):
        folder = made(output / "codebook", lambda: learn_quantiser(config, learnt_from, output))
        tokenizer = WeightTokenizer.create(load_quantiser(folder), [shape.label for shape in split.train])
    with job.stage("corpus"):
        folder = made(output / "corpus", lambda: write_corpus(config, tokenizer, split, sampled, plain, output))
        corpus = load_from_disk(str(folder))
        more = encode_more(split.more, tokenizer, sampled.train.points, config.encode, output / "more.safetensors")
    with job.stage("gpt", small=config.gpt.preset in ("nano", "tiny")):
        model = train_gpt(config, corpus, more, tokenizer, output)
    return Parts(
        output=output,
        config=config.to_dict(),
        split=split,
        refusals=refusals,
        sampled=sampled,
        fit_history=plain.history,
        fit_gain=float((judged_iou(plain) - field_iou(plain.earlier, sampled.judged_test)).mean()),
        corpus=corpus,
        more=more,
        bundle=Bundle(model, tokenizer),
    )


def made(path: Path, make: Callable[[], None]) -> Path:
    """`path`, made first if it is not there."""
    if not path.exists():
        make()
    return path


def fit_plainly(config: PipelineConfig, sampled: Sampled, folder: Path) -> tuple[Corpus, Fits]:
    """Plain conditioned fits: of some training shapes, to learn from, and of the test shapes, as the reference."""
    if not (folder / "initial.safetensors").is_file():
        initial = mean_field(config.field, sampled.train.select(slice(0, 512)), config.fit)
        write_tensors(folder / "initial.safetensors", {"flat": initial})
    initial = read_tensors(folder / "initial.safetensors")["flat"]
    some = sampled.train.select(slice(0, config.started))
    started = fit(config.field, some, config.fit, initial=initial, folder=folder / "train", progress="plain fits")
    plain = fit(
        config.field,
        sampled.test,
        config.fit,
        initial=initial,
        judged=sampled.judged_test,
        folder=folder / "test",
        progress="test fits",
    )
    return Corpus(sampled.train, started.fields, initial, config.fit, config.seed), plain


def judged_iou(fits: Fits) -> torch.Tensor:
    """(B,) IoU of fits that were given points to judge at."""
    assert fits.iou is not None
    return fits.iou


def learn_quantiser(config: PipelineConfig, corpus: Corpus, output: Path) -> None:
    """Learn the quantiser and write it to `output/codebook`."""
    learnt = learner(config.tokenizer, config.codebook)(corpus, True)
    with whole(output / "codebook") as draft:
        learnt.quantiser.save_pretrained(draft)
        write_json(draft / "history.json", learnt.history)


def write_corpus(
    config: PipelineConfig,
    tokenizer: WeightTokenizer,
    split: Split,
    sampled: Sampled,
    plain: Fits,
    output: Path,
) -> None:
    """Encode all shapes and write the corpus."""
    quantiser, codes = tokenizer.quantiser, []
    for samples in (sampled.train, sampled.validation, sampled.test):
        codes.append(quantiser.encode_samples(samples, config.encode, progress=True))
    train, validation, test = (quantiser.decode(part) for part in codes)
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
        fit_iou=[*[None] * (len(train) + len(validation)), *judged_iou(plain).tolist()],
        roundtrip_iou=[*known, *unknown, *field_iou(test, sampled.judged_test).tolist()],
    )
    save(corpus, output / "corpus")


def train_gpt(
    config: PipelineConfig, corpus: Dataset, more: More, tokenizer: WeightTokenizer, output: Path
) -> GPT2LMHeadModel:
    """Train the GPT unless its bundle is there; the bundle lands in `output/model`."""
    if not (output / "model").is_dir():
        logging.set_verbosity_error()
        train = concatenate_datasets([part(corpus, "train").select_columns("ids"), more.sequences])
        if config.redrawn:
            train = sequences(redrawn(tokenizer, column(train, "ids").long(), config.redrawn, config.seed))
        model = pretrain(train, part(corpus, "validation"), tokenizer, output / "gpt", config.gpt)
        with whole(output / "model") as draft:
            Bundle(model, tokenizer).save_pretrained(draft)
    return GPT2LMHeadModel.from_pretrained(output / "model").eval()


def parse(arguments: list[str] | None = None) -> tuple[PipelineConfig, Path]:
    """The settings and the output folder that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the run; run again to resume")
    parser.add_argument("--shapes", type=Path, help="folder of meshes, sub-folders are classes (default: built-in)")
    parser.add_argument("--tokenizer", choices=NAMES, default=DEFAULT, help="how fields become codes")
    parser.add_argument("--count", type=int, default=PipelineConfig.count, help="built-in shapes to learn from")
    parser.add_argument("--copies", type=int, default=PipelineConfig.copies, help="augmented copies of each file")
    parser.add_argument("--mirrored", action="store_true", help="mirror copies in every axis: no top, no front")
    parser.add_argument("--more", type=int, help="further shapes that the GPT alone learns from")
    parser.add_argument("--redrawn", type=int, help="times that codes are drawn anew for the GPT; 0: as they are")
    parser.add_argument("--steps", type=int, default=CodebookConfig.steps, help="steps of the codebook in the loop")
    parser.add_argument("--neurons", type=int, help="neurons in a chunk of the loop")
    parser.add_argument("--latent-width", type=int, help="numbers of a chunk of the loop, before quantisation")
    parser.add_argument("--levels", type=int, help="codes of a chunk of the loop")
    parser.add_argument("--preset", choices=PRESETS, help="size of the GPT")
    parser.add_argument("--epochs", type=float, help="of the GPT, at most")
    parser.add_argument("--temperature", type=float, help="of sampling; by default higher for files")
    parser.add_argument("--samples", type=int, default=PipelineConfig.samples, help="shapes to generate")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    chunk = {name: getattr(given, name) for name in ("neurons", "latent_width")}
    # Of few files a GPT learns short sequences of smooth codes best: those that an encoder writes, refined a little. Of
    # drawn shapes, five levels keep nearly as much as a plain fit does, for 20 tokens instead of 32. More levels are
    # learnt than kept: shapes of a decoder that learnt of the kept ones alone fell to pieces more often.
    levels = (16, 8) if given.shapes else (8, 5)
    kept = levels[1] if given.levels is None else given.levels
    codebook = CodebookConfig(levels=max(levels[0], kept), kept=kept)
    encode = EncodeConfig(steps=50, learning_rate=3e-2, surface=0.5) if given.shapes else EncodeConfig(steps=0)
    chunk = {name: value for name, value in chunk.items() if value is not None}
    # Where codes cost one pass of an encoder, a small GPT learns more of many shapes than a larger one of few. The few
    # sequences of files are drawn anew several times, so that it does not learn them by heart, and it drops out.
    more = 65536 if given.shapes is None and given.tokenizer == DEFAULT else 0
    more = more if given.more is None else given.more
    gpt = PretrainConfig(preset="tiny", epochs=1.7 if more else 10.0, learning_rate=3e-3, schedule="linear")
    # Its samples lie nearer to training shapes than new shapes do, unless they are drawn from more of its codes.
    temperature = 1.3 if given.shapes else PipelineConfig.temperature
    redrawn = 12 if given.shapes and given.tokenizer == DEFAULT else 0
    redrawn = redrawn if given.redrawn is None else given.redrawn
    if given.shapes:
        gpt = PretrainConfig(preset="tiny", epochs=2.5 if redrawn else 24.0, learning_rate=2e-3, dropout=0.1)
    asked = {name: getattr(given, name) for name in ("preset", "epochs") if getattr(given, name) is not None}
    config = PipelineConfig(
        shapes=str(given.shapes) if given.shapes else None,
        tokenizer=given.tokenizer,
        count=given.count,
        copies=given.copies,
        mirrored=given.mirrored,
        more=more,
        redrawn=redrawn,
        samples=given.samples,
        temperature=temperature if given.temperature is None else given.temperature,
        seed=given.seed,
        encode=encode,
        codebook=dataclasses.replace(codebook, steps=given.steps, seed=given.seed, **chunk),
        gpt=dataclasses.replace(gpt, seed=given.seed, **asked),
    )
    return config, given.output


@program
def main() -> None:
    """Run the pipeline."""
    config, output = parse()
    figures = run(config, output)
    print(json.dumps(figures, indent=2))
    print(f"samples: {output / 'samples.png'}\nreport:  {output / 'report.html'}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
