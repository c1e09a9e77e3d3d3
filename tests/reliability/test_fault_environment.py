"""Faults of the machine around the library: numbers 12, 34 and 63."""

import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from tests.conftest import TINY
from tests.fakes import command, fitted_sphere, tiny_config
from tests.reliability.tiny_run import artifacts
from training import pipeline
from training.run import STAGES
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import ShapeMetadata, save_fields
from weightgpt.shapes.meshes import load_shape
from weightgpt.shapes.sampling import uniform_points

YEAR = 365 * 24 * 3600


@pytest.mark.parametrize("seconds", [-YEAR, YEAR])
def test_fault_12_times_of_files_do_not_decide_what_is_made_again(finished: Path, tmp_path: Path, seconds: int):
    output = shutil.copytree(finished, tmp_path / "run")
    for path in output.rglob("*"):
        stamp = path.stat().st_mtime + (seconds if len(path.name) % 2 else 0)
        os.utime(path, (stamp, stamp))
    before = artifacts(output, list(STAGES))
    pipeline.run_pipeline(TINY, output)
    assert artifacts(output, list(STAGES)) == before


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb", "stl"])
@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0.0), (1e9, 0.0), (1.0, 1e6)])
def test_fault_34_size_and_place_of_a_mesh_do_not_change_its_distances(
    tmp_path: Path, suffix: str, factor: float, offset: float
):
    """A box with corners that single precision holds at that place, because three of the formats hold no more."""
    mesh = trimesh.creation.box((2, 1, 1))
    mesh.vertices = mesh.vertices * factor + offset
    path = tmp_path / f"box.{suffix}"
    if suffix == "obj":  # the writer of trimesh rounds to eight decimals
        lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in mesh.vertices.tolist()]
        path.write_text("\n".join([*lines, *(f"f {a} {b} {c}" for a, b, c in mesh.faces + 1)]))
    else:
        mesh.export(path)
    points = uniform_points(2000, 3, 0)
    half = torch.tensor([0.9, 0.45, 0.45])
    excess = points.abs() - half
    expected = excess.clamp(min=0).norm(dim=-1) + excess.amax(-1).clamp(max=0)
    shape = load_shape(path)
    torch.testing.assert_close(shape.sdf(points), expected, atol=1e-4, rtol=0)
    assert shape.scale == pytest.approx(factor / 0.9, rel=1e-6)
    assert np.allclose(shape.center, offset, rtol=1e-6, atol=1e-6 * factor)


@pytest.fixture
def balls(tmp_path: Path) -> Path:
    """A file of four balls whose names are not ASCII; one of them is empty."""
    flat = fitted_sphere().repeat(4, 1)
    flat[:, -1] += torch.tensor([-0.1, 0.0, 0.1, 9.0])
    names = ["größe-α", "größe-β", "größe-γ", "größe-δ"]
    path = tmp_path / "größen mit leerzeichen.safetensors"
    save_fields(path, Fields(tiny_config(), flat), ShapeMetadata.plain(names, ["größe"] * 4))
    return path


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("name", ["evaluate", "mesh", "render", "info"])
def test_fault_63_results_are_printed_on_any_terminal(
    balls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, name: str
):
    arguments = {
        "evaluate": ["--train", str(balls), "--held-out", str(balls), "--resolution", "16", "--points", "64"],
        "mesh": ["-o", str(tmp_path / "größe"), "--resolution", "16"],
        "render": ["-o", str(tmp_path / "größe.png"), "--size", "16"],
        "info": [],
    }
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert command(name, str(balls), *arguments[name]) == 0
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue()
