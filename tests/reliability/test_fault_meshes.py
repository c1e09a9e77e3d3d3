"""Faults of single mesh files: numbers 30 and 31. The other files of the folder are read."""

from pathlib import Path

import pytest
import trimesh

from weightgpt.errors import InputError
from weightgpt.shapes.meshes import load_shape, load_shapes

CORNERS = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
TENT = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
SIDES = "f 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
WITHOUT_SOLID = {
    "empty": "",
    "no faces": CORNERS,
    "one triangle": CORNERS + "f 1 2 3\n",
    "no area": "v 0 0 0\nv 1 0 0\nv 2 0 0\nv 3 0 0\nf 1 2 3\nf 2 3 4\nf 1 3 4\nf 1 2 4\n",
    "no volume": CORNERS + "v 0.5 0.5 0\nf 1 2 5\nf 2 3 5\nf 3 4 5\nf 4 1 5\n",
}
WITHOUT_PLACE = {
    "nan": TENT.replace("v 1 0 0", "v nan 0 0") + SIDES,
    "infinite": TENT.replace("v 1 0 0", "v inf 0 0") + SIDES,
    "beyond double precision": TENT.replace("v 1 0 0", "v 1e999 0 0") + SIDES,
    "one point": "v 1 1 1\n" * 4 + SIDES,
}


def check_refused(text: str, folder: Path) -> None:
    """The file is refused in a sentence that names it, alone and in a folder, and the file beside it is read."""
    (folder / "bad.obj").write_text(text)
    trimesh.creation.box((1, 1, 1)).export(folder / "good.ply")
    with pytest.raises(InputError, match=r"bad\.obj"):
        load_shape(folder / "bad.obj")
    shapes = load_shapes(folder)
    assert [shape.name for shape in shapes] == ["good"]
    assert [refusal.path.name for refusal in shapes.refused] == ["bad.obj"]
    assert "bad.obj" in shapes.refused[0].reason


@pytest.mark.parametrize("name", WITHOUT_SOLID)
def test_fault_30_a_mesh_without_a_solid_is_refused_and_the_others_are_read(tmp_path: Path, name: str):
    check_refused(WITHOUT_SOLID[name], tmp_path)


@pytest.mark.parametrize("name", WITHOUT_PLACE)
def test_fault_31_vertices_without_a_place_are_refused_and_the_others_are_read(tmp_path: Path, name: str):
    check_refused(WITHOUT_PLACE[name], tmp_path)


def test_fault_31_very_large_coordinates_are_read(tmp_path: Path):
    (tmp_path / "large.obj").write_text(TENT.replace("1", "1e30") + SIDES)
    assert load_shape(tmp_path / "large.obj").scale == pytest.approx(1e30 / 1.8)
