"""Every command works from end to end."""

from pathlib import Path

import pytest
import torch
import trimesh

from tests.cli.running import results
from tests.fakes import command, tiny_gpt, tiny_tokenizer
from tests.pictures import picture_size
from weightgpt import cli_io
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.model import WeightGPT
from weightgpt.tokens.storage import load_tokens


def test_meshes_become_fields_tokens_fields_and_meshes(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    fields, ids, again = (str(tmp_path / name) for name in ("f.safetensors", "i.json", "g.safetensors"))
    values = results(capsys, "fit", "meshes", "-o", fields, "--shared-init", "model", "--steps", "60")
    assert (values["fields"], values["parameters"]) == (2, 109)
    loaded, metadata = load_fields(fields)
    assert loaded.config.hidden == (6, 6)
    assert metadata.names == ("ball", "chair-one")
    assert metadata.labels == ("none", "chair")
    values = results(capsys, "encode", fields, "-m", "model", "-o", ids, "--steps", "2")
    assert (values["shapes"], values["tokens"]) == (2, 9)
    assert 0 <= values["iou"] <= 1
    assert results(capsys, "decode", ids, "-m", "model", "-o", again)["fields"] == 2
    decoded, decoded_metadata = load_fields(again)
    assert torch.equal(decoded.flat, tiny_tokenizer().batch_decode(load_tokens(ids).ids).flat)
    assert (decoded_metadata.names, decoded_metadata.labels) == (metadata.names, metadata.labels)
    assert torch.equal(decoded_metadata.center[1], torch.tensor([5.0, 6.0, 7.0]).double())
    values = results(capsys, "mesh", fields, "-o", str(tmp_path / "out"), "--resolution", "24", "--format", "ply")
    assert values["meshes"] == len(list((tmp_path / "out").glob("*.ply")))


def test_encode_takes_files_and_folders(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = str(tmp_path / "tokens.json")
    values = results(capsys, "encode", "meshes/ball.stl", "meshes", "-m", "model", "-o", path, "--steps", "0")
    assert values["shapes"] == 3
    assert tiny_tokenizer().class_names(load_tokens(path).ids) == ["none", "none", "chair"]


def test_fit_from_random_weights_and_from_the_first_field_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    first, second = (str(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    results(capsys, "fit", "meshes/ball.stl", "-o", first, "--hidden", "8,4", "--steps", "3")
    assert load_fields(first)[0].config.hidden == (8, 4)
    results(capsys, "fit", "meshes/ball.stl", "-o", second, "--shared-init", first, "--steps", "3")
    assert load_fields(second)[0].config.hidden == (8, 4)


def test_sample_writes_equal_files_for_equal_seeds(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    arguments = ("sample", "model", "-n", "5", "--seed", "3", "--resolution", "16", "-o")
    values = results(capsys, *arguments, str(tmp_path / "a"))
    assert (values["samples"], values["decode_rate"]) == (5, 1.0)
    meshes = sorted(path.name for path in (tmp_path / "a").glob("*.glb"))
    assert values["meshes"] == len(meshes)
    assert values["meshes"] + values["empty"] + values["full"] + values["nonfinite"] == 5
    assert set(meshes) <= {"0000-chair.glb", "0001-table.glb", "0002-chair.glb", "0003-table.glb", "0004-chair.glb"}
    assert picture_size(tmp_path / "a" / "samples.png")[0] == 5 * 160
    results(capsys, *arguments, str(tmp_path / "b"))
    for name in ("fields.safetensors", "tokens.json", *meshes):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    fields, ids = load_fields(tmp_path / "a" / "fields.safetensors")[0], load_tokens(tmp_path / "a" / "tokens.json").ids
    assert torch.equal(fields.flat, tiny_tokenizer().batch_decode(ids).flat)


def test_fault_82_many_samples_go_to_several_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli_io, "BATCH", 10)
    monkeypatch.setattr(cli_io, "BATCHES_OF_PART", 1)
    output = tmp_path / "many"
    arguments = ("sample", "model", "-n", "25", "--seed", "3", "--meshes", "2", "--resolution", "8", "-o", str(output))
    assert command(*arguments) == 0
    streams = capsys.readouterr()
    assert "samples: 25" in streams.out
    assert "the first 2 of 25 shapes were meshed" in streams.err
    names = ["fields-0000.safetensors", "fields-0001.safetensors", "fields-0002.safetensors"]
    names += ["samples.png", "tokens-0000.json", "tokens-0001.json", "tokens-0002.json"]
    assert sorted(path.name for path in output.iterdir() if path.suffix != ".glb") == names
    parts = [load_fields(output / name) for name in names[:3]]
    assert [len(fields) for fields, _ in parts] == [10, 10, 5]
    assert [metadata.names[0] for _, metadata in parts] == ["0000-chair", "0010-chair", "0020-chair"]
    shapes = WeightGPT(tiny_gpt(tiny_tokenizer().vocabulary), tiny_tokenizer()).generate(25, seed=3)
    assert torch.equal(torch.cat([fields.flat for fields, _ in parts]), shapes.fields.flat)
    assert torch.equal(torch.cat([load_tokens(output / name).ids for name in names[4:]]), shapes.ids)


def test_meshes_have_their_original_place_and_size_and_stay_in_their_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    results(capsys, "mesh", "fields.safetensors", "-o", str(tmp_path / "in" / "out"), "--resolution", "24")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert {path.name for path in (tmp_path / "in" / "out").iterdir()} <= {"a.glb", "b.glb"}
    bounds = trimesh.load_mesh(tmp_path / "in" / "out" / "a.glb").bounds
    assert (abs(bounds - [1.0, 2.0, 3.0]) <= 10.001).all()
    assert abs(bounds - [1.0, 2.0, 3.0]).max() > 2


def test_render_draws_solids_and_images_and_mesh_refuses_images(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    planar = Fields(FieldConfig(in_features=2, out_features=3, hidden=(4,), num_frequencies=0), torch.rand(2, 27))
    save_fields(tmp_path / "planar.safetensors", planar, ShapeMetadata.plain(["a", "b"], ["none", "none"], 2))
    for fields in ("fields.safetensors", str(tmp_path / "planar.safetensors")):
        assert results(capsys, "render", fields, "-o", str(tmp_path / "sheet.png"), "--size", "24")["fields"] == 2
        assert picture_size(tmp_path / "sheet.png")[0] == 48
    assert command("mesh", str(tmp_path / "planar.safetensors"), "-o", str(tmp_path / "out")) == 2


def test_fault_72_an_empty_label_is_refused(capsys: pytest.CaptureFixture[str]):
    assert command("sample", "model", "-o", "x", "--label", "") == 2
    assert "the class is empty; choose one of none, chair, table." in capsys.readouterr().err


def test_info_describes_models_fields_tokens_and_meshes(capsys: pytest.CaptureFixture[str]):
    model = results(capsys, "info", "model")
    assert model["kind"] == "model"
    assert model["classes"] == ["none", "chair", "table"]
    assert model["codebook_fingerprint"] == tiny_tokenizer().quantizer.fingerprint
    assert (model["tokens"], model["vocab_size"], model["field"]["parameters"]) == (9, 23, 109)
    assert results(capsys, "info", "fields.safetensors")["labels"] == {"chair": 1, "sofa": 1}
    assert results(capsys, "info", "tokens.json")["sequences"] == 2
    box = results(capsys, "info", "meshes/chair/one.glb")
    assert box["longest_side"] == pytest.approx(2)
    assert command("info", "model") == 0
    assert "classes: [" in capsys.readouterr().out
