"""Every tokenizer of the registry is learned, encodes, serves a GPT, decodes, and is saved and loaded."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from tests.fakes import box_shape, fitted_sphere, generator, sphere_shape, tiny_config, tiny_corpus
from tokenization.corpus import Corpus
from tokenization.presets import TokenizerConfig
from tokenization.registry import (
    LEARNERS,
    NAMES,
    find_learner,
    learn_quantizer,
    relevant_settings,
)
from tokenization.train_codebook import CodebookConfig
from tokenization.train_graph import GraphConfig
from tokenization.train_local import LocalConfig
from training.pretrain import PretrainConfig, new_model
from weightgpt.errors import InputError
from weightgpt.fields.field import Field, Fields
from weightgpt.model import FILES, WeightGPT
from weightgpt.quantizers.auto import QUANTIZERS, AutoQuantizer
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.grid_encoder import grid_probes
from weightgpt.shapes.sampling import sample_sdf
from weightgpt.tokens.tokenizer import WeightTokenizer

CODEBOOK = CodebookConfig(
    neurons_per_chunk=6,
    latent_width=3,
    coefficients=3,
    latent_decoder_width=8,
    num_quantizers=2,
    codebook_size=16,
    num_probes=64,
    steps=12,
    batch_size=8,
    points_per_step=64,
)
GRAPH = GraphConfig(steps=4, width=8, batch_size=8, points_per_step=64, num_traces=16)
NUM_SHAPES = 352
"""The largest group of vectors then has more vectors than codes."""
LOCAL = LocalConfig(
    latent_width=3, num_quantizers=2, codebook_size=16, width=32, layers=1, steps=12, batch_size=8, points_per_step=64
)
ENCODE = EncodeConfig(steps=2, points_per_step=64, num_points=256)


@pytest.fixture(scope="module")
def learned() -> dict[str, Quantizer]:
    """A quantizer of every learner."""
    configs = [TokenizerConfig(kind=name, codebook=CODEBOOK, local=LOCAL, graph=GRAPH) for name in NAMES]
    return {config.kind: learn_quantizer(corpus_of(config.kind), config).quantizer for config in configs}


@cache
def corpus_of(name: str) -> Corpus:
    """The tiny corpus; for local chunks, its fields have grids, and its first points are the probes of the encoder."""
    corpus = tiny_corpus(NUM_SHAPES)
    if name != "local":
        return corpus
    field = replace(tiny_config(), grids=(1, 2))
    shapes = [sphere_shape(0.4 + 0.4 * i / NUM_SHAPES) for i in range(NUM_SHAPES)]
    samples = sample_sdf(shapes, torch.cat([grid_probes(field), corpus.samples.points]))
    init = Field(field).flat().detach()
    return Corpus(samples, Fields(field, init[None]), init, corpus.fit)


@pytest.mark.parametrize("name", NAMES)
def test_any_tokenizer_serves_a_gpt_and_is_saved_and_loaded(learned, name, tmp_path):
    quantizer, corpus = learned[name], corpus_of(name)
    tokenizer = WeightTokenizer.create(quantizer, ["ball", "box"])
    codes = quantizer.encode_samples(corpus.samples.select(slice(0, 4)), ENCODE)
    assert codes.shape == (4, quantizer.num_chunks, quantizer.num_quantizers)
    assert quantizer.tokens_per_field == quantizer.num_chunks * quantizer.num_quantizers
    ids = tokenizer.vocabulary.ids(codes, ["ball", "box", "ball", "none"])
    assert torch.equal(tokenizer.decode(ids).flat, quantizer.decode(codes).flat)
    model = WeightGPT(new_model(tokenizer, PretrainConfig(model_size="nano")).eval(), tokenizer)
    samples = model.generate(2, seed=1)
    assert torch.isfinite(samples.fields.flat).all()
    model.save_pretrained(tmp_path)
    assert all((tmp_path / file).is_file() for file in FILES)
    again = WeightGPT.from_pretrained(tmp_path)
    assert type(again.tokenizer.quantizer) is type(quantizer)
    assert again.tokenizer.quantizer.fingerprint == quantizer.fingerprint
    assert torch.equal(again.generate(2, seed=1).ids, samples.ids)
    shapes = [sphere_shape(0.5, label="ball"), box_shape(label="box")]
    first, second = (one.tokenizer(shapes, encode=ENCODE)["input_ids"] for one in (model, again))
    assert torch.equal(first, second)
    assert again.tokenizer.class_names(first) == ["ball", "box"]


@pytest.mark.parametrize("name", NAMES)
def test_every_quantizer_decodes_all_codes_and_refuses_other_fields(learned, name):
    quantizer = learned[name]
    assert QUANTIZERS[quantizer.FORMAT] is type(quantizer)
    assert quantizer.field_config == corpus_of(name).fits.config
    assert quantizer.shared_init.shape == (quantizer.field_config.parameters,)
    size = (3, quantizer.num_chunks, quantizer.num_quantizers)
    random_codes = torch.randint(quantizer.codebook_size, size, generator=generator(0))
    fields = quantizer.decode(random_codes)
    assert torch.isfinite(fields.flat).all()
    for levels in range(1, quantizer.num_quantizers + 1):
        assert torch.isfinite(quantizer.decode(random_codes, levels).flat).all()
    codes = quantizer.encode(fields, ENCODE)
    assert codes.shape == random_codes.shape
    assert 0 <= int(codes.min()) <= int(codes.max()) < quantizer.codebook_size
    with pytest.raises(InputError, match="learned for this architecture"):
        config = type(tiny_config())(hidden=(7,), num_frequencies=1)
        quantizer.encode(Fields(config, torch.zeros(1, config.parameters)), ENCODE)
    with pytest.raises(InputError, match="use codes that it wrote"):
        quantizer.decode(random_codes + quantizer.codebook_size)


@pytest.mark.parametrize("name", NAMES)
def test_a_quantizer_of_another_format_is_not_loaded_by_mistake(learned, name, tmp_path):
    learned[name].save_pretrained(tmp_path)
    assert type(AutoQuantizer.from_pretrained(tmp_path)) is type(learned[name])
    for kind in set(QUANTIZERS.values()) - {type(learned[name])}:
        with pytest.raises(InputError, match=rf"is not of format {kind.FORMAT}, version"):
            kind.from_pretrained(tmp_path)


def test_weight_vq_with_more_bits_has_a_smaller_error(learned):
    fits = tiny_corpus(NUM_SHAPES).fits
    names = [name for name in NAMES if not LEARNERS[name].has_latents]  # the others choose other weights
    error = {
        name: float((learned[name].decode(learned[name].encode(fits, ENCODE)).flat - fits.flat).square().mean())
        for name in names
    }
    bits = {name: learned[name].tokens_per_field * math.log2(learned[name].codebook_size) for name in names}
    assert error["lloyd-max"] < error["bins"]
    assert error["residual-vq"] < error["chunk-vq"]
    assert bits["chunk-vq"] < bits["residual-vq"] < bits["lloyd-max"]
    change = float((fits.flat - fitted_sphere()).square().mean())
    assert max(error.values()) < 0.5 * change


def test_an_unknown_name_is_refused():
    config = TokenizerConfig(kind="vq")
    for refused in (lambda: learn_quantizer(tiny_corpus(), config), lambda: relevant_settings(config)):
        with pytest.raises(InputError, match="no tokenizer 'vq'; choose one of rvq-ae, local, bins"):
            refused()


@pytest.mark.parametrize("name", ["scalar-vq", "rvq-ae", "graph"])
def test_settings_that_an_entry_does_not_name_leave_its_quantizer_unchanged(learned, name):
    others = {
        "codebook": replace(CODEBOOK, steps=3),
        "graph": replace(GRAPH, steps=1),
        "local": replace(LOCAL, steps=3),
        "encode": replace(ENCODE, steps=1),
    }
    config = TokenizerConfig(kind=name, codebook=CODEBOOK, graph=GRAPH)
    changes = {key: value for key, value in others.items() if key not in relevant_settings(config)}
    changed = learn_quantizer(tiny_corpus(NUM_SHAPES), replace(config, **changes)).quantizer
    assert changed.fingerprint == learned[name].fingerprint


@pytest.mark.parametrize("name", ["rvq-ae", "graph"])
def test_the_codebook_settings_reach_the_codebook(learned, name):
    config = TokenizerConfig(kind=name, codebook=replace(CODEBOOK, num_quantizers=3), graph=GRAPH)
    assert learn_quantizer(tiny_corpus(NUM_SHAPES), config).quantizer.num_quantizers == 3
    assert learned[name].num_quantizers == 2
    assert config.codebook in relevant_settings(config).values()


def test_the_graph_settings_reach_the_graph_encoder(learned):
    config = TokenizerConfig(kind="graph", codebook=CODEBOOK, graph=replace(GRAPH, width=4))
    sizes = [
        sum(value.numel() for value in quantizer.encoder.parameters())
        for quantizer in (learn_quantizer(tiny_corpus(NUM_SHAPES), config).quantizer, learned["graph"])
    ]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_says_what_the_learned_quantizer_can_do(learned, name):
    assert find_learner(name).has_latents == learned[name].has_latents
    assert find_learner(name).encodes_without_fits == (learned[name].probes is not None)
