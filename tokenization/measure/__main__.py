"""Learn tokenizers and measure them on held-out shapes: `python -m tokenization.measure --corpus chairs --output DIR`.

Decisions:
- All tokenizers of a corpus see the same training shapes and the same plain fits, and are judged by the same held-out
  shapes. "plain-fit", the fit itself with no tokens, is judged like them.
- What is learned lies in a folder `DIR/CORPUS/TOKENIZER-…` for each setting, with the ids of all shapes, for whoever
  wants to train a GPT on them. Learned with the same settings before, it is only read, so that an interrupted
  measurement goes on.
- Rows of several corpora, tokenizers and settings come together in one `tokenizers.json`; a row is replaced when the
  same is measured again. Settings of the loop are no settings of a tokenizer that learns without it. Tables, plots and
  pictures are made from those rows, never by hand.
"""

import argparse
import hashlib
import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokenization.measure import page
from tokenization.measure.benchmark import BUILT_IN, Benchmark, BenchmarkConfig, changed, prepare
from tokenization.measure.figures import Figures, by_class, by_levels, judge, rate, summary, true_clouds, weight_error
from tokenization.registry import NAMES, learner, settings
from tokenization.train_codebook import CodebookConfig
from weightgpt._programs import cli_main, command_line
from weightgpt.fields.field import Fields
from weightgpt.io import atomic_write, read_json, read_tensors, write_json, write_tensors
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.tokens.tokenizer import WeightTokenizer

PLAIN = "plain-fit"
LOOP = {f.name: type(f.default) for f in fields(CodebookConfig) if type(f.default) in (int, float, bool)}
"""What may be asked of the codebook in the loop."""
QUICK = {
    "train": 64,
    "fitted": 64,
    "held": 12,
    "fit_steps": 200,
    "most_steps": 200,
    "points": 4096,
    "judged": 4096,
    "resolution": 32,
}
"""Settings of `--quick`: every stage, with figures that say little. The loop takes `QUICK_STEPS` steps."""
QUICK_STEPS = 200


@dataclass(frozen=True)
class Measured:
    """One tokenizer, learned and applied."""

    tokenizer: WeightTokenizer
    train: Tensor
    """(F, C, Q) codes of the training shapes that have plain fits."""
    held: Tensor
    """(H, C, Q) codes of the held-out shapes."""
    seconds: float
    """Spent on learning and encoding."""


def measure(config: BenchmarkConfig, names: list[str], output: Path, command: str) -> list[dict[str, Any]]:
    """Learn and judge tokenizers by name, and write all that the head of this module promises; the new rows.

    Raises:
        InputError: a name is unknown, or the corpus or the output folder cannot be used.
    """
    for name in names:
        learner(name, asked(config)[0])
    folder = output / config.name
    benchmark = prepare(config, folder / "shared")
    truth = true_clouds(benchmark)
    plain = judge(benchmark, truth, benchmark.plain, PLAIN)
    rows = [row(benchmark, PLAIN, command, of_fits(benchmark, plain))]
    sheet = partial(page.write_strip, folder, benchmark.held)
    sheet("true shape", "true shape", [shape.sdf for shape in benchmark.held], [""] * len(benchmark.held))
    sheet(rows[0]["folder"], PLAIN, benchmark.plain.sdfs(), captions("weights", plain))
    page.add_rows(output, command, rows)
    for name in names:
        found = made(benchmark, name, folder / place(config, name))
        decoded = found.tokenizer.quantizer.decode(found.held)
        figures = judge(benchmark, truth, decoded, name)
        tokens = f"{found.tokenizer.quantizer.tokens_per_field} tokens"
        sheet(place(config, name), name, decoded.sdfs(), captions(tokens, figures))
        rows.append(row(benchmark, name, command, of_tokens(benchmark, found, decoded, figures, plain)))
        page.add_rows(output, command, rows[-1:])
    page.write_page(output)
    return rows


def asked(config: BenchmarkConfig) -> tuple[CodebookConfig, EncodeConfig]:
    """Settings of the loop and of encoding; shapes are refined only where the encoder has not learned to see them."""
    loop = replace(settings(config.drawn)[0], **config.changes, seed=config.seed)
    return loop, settings(drawn=not loop.auto_decoding)[1]


def told(config: BenchmarkConfig, name: str) -> dict[str, Any]:
    """The settings on which a tokenizer, or the plain fits, depend."""
    looped = name != PLAIN and "config" in getattr(learner(name, asked(config)[0]), "keywords", {})
    return {key: value for key, value in config.to_dict().items() if looped or not key.startswith("loop_")}


def place(config: BenchmarkConfig, name: str) -> str:
    """A name for a tokenizer of these settings that no others have."""
    return f"{name}-{hashlib.sha256(repr(sorted(changed(told(config, name)).items())).encode()).hexdigest()[:6]}"


def made(benchmark: Benchmark, name: str, folder: Path) -> Measured:
    """The tokenizer of that name, learned and with the codes of all shapes, or read if that was done before."""
    kept, of = folder / "settings.json", of_bench(benchmark, name)
    if not kept.is_file() or {**read_json(kept), **of} != read_json(kept):
        begun = time.perf_counter()
        loop, encode = asked(benchmark.config)
        quantizer = learner(name, loop)(benchmark.corpus, True).quantizer
        fitted = benchmark.corpus.samples.select(slice(0, len(benchmark.corpus.fits)))
        train = quantizer.encode_fits(fitted, benchmark.corpus.fits, encode, progress=True)
        held = quantizer.encode_fits(benchmark.samples, benchmark.plain, encode, progress=True)
        seconds = round(time.perf_counter() - begun, 1)
        save(benchmark, folder, quantizer, {"train": train, "held": held}, {**of, "seconds": seconds})
    tokenizer, ids = WeightTokenizer.from_pretrained(folder), read_tensors(folder / "ids.safetensors")
    codes = {part: tokenizer.vocabulary.parse(ids[part].long())[0] for part in ("train", "held")}
    return Measured(tokenizer, codes["train"], codes["held"], read_json(kept)["seconds"])


def save(
    benchmark: Benchmark, folder: Path, quantizer: Quantizer, codes: dict[str, Tensor], kept: dict[str, Any]
) -> None:
    """Write the tokenizer, `ids.safetensors` {train (F, L), held (H, L)} int32, and `kept` as `settings.json`."""
    shapes = {"train": benchmark.train[: len(benchmark.corpus.fits)], "held": benchmark.held}
    tokenizer = WeightTokenizer.create(quantizer, [shape.label for part in shapes.values() for shape in part])
    with atomic_write(folder) as draft:
        tokenizer.save_pretrained(draft)
        ids = {part: tokenizer.vocabulary.ids(codes[part], [s.label for s in shapes[part]]) for part in shapes}
        write_tensors(draft / "ids.safetensors", {part: found.int() for part, found in ids.items()})
        write_json(draft / "settings.json", kept)


def of_bench(benchmark: Benchmark, name: str) -> dict[str, Any]:
    """What a tokenizer was learned with: all settings, the loop's in full, and the names and classes of the shapes."""
    parts = {"train": benchmark.train, "held": benchmark.held}
    named = {part: [{"name": shape.name, "label": shape.label} for shape in shapes] for part, shapes in parts.items()}
    loop, encode = asked(benchmark.config)
    return {
        "settings": told(benchmark.config, name),
        "codebook": asdict(loop),
        "encode": asdict(encode),
        "shapes": named,
    }


def row(benchmark: Benchmark, name: str, command: str, values: dict[str, Any]) -> dict[str, Any]:
    """What every row of `tokenizers.json` says, and `values`."""
    return {
        "corpus": benchmark.config.name,
        "tokenizer": name,
        "settings": told(benchmark.config, name),
        "folder": place(benchmark.config, name),
        "command": command,
        "train_shapes": len(benchmark.train),
        "held_out_shapes": len(benchmark.held),
        "plain_fit_steps": benchmark.corpus.fit.steps,
        "plain_fit_gain_last_quarter": benchmark.gain,
        **values,
    }


def captions(cost: str, figures: Figures) -> list[str]:
    """Cost and IoU of each shape."""
    return [f"{cost} · IoU {value:.2f}" for value in figures.iou]


def of_fits(benchmark: Benchmark, plain: Figures) -> dict[str, Any]:
    """Figures of the plain fits themselves: every weight a 32-bit number, and no tokens."""
    return {
        "tokens_per_field": None,
        "bits_per_field": 32 * benchmark.plain.config.parameters,
        **summary(plain, plain),
        "by_class": by_class(benchmark, plain, plain),
    }


def of_tokens(
    benchmark: Benchmark, found: Measured, decoded: Fields, figures: Figures, plain: Figures
) -> dict[str, Any]:
    """Figures of a tokenizer."""
    quantizer = found.tokenizer.quantizer
    return {
        **rate(quantizer, found.train),
        **summary(figures, plain),
        **weight_error(benchmark, decoded),
        "by_class": by_class(benchmark, figures, plain),
        "by_levels": by_levels(benchmark, quantizer, found.held),
        "gpt_bits_fraction": None,
        "fingerprint": quantizer.fingerprint,
        "seconds": found.seconds,
    }


def parse(arguments: list[str] | None = None) -> tuple[BenchmarkConfig, list[str], Path]:
    """Settings, names of tokenizers and the output folder that the command line asks for."""
    parser = argparse.ArgumentParser(prog="tokenization.measure", description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help=f"{', '.join(BUILT_IN)}, or a folder of meshes")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results; more may be added to it")
    parser.add_argument("--tokenizers", type=words, default=NAMES, help="names with commas between them (default: all)")
    parser.add_argument("--classes", type=words, default=(), help="sub-folders of that folder, with commas; or all")
    parser.add_argument("--name", default="", help="name of the corpus in tables and folders (default: its own)")
    parser.add_argument("--hidden", type=numbers, help="widths of the hidden layers of a field, as 128,128,128")
    parser.add_argument("--train", type=int, help="shapes to learn from")
    parser.add_argument("--fitted", type=int, help="training shapes with plain fits, which tables are learned from")
    parser.add_argument("--held", type=int, help="shapes to judge by")
    parser.add_argument("--fit-steps", type=int, help="steps of the plain fits, at first")
    for name, kind in LOOP.items():
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        parser.add_argument(f"--loop-{name.replace('_', '-')}", help="of the codebook in the loop", **how)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="small enough for two minutes; figures that say little")
    given = vars(parser.parse_args(arguments))
    values = {name: given[name] for name in ("hidden", "train", "fitted", "held", "fit_steps")}
    values = {
        **(QUICK if given["quick"] else {}),
        **{name: value for name, value in values.items() if value is not None},
    }
    loop = {"steps": QUICK_STEPS} if given["quick"] else {}
    loop |= {name: given[f"loop_{name}"] for name in LOOP if given[f"loop_{name}"] is not None}
    fixed = {"corpus": given["corpus"], "classes": given["classes"], "title": given["name"], "seed": given["seed"]}
    return BenchmarkConfig(**fixed, **values, changes=loop), list(given["tokenizers"]), given["output"]


def words(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name for name in text.split(",") if name)


def numbers(text: str) -> tuple[int, ...]:
    """Numbers with commas between them."""
    return tuple(int(width) for width in text.split(","))


@cli_main
def main() -> None:
    """Measure."""
    torch.set_num_threads(1)  # small tensors are as fast on one thread as on two
    config, names, output = parse()
    rows = measure(config, names, output, command_line("tokenization.measure"))
    print(page.table(rows))
    print(f"page: {output / page.PAGE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
