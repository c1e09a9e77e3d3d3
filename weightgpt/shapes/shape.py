"""The Shape type: a name, a class and a signed distance function over the unit cube or square."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Sdf = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape in the unit cube or square."""

    name: str
    label: str
    """Its class, 'none' when unknown."""
    sdf: Sdf
    """Points (n, d) float32 in [-1, 1]^d to signed distances (n,) float32, positive outside."""
    dimension: int = 3
    center: tuple[float, ...] = (0.0, 0.0, 0.0)
    """With `scale`: file units = unit coordinates * scale + center."""
    scale: float = 1.0
    sides: tuple[float, ...] | None = None
    """Of the bounding box, along each axis in unit coordinates; None if unknown."""
