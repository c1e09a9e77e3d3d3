"""Count the compositions that one core draws and evaluates in a second: `python -m benchmarks.drawing_speed`.

The figure has two parts, the seconds for drawing the parts and those for the signed distances. They are seconds of the
processor, so other programs on the machine hardly change them.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from weightgpt._programs import cli_main, parse
from weightgpt.errors import check_at_least, check_seed
from weightgpt.shapes.compositions.stream import lazy_compositions
from weightgpt.shapes.sampling import sample_sdf, uniform_points


@dataclass(frozen=True, kw_only=True)
class DrawingConfig:
    """How many shapes are drawn, and at how many points they are evaluated."""

    num_shapes: int = 1000
    """Shapes to draw."""
    num_points: int = 2048
    """Points of each shape."""
    seed: int = 0
    """Seed of the stream and of the points."""

    def __post_init__(self) -> None:
        check_seed(self)
        check_at_least(self, 1, "num_shapes", "num_points")


def measure_drawing(config: DrawingConfig) -> dict[str, Any]:
    """Draw compositions and evaluate their distances on one thread.

    Args:
        config: how many, and at how many points.
    """
    torch.set_num_threads(1)
    points = uniform_points(config.num_points, 3, config.seed)
    sample_sdf(lazy_compositions(0, 8, config.seed)[:], points)  # a warm-up
    shapes, draw_seconds = _timed(lazy_compositions(0, config.num_shapes, config.seed).__getitem__, slice(None))
    _, distance_seconds = _timed(lambda part: sample_sdf(part, points), shapes)
    return {
        "shapes": config.num_shapes,
        "points": config.num_points,
        "draw_seconds": round(draw_seconds, 3),
        "distance_seconds": round(distance_seconds, 3),
        "shapes_per_second": round(config.num_shapes / (draw_seconds + distance_seconds), 1),
    }


def _timed(function: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
    """What a function returns, and the seconds of the processor that it took."""
    start = time.process_time()
    result = function(argument)
    return result, time.process_time() - start


@cli_main
def main() -> None:
    """Measure and print the figures."""
    print(json.dumps(measure_drawing(parse(DrawingConfig, "benchmarks.drawing_speed")), indent=2))


if __name__ == "__main__":
    sys.exit(main())
