"""Tables from plain conditioned fits: bins, Lloyd-Max centers, and the vector quantizers of vector-quantize-pytorch.

Decisions:
- Every road ends in the same `Tables`; a road says what is coded (the normalization), how long vectors are, and how the
  code vectors are found. Nothing of the library is left in what is saved.
- Scalars are coded as they are, or as differences to the shared initial field; equal mass and Lloyd-Max then look at
  one distribution of all weights. Vectors are normalized by the mean and the deviation of each parameter.
- The library's quantizers start from k-means on many vectors and go on with moving averages (decay 0.95, codes that are
  hardly used replaced), without its learned affine maps, shared codebooks or cosines.
- FSQ (Mentzer et al. 2023) bounds its input by a tanh, which nothing here would learn to undo. So it is put on the
  scaled principal coordinates of short vectors, and each of its cells is read back as the mean of what fell into it,
  axis by axis. The frozen table then takes the nearest of those means, which is never further than the cell's own.

Dimensions: F fits, P parameters, n vectors, d numbers of a vector, G groups, Q levels, K codes of a level.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from vector_quantize_pytorch import FSQ, GroupedResidualVQ

from tokenization.corpus import Corpus, TrainedQuantizer
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.quantizers.weight_codebook import WeightCodebook, split_vectors
from weightgpt.quantizers.weight_vq import WeightVQ

LEAST = 0.05
"""Least deviation of a parameter, as a share of the deviation of all."""


@dataclass(frozen=True)
class Normal:
    """What is coded: (weight - center) / scale."""

    center: Tensor
    """(P,)."""
    scale: Tensor
    """(P,)."""

    def __call__(self, fits: Fields) -> Tensor:
        """(F, P) normalized weights."""
        return (fits.flat - self.center) / self.scale


def raw(corpus: Corpus) -> Normal:
    """Weights as they are, up to one shift and one scale for all."""
    flat = corpus.fits.flat
    return Normal(flat.mean().expand(flat.shape[1]).clone(), flat.std().expand(flat.shape[1]).clone())


def difference(corpus: Corpus) -> Normal:
    """What a fit changed of the shared initial field, up to one scale for all."""
    deviation = (corpus.fits.flat - corpus.shared_init).std()
    return Normal(corpus.shared_init, deviation.expand(len(corpus.shared_init)).clone())


def conditioned(corpus: Corpus) -> Normal:
    """Weights by the mean and the deviation of each parameter over the fits."""
    if len(corpus.fits) < 2:
        raise InputError("one fit has no deviation; learn from two shapes or more.")
    change = corpus.fits.flat - corpus.fits.flat.mean(0)
    deviation = change.square().mean(0).sqrt()
    return Normal(corpus.fits.flat.mean(0), deviation.clamp(min=LEAST * float(change.square().mean().sqrt())))


def bins(corpus: Corpus, normal: Normal, codes: int) -> TrainedQuantizer:
    """`codes` = K bins of equal mass over all weights, each read back as the mean of what fell into it."""
    values = _enough(normal(corpus.fits).flatten(), codes).sort().values
    edges = torch.linspace(0, len(values), codes + 1).round().long()
    return _frozen(corpus, normal, _means(values, edges)[None, None, :, None])


def lloyd_max(corpus: Corpus, normal: Normal, codes: int, rounds: int = 200) -> TrainedQuantizer:
    """The K centers of least squared error (Lloyd 1982, Max 1960), found from bins of equal mass."""
    values = _enough(normal(corpus.fits).flatten(), codes).sort().values
    centers = _means(values, torch.linspace(0, len(values), codes + 1).round().long())
    for _ in range(rounds):
        inner = torch.searchsorted(values, (centers[1:] + centers[:-1]) / 2)
        edges = torch.cat([inner.new_zeros(1), inner, inner.new_tensor([len(values)])])
        moved = torch.where(edges[1:] > edges[:-1], _means(values, edges), centers)
        if torch.equal(moved, centers):
            break
        centers = moved
    return _frozen(corpus, normal, centers[None, None, :, None])


def vector_quantization(corpus: Corpus, width: int, codes: int, levels: int = 1, groups: int = 1) -> TrainedQuantizer:
    """Tables of the library: `levels` > 1 is residual quantization, `groups` > 1 product quantization."""
    normal = conditioned(corpus)
    vectors = split_vectors(normal(corpus.fits), width)
    torch.manual_seed(corpus.seed)
    module = library_quantizer(width, codes, levels, groups)
    parts = [_enough(_shuffled(vectors[:, i::groups].flatten(0, 1)), codes) for i in range(groups)]
    count = min(len(part) for part in parts)
    rows = torch.cat([part[:count] for part in parts], 1)
    return _frozen(corpus, normal, tables_of(trained(module, rows, 16 * codes)))


def library_quantizer(width: int, codes: int, levels: int, groups: int) -> GroupedResidualVQ:
    """The library's quantizer of G vectors of d numbers side by side, each with Q tables of K codes of its own."""
    return GroupedResidualVQ(
        dim=width * groups,
        groups=groups,
        num_quantizers=levels,
        codebook_size=codes,
        kmeans_init=True,
        kmeans_iters=10,
        decay=0.95,
        threshold_ema_dead_code=2,
        commitment_weight=0.0,
        rotation_trick=False,
    )


@torch.no_grad()
def trained(
    module: GroupedResidualVQ, rows: Tensor, first: int, batch: int = 4096, passes: int = 2
) -> GroupedResidualVQ:
    """k-means on the `first` rows (n, G·d), then moving averages over all of them, twice or so."""
    module.train()
    module(rows[None, :first])
    for _ in range(passes):
        for part in rows[torch.randperm(len(rows))].split(batch):
            if len(part) == min(batch, len(rows)):  # a short rest would weigh as much as a whole batch
                module(part[None])
    return module.eval()


def tables_of(module: GroupedResidualVQ) -> Tensor:
    """Code vectors (G, Q, K, d) of the library's quantizer."""
    return torch.stack([torch.stack([layer._codebook.embed[0] for layer in vq.layers]) for vq in module.rvqs])


def fsq(corpus: Corpus, levels: tuple[int, ...], spread: float = 1.0) -> TrainedQuantizer:
    """Finite scalar quantization of the principal coordinates of short vectors.

    Args:
        levels: cells along each coordinate, the widest coordinate first; d of them, K is their product.
        spread: deviation that each coordinate is scaled to before the tanh.
    """
    normal, codes = conditioned(corpus), math.prod(levels)
    torch.manual_seed(corpus.seed)
    vectors = _enough(_shuffled(split_vectors(normal(corpus.fits), len(levels)).flatten(0, 1)), codes)
    center, axes = principal(vectors)
    coordinates = (vectors - center) @ axes.T / axes.square().sum(1) * spread
    module = FSQ(levels=list(levels))
    cells = module(coordinates[None])[1][0].long()
    means = _read_back(coordinates, cells, levels) / spread
    return _frozen(corpus, normal, (means @ axes + center)[None, None])


def principal(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and principal axes (d, d) of vectors (n, d), the longest first, each as long as its deviation."""
    center = vectors.mean(0)
    _, deviation, axes = torch.linalg.svd(vectors - center, full_matrices=False)
    axes = axes * torch.where(axes.sum(1, keepdim=True) < 0, -1.0, 1.0)  # whose signs are otherwise arbitrary
    return center, axes * deviation[:, None] / math.sqrt(len(vectors))


def _read_back(coordinates: Tensor, cells: Tensor, levels: tuple[int, ...]) -> Tensor:
    """(K, d) what each cell stands for: along each axis the mean of the coordinates (n, d) in its interval."""
    places, axes = [], []
    for axis, count in enumerate(levels):
        place = cells // math.prod(levels[:axis]) % count
        total = torch.zeros(count).index_add_(0, place, coordinates[:, axis])
        number = torch.bincount(place, minlength=count)
        # An empty interval takes the mean of all: a code that occurs nowhere still decodes to something likely.
        axes.append(torch.where(number > 0, total / number.clamp(min=1), coordinates[:, axis].mean()))
    for code in range(math.prod(levels)):
        places.append([code // math.prod(levels[:axis]) % count for axis, count in enumerate(levels)])
    index = torch.tensor(places)
    return torch.stack([values[index[:, axis]] for axis, values in enumerate(axes)], 1)


def _frozen(corpus: Corpus, normal: Normal, vectors: Tensor) -> TrainedQuantizer:
    tables = WeightCodebook(corpus.fits.config, normal.center, normal.scale, vectors.contiguous())
    return TrainedQuantizer(WeightVQ(tables, corpus.shared_init, corpus.samples.points, corpus.fit), [])


def _means(values: Tensor, edges: Tensor) -> Tensor:
    """(K,) means of sorted values (n,) between neighboring edges (K + 1,)."""
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), values.double().cumsum(0)])
    return ((sums[edges[1:]] - sums[edges[:-1]]) / (edges[1:] - edges[:-1]).clamp(min=1)).float()


def _shuffled(rows: Tensor, most: int = 131072) -> Tensor:
    """The rows in random order, at most so many of them."""
    return rows[torch.randperm(len(rows))[:most]]


def _enough(rows: Tensor, codes: int) -> Tensor:
    if len(rows) < codes:
        raise InputError(
            f"the fits give {len(rows)} vectors for {codes} codes; learn from more shapes or ask for fewer codes."
        )
    return rows
