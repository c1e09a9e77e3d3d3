"""Every name of the registry goes the whole way: learned, encoded, modeled, sampled, decoded, saved and loaded."""

import math

import pytest
import torch

from tests.fakes import box_shape, fitted_sphere, generator, sphere_shape, tiny_config, tiny_corpus
from tokenization.registry import DEFAULT, NAMES, learner, settings
from tokenization.train_codebook import CodebookConfig
from training.pretrain import PretrainConfig, new_model
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.model import FILES, WeightGPT
from weightgpt.quantizers.auto import QUANTIZERS, AutoQuantizer
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.tokens.tokenizer import WeightTokenizer

TINY = CodebookConfig(
    neurons_per_chunk=6,
    latent_width=3,
    coefficients=3,
    latent_decoder_width=8,
    trained_quantizers=2,
    codebook_size=16,
    num_probes=64,
    encoder_width=8,
    steps=12,
    batch_size=8,
    points_per_step=64,
)
SHAPES = 352
QUICK = EncodeConfig(steps=2, points_per_step=64, num_points=256)


@pytest.fixture(scope="module")
def learned() -> dict[str, Quantizer]:
    """Every tokenizer, from so many shapes that the largest group of tables has more vectors than codes."""
    corpus = tiny_corpus(SHAPES)
    return {name: learner(name, TINY)(corpus, False).quantizer for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_any_tokenizer_goes_through_gpt_and_bundle(learned, name, tmp_path):
    quantizer, corpus = learned[name], tiny_corpus(SHAPES)
    tokenizer = WeightTokenizer.create(quantizer, ["ball", "box"])
    codes = quantizer.encode_samples(corpus.samples.select(slice(0, 4)), QUICK)
    assert codes.shape == (4, quantizer.num_chunks, quantizer.num_quantizers)
    assert quantizer.tokens_per_field == quantizer.num_chunks * quantizer.num_quantizers
    ids = tokenizer.vocabulary.ids(codes, ["ball", "box", "ball", "none"])
    assert torch.equal(tokenizer.decode(ids).flat, quantizer.decode(codes).flat)
    bundle = WeightGPT(new_model(tokenizer, PretrainConfig(model_size="nano")).eval(), tokenizer)
    made = bundle.generate(2, seed=1)
    assert torch.isfinite(made.fields.flat).all()
    bundle.save_pretrained(tmp_path)
    assert all((tmp_path / file).is_file() for file in FILES)
    again = WeightGPT.from_pretrained(tmp_path)
    assert type(again.tokenizer.quantizer) is type(quantizer)
    assert again.tokenizer.quantizer.fingerprint == quantizer.fingerprint
    assert torch.equal(again.generate(2, seed=1).ids, made.ids)
    shapes = [sphere_shape(0.5, label="ball"), box_shape(label="box")]
    first, second = (one.tokenizer(shapes, encode=QUICK)["input_ids"] for one in (bundle, again))
    assert torch.equal(first, second)
    assert again.tokenizer.class_names(first) == ["ball", "box"]


@pytest.mark.parametrize("name", NAMES)
def test_every_quantizer_keeps_the_contract(learned, name):
    quantizer = learned[name]
    assert QUANTIZERS[quantizer.FORMAT] is type(quantizer)
    assert quantizer.field_config == tiny_config()
    assert quantizer.shared_init.shape == (tiny_config().parameters,)
    draw = torch.randint(
        quantizer.codebook_size, (3, quantizer.num_chunks, quantizer.num_quantizers), generator=generator(0)
    )
    fields = quantizer.decode(draw)
    assert torch.isfinite(fields.flat).all()
    for levels in range(1, quantizer.num_quantizers + 1):
        assert torch.isfinite(quantizer.decode(draw, levels).flat).all()
    codes = quantizer.encode(fields, QUICK)
    assert codes.shape == draw.shape
    assert 0 <= int(codes.min()) <= int(codes.max()) < quantizer.codebook_size
    with pytest.raises(InputError, match="learned for this architecture"):
        config = type(tiny_config())(hidden=(7,), num_frequencies=1)
        quantizer.encode(Fields(config, torch.zeros(1, config.parameters)), QUICK)
    with pytest.raises(InputError, match="use codes that it wrote"):
        quantizer.decode(draw + quantizer.codebook_size)


@pytest.mark.parametrize("name", NAMES)
def test_a_quantizer_of_another_format_is_not_loaded_by_mistake(learned, name, tmp_path):
    learned[name].save_pretrained(tmp_path)
    assert type(AutoQuantizer.from_pretrained(tmp_path)) is type(learned[name])
    for kind in set(QUANTIZERS.values()) - {type(learned[name])}:
        with pytest.raises(InputError, match=rf"is not of format {kind.FORMAT}, version"):
            kind.from_pretrained(tmp_path)


def test_scalars_and_residuals_are_the_nearer_the_more_bits_they_have(learned):
    fits = tiny_corpus(SHAPES).fits
    error = {
        name: float((quantizer.decode(quantizer.encode(fits, QUICK)).flat - fits.flat).square().mean())
        for name, quantizer in learned.items()
        if name not in (DEFAULT, "graph")  # these choose weights of their own
    }
    bits = {name: learned[name].tokens_per_field * math.log2(learned[name].codebook_size) for name in error}
    assert error["lloyd-max"] < error["bins"]
    assert error["residual-vq"] < error["chunk-vq"]
    assert bits["chunk-vq"] < bits["residual-vq"] < bits["lloyd-max"]
    spread = float((fits.flat - fitted_sphere()).square().mean())
    assert max(error.values()) < 0.5 * spread


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="no tokenizer 'vq'; choose one of rvq-ae, bins"):
        learner("vq", TINY)


def test_files_have_other_best_settings_than_drawn_shapes():
    assert settings(drawn=True)[0] == CodebookConfig()
    assert settings(drawn=False)[0].neurons_per_chunk < CodebookConfig.neurons_per_chunk
