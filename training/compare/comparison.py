"""Measure the rows of a comparison that are missing, and write the page.

Decisions:
- One set of samples does not show which of two similar models is better. With `num_sets` each row has several sets, and
  there are as many sets of held-out shapes of the built-in families. There are no further files, so all sets are
  compared with the same held-out files.
- A row is written as soon as it is measured, so that the same command continues after an interruption. A row contains
  the fingerprint of the codebook, and rows of our samples also that of the GPT, because two machines that round
  differently learn different models from the same configuration.
"""

from pathlib import Path
from typing import Any

import weightgpt
from training.compare.config import CompareConfig
from training.compare.page import write_page
from training.compare.pictures import draw_samples, plot_losses
from training.compare.reference_sets import ReferenceSets, load_reference_sets
from training.compare.rows import RowSource, row_sources
from weightgpt.io import read_json, write_json
from weightgpt.metrics.evaluator import EMPTY_METRICS


def compare(config: CompareConfig, command: str) -> None:
    """Measure the rows that are missing, and write the page after each row.

    Args:
        config: what to compare, and where to write.
        command: the command line, for the page.

    Raises:
        InputError: the run is not finished, a baseline has no samples, or the sets are too small.
    """
    sets = load_reference_sets(config)
    corpus = config.corpus_name or Path(sets.config.corpus).name
    for source in row_sources(config.baselines):
        path, settings = config.output / corpus / f"{source.name}.json", row_settings(sets, source, corpus)
        if not _is_measured(path, settings):
            values = measure_row(sets, source, path.with_suffix(".png"))
            write_json(path, {**settings, **values, "version": weightgpt.__version__, "command": command})
            write_page(config.output)
    write_page(config.output)


def row_settings(sets: ReferenceSets, source: RowSource, corpus: str) -> dict[str, Any]:
    """What a row was measured with; a row with other settings is measured again.

    Args:
        sets: the run.
        source: the row.
        corpus: name of the corpus.
    """
    num_shapes = sets.num_training if source.uses_training_shapes else sets.num_samples
    return {
        "corpus": corpus,
        "row": source.name,
        "run": str(sets.options.run),
        "codebook": sets.model.tokenizer.quantizer.fingerprint,
        "set_size": sets.set_size,
        "num_sets": num_shapes // sets.set_size,
        "num_points": sets.options.num_points,
        "emd": sets.options.emd,
        **source.settings(sets),
    }


def measure_row(sets: ReferenceSets, source: RowSource, picture: Path) -> dict[str, Any]:
    """Get the shapes of a row, draw its picture, and return its details, cost and metrics.

    Args:
        sets: the run.
        source: the row.
        picture: the .png file.
    """
    samples = source.samples(sets)
    metrics = EMPTY_METRICS
    if samples.shapes is None:
        plot_losses(picture, samples.details["loss_curves"])
    else:
        truth = sets.training_shapes if source.is_copy else None
        metrics = sets.evaluator.evaluate(samples.shapes, truth=truth).to_row(per_shape_values=True)
        draw_samples(picture, samples.shapes)
    return {**samples.details, **source.cost(sets), **metrics, "held_out": len(sets.held_out)}


def _is_measured(path: Path, settings: dict[str, Any]) -> bool:
    """Whether the file holds a row with these settings."""
    if not path.is_file():
        return False
    row = read_json(path)
    return {**row, **settings} == row
