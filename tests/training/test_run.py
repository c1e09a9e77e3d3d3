"""The folder of a run: checked before any work, used by one process, resumed by content."""

import os
import shutil
import signal
import socket
from dataclasses import replace

import pytest
import torch
import trimesh

from tests.conftest import TINY
from training import pipeline
from training.presets import PipelineConfig
from training.resume.lock import LOCK, process_start
from training.run import Run, read_costs
from weightgpt.errors import InputError
from weightgpt.io import read_json, read_tensors, write_json
from weightgpt.model import WeightGPT


class Stopped(BaseException):
    """In place of a signal."""


def stop(*_, **__):
    raise Stopped


def write_meshes(folder, stretch=1.0):
    """Six balls and six bricks; `stretch` changes their geometry under the same names."""
    for label, make in (("ball", trimesh.creation.icosphere), ("brick", trimesh.creation.box)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            make().apply_scale([1, 1 + 0.1 * number * stretch, 1]).export(folder / label / f"{number}.ply")


@pytest.fixture
def started(tmp_path, monkeypatch) -> tuple[PipelineConfig, "os.PathLike[str]"]:
    """A run of mesh files that was stopped in its second stage."""
    write_meshes(tmp_path / "meshes")
    config = replace(TINY, corpus=str(tmp_path / "meshes"), num_extra_shapes=0)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(pipeline, "fit_reference_fields", stop)
        pipeline.run_pipeline(config, tmp_path / "run")
    assert (tmp_path / "run" / "sdf_samples.safetensors").is_file()
    return config, tmp_path / "run"


def resume(config, output, monkeypatch):
    """Resume up to the second stage; whether the shapes were sampled again."""
    sampled = []
    monkeypatch.setattr("training.data.sdf_samples.sample_sdf", lambda *_, **__: sampled.append(1) or stop())
    monkeypatch.setattr(pipeline, "fit_reference_fields", stop)
    with pytest.raises(Stopped):
        pipeline.run_pipeline(config, output)
    return bool(sampled)


def test_a_run_resumes_with_the_same_meshes(started, monkeypatch):
    assert not resume(*started, monkeypatch)


def test_case_37_the_content_of_the_meshes_counts_and_not_their_folder(started, tmp_path, monkeypatch):
    config, output = started
    (tmp_path / "meshes").rename(tmp_path / "moved")
    assert not resume(replace(config, corpus=str(tmp_path / "moved")), output, monkeypatch)


@pytest.mark.parametrize("change", ["exchanged", "added", "removed", "renamed"])
def test_fault_16_and_case_37_a_changed_folder_stops_the_run_and_names_the_file(started, tmp_path, monkeypatch, change):
    config, output = started
    meshes = tmp_path / "meshes"
    if change == "exchanged":
        write_meshes(meshes, stretch=9)
    if change == "added":
        trimesh.creation.icosphere().export(meshes / "ball" / "9.ply")
    if change == "removed":
        (meshes / "ball" / "0.ply").unlink()
    if change == "renamed":
        (meshes / "ball" / "3.ply").rename(meshes / "brick" / "7.ply")
    monkeypatch.setattr("training.splits.load_shapes", stop)  # before a mesh is read
    with pytest.raises(InputError, match="the folder of shapes is not the one") as error:
        pipeline.run_pipeline(config, output)
    names = {"exchanged": "ball/1.ply has changed", "added": "ball/9.ply is new", "removed": "ball/0.ply is missing"}
    assert names.get(change, "ball/3.ply is missing, brick/7.ply is new") in str(error.value)


def test_fault_07_the_output_is_checked_before_the_shapes_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "load_split", stop)
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="cannot write to"):
            pipeline.run_pipeline(TINY, output)


def test_a_run_that_cannot_start_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        pipeline.run_pipeline(replace(TINY, corpus=str(tmp_path / "nowhere")), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_fault_09_two_runs_on_one_output(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "load_split", stop)
    lock = {"pid": os.getppid(), "host": socket.gethostname(), "since": "today"}
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / LOCK, {**lock, "process_start": process_start(os.getppid())})
    with pytest.raises(InputError, match="is in use by process"):
        pipeline.run_pipeline(TINY, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_fault_04_temporaries_of_killed_writers_go_at_the_next_start(tmp_path):
    run = tmp_path / "run"
    with Run(TINY, run).session():
        assert not (run / "manifest.json").exists()
    first = Run(TINY, run)
    with first.session():
        first.start()
    (run / "gpt").mkdir(parents=True)
    (run / "fits" / ".train.0a.tmp").mkdir(parents=True)
    for name in (".config.json.12345678.tmp", "gpt/.model.12345678.old", "fits/.tmpAbC"):
        (run / name).write_text("half")
    with Run(TINY, run).session():
        assert not list(run.rglob(".*"))
    assert (run / "gpt").is_dir()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_05_a_signal_ends_a_run_without_temporaries(tmp_path, monkeypatch, capsys, number, code):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(pipeline, "fit_reference_fields", lambda *_: signal.raise_signal(number))
    monkeypatch.setattr(pipeline, "read_job", lambda: pipeline.PipelineJob(output=tmp_path / "run", config=TINY))
    assert pipeline.main() == code
    assert "interrupted; run the same command again" in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob(".*"))
    assert not (tmp_path / "run" / LOCK).exists()


def test_fault_73_settings_of_the_last_stages_may_change_when_a_run_resumes(finished, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    weights = read_tensors(run / "model" / "model.safetensors")
    monkeypatch.setattr(pipeline, "pretrain", stop)
    config = replace(TINY, num_samples=3, temperature=0.5, top_p=0.9, resolution=16)
    figures = pipeline.run_pipeline(config, run)
    assert "resuming with other settings (num_samples, resolution, temperature, top_p)" in capsys.readouterr().err
    assert figures["samples"]["count"] == 3
    again = read_tensors(run / "model" / "model.safetensors")
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    stored = WeightGPT.from_pretrained(run / "model").gpt.generation_config
    assert (stored.temperature, stored.top_p) == (0.5, 0.9)
    assert read_json(run / "config.json")["temperature"] == 0.5
    with Run(config, run).session():  # nothing differs any more
        pass
    assert "resuming" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"seconds": {"fits": "2"}, "peak_memory_mb": 1}', '{"seconds": {"x": 2}, "peak_memory_mb": 1}'],
)
def test_fault_22_broken_costs_are_ignored_with_a_word(tmp_path, capsys, content):
    (tmp_path / "seconds.json").write_text(content)
    assert read_costs(tmp_path) == {"seconds": {}, "peak_memory_mb": 0}
    assert "seconds.json is ignored: " in capsys.readouterr().err
    with Run(TINY, tmp_path).stage("shapes"):
        pass
    assert set(read_costs(tmp_path)["seconds"]) == {"shapes"}
