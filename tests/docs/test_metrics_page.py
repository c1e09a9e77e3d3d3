"""Every key that the evaluator and a run write is on docs/metrics.md, once."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fakes import sphere_shape
from weightgpt.io import read_json
from weightgpt.metrics.evaluation import evaluate
from weightgpt.metrics.evaluator import SetEvaluator
from weightgpt.metrics.shape_set import mesh_shapes

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NAMES_BELOW = {"by_class": "class", "seconds": "stage", "shapes": "split", "nearest_train_quantiles": "set"}
"""Keys whose values have names below them that are no keys of metrics."""


def listed_keys() -> Counter[str]:
    """The keys in the first columns of the tables of metrics, without the table of files."""
    text = PAGE.read_text(encoding="utf-8").partition("## Sets of shapes")[2]
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return Counter(key for cell in cells for key in re.findall(r"`(\w+)`", cell))


def written_keys(values: dict[str, Any]) -> Iterator[str]:
    """All keys of nested values, without names of classes, stages, splits and sets."""
    for key, value in values.items():
        yield key
        if isinstance(value, dict):
            for name, below in value.items():
                if key not in NAMES_BELOW:
                    yield from written_keys({name: below})
                elif isinstance(below, dict):
                    yield from written_keys(below)


def test_every_key_of_a_run_is_listed(finished: Path):
    assert set(written_keys(read_json(finished / "metrics.json"))) - set(listed_keys()) == set()


def test_every_key_of_an_evaluation_is_listed():
    shapes = [sphere_shape(radius) for radius in (0.4, 0.6)]
    rows = evaluate(shapes, train=shapes, held_out=shapes, resolution=16, points=32, emd=2).rows
    meshed = mesh_shapes([shape.sdf for shape in shapes], seed=0, resolution=16)
    row = SetEvaluator(held_out=meshed).evaluate(meshed).to_row(per_shape_values=True)
    weights = {"nearest_weights": 0.0, "nearest_weights_held_out": 0.0}
    keys = set(written_keys(rows["samples"])) | set(row) | set(weights)
    assert keys - set(listed_keys()) == set()


def test_no_key_is_listed_twice():
    assert [key for key, count in listed_keys().items() if count > 1] == []
