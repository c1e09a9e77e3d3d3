"""Long use of one model: `python -m tests.reliability.soak --output runs/soak.json`.

Eight threads give what one thread gives, many calls do not grow the memory, and many samples are written to disk part
by part in flat memory. The model is a tiny one, so that the figures are those of the program and not of the model.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests import fakes
from tests.reliability.program import run_program
from weightgpt._programs import cli_main
from weightgpt.cli_io import BATCH, BATCHES_OF_PART, write_samples
from weightgpt.fields.storage import load_fields
from weightgpt.model import WeightGPT
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.tokens.generated import GeneratedShapes

WARM_UP = 2 * BATCHES_OF_PART
"""Batches of the first two parts, after which memory must not grow."""
ALLOWED_MB = 32
"""Growth of memory that counts as flat: the allocator keeps some pages."""


@dataclass(frozen=True, kw_only=True)
class SoakJob:
    """Use one model for long, and measure its results and the memory."""

    output: Path = Path("runs/soak.json")
    """The file of the figures."""
    threads: int = 8
    """Threads that use one model at once."""
    calls: int = 500
    """Calls after a warm-up of a fifth as many."""
    samples: int = 100_000
    """Samples that are written to disk."""


def tiny_model() -> WeightGPT:
    """An untrained model."""
    tokenizer = fakes.tiny_tokenizer()
    return WeightGPT(fakes.tiny_gpt(tokenizer.vocabulary), tokenizer)


def use(model: WeightGPT, seed: int) -> bytes:
    """Sample, mesh, encode and decode; the bytes of all results.

    Args:
        model: the model.
        seed: seed of the samples; it also decides the shape that is encoded.
    """
    shapes = model.generate(4, seed=seed)
    volume = shapes.fields.sdf(0)(torch.linspace(-1, 1, 3000).reshape(-1, 3))
    codes = model.tokenizer([fakes.sphere_shape(0.3 + seed % 5 / 10)], encode=EncodeConfig(steps=2, num_points=1024))
    parts = (shapes.ids, shapes.fields.flat, volume, codes["input_ids"])
    return b"".join(part.detach().numpy().tobytes() for part in parts)


def threads_as_serial(threads: int) -> dict[str, Any]:
    """Use one model in several threads, and compare with one thread.

    Args:
        threads: number of threads; each makes eight calls.
    """
    model, start = tiny_model(), time.monotonic()
    seeds = range(8 * threads)
    expected = [use(model, seed) for seed in seeds]
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda seed: use(model, seed), seeds))
    different = sum(result != value for result, value in zip(results, expected, strict=True))
    row = {"name": f"calls in {threads} threads", "number": len(results), "different": different}
    return row | {"seconds": round(time.monotonic() - start)}


def many_calls(count: int) -> dict[str, Any]:
    """Call one model often; memory must not grow.

    Args:
        count: number of calls.
    """
    model = tiny_model()
    expected = use(model, 0)
    for seed in range(count // 5):
        use(model, seed)
    row = _watched(lambda seed: use(model, seed), count)
    return {"name": "calls", "number": count, "different": int(use(model, 0) != expected), **row}


def streamed_samples(count: int, folder: Path) -> dict[str, Any]:
    """Write many samples to disk as `weightgpt sample` does; memory must not grow after the first parts.

    Args:
        count: number of samples.
        folder: an empty folder.
    """
    model, memory, start = tiny_model(), [0], time.monotonic()

    def watched() -> Iterator[GeneratedShapes]:
        for index, shapes in enumerate(model.generate_batches(count)):
            if index in (WARM_UP, (count - 1) // BATCH):
                memory.append(memory_mb())
            yield shapes

    write_samples(folder, watched(), count, model.tokenizer.quantizer.fingerprint)
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    written = sum(len(load_fields(path)[0]) for path in folder.glob("*.safetensors"))
    row = {"first_mb": memory[1], "last_mb": memory[-1], "peak_mb": peak, "seconds": round(time.monotonic() - start)}
    return {"name": "samples written to disk", "number": written, **row}


def _watched(work: Callable[[int], object], count: int) -> dict[str, Any]:
    """Memory before and after `count` calls, the highest memory of the process, and seconds."""
    first, start = memory_mb(), time.monotonic()
    for index in range(count):
        work(index)
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {"first_mb": first, "last_mb": memory_mb(), "peak_mb": peak, "seconds": round(time.monotonic() - start)}


def memory_mb() -> int:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def problems(row: dict[str, Any]) -> int:
    """Differing results, and one more if the memory has grown.

    Args:
        row: the figures of one measurement.
    """
    return row.get("different", 0) + (row.get("last_mb", 0) - row.get("first_mb", 0) > ALLOWED_MB)


def measure(job: SoakJob, folder: Path) -> dict[str, Any]:
    """All figures.

    Args:
        job: what to measure.
        folder: an empty folder.
    """
    torch.set_num_threads(1)
    rows = [threads_as_serial(job.threads), many_calls(job.calls), streamed_samples(job.samples, folder)]
    return {"rows": rows, "problems": sum(map(problems, rows))}


@cli_main
def main() -> None:
    """Measure, write the figures, and end with 1 if a result differs or the memory grows."""
    run_program("tests.reliability.soak", SoakJob, measure)


if __name__ == "__main__":
    sys.exit(main())
