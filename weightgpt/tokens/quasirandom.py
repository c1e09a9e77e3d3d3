"""Quasi-random sampling: codes and classes that are spread evenly over the samples of one call.

Decisions:

- Codes are sampled by inverse CDF from a uniform number u in [0, 1). Independent uniforms leave gaps and clumps: some
  likely shapes occur three times and others not at all. The points of a scrambled Sobol sequence fill the unit cube
  evenly (Sobol 1967, Owen 1995). "Arithmetic Sampling" (Vilnis et al. 2023) applies the idea to language models with
  one number for a whole text. We use one Sobol sequence for each class; each of its points has one coordinate for each
  code of a field.
- Sobol sequences in torch have at most 21,201 dimensions. The uniforms of codes after those are independent.
- Each Sobol point alone is uniform, so one sample alone has exactly the distribution of the model. Only several samples
  together are no longer independent.
- Classes are drawn evenly as well: multiples of the golden ratio, modulo 1, index the sorted list of labels.
- A sample depends on the seed, on the set of requested classes, and on its number within its class. It does not depend
  on the batch size or on the samples after it.

Dimensions: B sequences, T codes of a field, V tokens of the vocabulary.
"""

import hashlib
import random
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.quasirandom import SobolEngine
from transformers import LogitsProcessor

GOLDEN_RATIO = (5**0.5 - 1) / 2


class UniformStream:
    """Draws the uniforms of sequences batch by batch; many batches together are the same as one.

    Args:
        labels: the classes of all sequences, repeated or not.
        codes_per_field: T.
        seed: a whole number of at least 0.
        quasi_random: whether the uniforms are spread evenly among the sequences of each class, or independent.

    Examples:
        >>> whole, parts = (UniformStream(["a", "b"], codes_per_field=3, seed=0) for _ in range(2))
        >>> torch.equal(whole.draw(["a", "b", "a"]), torch.cat([parts.draw(["a"]), parts.draw(["b", "a"])]))
        True
    """

    def __init__(self, labels: Collection[str], codes_per_field: int, seed: int, quasi_random: bool = True) -> None:
        self.codes_per_field, self._generator = codes_per_field, torch.Generator().manual_seed(seed)
        dimensions, classes = min(codes_per_field, SobolEngine.MAXDIM), sorted(set(labels)) if quasi_random else []
        self._engines = {
            label: SobolEngine(dimensions, scramble=True, seed=_scramble_seed(seed, index))
            for index, label in enumerate(classes)
        }

    def draw(self, labels: Sequence[str]) -> Float[Tensor, "B T"]:
        """Uniforms (B, T) in [0, 1) of the next sequences.

        Args:
            labels: the class of each of the B sequences.
        """
        uniforms = torch.rand(len(labels), self.codes_per_field, generator=self._generator)
        for class_label, engine in self._engines.items():
            rows = [row for row, label in enumerate(labels) if label == class_label]
            if rows:
                points = engine.draw(len(rows))
                uniforms[rows, : engine.dimension] = points.clamp(max=1 - torch.finfo(points.dtype).eps)
        return uniforms


def _scramble_seed(seed: int, class_index: int) -> int:
    """The 32 bits by which torch scrambles the sequence of a class.

    Below 65,536 the seed is the upper half and the index of the class the lower half, so that no two are equal, and so
    that these seeds keep the samples that they had before larger ones were told apart. Other seeds are hashed.
    """
    if seed < 2**16 and class_index < 2**16:
        return (seed << 16) + class_index
    return int.from_bytes(hashlib.sha256(f"{seed} {class_index}".encode()).digest()[:4])


def stratified_labels(labels: Sequence[str], count: int, seed: int) -> list[str]:
    """Return class labels with the frequencies of a corpus, in every part of the list as nearly as possible.

    Args:
        labels: labels of the corpus.
        count: number of labels to return.
        seed: of the offset into the sorted labels.
    """
    corpus, offset = sorted(labels), random.Random(seed).random()
    return [corpus[int((offset + i * GOLDEN_RATIO) % 1 * len(corpus))] for i in range(count)]


class InverseCDFSampler(LogitsProcessor):
    """Masks all tokens except the inverse-CDF sample for u, so that greedy decoding takes that token.

    Args:
        uniforms: (B, T) in [0, 1), the number u of each code.
        prompt_length: number of tokens before the first code.
    """

    def __init__(self, uniforms: Float[Tensor, "B T"], prompt_length: int) -> None:
        self.uniforms, self.prompt_length = uniforms, prompt_length

    def __call__(self, input_ids: Int[Tensor, "B n"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """Return scores (B, V): 0 for the sampled token and minus infinity for all others.

        The sampled token is the first one whose cumulative probability exceeds u. After the last of the T codes the
        likeliest token is taken.

        Args:
            input_ids: (B, n) tokens so far.
            scores: (B, V) logits of the next token.
        """
        position = input_ids.shape[1] - self.prompt_length
        if position < self.uniforms.shape[1]:
            cumulative = scores.float().softmax(-1).cumsum(-1)
            u, total = self.uniforms[:, position, None].to(scores.device), cumulative[:, -1:]
            # Rounding may leave the total below u; the last token with a probability is then the sample.
            token = torch.minimum((cumulative <= u * total).sum(-1), (cumulative < total).sum(-1))
        else:
            token = scores.argmax(-1)
        return torch.full_like(scores, float("-inf")).scatter(-1, token[:, None], 0)
