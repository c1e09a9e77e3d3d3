"""The presentation's experiments: `python -m studies.presentation --output runs/study`; see `docs/results/study.md`.

Parts run one by one, at different times if need be; the page is joined from all that lie in the output folder.
"""

import argparse
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch

from studies.digits import __main__ as digits
from studies.presentation import conditioning, permutation, regression, tokens
from studies.presentation.page import FOLDER, PAGE, join, publish
from weightgpt._programs import cli_main, command_line
from weightgpt.errors import InputError

PARTS: dict[str, Callable[[Path, Namespace], None]] = {
    "conditioning": lambda folder, given: conditioning.run(folder, given.quick, given.seed),
    "permutation": lambda folder, given: permutation.run(folder, given.quick, given.seed),
    "regression": lambda folder, given: regression.run(folder, given.quick, given.seed),
    "tokens": lambda folder, given: tokens.run(folder, given.quick, given.seed, given.tokenizer),
    "digits": lambda folder, given: digits.run(folder, given.quick, given.seed, given.images),
}
"""Each writes `NAME.md`, `NAME.json` and its pictures into a folder."""


def parse(arguments: list[str] | None = None) -> tuple[Namespace, list[str]]:
    """The options, and the names of the parts that are asked for.

    Raises:
        InputError: a part is unknown.
    """
    parser = argparse.ArgumentParser(prog="studies.presentation", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of study.md; more parts may be added to it")
    parser.add_argument("--parts", help="names with commas between them (default: all; digits only with --images)")
    parser.add_argument("--tokenizer", type=Path, default=Path("runs/demo/model"), help="of the part tokens: a bundle")
    parser.add_argument("--images", type=Path, help="of the part digits: a folder of idx files")
    parser.add_argument("--docs", type=Path, help="also copy the page and its pictures to this folder")
    parser.add_argument("--quick", action="store_true", help="small enough for a minute; figures that say little")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    possible = ",".join(name for name in PARTS if name != "digits" or given.images)
    names = [name for name in (given.parts or possible).split(",") if name]
    unknown = [repr(name) for name in names if name not in PARTS]
    if unknown:
        raise InputError(f"{unknown[0]} is no part of the study; choose among {', '.join(PARTS)}.")
    return given, names


def study(given: Namespace, names: list[str], command: str) -> None:
    """Run parts, and join the page after each, so that an interrupted study leaves what it finished."""
    for name in names:
        begun = time.perf_counter()
        PARTS[name](given.output / FOLDER, given)
        join(given.output, list(PARTS), {name: {"command": command, "seconds": time.perf_counter() - begun}})
    join(given.output, list(PARTS), {})
    if given.docs:
        publish(given.output, given.docs)


@cli_main
def main() -> None:
    """Run."""
    torch.set_num_threads(1)  # small tensors are as fast on one thread as on two
    given, names = parse()
    study(given, names, command_line("studies.presentation"))
    print(f"page: {given.output / PAGE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
