"""Learn weight VQ: quantizers that code the weights of plain fits, as scalars or as short vectors.

All learners return a `WeightVQ`. They differ in the normalization of the weights, in the length of the coded
vectors, and in the way that code vectors are computed. What is saved needs no library.

Decisions:
- Scalars are normalized by one scale for all weights, and code either the weight or its difference to the shared
  initialization. Vectors are normalized by mean and standard deviation of each parameter.
- Vector quantizers are those of vector-quantize-pytorch. They start from k-means and continue with moving averages
  (decay 0.95); codes that are hardly used are replaced.
- FSQ (Mentzer et al. 2023) bounds its input by a tanh, and a network usually learns to invert it. Here there is no
  network. So we apply FSQ to scaled principal coordinates of short vectors and decode each cell to the mean of its
  vectors, axis by axis. The frozen quantizer takes the nearest of these means, which is never farther from a vector
  than the mean of the cell of that vector.
- Lloyd-Max is exact on sorted values. `scipy.cluster.vq.kmeans2` starts from random centers and stops after a fixed
  number of rounds, so its centers differ.

Dimensions: F fits, P parameters, n vectors, d vector length, G groups, Q quantizer levels, K codes of a level.
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

MIN_DEVIATION = 0.05
"""Least standard deviation of a parameter, as a share of the standard deviation of all parameters. Without it a
parameter that hardly varies would be magnified until its noise decides the codes."""
MAX_VECTORS = 131_072
"""Vectors that k-means and moving averages learn from; more vectors cost time and change little."""
BATCH_SIZE = 4096
"""Vectors of one update of the moving averages."""
PASSES = 2
"""Passes of the moving averages over all vectors."""


@dataclass(frozen=True)
class Normalization:
    """Weights are coded as (weight - center) / scale."""

    center: Tensor
    """(P,)."""
    scale: Tensor
    """(P,), positive."""

    def __call__(self, fits: Fields) -> Tensor:
        """Normalized weights (F, P)."""
        return (fits.flat - self.center) / self.scale


def normalize_globally(corpus: Corpus) -> Normalization:
    """Subtract the mean of all weights and divide by the standard deviation of all weights."""
    flat = corpus.fits.flat
    return Normalization(flat.mean().expand(flat.shape[1]).clone(), flat.std().expand(flat.shape[1]).clone())


def normalize_difference(corpus: Corpus) -> Normalization:
    """Subtract the shared initialization and divide by the standard deviation of all differences."""
    deviation = (corpus.fits.flat - corpus.shared_init).std()
    return Normalization(corpus.shared_init, deviation.expand(len(corpus.shared_init)).clone())


def normalize_per_parameter(corpus: Corpus) -> Normalization:
    """Subtract the mean of each parameter over the fits and divide by its standard deviation.

    Raises:
        InputError: there is only one fit.
    """
    if len(corpus.fits) < 2:
        raise InputError("one fit has no deviation; learn from two shapes or more.")
    change = corpus.fits.flat - corpus.fits.flat.mean(0)
    deviation = change.square().mean(0).sqrt()
    least = MIN_DEVIATION * float(change.square().mean().sqrt())
    return Normalization(corpus.fits.flat.mean(0), deviation.clamp(min=least))


def learn_bins(corpus: Corpus, normalization: Normalization, codebook_size: int) -> TrainedQuantizer[WeightVQ]:
    """Learn K bins that hold equally many weights; a bin is decoded to the mean of its weights.

    Args:
        corpus: the plain fits.
        normalization: what is coded.
        codebook_size: K.

    Raises:
        InputError: there are fewer weights than codes.
    """
    values = _check_count(normalization(corpus.fits).flatten(), codebook_size).sort().values
    edges = torch.linspace(0, len(values), codebook_size + 1).round().long()
    return _freeze(corpus, normalization, _means_between(values, edges)[None, None, :, None])


def learn_lloyd_max(
    corpus: Corpus, normalization: Normalization, codebook_size: int, max_rounds: int = 200
) -> TrainedQuantizer[WeightVQ]:
    """Learn the K values of least squared error (Lloyd 1982, Max 1960), starting from bins of equal counts.

    Args:
        corpus: the plain fits.
        normalization: what is coded.
        codebook_size: K.
        max_rounds: rounds after which the search stops; it stops earlier where no value moves.

    Raises:
        InputError: there are fewer weights than codes.
    """
    values = _check_count(normalization(corpus.fits).flatten(), codebook_size).sort().values
    centers = _means_between(values, torch.linspace(0, len(values), codebook_size + 1).round().long())
    for _ in range(max_rounds):
        inner = torch.searchsorted(values, (centers[1:] + centers[:-1]) / 2)
        edges = torch.cat([inner.new_zeros(1), inner, inner.new_tensor([len(values)])])
        new_centers = torch.where(edges[1:] > edges[:-1], _means_between(values, edges), centers)
        if torch.equal(new_centers, centers):
            break
        centers = new_centers
    return _freeze(corpus, normalization, centers[None, None, :, None])


def learn_vector_quantizer(
    corpus: Corpus, width: int, codebook_size: int, num_quantizers: int = 1, groups: int = 1
) -> TrainedQuantizer[WeightVQ]:
    """Learn a vector quantizer of the library.

    Args:
        corpus: the plain fits.
        width: d, neighboring weights of a vector; 1 codes scalars.
        codebook_size: K.
        num_quantizers: Q; above 1 this is residual quantization.
        groups: G; above 1 this is product quantization.

    Raises:
        InputError: there is only one fit, or there are fewer vectors of a group than codes.
    """
    normalization = normalize_per_parameter(corpus)
    vectors = split_vectors(normalization(corpus.fits), width)
    torch.manual_seed(corpus.seed)
    module = library_quantizer(width, codebook_size, num_quantizers, groups)
    parts = [_check_count(_shuffle(vectors[:, i::groups].flatten(0, 1)), codebook_size) for i in range(groups)]
    count = min(len(part) for part in parts)
    rows = torch.cat([part[:count] for part in parts], 1)
    return _freeze(corpus, normalization, code_vectors_of(train_library_quantizer(module, rows, 16 * codebook_size)))


def library_quantizer(width: int, codebook_size: int, num_quantizers: int, groups: int) -> GroupedResidualVQ:
    """The untrained quantizer of the library for G vectors of length d, each with Q separate levels of K codes."""
    return GroupedResidualVQ(
        dim=width * groups,
        groups=groups,
        num_quantizers=num_quantizers,
        codebook_size=codebook_size,
        kmeans_init=True,
        kmeans_iters=10,
        decay=0.95,
        threshold_ema_dead_code=2,
        commitment_weight=0.0,
        rotation_trick=False,
    )


@torch.no_grad()
def train_library_quantizer(
    module: GroupedResidualVQ, rows: Tensor, kmeans_rows: int, batch_size: int = BATCH_SIZE
) -> GroupedResidualVQ:
    """Run k-means on the first rows and moving averages over all rows.

    Args:
        module: the quantizer of the library; it is changed.
        rows: (n, G·d) vectors in random order.
        kmeans_rows: rows that k-means sees.
        batch_size: rows of one update of the moving averages.
    """
    module.train()
    module(rows[None, :kmeans_rows])
    for _ in range(PASSES):
        for part in rows[torch.randperm(len(rows))].split(batch_size):
            if len(part) == min(batch_size, len(rows)):  # a short last batch would weigh as much as a whole one
                module(part[None])
    return module.eval()


def code_vectors_of(module: GroupedResidualVQ) -> Tensor:
    """Code vectors (G, Q, K, d) of a quantizer of the library."""
    return torch.stack([torch.stack([layer._codebook.embed[0] for layer in vq.layers]) for vq in module.rvqs])


def learn_fsq(corpus: Corpus, levels: tuple[int, ...]) -> TrainedQuantizer[WeightVQ]:
    """Learn finite scalar quantization of the principal coordinates of short vectors.

    Args:
        corpus: the plain fits.
        levels: cells along each of the d coordinates, the coordinate of largest variance first; K is their product.

    Raises:
        InputError: there is only one fit, or there are fewer vectors than codes.
    """
    normalization, codebook_size = normalize_per_parameter(corpus), math.prod(levels)
    torch.manual_seed(corpus.seed)
    vectors = _check_count(
        _shuffle(split_vectors(normalization(corpus.fits), len(levels)).flatten(0, 1)), codebook_size
    )
    center, axes = principal_axes(vectors)
    coordinates = (vectors - center) @ axes.T / axes.square().sum(1)
    cells = FSQ(levels=list(levels))(coordinates[None])[1][0].long()
    means = _cell_means(coordinates, cells, levels)
    return _freeze(corpus, normalization, (means @ axes + center)[None, None])


def principal_axes(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and principal axes (d, d) of vectors (n, d), the longest first, each as long as its deviation."""
    center = vectors.mean(0)
    _, deviation, axes = torch.linalg.svd(vectors - center, full_matrices=False)
    axes = axes * torch.where(axes.sum(1, keepdim=True) < 0, -1.0, 1.0)  # the sign of an axis is arbitrary otherwise
    return center, axes * deviation[:, None] / math.sqrt(len(vectors))


def _cell_means(coordinates: Tensor, cells: Tensor, levels: tuple[int, ...]) -> Tensor:
    """(K, d) center of each cell: along each axis the mean of the coordinates (n, d) that lie in its interval."""
    axis_means = []
    for axis, count in enumerate(levels):
        interval = cells // math.prod(levels[:axis]) % count
        total = torch.zeros(count).index_add_(0, interval, coordinates[:, axis])
        number = torch.bincount(interval, minlength=count)
        # An empty interval takes the mean of all coordinates, so that each code decodes to likely weights.
        axis_means.append(torch.where(number > 0, total / number.clamp(min=1), coordinates[:, axis].mean()))
    codes = torch.arange(math.prod(levels))
    return torch.stack(
        [means[codes // math.prod(levels[:axis]) % levels[axis]] for axis, means in enumerate(axis_means)], 1
    )


def _freeze(corpus: Corpus, normalization: Normalization, code_vectors: Tensor) -> TrainedQuantizer[WeightVQ]:
    """The quantizer of code vectors (G, Q, K, d)."""
    codebook = WeightCodebook(corpus.fits.config, normalization.center, normalization.scale, code_vectors.contiguous())
    return TrainedQuantizer(WeightVQ(codebook, corpus.shared_init, corpus.samples.points, corpus.fit), [])


def _means_between(values: Tensor, edges: Tensor) -> Tensor:
    """(K,) means of sorted values (n,) between neighboring edges (K + 1,)."""
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), values.double().cumsum(0)])
    return ((sums[edges[1:]] - sums[edges[:-1]]) / (edges[1:] - edges[:-1]).clamp(min=1)).float()


def _shuffle(rows: Tensor) -> Tensor:
    """The rows in random order, at most `MAX_VECTORS` of them."""
    return rows[torch.randperm(len(rows))[:MAX_VECTORS]]


def _check_count(rows: Tensor, codebook_size: int) -> Tensor:
    """The rows themselves, if there are enough of them for the codes."""
    if len(rows) < codebook_size:
        raise InputError(
            f"the fits give {len(rows)} vectors for {codebook_size} codes; learn from more shapes or ask for fewer"
            " codes."
        )
    return rows
