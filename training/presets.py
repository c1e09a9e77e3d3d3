"""What decides what a run makes, and how the command line of the pipeline says it."""

import argparse
import dataclasses
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenization.registry import DEFAULT, NAMES
from tokenization.train_codebook import CodebookConfig
from training.pretrain import MODEL_SIZES, PretrainConfig
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Everything that decides what a run makes."""

    shapes: str | None = None
    """Folder of meshes, its sub-folders the classes; None for the built-in families."""
    tokenizer: str = DEFAULT
    """How the quantizer is learned, a name of `tokenization.registry`."""
    num_shapes: int = 16384
    """Built-in shapes to learn from; the held-out ones come on top."""
    num_held_out: int = 192
    """Built-in shapes held out, half for validation and half for test."""
    held_out_fraction: float = 0.2
    """Share of the files held out, half for validation and half for test."""
    augmentations: int = 8
    """Stretched or mirrored copies of each training file; built-in shapes need none."""
    mirror_all_axes: bool = False
    """Whether copies are turned, and mirrored in every axis, not in x alone; for files without top and front."""
    num_extra_shapes: int = 0
    """Further shapes that the GPT alone learns from: new drawings, or more copies of the files."""
    latent_augmentations: int = 0
    """Times that the codes of each training shape are drawn anew, with noise on its latents, for the GPT; 0 for the
    codes as they are."""
    latent_noise: float = 0.5
    """That noise, in standard deviations of each number of the latents over the shapes."""
    num_points: int = 8192
    """Shared points at which shapes are sampled for learning."""
    num_eval_points: int = 16384
    """Uniform points at which IoU is measured."""
    num_init_fits: int = 64
    """Training shapes whose plain fits give base and bases their start."""
    num_samples: int = 96
    """Shapes to generate."""
    temperature: float = 1.0
    """Of sampling; 1 is the model's own distribution, lower keeps to its likelier codes."""
    top_p: float = 1.0
    """Share of the probability that is sampled from, the likeliest codes first."""
    resolution: int = 64
    """Grid points along each side when meshing samples."""
    seed: int = 0
    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    fit: FitConfig = dataclasses.field(default_factory=FitConfig)
    codebook: CodebookConfig = dataclasses.field(default_factory=CodebookConfig)
    encode: EncodeConfig = dataclasses.field(default_factory=EncodeConfig)
    gpt: PretrainConfig = dataclasses.field(default_factory=PretrainConfig)

    def __post_init__(self) -> None:
        if not self.latent_noise >= 0:  # nor is it "not a number"
            raise InputError(f"noise is {self.latent_noise:g}; give 0 or more standard deviations of the latents.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        values = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        values = {name: asdict(value) if dataclasses.is_dataclass(value) else value for name, value in values.items()}
        return json.loads(json.dumps(values))


def parser() -> argparse.ArgumentParser:
    """The options of the pipeline; those that are not given follow from the others."""
    told = "The whole road: shapes, fits, codebook, corpus, GPT, samples, figures and a report; resumes when run again."
    options = argparse.ArgumentParser(prog="training.pipeline", description=told)
    options.add_argument("--output", type=Path, required=True, help="folder of the run; run again to resume")
    options.add_argument("--shapes", type=Path, help="folder of meshes, sub-folders are classes (default: built-in)")
    options.add_argument("--tokenizer", choices=NAMES, default=DEFAULT, help="how fields become codes")
    options.add_argument("--count", type=int, default=PipelineConfig.num_shapes, help="built-in shapes to learn from")
    options.add_argument(
        "--copies", type=int, default=PipelineConfig.augmentations, help="augmented copies of each file"
    )
    options.add_argument("--mirrored", action="store_true", help="turn and mirror copies every way: no top, no front")
    options.add_argument("--more", type=int, help="further shapes that the GPT alone learns from")
    options.add_argument("--redrawn", type=int, help="times that codes are drawn anew for the GPT; 0: as they are")
    options.add_argument("--noise", type=float, help="on the latents of codes that are drawn anew")
    options.add_argument("--steps", type=int, help="steps of the codebook in the loop")
    options.add_argument("--neurons", type=int, help="neurons in a chunk of the loop")
    options.add_argument("--latent-width", type=int, help="numbers of a chunk of the loop, before quantization")
    options.add_argument("--levels", type=int, help="codes of a chunk of the loop")
    options.add_argument("--preset", choices=MODEL_SIZES, help="size of the GPT")
    options.add_argument("--epochs", type=float, help="of the GPT, at most")
    options.add_argument("--temperature", type=float, help="of sampling; by default a little higher for files")
    options.add_argument("--top-p", type=float, help="share of the probability that is sampled from")
    options.add_argument("--samples", type=int, default=PipelineConfig.num_samples, help="shapes to generate")
    options.add_argument("--seed", type=int, default=0)
    return options


def parse(arguments: list[str] | None = None) -> tuple[PipelineConfig, Path]:
    """The settings and the output folder that the command line asks for.

    Raises:
        InputError: a setting is impossible, or has nothing to act on.
    """
    given = parser().parse_args(arguments)
    chunk = {name: getattr(given, name) for name in ("neurons", "latent_width")}
    # Of few files a GPT learns short sequences of smooth codes best: those that an encoder writes, refined a little. Of
    # drawn shapes, five levels keep nearly as much as a plain fit does, for 20 tokens instead of 32. More levels are
    # learned than kept: shapes of a decoder that learned of the kept ones alone fell to pieces more often.
    levels = (16, 8) if given.shapes else (8, 5)
    kept = levels[1] if given.levels is None else given.levels
    # With plain errors and points as they come, thin parts come off more often.
    codebook = CodebookConfig(
        trained_quantizers=max(levels[0], kept), num_quantizers=kept, balance_sides=True, squared_weight=4.0
    )
    # Drawn shapes are many, and after more steps more of them stay in one piece.
    steps = CodebookConfig.steps if given.shapes else 18000
    steps = steps if given.steps is None else given.steps
    encode = EncodeConfig(steps=50, learning_rate=3e-2, surface_fraction=0.5) if given.shapes else EncodeConfig(steps=0)
    chunk = {name: value for name, value in chunk.items() if value is not None}
    # Where codes cost one pass of an encoder, a small GPT learns more of many shapes than a larger one of few. The few
    # sequences of files are drawn anew several times, with noise, so that it does not learn them by heart; those of
    # other tokenizers cannot be, and it drops out instead. Its samples may still lie a little nearer to training shapes
    # than new shapes do, hence the temperature.
    more = 65536 if given.shapes is None and given.tokenizer == DEFAULT else 0
    more = more if given.more is None else given.more
    gpt = PretrainConfig(
        model_size="tiny", epochs=1.5 if more else 10.0, learning_rate=3e-3, lr_scheduler_type="linear"
    )
    temperature = 1.1 if given.shapes else PipelineConfig.temperature
    # Shapes of built-in families that are made of unlikely codes are in pieces more often.
    top_p = PipelineConfig.top_p if given.shapes else 0.95
    redrawn = 12 if given.shapes and given.tokenizer == DEFAULT else 0
    redrawn = redrawn if given.redrawn is None else given.redrawn
    if given.noise is not None and not redrawn:
        raise InputError("--noise is for codes that are drawn anew, and none are; give --redrawn too, or leave it out.")
    if given.shapes and redrawn:
        gpt = PretrainConfig(model_size="tiny", epochs=2.5, learning_rate=4e-3, lr_scheduler_type="linear")
    elif given.shapes:
        gpt = PretrainConfig(model_size="tiny", epochs=24.0, learning_rate=2e-3, dropout=0.1)
    asked = {name: getattr(given, name) for name in ("preset", "epochs") if getattr(given, name) is not None}
    config = PipelineConfig(
        shapes=str(given.shapes) if given.shapes else None,
        tokenizer=given.tokenizer,
        num_shapes=given.count,
        augmentations=given.copies,
        mirror_all_axes=given.mirrored,
        num_extra_shapes=more,
        latent_augmentations=redrawn,
        latent_noise=PipelineConfig.latent_noise if given.noise is None else given.noise,
        num_samples=given.samples,
        temperature=temperature if given.temperature is None else given.temperature,
        top_p=top_p if given.top_p is None else given.top_p,
        seed=given.seed,
        encode=encode,
        codebook=dataclasses.replace(codebook, steps=steps, seed=given.seed, **chunk),
        gpt=dataclasses.replace(gpt, seed=given.seed, **asked),
    )
    return config, given.output
