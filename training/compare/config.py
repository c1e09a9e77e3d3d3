"""The options of a comparison."""

from dataclasses import dataclass
from pathlib import Path

from weightgpt.errors import InputError
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
    """Name of the corpus on the page; the name of the run's corpus when left out."""
    set_size: int = 256
    """Shapes of each set."""
    num_sets: int = 1
    """Sets of each row; the metrics are means over them."""
    num_points: int = POINTS
    """Points on each surface."""
    emd: int = 64
    """Shapes of each set to compare by earth mover's distance too, which is slow; 0 for none."""
    temperature: float | None = None
    """Sampling temperature of the GPT; that of the run when left out."""

    def __post_init__(self) -> None:
        if self.set_size < 2 or self.num_sets < 1:
            raise InputError(
                f"{self.num_sets} sets of {self.set_size} shapes cannot be compared; give 1 set or more of 2 shapes or"
                " more."
            )
