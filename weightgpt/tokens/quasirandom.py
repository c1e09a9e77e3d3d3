"""Drawing codes and classes so that the samples of one call differ as much as their distribution lets them.

Decisions:
- A code is drawn by a number in [0, 1): the first one up to which the probabilities add up to more. Independent
  numbers clump, and samples with them: some likely shapes come thrice and others not at all. The points of a scrambled
  Sobol sequence fill the unit cube evenly (Sobol 1967, Owen 1995); "Arithmetic Sampling" (Vilnis et al. 2023) does so
  for language models, with one number for a whole text. Here is a sequence for each class, and in each of its points a
  number for each code.
- Torch knows Sobol sequences of 21,201 dimensions at most; the numbers of codes after those are independent.
- Every point of it is uniform by itself, so a single sample has the model's own distribution still; only together they
  are no longer independent.
- Classes are drawn evenly too: multiples of the golden ratio, modulo 1, point into the sorted list of known ones.
- A sample depends on the seed, on the classes that are asked for and on how many of its own come before it; not on the
  batch, nor on how many follow.

Dimensions: B sequences, T codes of each, V tokens.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine
from transformers import LogitsProcessor

GOLDEN = (5**0.5 - 1) / 2


def sobol_uniforms(labels: list[str], codes: int, seed: int) -> Tensor:
    """(B, T) numbers in [0, 1) for B sequences of these classes and T `codes`; those of a class are spread evenly.

    Args:
        seed: any; torch scrambles by 32 bits, of which the lowest 16 of the seed are a half, and the class the other.
    """
    numbers, even = random_uniforms(labels, codes, seed), min(codes, SobolEngine.MAXDIM)
    for kind, label in enumerate(sorted(set(labels))):
        own = [i for i, other in enumerate(labels) if other == label]
        points = SobolEngine(even, scramble=True, seed=(seed % 2**16 << 16) + kind).draw(len(own))
        numbers[own, :even] = points.clamp(max=1 - torch.finfo(points.dtype).eps)
    return numbers


def random_uniforms(labels: list[str], codes: int, seed: int) -> Tensor:
    """(B, T) independent numbers in [0, 1) for B sequences and T `codes`."""
    return torch.rand(len(labels), codes, generator=torch.Generator().manual_seed(seed))


def stratified_labels(labels: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` classes, as often as they occur among `labels`, and so in every part of the list, as nearly as can be."""
    known, start = sorted(labels), random.Random(seed).random()
    return [known[int((start + i * GOLDEN) % 1 * len(known))] for i in range(count)]


class InverseCDFSampler(LogitsProcessor):
    """Leaves of the tokens at each position only the one that a given number draws."""

    def __init__(self, numbers: Tensor, start: int) -> None:
        """Numbers (B, T) in [0, 1), of which the first decides the token after the first `start`."""
        self.numbers, self.start = numbers, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) for the token after `input_ids` (B, n): 0 for the one that is drawn, minus infinity elsewhere.

        After the last number the likeliest token is taken.
        """
        place = input_ids.shape[1] - self.start
        if place < self.numbers.shape[1]:
            sums = scores.float().softmax(-1).cumsum(-1)
            number, total = self.numbers[:, place, None].to(scores.device), sums[:, -1:]
            # However the sums round, the last token that adds to them is the last that can be drawn.
            token = torch.minimum((sums <= number * total).sum(-1), (sums < total).sum(-1))
        else:
            token = scores.argmax(-1)
        return torch.full_like(scores, float("-inf")).scatter(-1, token[:, None], 0)
