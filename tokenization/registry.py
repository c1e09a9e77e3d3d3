"""The ways to learn a quantizer, by name: the only place that knows them by name.

A learner takes a `Corpus` and whether to show its progress, and gives a `Learned`. All of them end in a `Quantizer`, and
from there on nothing knows which it is.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tokenization import baselines
from tokenization import train_graph as learn_graph
from tokenization.baselines import bins, fsq, lloyd_max, vector_quantization
from tokenization.corpus import Corpus, TrainedQuantizer
from tokenization.train_codebook import CodebookConfig, learn
from tokenization.train_graph import GraphConfig
from weightgpt.errors import InputError
from weightgpt.fields.fitting import fit
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder

Learner = Callable[[Corpus, bool], TrainedQuantizer]

DEFAULT = "rvq-ae"


def loop(corpus: Corpus, progress: bool, config: CodebookConfig) -> TrainedQuantizer:
    """The codebook in the loop."""
    layout = ChunkLayout(corpus.fits.config, config.neurons_per_chunk)
    return learn(layout, corpus.fits, corpus.samples, config, progress=progress)


def graph(corpus: Corpus, progress: bool, config: CodebookConfig) -> TrainedQuantizer:
    """The codebook in the loop, and a graph encoder that reads fields fitted from random starts."""
    found = RVQAutoencoder.cast(loop(corpus, progress, config).quantizer)
    count = len(corpus.fits)
    rows = corpus.samples.select(slice(0, count))
    start = replace(corpus.fit, seed=corpus.seed + 1000)  # the shared initial field has the seed of the corpus
    fields = fit(corpus.fits.config, rows, start, progress="unconditioned fits" if progress else None).fields
    learned = learn_graph.learn(found.codebook, found.encoder, fields, rows, GraphConfig(), progress=progress)
    return TrainedQuantizer(learned.quantizer, learned.history)


def _silent(learner: Callable[[Corpus], TrainedQuantizer]) -> Learner:
    """A learner that is done in seconds and shows nothing."""
    return lambda corpus, progress: learner(corpus)


def learners(config: CodebookConfig) -> dict[str, Learner]:
    """Every learner with its own best settings; `config` are those of the codebook in the loop."""
    quick = {
        "bins": lambda corpus: bins(corpus, baselines.raw(corpus), 256),
        "lloyd-max": lambda corpus: lloyd_max(corpus, baselines.raw(corpus), 256),
        "delta-bins": lambda corpus: bins(corpus, baselines.difference(corpus), 256),
        "delta-lloyd-max": lambda corpus: lloyd_max(corpus, baselines.difference(corpus), 256),
        "scalar-vq": partial(vector_quantization, width=1, codes=256),
        "chunk-vq": partial(vector_quantization, width=4, codes=1024),
        "residual-vq": partial(vector_quantization, width=8, codes=1024, levels=3),
        "product-vq": partial(vector_quantization, width=4, codes=1024, groups=8),
        "fsq": partial(fsq, levels=(8, 5, 5, 5)),
    }
    tables = {name: _silent(learner) for name, learner in quick.items()}
    return {DEFAULT: partial(loop, config=config), **tables, "graph": partial(graph, config=config)}


def learner(name: str, config: CodebookConfig) -> Learner:
    """The learner of that name.

    Raises:
        InputError: there is none.
    """
    known = learners(config)
    if name not in known:
        raise InputError(f"there is no tokenizer {name!r}; choose one of {', '.join(known)}.")
    return known[name]


NAMES = tuple(learners(CodebookConfig()))


def has_latents(kind: str) -> bool:
    """Whether the codes of a tokenizer of that kind stand for latents, to which noise can be added.

    Raises:
        InputError: there is no such kind.
    """
    return _check_kind(kind) in (DEFAULT, "graph")


def encodes_without_fits(kind: str) -> bool:
    """Whether a tokenizer of that kind encodes a sampled shape without a plain fit of it.

    Raises:
        InputError: there is no such kind.
    """
    return _check_kind(kind) == DEFAULT


def _check_kind(kind: str) -> str:
    if kind not in NAMES:
        raise InputError(f"there is no tokenizer {kind!r}; choose one of {', '.join(NAMES)}.")
    return kind


def settings(drawn: bool) -> tuple[CodebookConfig, EncodeConfig]:
    """The loop's best settings, for built-in shapes drawn by the thousand or else for files.

    Of thousands of drawn shapes the encoder learns to see all. A few hundred files have latents of their own, smaller
    chunks and finer codes; every shape is then refined, at points near its own surface: held-out files lose their
    thinnest parts where the points are those of all shapes.
    """
    if drawn:
        return CodebookConfig(), EncodeConfig(steps=0)
    codebook = CodebookConfig(
        auto_decoding=True,
        neurons_per_chunk=8,
        latent_width=24,
        coefficients=32,
        trained_quantizers=9,
        codebook_size=512,
        steps=8000,
    )
    return codebook, EncodeConfig(steps=300, learning_rate=3e-2, surface_fraction=0.5)
