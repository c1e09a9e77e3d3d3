"""What a quantizer is learned from, and what learning leaves.

Dimensions: N shapes, F fits, M points, P parameters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import Quantizer
from weightgpt.shapes.sampling import Samples


@dataclass(frozen=True)
class Corpus:
    """Shapes to learn a quantizer from, as distances and as weights."""

    samples: Samples
    """N shapes at M shared points."""
    fits: Fields
    """Plain conditioned fits of the first F of them."""
    shared_init: Tensor
    """(P,) the field that the fits start from."""
    fit: FitConfig
    """How they were made."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not torch.isfinite(self.samples.sdf).all():
            rows = (~torch.isfinite(self.samples.sdf)).any(1).nonzero().flatten().tolist()
            raise InputError(f"shapes {rows[:5]} have NaN or infinite distances; leave them out.")
        if not 0 < len(self.fits) <= len(self.samples.sdf) or self.shared_init.shape != self.fits.flat.shape[1:]:
            raise InputError(
                f"{len(self.samples.sdf)} shapes, {len(self.fits)} fits and an initial field of {len(self.shared_init)}"
                " parameters make no corpus; give fits of the first shapes, made from that field."
            )


@dataclass(frozen=True)
class TrainedQuantizer:
    """A quantizer, and how its learning went."""

    quantizer: Quantizer
    history: list[tuple[int, float]]
    """(step, mean loss since the last entry); empty where there are no steps."""
