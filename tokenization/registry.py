"""The ways to learn a quantizer, by name. Only this module and the presets use these names.

Every learner takes a `Corpus` and a `TokenizerConfig` and returns a `TrainedQuantizer`; all other code uses the
quantizer alone. Each entry names the settings that its learner reads, so that results are stored under these settings.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from tokenization import weight_vq_learners as weight_vq
from tokenization.corpus import Corpus, TrainedQuantizer
from tokenization.presets import TokenizerConfig
from tokenization.train_codebook import learn_codebook
from tokenization.train_graph import learn_graph_encoder
from tokenization.train_local import learn_local
from weightgpt.errors import InputError
from weightgpt.fields.fitting import fit
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.grid_encoder import grid_probes

RANDOM_INIT_SEED = 1000
"""Offset from the seed of the corpus to the seed of random-init fits, because the shared initialization uses the
seed of the corpus itself."""


@dataclass(frozen=True)
class Learner:
    """A way to learn a quantizer."""

    learn: Callable[[Corpus, TokenizerConfig, bool], TrainedQuantizer]
    """Learns from a corpus with settings; the last argument decides whether a progress bar is shown."""
    settings: tuple[str, ...] = ()
    """The fields of `TokenizerConfig` that change its quantizer or its codes, besides those that change the corpus."""
    has_latents: bool = False
    """Whether codes stand for latents, to which noise can be added."""
    encodes_without_fits: bool = False
    """Whether a sampled shape is encoded without a plain fit of it."""
    vectors: "VectorSizes | None" = None
    """What it learns from plain fits alone; None if it learns from latents."""
    num_chunks: Callable[[TokenizerConfig], int] | None = None
    """Chunks of a field whose latents share code vectors; None for a quantizer of plain weights. Sizes of the quantizer
    are then in the first of the `settings`."""
    probes: Callable[[TokenizerConfig], Tensor] | None = None
    """The points (m, D) that must be the first ones of the corpus; None where they may be any."""


@dataclass(frozen=True)
class VectorSizes:
    """What a learner of weight VQ makes of plain fits."""

    codes: int
    """K, which is also the least number of vectors of a group."""
    width: int = 1
    """d, weights of a vector."""
    groups: int = 1
    """G, groups of vectors that are learned one by one."""

    def per_fit(self, parameters: int) -> int:
        """Vectors of the smallest group that one plain fit gives.

        Args:
            parameters: P, weights of a field.
        """
        return -(-parameters // self.width) // self.groups


def _learn_autoencoder(corpus: Corpus, config: TokenizerConfig, progress: bool) -> TrainedQuantizer:
    """The RVQ autoencoder."""
    return learn_codebook(corpus, config.codebook, progress=progress)


def _learn_graph(corpus: Corpus, config: TokenizerConfig, progress: bool) -> TrainedQuantizer:
    """The RVQ autoencoder, and a graph encoder that reads random-init fits of the first shapes."""
    autoencoder = learn_codebook(corpus, config.codebook, progress=progress).quantizer
    samples = corpus.samples.select(slice(0, len(corpus.fits)))
    fit_config = replace(corpus.fit, seed=corpus.seed + RANDOM_INIT_SEED)
    fields = fit(corpus.fits.config, samples, fit_config, progress="random-init fits" if progress else None).fields
    return learn_graph_encoder(
        autoencoder.codebook,
        autoencoder.encoder,
        fields,
        samples,
        config.graph,
        seed=corpus.seed,
        progress=progress,
    )


def _num_neuron_chunks(config: TokenizerConfig) -> int:
    """Chunks of neurons of a field."""
    return ChunkLayout(config.field, config.codebook.neurons_per_chunk).num_chunks


def _weight_vq(learn: Callable[[Corpus], TrainedQuantizer], sizes: VectorSizes) -> Learner:
    """A learner that has no settings, takes seconds and shows no progress."""
    return Learner(lambda corpus, config, progress: learn(corpus), vectors=sizes)


def _scalars(learn: Callable[..., TrainedQuantizer], normalize: Callable[[Corpus], Any]) -> Learner:
    """A learner of 256 scalars."""
    return _weight_vq(lambda corpus: learn(corpus, normalize(corpus), 256), VectorSizes(256))


def _vectors(sizes: VectorSizes, num_quantizers: int = 1) -> Learner:
    """A learner of short vectors."""
    return _weight_vq(
        lambda corpus: weight_vq.learn_vector_quantizer(
            corpus, sizes.width, sizes.codes, num_quantizers=num_quantizers, groups=sizes.groups
        ),
        sizes,
    )


LEARNERS = {
    "rvq-ae": Learner(
        _learn_autoencoder,
        ("codebook", "encode"),
        has_latents=True,
        encodes_without_fits=True,
        num_chunks=_num_neuron_chunks,
    ),
    "local": Learner(
        lambda corpus, config, progress: learn_local(corpus, config.local, progress=progress),
        ("local", "encode"),
        has_latents=True,
        encodes_without_fits=True,
        num_chunks=lambda config: config.field.num_nodes,
        probes=lambda config: grid_probes(config.field),
    ),
    "bins": _scalars(weight_vq.learn_bins, weight_vq.normalize_globally),
    "lloyd-max": _scalars(weight_vq.learn_lloyd_max, weight_vq.normalize_globally),
    "delta-bins": _scalars(weight_vq.learn_bins, weight_vq.normalize_difference),
    "delta-lloyd-max": _scalars(weight_vq.learn_lloyd_max, weight_vq.normalize_difference),
    "scalar-vq": _vectors(VectorSizes(256)),
    "chunk-vq": _vectors(VectorSizes(1024, width=4)),
    "residual-vq": _vectors(VectorSizes(1024, width=8), num_quantizers=3),
    "product-vq": _vectors(VectorSizes(1024, width=4, groups=8)),
    "fsq": _weight_vq(lambda corpus: weight_vq.learn_fsq(corpus, (8, 5, 5, 5)), VectorSizes(1000, width=4)),
    "graph": Learner(_learn_graph, ("codebook", "graph"), has_latents=True, num_chunks=_num_neuron_chunks),
}
"""The learners by name: the RVQ autoencoder, the autoencoder of local chunks, weight VQ of plain fits, and the graph
encoder."""

NAMES = tuple(LEARNERS)
"""The names of the learners, values of `TokenizerConfig.kind`."""


def find_learner(name: str) -> Learner:
    """The learner of that name.

    Args:
        name: one of `NAMES`.

    Raises:
        InputError: there is no such learner.
    """
    if name not in LEARNERS:
        raise InputError(f"there is no tokenizer {name!r}; choose one of {', '.join(NAMES)}.")
    return LEARNERS[name]


def learn_quantizer(corpus: Corpus, config: TokenizerConfig, *, progress: bool = False) -> TrainedQuantizer:
    """Learn the quantizer of `config.kind`.

    Args:
        corpus: the shapes and plain fits to learn from; its seed decides all random numbers.
        config: the settings.
        progress: whether to show progress bars.

    Raises:
        InputError: the kind is unknown, or the corpus is too small for it.
    """
    return find_learner(config.kind).learn(corpus, config, progress)


def relevant_settings(config: TokenizerConfig) -> dict[str, Any]:
    """The settings that the quantizer of `config.kind` depends on, besides those of its corpus.

    Args:
        config: the settings.

    Raises:
        InputError: the kind is unknown.
    """
    return {name: getattr(config, name) for name in find_learner(config.kind).settings}


def probes(config: TokenizerConfig) -> Tensor | None:
    """The points (m, D) that must be the first ones of a corpus of `config`; None where they may be any.

    Args:
        config: the settings.

    Raises:
        InputError: the kind is unknown.
    """
    find = find_learner(config.kind).probes
    return None if find is None else find(config)
