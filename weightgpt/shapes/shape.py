"""A shape: a name, a class, and a signed distance function (SDF) over the unit cube or square."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Sdf = Callable[[Tensor], Tensor]
"""Points (n, D) float32 in [-1, 1]^D to signed distances (n,) float32, positive outside and negative inside."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape in the unit cube or square.

    Examples:
        >>> import torch
        >>> ball = Shape(name="ball", label="none", sdf=lambda points: points.norm(dim=-1) - 0.5)
        >>> ball.sdf(torch.zeros(1, 3))
        tensor([-0.5000])
    """

    name: str
    """Name of the shape, unique in its corpus."""
    label: str
    """Name of its class; 'none' if unknown."""
    sdf: Sdf
    """Points (n, D) float32 in [-1, 1]^D to signed distances (n,) float32, positive outside."""
    dimension: int = 3
    """D, 2 for planar shapes and 3 for solids."""
    center: tuple[float, ...] = (0.0, 0.0, 0.0)
    """With `scale`: file units = unit coordinates * scale + center."""
    scale: float = 1.0
    """Length of one unit in the units of the file."""
    sides: tuple[float, ...] | None = None
    """Sides of the bounding box along each axis, in unit coordinates; None if unknown."""
    volume: float | None = None
    """Volume of the solid in file units cubed; None if unknown."""
    digest: str | None = None
    """Hash of the normalized geometry: equal for files of equal geometry; None if unknown."""
    notes: tuple[str, ...] = ()
    """What was repaired or dropped when the file was read, one sentence each."""
