"""Presets are complete, the command line overrides single fields, and impossible configurations are refused."""

import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tokenization.presets import TokenizerConfig
from training.pipeline import read_job
from training.presets import BUILT_IN, PRESETS, SUMMARIES, PipelineConfig
from weightgpt.errors import InputError

ROOT = Path(__file__).parents[2]
MAKEFILE, OWN_MESHES = ROOT / "Makefile", ROOT / "docs" / "how-to" / "own-meshes.md"


def test_make_demo_runs_the_preset_built_in():
    """The Makefile has one command of the pipeline; its options leave the preset as it is."""
    (arguments,) = re.findall(r"^\t\$\(BIN\)/python -m training\.pipeline (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    job = read_job(shlex.split(arguments))
    assert job.output == Path("runs/demo")
    assert job.config == PRESETS["built-in"]


def test_the_table_of_the_docs_has_the_values_of_the_presets():
    """Each row of the table in own-meshes.md names a field, its path in the configuration and its value per preset."""
    rows = re.findall(r"^\| `--([\w.-]+)` \|[^|]*\| ([^|]+) \| ([^|]+) \|$", OWN_MESHES.read_text(), re.MULTILINE)
    assert len(rows) >= 8
    for option, *cells in rows:
        for name, cell in zip(("mesh-files", "mesh-files-weight-vq"), cells, strict=True):
            value = PRESETS[name]
            for part in option.replace("-", "_").split("."):
                value = getattr(value, part)
            assert cell.strip() == (value if isinstance(value, str) else f"{value:g}"), f"{name}: {option}"


def test_every_preset_has_a_summary():
    assert SUMMARIES.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    values = json.loads(json.dumps(PRESETS[name].to_dict()))
    assert PipelineConfig.from_dict(values) == PRESETS[name]


def test_an_option_changes_one_field_of_the_preset():
    preset = PRESETS["mesh-files"]
    job = read_job(["mesh-files", "--output", "runs/mine", "--corpus", "my_meshes", "--tokenizer.codebook.steps", "7"])
    codebook = replace(preset.tokenizer.codebook, steps=7)
    assert job.config == replace(preset, corpus="my_meshes", tokenizer=replace(preset.tokenizer, codebook=codebook))


@pytest.mark.parametrize("noise", ["-1", "nan"])
def test_noise_that_is_negative_or_no_number_is_refused(noise):
    with pytest.raises(InputError, match=f"latent_noise is {noise}"):
        read_job(["mesh-files", "--output", "runs/mine", "--latent-noise", noise])


@pytest.mark.parametrize(
    ("preset", "option", "advice"),
    [
        ("mesh-files", "latent_augmentations", "mesh-files-weight-vq"),
        ("built-in", "num_extra_shapes", "built-in-weight-vq"),
    ],
)
def test_a_tokenizer_that_cannot_do_what_the_preset_asks_is_refused(preset, option, advice):
    with pytest.raises(InputError, match=f"{option} is .*start from the preset {advice}"):
        read_job([preset, "--output", "runs/mine", "--tokenizer.kind", "fsq"])
    assert read_job([advice, "--output", "runs/mine", "--tokenizer.kind", "fsq"]).config.tokenizer.kind == "fsq"


def test_an_unknown_tokenizer_is_refused():
    with pytest.raises(InputError, match="there is no tokenizer 'tables'"):
        read_job(["built-in", "--output", "runs/mine", "--tokenizer.kind", "tables"])


def test_an_unknown_model_size_is_refused():
    with pytest.raises(InputError, match="choose one of nano"):
        read_job(["built-in", "--output", "runs/mine", "--gpt.model-size", "huge"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("num_samples", value) for value in (0, -1, 10**9)),
        *(("temperature", value) for value in (0.0, -1.0, math.nan, math.inf)),
        *(("top_p", value) for value in (0.0, 1.5, math.nan)),
        *(("seed", value) for value in (-1, 2**40, 2**70)),
        *(("num_shapes", value) for value in (0, -5, 10**30)),
        *(("num_held_out", value) for value in (0, -5)),
        *(("augmentations", value) for value in (-1, 10**9)),
        *(("num_extra_shapes", value) for value in (-1, 10**30)),
        *(("latent_augmentations", value) for value in (-1, 10**9)),
        *(("latent_noise", value) for value in (-1.0, math.nan, math.inf)),
        *(("resolution", value) for value in (0, 7, 4096)),
        *(("held_out_fraction", value) for value in (-0.1, 1.1, math.nan)),
        *(("gpt.epochs", value) for value in (0.0, -1.0, math.nan, math.inf, 1e30)),
        *(("gpt.batch_size", value) for value in (0, 10**30)),
        *(("gpt.num_evaluations", value) for value in (0, 10**30)),
        *(("gpt.learning_rate", value) for value in (0.0, math.nan, math.inf)),
        *(("tokenizer.num_points", value) for value in (0, 10**12)),
        *(("tokenizer.num_init_fits", value) for value in (0, -1)),
        *(("tokenizer.fit.steps", value) for value in (0, 10**30)),
        *(("tokenizer.encode.steps", value) for value in (-1, 10**30)),
        *(("tokenizer.field.hidden", value) for value in ((0,), (10**9,), ())),
        *(("tokenizer.codebook.steps", value) for value in (0, 10**30)),
        *(("tokenizer.codebook.num_quantizers", value) for value in (0, -1, 10**9)),
        *(("tokenizer.codebook.neurons_per_chunk", value) for value in (0, 10**9)),
        *(("tokenizer.codebook.latent_width", value) for value in (0, 10**9)),
        *(("tokenizer.codebook.latent_decoder_width", value) for value in (0, 10**9)),
        *(("tokenizer.codebook.codebook_size", value) for value in (0, 10**9)),
        *(("tokenizer.codebook.warmup_fraction", value) for value in (1.0, math.nan, -0.1)),
    ],
)
def test_fault_73_a_setting_that_cannot_work_is_refused_when_it_is_given(option, value):
    def changed(config, names):
        inner = value if len(names) == 1 else changed(getattr(config, names[0]), names[1:])
        return replace(config, **{names[0]: inner})

    name = option.split(".")[-1]
    with pytest.raises(InputError, match=name if name != "hidden" else "hidden|layer|parameters"):
        changed(BUILT_IN, option.split("."))


def test_fault_73_local_chunks_without_grids_are_refused_before_any_shape_is_drawn():
    with pytest.raises(InputError, match="has no grids; set `grids`"):
        PipelineConfig(tokenizer=TokenizerConfig(kind="local"))
