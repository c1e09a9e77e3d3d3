"""Repeat the presentation's experiments: `python -m studies.presentation --output runs/study`.

The parts run one after another. A later run can add or repeat single parts; the page joins all parts that lie in the
output folder. The published page is `docs/results/study.md`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from studies.presentation import conditioning, permutation, regression, tokens
from studies.presentation.page import FOLDER, PAGE, join_parts, publish
from weightgpt import __version__
from weightgpt._programs import cli_main, command_line, parse


@dataclass(frozen=True, kw_only=True)
class PresentationConfig:
    """Repeat the experiments of the presentation and write one page about them."""

    output: Path
    """Folder of the page and of the parts."""
    parts: tuple[Literal["conditioning", "permutation", "regression", "tokens"], ...] = (
        "conditioning",
        "permutation",
        "regression",
        "tokens",
    )
    """The parts to run."""
    tokenizer: Path = Path("runs/demo/model")
    """Model or tokenizer folder for the part "tokens"."""
    docs: Path | None = None
    """Folder to which the page and its pictures are copied."""
    quick: bool = False
    """Run small versions of all parts in about a minute; their figures mean nothing."""
    seed: int = 0
    """Seed of the shapes, the fits and the transformers."""


PARTS: dict[str, Callable[[Path, PresentationConfig], None]] = {
    "conditioning": lambda folder, config: conditioning.run(folder, config.quick, config.seed),
    "permutation": lambda folder, config: permutation.run(folder, config.quick, config.seed),
    "regression": lambda folder, config: regression.run(folder, config.quick, config.seed),
    "tokens": lambda folder, config: tokens.run(folder, config.quick, config.seed, config.tokenizer),
}
"""The parts in the order of the page; each writes `NAME.md`, `NAME.json` and its pictures into a folder."""


def run(config: PresentationConfig, command: str) -> None:
    """Run the parts, and join the page after each of them, so that an interrupted study leaves what it finished.

    Args:
        config: what to run.
        command: the command line, for the page.

    Raises:
        InputError: there is no tokenizer in the folder of the part "tokens".
    """
    for name in config.parts:
        start = time.perf_counter()
        PARTS[name](config.output / FOLDER, config)
        record = {"command": command, "version": __version__, "seconds": time.perf_counter() - start}
        join_parts(config.output, list(PARTS), {name: record})
    if config.docs:
        publish(config.output, config.docs)


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    torch.set_num_threads(1)  # the tensors are small, and a second thread does not help
    config = parse(PresentationConfig, "studies.presentation")
    run(config, command_line("studies.presentation"))
    print(f"page: {config.output / PAGE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
