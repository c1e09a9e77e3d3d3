"""The options of a comparison."""

from dataclasses import dataclass
from pathlib import Path

from weightgpt.errors import InputError, check_at_least, check_positive
from weightgpt.metrics.shape_set import POINTS


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Compare the samples of a run with held-out shapes, with reference rows and with baselines."""

    run: Path
    """Folder of a finished run of training.pipeline."""
    output: Path
    """Folder of the page; several corpora may share it."""
    baselines: Path | None = None
    """Folder with one folder for each baseline that training.baselines trained."""
    corpus_name: str | None = None
    """Name of the corpus on the page; None for the name of the run's corpus."""
    set_size: int = 256
    """Shapes of each set."""
    num_sets: int = 1
    """Sets of each row; the metrics are means over them."""
    num_points: int = POINTS
    """Points on each surface."""
    emd: int = 64
    """Shapes of each set that are also compared by the earth mover's distance, which is slow; 0 for none."""
    temperature: float | None = None
    """Sampling temperature of the GPT; None for that of the run."""

    def __post_init__(self) -> None:
        check_at_least(self, 2, "set_size")
        check_at_least(self, 1, "num_sets", "num_points")
        check_positive(self, "temperature")
        if self.emd < 0 or self.emd == 1:
            raise InputError(f"emd is {self.emd}; give 0, or 2 shapes or more.")
