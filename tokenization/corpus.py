"""What a quantizer is learned from, and what learning returns.

Dimensions: N shapes, F fits, M points, P parameters.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import Quantizer
from weightgpt.shapes.sampling import Samples

AnyQuantizer = TypeVar("AnyQuantizer", bound=Quantizer, covariant=True)


@dataclass(frozen=True)
class Corpus:
    """Shapes to learn a quantizer from, as signed distances and as weights.

    Raises:
        InputError: a distance is not finite, or fits, shapes and shared initialization do not belong together.
    """

    samples: Samples
    """N shapes at M shared points."""
    fits: Fields
    """Plain fits of the first F shapes; they start from `shared_init`."""
    shared_init: Tensor
    """(P,) weights that the fits start from."""
    fit: FitConfig
    """Settings of the fits."""
    seed: int = 0
    """Seed of everything that is learned from this corpus."""

    def __post_init__(self) -> None:
        if not torch.isfinite(self.samples.sdf).all():
            rows = (~torch.isfinite(self.samples.sdf)).any(1).nonzero().flatten().tolist()
            raise InputError(f"shapes {rows[:5]} have NaN or infinite distances; leave them out.")
        if not 0 < len(self.fits) <= len(self.samples.sdf) or self.shared_init.shape != self.fits.flat.shape[1:]:
            raise InputError(
                f"{len(self.samples.sdf)} shapes, {len(self.fits)} fits and an initial field of {len(self.shared_init)}"
                " parameters make no corpus; give fits of the first shapes that start from that field."
            )


@dataclass(frozen=True)
class TrainedQuantizer(Generic[AnyQuantizer]):
    """A quantizer and the course of its training."""

    quantizer: AnyQuantizer
    """The quantizer, ready to encode and decode."""
    history: list[tuple[int, float]]
    """(step, mean loss since the last entry); empty for a quantizer that is learned without gradient steps."""
