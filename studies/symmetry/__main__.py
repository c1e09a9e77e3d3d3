"""What does the order of neurons change in tokens? `python -m studies.symmetry full`.

Three questions:
- *Permuted fits*: plain fits with their hidden neurons in random orders. Does `align` to the shared initial field
  restore the same weights?
- *Random-init fits*: the same architecture fitted from random weights. How much nearer to the shared initial field are
  these fits after `align`, and how accurate are they after a tokenizer, with and without alignment?
- *Function*: how much does a permutation change the values of a field, in single and in double precision?

Decisions:
- Tokenizers encode the fields alone, without the shapes, and the decoded fields are compared with the true shapes. Each
  tokenizer encodes fits from the initial field of its quantizer, the same fits permuted, and random-init fits, each
  without and with `align` to that initial field.
- Two weight-VQ tokenizers are learned here from the fits of the first question; `--tokenizer-folders` adds others.
- Fits stay in a folder that is named after the settings, so the same command resumes. `symmetry.json` has the figures,
  `symmetry.md` shows them.

Dimensions: B fields, P parameters, n points.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studies.symmetry.page import render_page
from tokenization.corpus import Corpus
from tokenization.weight_vq_learners import learn_vector_quantizer
from weightgpt import __version__
from weightgpt._programs import cli_main, command_line, parse, settings_digest
from weightgpt.errors import InputError, check_at_least
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit, fit_mean_initialization
from weightgpt.fields.symmetry import align, permute, random_permutations
from weightgpt.io import write_json, write_text
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.codes import fingerprint
from weightgpt.shapes.families import draw_shapes
from weightgpt.shapes.sampling import Samples, sample_sdf, shared_points, uniform_points
from weightgpt.tokens.tokenizer import WeightTokenizer

RANDOM_INIT_SEED = 100_000
"""First seed of the random weights. Row i uses the seed plus i; the shared initial field uses none of these seeds."""


@dataclass(frozen=True, kw_only=True)
class SymmetryConfig:
    """Measure what the order of neurons changes in tokens."""

    output: Path = Path("runs/symmetry")
    """Folder of the figures, the page and the fits."""
    tokenizer_folders: tuple[Path, ...] = ()
    """Folders of further models or tokenizers to measure."""
    family: str = "chair"
    """Built-in family of the shapes."""
    num_fits: int = 256
    """Plain fits that are permuted and aligned; the weight-VQ tokenizers learn from them too."""
    num_held_out: int = 64
    """Held-out shapes whose fits become tokens and fields again."""
    fit_steps: int = FitConfig.steps
    """Steps of each fit."""
    codebook_size: int = 1024
    """Codes of a level of the residual tokenizer; the scalar tokenizer has a quarter of them."""
    num_points: int = 8192
    """Shared points at which all shapes are sampled for learning."""
    num_eval_points: int = 16_384
    """Uniform points at which IoU is measured and functions are compared."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_held_out", "fit_steps", "num_points", "num_eval_points")
        check_at_least(self, 2, "num_fits")
        check_at_least(self, 4, "codebook_size")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that decide the fits: all but the folders."""
        return {name: value for name, value in asdict(self).items() if name not in ("output", "tokenizer_folders")}


PRESETS = {
    "full": SymmetryConfig(),
    "quick": SymmetryConfig(
        num_fits=16, num_held_out=4, fit_steps=100, codebook_size=256, num_points=2048, num_eval_points=4096
    ),
}
"""The settings by name, as the command line takes them."""
SUMMARIES = {"full": "The published measurement.", "quick": "A run of seconds; its figures mean nothing."}
"""A sentence about each preset, for the help of the command line."""


@dataclass(frozen=True)
class SymmetrySamples:
    """Signed distances of the shapes, and the field that their fits start from."""

    train: Samples
    held_out: Samples
    evaluation: Samples
    """The held-out shapes at uniform points."""
    shared_init: Tensor
    """(P,) weights."""


def run_study(config: SymmetryConfig, command: str) -> dict[str, Any]:
    """Measure the three questions, and write `symmetry.json` and `symmetry.md`.

    Args:
        config: what to measure.
        command: the command line, for the page.

    Returns:
        The figures of `symmetry.json`.

    Raises:
        InputError: a tokenizer cannot be read or is for fields of another architecture.
    """
    field_config, fit_config = FieldConfig(), FitConfig(steps=config.fit_steps)
    further = load_quantizers(config.tokenizer_folders, field_config)
    folder = config.output / f"fits-{settings_digest(config.settings)}"
    samples = sample_shapes(field_config, config, fit_config)
    shared_init, held_out = samples.shared_init, samples.held_out

    def fit_group(name: str, part: Samples, options: FitConfig, init: Tensor | None) -> Fields:
        return fit(field_config, part, options, shared_init=init, folder=folder / name, progress=f"{name} fits").fields

    fits = fit_group("train", samples.train, fit_config, shared_init)
    random_init_fits = fit_group("random-init", held_out, replace(fit_config, seed=RANDOM_INIT_SEED), None)
    learned = learn_weight_vq(Corpus(samples.train, fits, shared_init, fit_config), config)
    rows = []
    for name, quantizer in {**learned, **further}.items():
        # Tokenizers of one corpus share an initial field, and with it the fits.
        path = f"held-out-{fingerprint({}, {'initial': quantizer.shared_init})}"
        held_out_fits = fit_group(path, held_out, fit_config, quantizer.shared_init)
        rows += measure_round_trips(name, quantizer, held_out_fits, random_init_fits, samples.evaluation)
    result = {
        "version": __version__,
        "command": command,
        "settings": config.settings,
        "permuted": measure_permuted_fits(fits, shared_init),
        "random_init": measure_distances(random_init_fits, shared_init),
        "largest_difference": measure_function(fits, samples.evaluation.points),
        "round_trips": rows,
    }
    write_json(config.output / "symmetry.json", result)
    write_text(config.output / "symmetry.md", render_page(result))
    return result


def load_quantizers(folders: Sequence[Path], field_config: FieldConfig) -> dict[str, Quantizer]:
    """The quantizers of models or tokenizers, by folder.

    Args:
        folders: folders of models or tokenizers.
        field_config: the architecture of the study.

    Raises:
        InputError: a tokenizer cannot be read or is for fields of another architecture.
    """
    quantizers = {str(folder): WeightTokenizer.from_pretrained(folder).quantizer for folder in folders}
    for name, quantizer in quantizers.items():
        if quantizer.field_config != field_config:
            raise InputError(f"{name} is not a tokenizer for fields of {field_config}; leave it out.")
    return quantizers


def sample_shapes(field_config: FieldConfig, config: SymmetryConfig, fit_config: FitConfig) -> SymmetrySamples:
    """Sample the shapes, and fit the mean of the training shapes.

    Args:
        field_config: the architecture.
        config: the numbers of shapes and points.
        fit_config: how fields are fitted.
    """
    shapes = draw_shapes(config.num_fits + config.num_held_out, 0, [config.family])
    train, held_out = shapes[: config.num_fits], shapes[config.num_fits :]
    points = shared_points(train, config.num_points, 0)
    samples = sample_sdf(train, points)
    evaluation = sample_sdf(held_out, uniform_points(config.num_eval_points, 3, 7))
    shared_init = fit_mean_initialization(field_config, samples, fit_config)
    return SymmetrySamples(samples, sample_sdf(held_out, points), evaluation, shared_init)


def learn_weight_vq(corpus: Corpus, config: SymmetryConfig) -> dict[str, Quantizer]:
    """Learn a scalar VQ, and a residual VQ of short vectors with three levels.

    Args:
        corpus: the plain fits.
        config: the size of the codebooks.
    """
    size = config.codebook_size
    return {
        "scalar VQ": learn_vector_quantizer(corpus, width=1, codebook_size=size // 4).quantizer,
        "residual VQ": learn_vector_quantizer(corpus, width=8, codebook_size=size, num_quantizers=3).quantizer,
    }


def measure_permuted_fits(fits: Fields, shared_init: Tensor) -> dict[str, Any]:
    """Permute plain fits, align them, and count the fits that are restored bit for bit.

    Args:
        fits: B plain fits.
        shared_init: (P,) weights that the fits start from.
    """
    permuted = permute(fits.config, fits.flat, random_permutations(fits.config, len(fits), 1))
    aligned, _ = align(fits.config, permuted, shared_init)
    return {
        "fields": len(fits),
        "restored_exactly": int((aligned == fits.flat).all(1).sum()),
        "distance_as_fitted": mean_distance(fits.flat, shared_init),
        "distance_permuted": mean_distance(permuted, shared_init),
        "distance_aligned": mean_distance(aligned, shared_init),
        "distance_from_fit_permuted": mean_distance(permuted, fits.flat),
        "distance_from_fit_aligned": mean_distance(aligned, fits.flat),
    }


def measure_distances(fields: Fields, shared_init: Tensor) -> dict[str, Any]:
    """Distance to the shared initial field, before and after `align`.

    Args:
        fields: B fields.
        shared_init: (P,) weights.
    """
    aligned, _ = align(fields.config, fields.flat, shared_init)
    before, after = mean_distance(fields.flat, shared_init), mean_distance(aligned, shared_init)
    return {"fields": len(fields), "distance_before": before, "distance_aligned": after, "ratio": after / before}


def mean_distance(flat: Tensor, other: Tensor) -> float:
    """Mean Euclidean distance of weights (B, P) to other weights, (B, P) or (P,)."""
    return float((flat - other).norm(dim=1).mean())


@torch.no_grad()
def measure_function(fits: Fields, points: Tensor) -> dict[str, float]:
    """The largest difference between the values of a field and of its permuted copy.

    Args:
        fits: B fields.
        points: (n, 3) points.

    Returns:
        The difference in `single` and in `double` precision.
    """
    differences = {}
    for name, dtype in (("single", torch.float32), ("double", torch.float64)):
        flat = fits.flat.to(dtype)
        pair = flat, permute(fits.config, flat, random_permutations(fits.config, len(flat), 1))
        values = [[Fields(fits.config, row)(points.to(dtype)) for row in part.split(1)] for part in pair]
        differences[name] = max(float((a - b).abs().max()) for a, b in zip(*values, strict=True))
    return differences


def measure_round_trips(
    name: str, quantizer: Quantizer, fits: Fields, random_init_fits: Fields, evaluation: Samples
) -> list[dict[str, Any]]:
    """IoU after a round trip through tokens, without and with `align`.

    Args:
        name: name of the tokenizer.
        quantizer: the tokenizer's quantizer.
        fits: B fits from the initial field of the quantizer.
        random_init_fits: B fits of the same shapes from random weights.
        evaluation: the B true shapes at uniform points.

    Returns:
        A row each for the fits, the permuted fits and the random-init fits.
    """
    config = quantizer.field_config
    sources = {
        "as fitted": fits.flat,
        "permuted": permute(config, fits.flat, random_permutations(config, len(fits), 2)),
        "random-init": random_init_fits.flat,
    }

    def mean_iou(fields: Fields) -> float:
        return float(field_iou(fields, evaluation).mean())

    rows = []
    for source, flat in sources.items():
        aligned, _ = align(config, flat, quantizer.shared_init)
        iou, iou_aligned = (
            mean_iou(quantizer.decode(quantizer.encode(Fields(config, part), EncodeConfig())))
            for part in (flat, aligned)
        )
        row = {"tokenizer": name, "tokens_per_field": quantizer.tokens_per_field, "source": source}
        row |= {"iou_plain_fit": mean_iou(Fields(config, flat)), "iou": iou, "iou_aligned": iou_aligned}
        rows.append({**row, "gain": iou_aligned - iou})
    return rows


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    config = parse(PRESETS, "studies.symmetry", summaries=SUMMARIES)
    torch.set_num_threads(1)
    print(render_page(run_study(config, command_line("studies.symmetry"))))


if __name__ == "__main__":
    sys.exit(main())
