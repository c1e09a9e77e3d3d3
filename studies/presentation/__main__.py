"""Repeat the presentation's experiments: `python -m studies.presentation --output runs/study`.

The parts run one after another. A later run can add or repeat single parts; the page joins all parts that lie in the
output folder. The published page is `docs/results/study.md`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from studies.presentation import conditioning, permutation, regression, tokens
from studies.presentation.page import FOLDER, PAGE, join_parts, publish
from weightgpt import __version__
from weightgpt._programs import cli_main, command_line, parse
from weightgpt.errors import check_seed
from weightgpt.tokens.tokenizer import WeightTokenizer


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
    """Folder of a model or a tokenizer, for the part "tokens"."""
    docs: Path | None = None
    """Copy the page and its pictures to this folder; None copies nothing."""
    quick: bool = False
    """Whether to run small versions of all parts in about a minute; their figures mean nothing."""
    seed: int = 0
    """Seed of the shapes, the fits and the transformers."""

    def __post_init__(self) -> None:
        check_seed(self)


PARTS: dict[str, Callable[[Path, bool, int], None]] = {
    "conditioning": conditioning.run_part,
    "permutation": permutation.run_part,
    "regression": regression.run_part,
}
"""The parts without a tokenizer; each writes `NAME.md`, `NAME.json` and its pictures into a folder."""
ORDER = (*PARTS, "tokens")
"""The order of the parts on the page."""


def run_study(config: PresentationConfig, command: str) -> None:
    """Run the parts, and join the page after each part, so that the results of an interrupted study can be read.

    Args:
        config: what to run.
        command: the command line, for the page.

    Raises:
        InputError: there is no tokenizer in the folder of the part "tokens".
    """
    parts = dict(PARTS)
    if "tokens" in config.parts:
        parts["tokens"] = partial(tokens.run_part, tokenizer=WeightTokenizer.from_pretrained(config.tokenizer))
    for name in config.parts:
        start = time.perf_counter()
        parts[name](config.output / FOLDER, config.quick, config.seed)
        record = {"command": command, "version": __version__, "seconds": time.perf_counter() - start}
        join_parts(config.output, ORDER, {name: record})
    if config.docs:
        publish(config.output, config.docs)


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    torch.set_num_threads(1)  # the tensors are small, and a second thread does not help
    config = parse(PresentationConfig, "studies.presentation")
    run_study(config, command_line("studies.presentation"))
    print(f"page: {config.output / PAGE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
