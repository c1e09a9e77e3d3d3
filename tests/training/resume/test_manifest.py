"""A stage is used again only if its files, and what they were made from, are as recorded."""

import os
import shutil

import pytest

from tests.conftest import TINY
from training import pipeline
from training.resume.digests import file_record
from training.resume.manifest import FILES, MANIFEST, Manifest, mesh_records
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

STAGE_FILES = {
    "shapes": "sdf_samples.safetensors",
    "fits": "fits/train/000000.safetensors",
    "codebook": "codebook/encoder.safetensors",
    "corpus": "corpus/data-00000-of-00001.arrow",
    "gpt": "model/model.safetensors",
}


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run."""
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("samples", "report.html"))
    return tmp_path / "run"


def damage(path, size):
    """Cut a file, or change one bit if the size is None."""
    data = bytearray(path.read_bytes())
    if size is None:
        data[len(data) // 2] ^= 1
    path.write_bytes(data[:size])


def begin_all(folder):
    manifest = Manifest(folder)
    for stage in FILES:
        manifest.begin(stage)
    return manifest


def test_a_finished_run_records_all_files_of_its_stages(finished):
    manifest = Manifest(finished)
    assert list(manifest.stages) == list(FILES)
    for stage, name in STAGE_FILES.items():
        assert manifest.stages[stage]["files"][name] == file_record(finished / name)


def test_a_whole_run_is_used_again(run, capsys):
    before = (run / MANIFEST).read_bytes()
    begin_all(run)
    assert capsys.readouterr().err == ""
    assert (run / MANIFEST).read_bytes() == before


def test_fault_12_times_of_files_do_not_count(run, capsys):
    for path in run.rglob("*"):
        os.utime(path, (1, 1))
    begin_all(run)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("share", [0, 1, 8, 0.5, -1, None])
def test_fault_13_and_14_a_broken_file_of_any_stage_is_found(run, monkeypatch, share):
    manifest, found = Manifest(run), []
    recorded = [(stage, name) for stage, record in manifest.stages.items() for name in record["files"]]
    assert len(recorded) > 20
    monkeypatch.setattr(Manifest, "_discard_broken", lambda self, stage, broken: found.append((stage, *broken)))
    for stage, name in recorded:
        data = (run / name).read_bytes()
        damage(run / name, int(share * len(data)) if isinstance(share, float) else share)
        manifest.begin(stage)
        (run / name).write_bytes(data)
    assert found == recorded


@pytest.mark.parametrize("stage", STAGE_FILES)
def test_fault_13_a_stage_with_a_broken_file_is_deleted_with_a_word(run, capsys, stage):
    damage(run / STAGE_FILES[stage], 0)
    Manifest(run).begin(stage)
    assert f"{stage}: {STAGE_FILES[stage]} is missing or has changed; " in capsys.readouterr().err
    assert not (run / STAGE_FILES[stage]).exists()
    assert Manifest(run).stages[stage]["files"] is None
    assert (run / "fits" / "test" / "000000.safetensors").exists()  # other batches of fits stay
    assert list(run.glob("gpt/checkpoint-*"))  # and checkpoints, which have records of their own


def test_a_stage_whose_inputs_have_changed_is_made_again(run, capsys):
    manifest = Manifest(run)
    (run / "codebook" / "history.json").write_text("[]")
    manifest.finish("codebook")
    for stage in ("corpus", "gpt"):
        manifest.begin(stage)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"{stage}: an earlier stage was made again and is different; this stage is made again."
        for stage in ("corpus", "gpt")
    ]
    assert not (run / "corpus").exists()
    assert not (run / "gpt").exists()  # its checkpoints have learned from other sequences


def test_fault_13_a_run_with_broken_results_ends_with_the_same_bytes(finished, run, capsys):
    damage(run / STAGE_FILES["codebook"], 100)
    damage(run / STAGE_FILES["gpt"], None)
    damage(run / "seconds.json", 5)
    pipeline.run_pipeline(TINY, run)
    said = capsys.readouterr().err
    assert "codebook/encoder.safetensors is missing or has changed" in said
    assert "model/model.safetensors is missing or has changed" in said
    assert "an earlier stage was made again and is different" not in said
    for name in STAGE_FILES.values():
        assert (run / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize("content", ["", "[]", '{"sources": {}}', '{"sources": {}, "stages": {"fits": 3}}'])
def test_fault_13_a_broken_manifest_is_one_sentence(run, content):
    (run / MANIFEST).write_text(content)
    with pytest.raises(InputError, match=MANIFEST):
        Manifest(run)


def test_results_without_a_manifest_are_not_trusted(run):
    (run / MANIFEST).unlink()
    with pytest.raises(InputError, match="but no manifest"):
        Manifest(run)


@pytest.mark.parametrize("content", ["", "[1]", '"text"', "3"])
def test_fault_13_a_broken_configuration_names_the_file(run, content):
    (run / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        pipeline.run_pipeline(TINY, run)


def test_fault_03_a_result_that_was_written_before_its_record_is_adopted(run, capsys):
    """Killed between the two: the record of the stage says that it has begun."""
    values = read_json(run / MANIFEST)
    values["stages"]["gpt"]["files"] = None
    write_json(run / MANIFEST, values)
    manifest = begin_all(run)
    assert capsys.readouterr().err == ""
    manifest.finish("gpt")
    assert STAGE_FILES["gpt"] in Manifest(run).stages["gpt"]["files"]


def test_fault_13_a_part_of_an_interrupted_stage_that_cannot_be_read_is_deleted(run, capsys):
    values = read_json(run / MANIFEST)
    values["stages"]["fits"]["files"] = None
    write_json(run / MANIFEST, values)
    damage(run / STAGE_FILES["fits"], 50)
    Manifest(run).begin("fits")
    assert not (run / STAGE_FILES["fits"]).exists()
    assert (run / "fits" / "test" / "000000.safetensors").exists()
    assert STAGE_FILES["fits"] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "name", "size"),
    [
        ("codebook", "codebook/history.json", 5),
        ("corpus", "corpus/data-00000-of-00001.arrow", 100),
        ("corpus", "corpus/data-00000-of-00001.arrow", None),
        ("gpt", "model/tokenizer.json", 20),
    ],
)
def test_fault_13_a_folder_of_an_interrupted_stage_that_cannot_be_read_is_deleted(run, capsys, stage, name, size):
    values = read_json(run / MANIFEST)
    values["stages"][stage]["files"] = None
    write_json(run / MANIFEST, values)
    damage(run / name, size)
    Manifest(run).begin(stage)
    assert not (run / name).parent.exists()
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fits/train/../../../outside", "/outside", ".", ".."])
def test_fault_71_a_manifest_names_no_file_outside_of_its_folder(run, tmp_path, name):
    values = read_json(run / MANIFEST)
    values["stages"]["fits"]["files"] = {name: {"bytes": 1, "sha256": "0" * 64}}
    write_json(run / MANIFEST, values)
    with pytest.raises(InputError, match="is not a manifest of a run"):
        Manifest(run)


def test_sources_are_all_meshes_below_a_folder_with_names_that_json_can_hold(tmp_path):
    (tmp_path / "chair").mkdir()
    for name in (b"chair/a.obj", b"b.PLY", b"\xff.stl", b"notes.txt", b".hidden.obj"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(name)
    (tmp_path / "linked").symlink_to(tmp_path / "chair")  # `load_shapes` does not follow it
    records = mesh_records(tmp_path)
    assert set(records) == {"chair/a.obj", "b.PLY", "\\xff.stl"}


def test_a_changed_source_is_named(tmp_path):
    meshes, run = tmp_path / "meshes", tmp_path / "run"
    for folder in (meshes, run):
        folder.mkdir()
    for name in ("a.obj", "b.obj", "c.obj"):
        (meshes / name).write_text(name)
    Manifest(run).start(mesh_records(meshes))
    Manifest(run).check_sources(mesh_records(meshes))
    (meshes / "a.obj").write_text("other")
    (meshes / "b.obj").unlink()
    (meshes / "d.obj").write_text("d")
    with pytest.raises(InputError, match=r"a\.obj has changed, b\.obj is missing, d\.obj is new; put the files back"):
        Manifest(run).check_sources(mesh_records(meshes))


def test_fault_36_a_file_that_vanishes_before_it_is_hashed_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"gone\.obj does not exist"):
        file_record(tmp_path / "gone.obj")
