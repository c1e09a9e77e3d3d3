"""Settings of a measurement: presets, the command line, and what a row depends on."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tokenization.measure.fakes import SMALL
from tokenization.measure.config import PRESETS, MeasureConfig
from tokenization.presets import TOKENIZERS
from tokenization.registry import NAMES
from weightgpt._programs import parse
from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig


def read(*arguments: str) -> MeasureConfig:
    return parse(PRESETS, "tokenization.measure", arguments)


@pytest.mark.parametrize("name", ["built-in", "mesh-files"])
def test_a_preset_measures_the_tokenizer_preset_of_its_name(name):
    assert read(name).tokenizer == TOKENIZERS[name]
    assert read(name).tokenizers == tuple(kind for kind in NAMES if kind != "local")


def test_the_quick_preset_differs_from_the_built_in_one_in_amounts_alone():
    quick, preset = read("quick").tokenizer, TOKENIZERS["built-in"]
    assert replace(quick.codebook, steps=preset.codebook.steps) == preset.codebook
    assert quick.encode == preset.encode
    assert read("quick").num_train < read("built-in").num_train


def test_options_override_single_fields_of_the_preset():
    config = read(
        *("mesh-files", "--corpus", "meshes/all", "--classes", "chair", "mug", "--corpus-name", "real-mixed"),
        *("--tokenizers", "rvq-ae", "graph", "--output", "x", "--num-held-out", "7"),
        *("--tokenizer.field.hidden", "8", "16", "--tokenizer.codebook.codebook-size", "64"),
        *("--tokenizer.codebook.auto-decoding", "--tokenizer.encode.steps", "3"),
    )
    assert (config.classes, config.num_held_out, config.output) == (("chair", "mug"), 7, Path("x"))
    assert config.tokenizers == ("rvq-ae", "graph")
    codebook = replace(TOKENIZERS["mesh-files"].codebook, codebook_size=64, auto_decoding=True)
    assert config.tokenizer.codebook == codebook
    assert config.tokenizer.encode == replace(TOKENIZERS["mesh-files"].encode, steps=3)
    assert config.full_corpus_name == f"real-mixed-{FieldConfig(hidden=(8, 16)).parameters}"


def test_fields_of_unusual_size_are_named_by_their_parameters():
    assert read("built-in", "--corpus", "chairs").full_corpus_name == "chairs"
    wide = read("built-in", "--corpus", "chairs", "--tokenizer.field.hidden", "128", "128", "128")
    assert wide.full_corpus_name == "chairs-36737"  # the MLP of HyperDiffusion
    assert MeasureConfig(corpus="some/folder").full_corpus_name == "folder"


@pytest.mark.parametrize("name", ["rvq-ae", "graph"])
def test_codebook_settings_are_settings_of_tokenizers_with_a_codebook(name):
    finer = replace(SMALL, tokenizer=replace(SMALL.tokenizer, codebook=replace(SMALL.tokenizer.codebook, steps=5)))
    assert finer.settings(name)["tokenizer"]["codebook"]["steps"] == 5
    assert finer.settings(name) != SMALL.settings(name)
    assert finer.settings("bins") == SMALL.settings("bins")
    assert finer.settings() == SMALL.settings()


def test_the_seed_the_shapes_and_the_fits_are_settings_of_every_row():
    longer = replace(SMALL.tokenizer, fit=replace(SMALL.tokenizer.fit, steps=1))
    for other in (replace(SMALL, seed=1), replace(SMALL, num_train=7), replace(SMALL, tokenizer=longer)):
        for name in (None, "bins", "rvq-ae"):
            assert other.settings(name) != SMALL.settings(name)


def test_settings_that_measure_nothing_are_refused():
    with pytest.raises(InputError, match="num_held_out is 0; give 1 or more"):
        replace(SMALL, num_held_out=0)
    with pytest.raises(InputError, match="leave classes out"):
        replace(SMALL, classes=("chair",))
    with pytest.raises(InputError, match="without slashes"):
        replace(SMALL, corpus_name="../x")
    with pytest.raises(InputError, match="no tokenizer 'vq'"):
        replace(SMALL, tokenizers=("vq",))


def test_a_tokenizer_with_probes_of_its_own_is_not_measured_with_others():
    assert "local" not in SMALL.tokenizers
    with pytest.raises(InputError, match="'local' reads shapes at probes of its own"):
        replace(SMALL, tokenizers=("local",))
