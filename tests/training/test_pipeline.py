"""The whole pipeline on a very small scale: every stage, resumed, interrupted, refused."""

import json
import shutil
from dataclasses import replace

import pytest
import trimesh

import training.pipeline as pipeline
from tests.conftest import TINY
from tokenization import registry
from tokenization.train_local import LocalConfig
from training import pretrain
from training.data.corpus import column_tensor, load_corpus, split_rows
from training.presets import PRESETS
from training.run import STAGES, Run, read_config
from training.splits import load_split
from weightgpt import __version__
from weightgpt.errors import InputError
from weightgpt.io import read_json, read_tensors, write_json
from weightgpt.model import WeightGPT
from weightgpt.quantizers.local_autoencoder import LocalAutoencoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder

KEYS = {
    *("tokens_per_field", "iou_plain_fit", "iou", "decode_rate", "gpt_loss", "gpt_bits_per_token"),
    *("uniform_bits_per_token", "samples", "reference", "seconds", "peak_memory_mb"),
}
STEPS = {name: (pipeline, name) for name in ("sample_split", "fit")}
STEPS["learner"] = (registry, "learn_quantizer")
STEPS |= {"encode_samples": (RVQAutoencoder, "encode_samples"), "pretrain": (pipeline, "pretrain")}
STEPS |= {"report_run": (pipeline, "report_run")}
"""The function that does the work of each stage, in order."""


def test_a_run_writes_its_figures_samples_report_and_model(finished):
    figures = json.loads((finished / "metrics.json").read_text())
    assert set(figures) >= KEYS
    assert set(figures["seconds"]) == set(STAGES)
    assert figures["decode_rate"] == 1.0
    assert (finished / "samples.png").is_file()
    assert (finished / "report.html").is_file()
    assert len(WeightGPT.from_pretrained(finished / "model").generate(2).fields) == 2
    assert not list(finished.rglob("*.tmp"))


def test_a_run_writes_its_whole_configuration_and_the_version(finished):
    values = json.loads((finished / "config.json").read_text())
    assert values.pop("version") == __version__
    assert values == TINY.to_dict()
    assert values["tokenizer"]["codebook"]["codebook_size"] == TINY.tokenizer.codebook.codebook_size
    assert read_config(finished) == TINY


def test_the_corpus_has_the_split_the_weights_and_the_iou_of_each_shape(finished):
    corpus = load_corpus(finished / "corpus")
    counts = {name: corpus["split"].count(name) for name in ("train", "validation", "test")}
    assert counts == {"train": 48, "validation": 6, "test": 6}
    test = split_rows(corpus, "test")
    assert all(0 <= value <= 1 for value in [*test["iou_plain_fit"], *test["iou"]])
    assert len(corpus[0]["weights"]) == TINY.tokenizer.field.parameters


def test_a_finished_run_is_not_learned_again(finished, monkeypatch, capsys):
    def unexpected(*_, **__):
        raise AssertionError("a finished stage was repeated")

    for module, name in (STEPS["learner"], STEPS["pretrain"], STEPS["encode_samples"]):
        monkeypatch.setattr(module, name, unexpected)
    before = (finished / "samples" / "ids.json").read_text()
    monkeypatch.setattr(pipeline, "read_job", lambda: pipeline.PipelineJob(output=finished, config=TINY))
    assert pipeline.main() == 0
    assert (finished / "samples" / "ids.json").read_text() == before
    assert json.loads(capsys.readouterr().out) == json.loads((finished / "metrics.json").read_text())


def test_fault_16_a_run_does_not_resume_with_other_settings(finished):
    with pytest.raises(InputError, match=r"started with other settings \(seed\)"):
        pipeline.run_pipeline(replace(TINY, seed=5), finished)
    encode = replace(TINY.tokenizer.encode, steps=5)
    with pytest.raises(InputError, match=r"\(tokenizer\.encode\.steps\)"):
        pipeline.run_pipeline(replace(TINY, tokenizer=replace(TINY.tokenizer, encode=encode)), finished)


def test_fault_16_a_run_does_not_resume_with_another_version(tmp_path, monkeypatch):
    Run(TINY, tmp_path).write_config()
    Run(TINY, tmp_path).write_config()
    monkeypatch.setattr("training.run.__version__", "0.0.1")
    with pytest.raises(InputError, match=r"\(version\)"):
        Run(TINY, tmp_path).write_config()


@pytest.mark.parametrize("fault", ["missing", "unknown", "type", "list"])
def test_a_configuration_of_another_version_is_refused(tmp_path, fault):
    values = {"version": "0.0.1", **TINY.to_dict()}
    if fault == "missing":
        del values["tokenizer"]["codebook"]["steps"]
    if fault == "unknown":
        values["colour"] = "red"
    if fault == "type":
        values["tokenizer"]["codebook"]["steps"] = "many"
    write_json(tmp_path / "config.json", [values] if fault == "list" else values)
    with pytest.raises(InputError, match=r"is a run of weightgpt (0\.0\.1|of unknown version)"):
        read_config(tmp_path)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("stage", STEPS)
def test_an_interrupted_stage_is_finished_when_the_run_resumes(finished, tmp_path, monkeypatch, stage):
    """Ctrl-C inside each stage in turn. What earlier stages left is copied, so that each case is quick."""
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    files = [["sdf_samples.safetensors"], ["fits"], ["codebook"], ["corpus"], ["gpt", "model"]]
    files += [["samples", "metrics.json"]]
    for names in files[list(STEPS).index(stage) :]:
        for name in names:
            path = output / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*STEPS[stage], interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run_pipeline(TINY, output)
    assert not list(output.rglob("*.tmp"))
    assert pipeline.run_pipeline(TINY, output)["decode_rate"] == 1.0


def test_a_tokenizer_of_plain_weights_runs_through_all_stages(tmp_path):
    tokenizer = replace(TINY.tokenizer, kind="delta-lloyd-max")
    config = replace(TINY, num_shapes=32, num_extra_shapes=0, tokenizer=tokenizer)
    figures = pipeline.run_pipeline(config, tmp_path / "run")
    assert figures["tokens_per_field"] == TINY.tokenizer.field.parameters
    assert figures["iou_ratio"] > 0.95
    assert figures["decode_rate"] == 1.0
    assert len(WeightGPT.from_pretrained(tmp_path / "run" / "model").generate(2).fields) == 2


def test_a_tokenizer_of_local_chunks_runs_through_all_stages(tmp_path):
    local = LocalConfig(latent_width=8, num_quantizers=2, codebook_size=16, width=32, layers=1, steps=60, batch_size=8)
    field = replace(TINY.tokenizer.field, grids=(1, 2))
    tokenizer = replace(TINY.tokenizer, kind="local", field=field, local=local)
    config = replace(TINY, num_shapes=32, tokenizer=tokenizer)
    figures = pipeline.run_pipeline(config, tmp_path / "run")
    assert figures["tokens_per_field"] == 18
    assert figures["decode_rate"] == 1.0
    model = WeightGPT.from_pretrained(tmp_path / "run" / "model")
    assert len(model.generate(2).fields) == 2
    assert isinstance(model.tokenizer.quantizer, LocalAutoencoder)


def test_the_gpt_learns_from_re_quantized_codes(finished, tmp_path, monkeypatch):
    inputs = []

    def recorded(train, *others, **options):
        inputs.append(column_tensor(train, "input_ids"))
        return pretrain.pretrain(train, *others, **options)

    monkeypatch.setattr(pipeline, "pretrain", recorded)
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("gpt", "model"))
    (tmp_path / "run" / "config.json").unlink()
    pipeline.run_pipeline(replace(TINY, latent_augmentations=2), tmp_path / "run")
    original = column_tensor(split_rows(load_corpus(finished / "corpus"), "train"), "input_ids")
    num_shapes = TINY.num_shapes + TINY.num_extra_shapes
    assert inputs[0].shape == (2 * num_shapes, original.shape[1])
    first, second = inputs[0][: len(original)], inputs[0][num_shapes:][: len(original)]
    assert first[:, :2].equal(original[:, :2])  # BOS and the class
    assert second[:, :2].equal(original[:, :2])
    assert not first.equal(second)


def test_the_seed_of_the_run_decides_the_codebook_and_the_gpt(finished, tmp_path):
    """The shapes, the samples and the fits are those of another seed, so only the learners can differ."""
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("codebook", "corpus", "gpt", "model"))
    (tmp_path / "run" / "config.json").unlink()
    pipeline.run_pipeline(replace(TINY, seed=1), tmp_path / "run")
    for name in ("codebook/model.safetensors", "model/model.safetensors"):
        weights, others = read_tensors(finished / name), read_tensors(tmp_path / "run" / name)
        assert any(not weights[key].equal(others[key]) for key in weights), name
    assert read_json(tmp_path / "run" / "gpt" / "history.json")["seed"] == 1


def test_a_folder_with_a_corrupt_file_is_loaded_without_that_file(tmp_path, capsys):
    for label, make in (("ball", trimesh.creation.icosphere), ("brick", trimesh.creation.box)):
        (tmp_path / "shapes" / label).mkdir(parents=True)
        for i in range(8):
            mesh = make().apply_scale([1, 1 + 0.1 * i, 1])
            mesh.export(tmp_path / "shapes" / label / f"{i}.ply")
    (tmp_path / "shapes" / "ball" / "broken.ply").write_bytes(b"ply\nformat")
    split, refusals = load_split(replace(TINY, corpus=str(tmp_path / "shapes")))
    assert [refusal.path.name for refusal in refusals] == ["broken.ply"]
    assert "broken.ply" in capsys.readouterr().err
    assert {shape.label for shape in split.train} == {"ball", "brick"}
    originals = 16 - len(split.validation) - len(split.test)
    assert len(split.train) == 2 * originals
    assert len(split.extra) == TINY.num_extra_shapes
    assert not {shape.name for shape in split.extra} & {shape.name for shape in split.train}


def test_mistakes_are_one_sentence_and_exit_code_two(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    for arguments in (
        ["mesh-files", "--corpus", str(tmp_path / "empty"), "--output", str(tmp_path / "run")],
        ["built-in", "--num-shapes", "24", "--num-held-out", "6", "--output", str(tmp_path / "file" / "run")],
        ["built-in"],
        ["built-in", "--output", str(tmp_path / "run"), "--colour", "red"],
        ["no-such-preset", "--output", str(tmp_path / "run")],
    ):
        monkeypatch.setattr("sys.argv", ["pipeline", *arguments])
        assert pipeline.main() == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_the_help_of_a_preset_shows_its_values(preset, capsys):
    with pytest.raises(SystemExit) as end:
        pipeline.read_job([preset, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert "--gpt.epochs FLOAT Largest number of passes over the training sequences" in text
    assert f"(default: {PRESETS[preset].gpt.epochs})" in text
    assert "Folder of the run. (required)" in text
