"""MeshGPT's program, with small stand-ins for the two models of its package."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import nn

from training.baselines import low_poly, meshgpt
from training.presets import PipelineConfig
from training.run import Run
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

BOX = trimesh.creation.box((1.0, 0.8, 0.6))


class Autoencoder(nn.Module):
    """One number that learns the mean coordinate; its reconstruction is exact."""

    codebook_size = 16

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(1, 1)

    def forward(self, vertices, faces, only_return_recon_faces=False):
        if only_return_recon_faces:
            return torch.stack([v[f.clamp(min=0)] for v, f in zip(vertices, faces, strict=True)])
        return self.value(vertices.reshape(-1, 1)).square().mean()

    def tokenize(self, vertices, faces):
        return torch.zeros(len(faces), faces.shape[1], 2)


class Transformer(nn.Module):
    """Generates the same box always; freezes its autoencoder, as the real one does."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder.requires_grad_(False)
        self.value = nn.Linear(2, 1)

    def forward_on_codes(self, codes):
        return self.value(codes.float()).square().mean()

    def generate(self, batch_size, temperature):
        triangles = torch.tensor(np.asarray(BOX.triangles)).float().expand(batch_size, -1, -1, -1)
        return triangles, torch.ones(triangles.shape[:2], dtype=torch.bool)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> meshgpt.MeshGptConfig:
    monkeypatch.setattr(meshgpt, "new_autoencoder", Autoencoder)
    monkeypatch.setattr(meshgpt, "new_transformer", Transformer)
    (tmp_path / "meshes").mkdir()
    for i in range(6):
        trimesh.creation.box((1.0, 0.8, 0.2 + 0.2 * i)).export(tmp_path / "meshes" / f"{i}.ply")
    return meshgpt.MeshGptConfig(meshes=tmp_path / "meshes", output=tmp_path / "out", budget_flops=2e4, num_samples=5)


def test_a_snapped_mesh_is_watertight_and_starts_each_face_at_its_lowest_vertex():
    vertices, faces = low_poly.snap_to_lattice(np.asarray(BOX.vertices), np.asarray(BOX.faces))
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(BOX.volume, rel=0.1)  # and positive: the faces still point outwards
    assert (faces[:, 0] == faces.min(1)).all()
    assert (np.lexsort(vertices.T) == np.arange(len(vertices))).all()  # by z, then y, then x
    cells = (vertices + 1) / 2 * low_poly.LATTICE - 0.5
    assert np.allclose(cells, cells.round())


def test_faces_that_collapse_on_the_lattice_are_dropped():
    vertices = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0.001, 0, 0]])
    _, faces = low_poly.snap_to_lattice(vertices, np.array([[0, 1, 2], [0, 3, 1]]))
    assert len(faces) == 1


def test_batches_are_padded_and_cover_all_meshes(config):
    meshes = low_poly.read_meshes(config.meshes)
    batches = low_poly.mesh_batches([*meshes[:2], (meshes[0][0][:3], np.array([[0, 1, 2]]))], 3, 0)
    vertices, faces = next(batches)
    assert (vertices.shape, faces.shape) == ((3, 8, 3), (3, 12, 3))
    assert sorted((faces >= 0).all(-1).sum(1).tolist()) == [1, 12, 12]
    assert set(vertices[(faces < 0).any(-1).any(1)][0, 3:].flatten().tolist()) == {-1.0}


def test_a_folder_without_small_meshes_is_refused(tmp_path: Path):
    trimesh.creation.icosphere(4).export(tmp_path / "large.ply")
    with pytest.raises(InputError, match=r"no \.ply meshes of 200 triangles or fewer; write them with --run RUN"):
        low_poly.read_meshes(tmp_path)


def test_meshes_are_written_only_for_runs_over_the_built_in_families(tmp_path: Path):
    files = dataclasses.replace(PipelineConfig(), corpus="chairs")
    Run(files, tmp_path).write_config()
    with pytest.raises(InputError, match="learned from chairs; give a run over the built-in families"):
        low_poly.write_meshes(tmp_path, 4, tmp_path / "meshes")


def test_both_stages_together_cost_no_more_than_the_budget(config):
    meshgpt.train_meshgpt(config)
    cost = read_json(config.output / "cost.json")
    assert 0.8 * config.budget_flops < cost["train_flops"] <= config.budget_flops
    assert cost["parameters"] == 2 + 3  # the frozen autoencoder counts once
    assert cost["steps"] == sum(history[-1][0] for history in cost["histories"].values())
    assert list(cost["histories"]) == ["autoencoder", "transformer"]
    assert cost["sample_flops"] == 2 * 2 * low_poly.MAX_FACES * 3
    assert cost["coordinate_accuracy"] == 1.0
    assert (cost["baseline"], cost["num_meshes"], cost["num_samples"]) == ("meshgpt", 6, 5)


def test_samples_are_written_and_watertight_ones_are_counted(config):
    meshgpt.train_meshgpt(config)
    cost = read_json(config.output / "cost.json")
    assert (cost["with_triangles"], cost["watertight"]) == (5, 5)
    paths = sorted((config.output / "samples").glob("*.ply"))
    assert len(paths) == 5
    assert trimesh.load(paths[0]).volume == pytest.approx(BOX.volume, rel=0.1)


def test_a_finished_folder_is_left_as_it_is(config, monkeypatch: pytest.MonkeyPatch, capsys):
    write_json(config.output / "cost.json", {})
    line = f"meshgpt --meshes {config.meshes} --output {config.output}"
    monkeypatch.setattr("sys.argv", line.split())
    assert meshgpt.main() == 0
    assert "already trained" in capsys.readouterr().err
    assert read_json(config.output / "cost.json") == {}
