"""Every name of the registry goes the whole way: learnt, encoded, modelled, sampled, decoded, saved and loaded."""

import math

import pytest
import torch

from tests.fakes import box_shape, fitted_sphere, generator, sphere_shape, tiny_config, tiny_corpus
from tokenization.registry import DEFAULT, NAMES, learner, settings
from tokenization.train_codebook import CodebookConfig
from training.pretrain import PretrainConfig, new_model
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.model import FILES, Bundle, load_bundle
from weightgpt.quantizers.auto import KINDS, load_quantiser
from weightgpt.quantizers.base import EncodeConfig, Quantiser
from weightgpt.tokens.tokenizer import WeightTokenizer

TINY = CodebookConfig(
    neurons=6,
    latent_width=3,
    coefficients=3,
    mixer_width=8,
    levels=2,
    codes=16,
    probes=64,
    encoder_width=8,
    steps=12,
    shapes=8,
    points=64,
)
SHAPES = 352
QUICK = EncodeConfig(steps=2, points=64, schedule=256)


@pytest.fixture(scope="module")
def learnt() -> dict[str, Quantiser]:
    """Every tokenizer, from so many shapes that the largest group of tables has more vectors than codes."""
    corpus = tiny_corpus(SHAPES)
    return {name: learner(name, TINY)(corpus, False).quantiser for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_any_tokenizer_goes_through_gpt_and_bundle(learnt, name, tmp_path):
    quantiser, corpus = learnt[name], tiny_corpus(SHAPES)
    tokenizer = WeightTokenizer.create(quantiser, ["ball", "box"])
    codes = quantiser.encode_samples(corpus.samples.select(slice(0, 4)), QUICK)
    assert codes.shape == (4, quantiser.chunks, quantiser.levels)
    assert quantiser.tokens_per_field == quantiser.chunks * quantiser.levels
    ids = tokenizer.batch(codes, ["ball", "box", "ball", "none"])["input_ids"]
    assert torch.equal(tokenizer.decode(ids).flat, quantiser.decode(codes).flat)
    bundle = Bundle(new_model(tokenizer, PretrainConfig(preset="nano")).eval(), tokenizer)
    made = bundle.sample(2, seed=1)
    assert torch.isfinite(made.fields.flat).all()
    bundle.save_pretrained(tmp_path)
    assert all((tmp_path / file).is_file() for file in FILES)
    again = load_bundle(tmp_path)
    assert type(again.tokenizer.quantiser) is type(quantiser)
    assert again.tokenizer.quantiser.fingerprint == quantiser.fingerprint
    assert torch.equal(again.sample(2, seed=1).ids, made.ids)
    shapes = [sphere_shape(0.5, label="ball"), box_shape(label="box")]
    first, second = (one.tokenizer.encode_shapes(shapes, QUICK)["input_ids"] for one in (bundle, again))
    assert torch.equal(first, second)
    assert again.tokenizer.labels(first) == ["ball", "box"]


@pytest.mark.parametrize("name", NAMES)
def test_every_quantiser_keeps_the_contract(learnt, name):
    quantiser = learnt[name]
    assert KINDS[quantiser.FORMAT] is type(quantiser)
    assert quantiser.config == tiny_config()
    assert quantiser.initial.shape == (tiny_config().parameters,)
    draw = torch.randint(quantiser.size, (3, quantiser.chunks, quantiser.levels), generator=generator(0))
    fields = quantiser.decode(draw)
    assert torch.isfinite(fields.flat).all()
    for levels in range(1, quantiser.levels + 1):
        assert torch.isfinite(quantiser.decode(draw, levels).flat).all()
    codes = quantiser.encode(fields, QUICK)
    assert codes.shape == draw.shape
    assert 0 <= int(codes.min()) <= int(codes.max()) < quantiser.size
    with pytest.raises(InputError, match="learnt for this architecture"):
        config = type(tiny_config())(hidden=(7,), octaves=1)
        quantiser.encode(Fields(config, torch.zeros(1, config.parameters)), QUICK)
    with pytest.raises(InputError, match="use codes that it wrote"):
        quantiser.decode(draw + quantiser.size)


@pytest.mark.parametrize("name", NAMES)
def test_a_quantiser_of_another_format_is_not_loaded_by_mistake(learnt, name, tmp_path):
    learnt[name].save_pretrained(tmp_path)
    assert type(load_quantiser(tmp_path)) is type(learnt[name])
    for kind in set(KINDS.values()) - {type(learnt[name])}:
        with pytest.raises(InputError, match=r"is not (a codebook|of tables) of version"):
            kind.from_pretrained(tmp_path)


def test_scalars_and_residuals_are_the_nearer_the_more_bits_they_have(learnt):
    fits = tiny_corpus(SHAPES).fits
    error = {
        name: float((quantiser.decode(quantiser.encode(fits, QUICK)).flat - fits.flat).square().mean())
        for name, quantiser in learnt.items()
        if name not in (DEFAULT, "graph")  # these choose weights of their own
    }
    bits = {name: learnt[name].tokens_per_field * math.log2(learnt[name].size) for name in error}
    assert error["lloyd-max"] < error["bins"]
    assert error["residual-vq"] < error["chunk-vq"]
    assert bits["chunk-vq"] < bits["residual-vq"] < bits["lloyd-max"]
    spread = float((fits.flat - fitted_sphere()).square().mean())
    assert max(error.values()) < 0.5 * spread


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="no tokenizer 'vq'; choose one of loop, bins"):
        learner("vq", TINY)


def test_files_have_other_best_settings_than_drawn_shapes():
    assert settings(drawn=True)[0] == CodebookConfig()
    assert settings(drawn=False)[0].neurons < CodebookConfig.neurons
