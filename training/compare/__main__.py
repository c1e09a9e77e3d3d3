"""Compare a run with references and baselines: `python -m training.compare --run RUN --baselines DIR --output DIR`.

The rows are described in `training.compare.rows`; the page is `evaluation.md` in the output folder.
"""

import sys

import torch

from training.compare.comparison import compare
from training.compare.config import CompareConfig
from weightgpt._programs import cli_main, command_line, parse


@cli_main
def main() -> None:
    """Read the options and compare."""
    config = parse(CompareConfig, "training.compare")
    torch.set_num_threads(1)  # small tensors are as fast on one thread as on two
    compare(config, command_line("training.compare"))


if __name__ == "__main__":
    sys.exit(main())
