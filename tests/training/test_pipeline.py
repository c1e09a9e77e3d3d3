"""The whole road on a very small scale: every stage, resumed, interrupted, refused."""

import json
import shutil
from dataclasses import replace

import pytest
import trimesh
from datasets import load_from_disk

import training.pipeline as pipeline
from tests.conftest import TINY
from training import pretrain
from training.data.corpus import column, part
from training.run import STAGES
from weightgpt.errors import InputError
from weightgpt.model import load_bundle
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder

KEYS = {
    *("tokens_per_field", "iou_plain_fit", "iou", "decode_rate", "gpt_loss", "gpt_bits_per_token"),
    *("uniform_bits_per_token", "samples", "reference", "seconds", "peak_memory_mb"),
}
STEPS = {name: (pipeline, name) for name in ("sample_split", "fit", "learner")}
STEPS |= {"encode_samples": (RVQAutoencoder, "encode_samples"), "pretrain": (pipeline, "pretrain")}
STEPS |= {"report_run": (pipeline, "report_run")}
"""Where each stage is done, in order."""


def test_a_run_leaves_all_that_it_promises(finished):
    figures = json.loads((finished / "metrics.json").read_text())
    assert set(figures) >= KEYS
    assert set(figures["seconds"]) == set(STAGES)
    assert figures["decode_rate"] == 1.0
    assert (finished / "samples.png").is_file()
    assert (finished / "report.html").is_file()
    assert len(load_bundle(finished / "model").sample(2).fields) == 2
    assert not list(finished.rglob("*.tmp"))


def test_the_corpus_says_what_each_shape_is(finished):
    corpus = load_from_disk(str(finished / "corpus"))
    counts = {name: corpus["split"].count(name) for name in ("train", "validation", "test")}
    assert counts == {"train": 48, "validation": 6, "test": 6}
    tested = corpus.filter(lambda split: split == "test", input_columns="split")
    assert all(0 <= value <= 1 for value in [*tested["fit_iou"], *tested["roundtrip_iou"]])
    assert len(corpus[0]["weights"]) == TINY.field.parameters


def test_a_second_run_changes_nothing_that_was_learnt(finished, monkeypatch, capsys):
    def unexpected(*_, **__):
        raise AssertionError("a finished stage was done again")

    for place, name in (STEPS["learner"], STEPS["pretrain"], STEPS["encode_samples"]):
        monkeypatch.setattr(place, name, unexpected)
    before = (finished / "samples" / "ids.json").read_text()
    monkeypatch.setattr(pipeline, "parse", lambda: (TINY, finished))
    assert pipeline.main() == 0
    assert (finished / "samples" / "ids.json").read_text() == before
    assert json.loads(capsys.readouterr().out) == json.loads((finished / "metrics.json").read_text())


def test_other_settings_are_refused(finished):
    with pytest.raises(InputError, match=r"begun with other settings \(samples\)"):
        pipeline.run(replace(TINY, num_samples=5), finished)


@pytest.mark.parametrize("stage", STEPS)
def test_an_interrupted_stage_is_done_when_the_run_goes_on(finished, tmp_path, monkeypatch, stage):
    """Ctrl-C inside each stage in turn; what was finished before is copied, so that each case is quick."""
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    order = list(STEPS)
    made = [["samples.safetensors"], ["fits"], ["codebook"], ["corpus"], ["gpt", "model"], ["samples", "metrics.json"]]
    for names in made[order.index(stage) :]:
        for name in names:
            path = output / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*STEPS[stage], interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(TINY, output)
    assert not list(output.rglob("*.tmp"))
    assert pipeline.run(TINY, output)["decode_rate"] == 1.0


def test_another_tokenizer_goes_the_same_way(tmp_path):
    figures = pipeline.run(
        replace(TINY, num_shapes=32, num_extra_shapes=0, tokenizer="delta-lloyd-max"), tmp_path / "run"
    )
    assert figures["tokens_per_field"] == TINY.field.parameters
    assert figures["iou_ratio"] > 0.95
    assert figures["decode_rate"] == 1.0
    assert len(load_bundle(tmp_path / "run" / "model").sample(2).fields) == 2


def test_the_gpt_learns_codes_that_were_drawn_anew(finished, tmp_path, monkeypatch):
    seen = []

    def noted(train, *others):
        seen.append(column(train, "ids"))
        return pretrain.pretrain(train, *others)

    monkeypatch.setattr(pipeline, "pretrain", noted)
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("gpt", "model"))
    (tmp_path / "run" / "config.json").unlink()
    pipeline.run(replace(TINY, latent_augmentations=2), tmp_path / "run")
    own = column(part(load_from_disk(str(finished / "corpus")), "train").select_columns("ids"), "ids")
    assert seen[0].shape == (2 * (TINY.num_shapes + TINY.num_extra_shapes), own.shape[1])
    first, second = seen[0][: len(own)], seen[0][TINY.num_shapes + TINY.num_extra_shapes :][: len(own)]
    assert first[:, :2].equal(own[:, :2])  # BOS and the class
    assert second[:, :2].equal(own[:, :2])
    assert not first.equal(second)


def test_the_tokenizer_is_one_option(tmp_path):
    default, _ = pipeline.parse(["--output", str(tmp_path)])
    chosen, _ = pipeline.parse(["--output", str(tmp_path), "--tokenizer", "fsq"])
    assert (default.tokenizer, chosen.tokenizer) == ("loop", "fsq")
    assert replace(chosen, tokenizer="loop", num_extra_shapes=default.num_extra_shapes, gpt=default.gpt) == default
    files, _ = pipeline.parse(["--output", str(tmp_path), "--shapes", "meshes", "--levels", "3"])
    assert (default.encode.steps, files.encode.steps, files.codebook.num_quantizers) == (0, 50, 3)
    words = ["--output", str(tmp_path), "--shapes", "meshes"]
    as_they_are, _ = pipeline.parse([*words, "--redrawn", "0"])
    others, _ = pipeline.parse([*words, "--tokenizer", "fsq"])
    assert (
        default.latent_augmentations
        == others.latent_augmentations
        == as_they_are.latent_augmentations
        == 0
        < files.latent_augmentations
    )
    passes = {found.gpt.epochs * max(found.latent_augmentations, 1) for found in (as_they_are, others)}
    assert files.gpt.epochs * files.latent_augmentations > passes.pop()
    assert not passes
    noisier, _ = pipeline.parse([*words, "--noise", "1.0"])
    assert replace(noisier, latent_noise=files.latent_noise) == pipeline.parse(words)[0]
    assert noisier.latent_noise > files.latent_noise
    for wrong in ("-1", "nan"):
        with pytest.raises(InputError, match=f"noise is {wrong}"):
            pipeline.parse([*words, "--noise", wrong])
    with pytest.raises(InputError, match="give --redrawn too"):
        pipeline.parse(["--output", str(tmp_path), "--noise", "1.0"])
    warmer, _ = pipeline.parse([*words, "--temperature", "0.9"])
    assert (default.temperature, warmer.temperature) == (1.0, 0.9)
    assert files.temperature > 1
    shorter, _ = pipeline.parse(["--output", str(tmp_path), "--steps", "7"])
    assert shorter.codebook.steps == 7 < files.codebook.steps < default.codebook.steps
    narrow, _ = pipeline.parse([*words, "--top-p", "0.5"])
    assert (files.top_p, narrow.top_p) == (1.0, 0.5)
    assert default.top_p < 1
    assert all(config.codebook.balance_sides and config.codebook.squared_weight > 0 for config in (default, files))


def test_a_folder_with_a_corrupt_file_goes_on_without_it(tmp_path, capsys):
    for label, make in (("ball", trimesh.creation.icosphere), ("brick", trimesh.creation.box)):
        (tmp_path / "shapes" / label).mkdir(parents=True)
        for i in range(8):
            mesh = make().apply_scale([1, 1 + 0.1 * i, 1])
            mesh.export(tmp_path / "shapes" / label / f"{i}.ply")
    (tmp_path / "shapes" / "ball" / "broken.ply").write_bytes(b"ply\nformat")
    split, refusals = pipeline.load_split(replace(TINY, shapes=str(tmp_path / "shapes")).to_dict())
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
        ["--shapes", str(tmp_path / "empty"), "--output", str(tmp_path / "run")],
        ["--output", str(tmp_path / "file" / "run")],
    ):
        monkeypatch.setattr("sys.argv", ["pipeline", *arguments])
        assert pipeline.main() == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1
