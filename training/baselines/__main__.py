"""Train a baseline on the corpus of a run: `python -m training.baselines --run RUN --baseline NAME --output DIR`.

The program writes the samples of the baseline to `fields.safetensors` and their cost to `cost.json`. If the folder has
both files, the program does not train again. It refuses a folder that was written with other settings.
"""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from training.baselines.field_sets import load_field_sets
from training.baselines.registry import find_baseline
from weightgpt._programs import cli_main, parse
from weightgpt.errors import InputError, check_at_least, check_positive, check_seed
from weightgpt.fields.storage import ShapeMetadata, save_fields
from weightgpt.io import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """Train a baseline on the corpus of a run of training.pipeline."""

    run: Path
    """Folder of the run."""
    baseline: str
    """Name of the baseline: regression-transformer, weight-diffusion, flow-matching or nef-gpt."""
    output: Path
    """Folder to write the samples and their cost to."""
    num_plain_fits: int = 0
    """Number of plain fits to learn from; 0 for the fields that the tokens of the run decode to."""
    budget_flops: float = 5e13
    """Floating-point operations of training."""
    num_samples: int = 256
    """Fields to generate."""
    seed: int = 0
    """Seed of the training and of the samples."""

    def __post_init__(self) -> None:
        find_baseline(self.baseline)
        check_seed(self)
        check_at_least(self, 1, "num_samples")
        check_at_least(self, 0, "num_plain_fits")
        check_positive(self, "budget_flops")


def train_baseline(config: BaselineConfig, progress: bool = False) -> None:
    """Train a baseline and write its samples and its cost, unless the output folder has them.

    Args:
        config: what to train, and where to write.
        progress: whether to show progress bars.

    Raises:
        InputError: the baseline is unknown, the run has no corpus, or the output folder has other settings.
    """
    train, settings = find_baseline(config.baseline), asdict(config) | {"run": str(config.run)}
    del settings["output"]
    if (config.output / "cost.json").is_file():
        cost = read_json(config.output / "cost.json")
        if differences := sorted(key for key, value in settings.items() if cost.get(key) != value):
            raise InputError(
                f"{config.output} holds another training ({', '.join(differences)} differ); choose another --output."
            )
        print(f"{config.baseline} is already trained: {config.output}", file=sys.stderr)
        return
    trained = train(load_field_sets(config.run, config.num_plain_fits), config.budget_flops, config.seed, progress)
    start = time.perf_counter()
    fields = trained.sample(config.num_samples, config.seed)
    seconds = time.perf_counter() - start
    labels = trained.draw_labels(config.num_samples, config.seed)
    names = [f"{config.baseline}-{i + 1:03d}" for i in range(config.num_samples)]
    metadata = ShapeMetadata.plain(names, labels, fields.config.in_features)
    save_fields(config.output / "fields.safetensors", fields, metadata)
    write_json(config.output / "cost.json", settings | trained.cost() | {"sample_seconds": seconds})


@cli_main
def main() -> None:
    """Read the options and train one baseline."""
    train_baseline(parse(BaselineConfig, "training.baselines"), progress=True)


if __name__ == "__main__":
    sys.exit(main())
