"""Files of balls and boxes to evaluate."""

from pathlib import Path

import pytest
import torch
import trimesh

from tests.fakes import fitted_sphere, tiny_config
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.storage import ShapeMetadata, save_fields

OFFSETS = {
    "train": [-0.16, -0.12, -0.08, -0.04, 0.0],
    "held": [-0.14, -0.1, -0.06, -0.02],
    "new": [-0.18, -0.142, -0.021, 0.02],
    "empty": [9.0, 9.0],
}


def ball_fields(offsets: list[float]) -> Fields:
    """Balls of different sizes: the last bias moves the zero level."""
    flat = fitted_sphere().repeat(len(offsets), 1)
    flat[:, -1] += torch.tensor(offsets)
    return Fields(tiny_config(), flat)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of fields and folders of boxes, for training, held-out and new shapes; one new mesh is unreadable."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name, offsets in OFFSETS.items():
        names = [f"{name}-{i}" for i in range(len(offsets))]
        metadata = ShapeMetadata.plain(names, ["ball"] * len(offsets), 3)
        save_fields(folder / f"{name}.safetensors", ball_fields(offsets), metadata)
    planar = Fields(FieldConfig(in_features=2, hidden=(4,)), torch.rand(2, 81))
    save_fields(folder / "planar.safetensors", planar, ShapeMetadata.plain(["a", "b"], ["none"] * 2, 2))
    for name, widths in {"train": (0.3, 0.5, 0.7, 0.9), "held": (0.4, 0.6, 0.8), "new": (0.45, 0.65, 0.85)}.items():
        (folder / name).mkdir()
        for width in widths:
            trimesh.creation.box((1.0, width, 0.5)).export(folder / name / f"{width}.stl")
    (folder / "new" / "wrong.stl").write_text("not a mesh")
    (folder / "new" / "weights.pkl").write_text("no mesh at all")
    return folder
