"""Which settings of the GPT and of its sampling improve samples? `python -m studies.experiments`.

Each trial changes one setting of a base. It trains a GPT on the tokens of new built-in shapes, draws samples, and
compares the samples with true shapes.

Decisions:
- We do not use the true shapes of `training.compare` here, because settings are chosen by these figures.
- Three axes are those of scaling: training shapes, size of the GPT, quantizer levels. Fewer levels are the first levels
  of the same codebook, so they give fewer tokens and coarser shapes.
- A finished trial stays in `OUTPUT/trials`, in a file that is named after the settings, so the same command resumes.
  The base lies on every axis and is measured once.

Dimensions: N training sequences.
"""

import dataclasses
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from transformers.utils import logging

from studies.experiments.page import PAGE_FILE, REFERENCE, ROWS_FILE, Row, write_page
from studies.experiments.trials import (
    AXES,
    ExperimentInputs,
    Trial,
    check_axes,
    list_trials,
    measure_reference,
    measure_trial,
    prepare_inputs,
)
from weightgpt._programs import cached, cli_main, command_line, parse
from weightgpt.errors import check_at_least, check_seed
from weightgpt.io import read_json, write_json
from weightgpt.tokens.tokenizer import WeightTokenizer


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Change one setting of the GPT or of its sampling at a time, and measure the samples."""

    tokenizer: Path
    """Folder of a model or a tokenizer."""
    output: Path = Path("runs/experiments")
    """Folder of the figures, the page, the plot, the GPTs and the trials; several commands may share it."""
    axes: tuple[str, ...] = tuple(AXES)
    """Settings to change, one after another."""
    num_samples: int = 256
    """Samples of each trial, and true shapes that they are compared with."""
    seed: int = 0
    """Seed of the training shapes, of the GPTs and of the samples."""
    base: Annotated[Trial, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Trial)
    """The settings that do not change."""

    def __post_init__(self) -> None:
        check_seed(self)
        check_at_least(self, 2, "num_samples")
        check_axes(self.axes)


def run_study(config: ExperimentConfig, command: str) -> list[Row]:
    """Measure every trial that has no figures yet, and write the page after each trial.

    Args:
        config: the base and the axes.
        command: the command line, for the page.

    Returns:
        The rows of `experiments.json`: those of this command, and those of earlier commands with the same tokenizer.

    Raises:
        InputError: the tokenizer cannot be used.
    """
    tokenizer = WeightTokenizer.from_pretrained(config.tokenizer)
    trials = list_trials(config.base, config.axes, tokenizer.quantizer.num_quantizers)
    num_train = max(trial.num_shapes for _, trial in trials)
    inputs = prepare_inputs(tokenizer, num_train, config.num_samples, config.seed, config.output)
    rows = [row for row in read_rows(config.output) if row["fingerprint"] == inputs.fingerprint]
    for axis, trial in [(REFERENCE, None), *trials]:
        row = {**inputs.settings, "axis": axis, **load_or_measure(inputs, trial, config.output), "command": command}
        rows = [*(old for old in rows if identity(old) != identity(row)), row]
        write_json(config.output / ROWS_FILE, {"base": asdict(config.base), "rows": rows})
        write_page(config.output)
    return rows


def load_or_measure(inputs: ExperimentInputs, trial: Trial | None, output: Path) -> Row:
    """Measure a trial, or read the figures of an earlier call with equal settings.

    Args:
        inputs: what all trials share.
        trial: the trial; None for other true shapes.
        output: folder of the trials.

    Returns:
        The settings of the trial and its figures.
    """

    def measure_row() -> dict[str, Any]:
        print(f"measuring {trial or REFERENCE}", file=sys.stderr)
        return measure_reference(inputs) if trial is None else measure_trial(inputs, trial)

    settings = {**inputs.settings, "trial": trial and asdict(trial)}
    figures: Row = cached(output / "trials", settings, measure_row, name="trial" if trial else REFERENCE)
    return {**(asdict(trial) if trial else {}), **figures}


def read_rows(output: Path) -> list[Row]:
    """The rows in a folder; none if it has no `experiments.json`.

    Args:
        output: the folder.
    """
    path = output / ROWS_FILE
    rows: list[Row] = read_json(path)["rows"] if path.is_file() else []
    return rows


def identity(row: Row) -> list[Any]:
    """Values that are equal for two rows of the same measurement.

    Args:
        row: a row of `experiments.json`.
    """
    names = ["fingerprint", "seed", "count", "axis", *(field.name for field in dataclasses.fields(Trial))]
    return [row.get(name) for name in names]


@cli_main
def main() -> None:
    """Read the command line and run the study."""
    torch.set_num_threads(1)  # small tensors are as fast on one thread as on two
    logging.set_verbosity_error()
    config = parse(ExperimentConfig, "studies.experiments")
    run_study(config, command_line("studies.experiments"))
    print(f"page: {config.output / PAGE_FILE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
