"""Equal bits whatever surrounds a shape: `python -m tests.reliability.bitwise --output runs/bitwise.json`.

Fitting, encoding, decoding and sampling run twice, on one and on two threads, with other batch sizes, in another order,
and for the first shapes alone. Each time runs in its own process. The results are counted that differ in any bit.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from tests import fakes
from tests.reliability.forks import Child
from tests.reliability.program import run_program
from weightgpt._programs import cli_main
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig, fit_fields
from weightgpt.io import write_tensors
from weightgpt.model import WeightGPT
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.families import draw_shapes

ENCODE_CONFIG = EncodeConfig(steps=20, num_points=4096)
"""How shapes are encoded."""
Work = Callable[[Sequence[int], int], torch.Tensor]
"""Results (B, …) of the shapes of some numbers, with a batch size."""


@dataclass(frozen=True, kw_only=True)
class BitwiseJob:
    """Count results that differ in any bit between runs that should be equal."""

    output: Path = Path("runs/bitwise.json")
    """The file of the counts."""
    shapes: int = 6
    """Shapes that are fitted and encoded."""
    samples: int = 192
    """Sequences that are sampled."""


@dataclass(frozen=True)
class Variant:
    """What differs from the plain command."""

    numbers: list[int]
    """The numbers of the shapes, in the order in which they are given."""
    batch_size: int = 16
    """Shapes at once."""
    threads: int = 1
    """Threads of torch."""
    alone: bool = field(default=False)
    """Whether each shape is given in a call of its own."""


def variants(count: int, batch_sizes: Sequence[int], ordered: bool) -> dict[str, Variant]:
    """The variants of a command for `count` shapes, by name.

    Args:
        count: number of shapes.
        batch_sizes: other batch sizes.
        ordered: whether a shape is known by its place, as samples are, so that there is no other order.
    """
    plain = Variant(list(range(count)))
    result = {"same command twice": plain, "2 threads": replace(plain, threads=2)}
    result |= {f"batch size {size}": replace(plain, batch_size=size) for size in batch_sizes}
    result |= {f"first {part} alone": replace(plain, numbers=plain.numbers[:part]) for part in (1, count // 2)}
    if not ordered:
        result |= {
            "other order": replace(plain, numbers=plain.numbers[::-1]),
            "each alone": replace(plain, alone=True),
        }
    return result


def fit(numbers: Sequence[int], batch_size: int) -> torch.Tensor:
    """Fits of drawn shapes.

    Args:
        numbers: which shapes.
        batch_size: fields at once.
    """
    options = FitConfig(steps=30, batch_size=batch_size)
    return fit_fields(_shapes(numbers), FieldConfig(), options, num_points=8192).flat


def encode(make: Callable[[], Quantizer]) -> Work:
    """Encoding of drawn shapes.

    Args:
        make: makes the quantizer.
    """

    def codes(numbers: Sequence[int], batch_size: int) -> torch.Tensor:
        return make().encode_shapes(_shapes(numbers), replace(ENCODE_CONFIG, batch_size=batch_size))

    return codes


def decode(make: Callable[[], Quantizer]) -> Work:
    """Decoding of random codes.

    Args:
        make: makes the quantizer.
    """

    def weights(numbers: Sequence[int], batch_size: int) -> torch.Tensor:
        quantizer = make()
        shape = (max(numbers) + 1, quantizer.num_chunks, quantizer.num_quantizers)
        codes = torch.randint(quantizer.codebook_size, shape, generator=fakes.generator(0))
        return torch.cat([quantizer.decode(part).flat for part in codes[list(numbers)].split(batch_size)])

    return weights


def sample(numbers: Sequence[int], batch_size: int) -> torch.Tensor:
    """Weights of sampled fields.

    Args:
        numbers: the first numbers from 0 on.
        batch_size: sequences at once.
    """
    tokenizer = fakes.tiny_tokenizer()
    model = WeightGPT(fakes.tiny_gpt(tokenizer.vocabulary), tokenizer)
    return model.generate(len(numbers), seed=3, batch_size=batch_size).fields.flat


def _shapes(numbers: Sequence[int]) -> list[Any]:
    shapes = draw_shapes(max(numbers) + 1, seed=5)
    return [shapes[number] for number in numbers]


def _autoencoder() -> Quantizer:
    codebook = fakes.tiny_codebook()
    return RVQAutoencoder(codebook, fakes.tiny_encoder(codebook))


def _graph() -> Quantizer:
    return fakes.tiny_graph(fakes.tiny_codebook())


def count_different(work: Work, cases: dict[str, Variant], folder: Path) -> dict[str, dict[str, int]]:
    """Count the results of each variant that differ from those of the plain command.

    Args:
        work: the command.
        cases: the variants.
        folder: an empty folder.
    """
    plain = _results(work, next(iter(cases.values())), folder / "plain.safetensors")
    counts = {}
    for index, (name, variant) in enumerate(cases.items()):
        rows = _results(work, variant, folder / f"{index}.safetensors")
        different = sum(row.tobytes() != plain[number].tobytes() for number, row in rows.items())
        counts[name] = {"results": len(rows), "different": different}
    return counts


def _results(work: Work, variant: Variant, path: Path) -> dict[int, np.ndarray]:
    """The result of each shape by its number, computed in another process."""

    def write() -> None:
        calls = [[number] for number in variant.numbers] if variant.alone else [variant.numbers]
        rows = torch.cat([work(call, variant.batch_size) for call in calls])
        write_tensors(path, {"rows": rows})

    child = Child(write, variant.threads)
    if child.wait():
        raise RuntimeError(f"{variant} fails:\n{child.text[-2000:]}")
    return dict(zip(variant.numbers, load_file(path)["rows"], strict=True))


def measure(job: BitwiseJob, folder: Path) -> dict[str, Any]:
    """All counts.

    Args:
        job: what to measure.
        folder: an empty folder.
    """
    quantizers = {"rvq-ae": _autoencoder, "weight-vq": fakes.tiny_weight_vq, "graph": _graph}
    shapes, samples = variants(job.shapes, (1, 4), False), variants(job.samples, (1, 7, 64), True)
    works: dict[str, tuple[Work, dict[str, Variant]]] = {"fit": (fit, shapes)}
    works |= {f"encode, {name}": (encode(make), shapes) for name, make in quantizers.items()}
    works |= {f"decode, {name}": (decode(make), shapes) for name, make in quantizers.items()}
    works["sample"] = (sample, samples)
    different = {}
    for name, (work, cases) in works.items():
        (folder / name).mkdir(parents=True)
        different[name] = count_different(work, cases, folder / name)
        print(name, different[name], file=sys.stderr, flush=True)
    problems = sum(counts["different"] for part in different.values() for counts in part.values())
    return {"different": different, "problems": problems}


@cli_main
def main() -> None:
    """Measure, write the counts, and end with 1 if any result differs."""
    run_program("tests.reliability.bitwise", BitwiseJob, measure)


if __name__ == "__main__":
    sys.exit(main())
