"""Mesh files become shapes with the right distances, and bad files are refused in one sentence."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.meshes import Shapes, load_shape, load_shapes
from weightgpt.shapes.readers import limits, reading
from weightgpt.shapes.shape import Shape

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
CUBE = SQUARE + "v 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1\n"
SIDES = "f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8\n"


def points(n: int = 2000) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def ball(radius: float = 1.0) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=4, radius=radius)


def saved(mesh: trimesh.Trimesh, path: Path) -> Shape:
    mesh.export(path)
    return load_shape(path)


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "glb", "off"])
def test_a_sphere_is_read_back(tmp_path: Path, suffix: str) -> None:
    shape = saved(ball(2.0), tmp_path / f"ball.{suffix}")
    distances = shape.sdf(points())
    assert distances.shape == (2000,)
    assert distances.dtype == torch.float32
    torch.testing.assert_close(distances, points().norm(dim=1) - 0.9, atol=3e-3, rtol=0)
    assert (shape.name, shape.label, shape.dimension) == ("ball", "none", 3)


def test_a_box_is_exact_and_a_torus_close(tmp_path: Path) -> None:
    brick = saved(trimesh.creation.box((2.0, 1.0, 4.0)), tmp_path / "box.ply")
    gap = points().abs() - torch.tensor([0.45, 0.225, 0.9])
    expected = gap.relu().norm(dim=1) + gap.amax(dim=1).clamp_max(0)
    torch.testing.assert_close(brick.sdf(points()), expected, atol=1e-5, rtol=0)
    ring = saved(trimesh.creation.torus(0.6, 0.3, major_sections=128, minor_sections=64), tmp_path / "torus.stl")
    around = points() * torch.tensor([1.0, 1.0, 0.0])
    expected = (points() - 0.6 * around / around.norm(dim=1, keepdim=True)).norm(dim=1) - 0.3
    torch.testing.assert_close(ring.sdf(points()), expected, atol=3e-3, rtol=0)


@pytest.mark.parametrize(("factor", "offset"), [(7.0, (100.0, -3.0, 2.0)), (1e-20, (0.0, 0.0, 0.0)), (1e30, (0, 0, 0))])
def test_position_and_scale_only_change_the_transform(tmp_path: Path, factor: float, offset: tuple[float, ...]) -> None:
    mesh = trimesh.creation.capsule(height=2.0, radius=0.5)
    plain = saved(mesh, tmp_path / "plain.obj")
    vertices = mesh.vertices * factor + np.array(offset)
    rows = [f"v {x:.17e} {y:.17e} {z:.17e}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    (tmp_path / "moved.obj").write_text("\n".join(rows))
    moved = load_shape(tmp_path / "moved.obj")
    torch.testing.assert_close(moved.sdf(points()), plain.sdf(points()), atol=1e-4, rtol=0)
    assert moved.scale == pytest.approx(factor * plain.scale, rel=1e-6)
    corner = np.array([0.0, 0.0, 0.9]) * moved.scale + np.array(moved.center)
    assert corner[2] == pytest.approx(vertices[:, 2].max(), rel=1e-6)


def test_a_hole_does_not_change_the_signs(tmp_path: Path) -> None:
    mesh = ball()
    mesh.update_faces(mesh.triangles_center[:, 2] < 0.97)
    shape = saved(mesh, tmp_path / "hole.ply")
    queries = points()[(points().norm(dim=1) - 0.9).abs() > 0.1]
    queries = queries[queries[:, 2] < 0.6]
    assert torch.equal(shape.sdf(queries) < 0, queries.norm(dim=1) < 0.9)


def test_inside_out_and_overlapping_meshes_have_the_right_signs(tmp_path: Path) -> None:
    mesh = ball()
    mesh.invert()
    torch.testing.assert_close(
        saved(mesh, tmp_path / "in.ply").sdf(points()), points().norm(dim=1) - 0.9, atol=3e-3, rtol=0
    )
    pair = trimesh.util.concatenate([ball(), ball().apply_translation([0.5, 0, 0])])
    middle = saved(pair, tmp_path / "pair.ply").sdf(torch.zeros(1, 3))
    assert middle.item() < 0


def test_a_scene_counts_as_one_mesh(tmp_path: Path) -> None:
    scene = trimesh.Scene([ball(0.5).apply_translation([x, 0, 0]) for x in (-1.3, 1.3)])
    scene.export(tmp_path / "two.glb")
    shape = load_shape(tmp_path / "two.glb")
    assert (shape.sdf(torch.tensor([[-0.65, 0.0, 0.0], [0.65, 0.0, 0.0]])) < 0).all()
    assert shape.sdf(torch.zeros(1, 3)).item() > 0.2


def test_fault_26_material_files_of_a_mesh_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.mtl").write_text("newmtl a\nKd 1 0 0\n")
    (tmp_path / "cube.obj").write_text("mtllib x.mtl\nusemtl a\n" + CUBE + SIDES)
    opened: list[str] = []
    opens = io.open

    def note(path: object, *arguments: object, **options: object) -> object:
        opened.append(Path(str(path)).name)
        return opens(path, *arguments, **options)

    monkeypatch.setattr(io, "open", note)
    monkeypatch.setattr("builtins.open", note)
    assert load_shape(tmp_path / "cube.obj").sdf(torch.zeros(1, 3)).item() == pytest.approx(-0.9)
    assert opened == ["cube.obj"]


REFUSED = {
    "nothing.obj": ("", "is empty"),
    "noise.ply": (b"\x93\x00\xff" * 99, "cannot be read as a mesh"),
    "noise.obj": (b"\xff\xfe\x93\x00" * 99, "has no faces"),
    "short.ply": (
        "ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n",
        "cannot be",
    ),
    "beside.gltf": (
        '{"asset":{"version":"2.0"},"buffers":[{"uri":"../../secret.bin","byteLength":9}]}',
        "has no faces",
    ),
    "nan.obj": (CUBE.replace("v 0 0 0", "v nan 0 0") + SIDES, "NaN or infinite"),
    "infinite.obj": (CUBE.replace("v 0 0 0", "v 1e999 0 0") + SIDES, "NaN or infinite"),
    "beyond.obj": (SQUARE + "f 1 2 9\n" * 4, "do not exist"),
    "points.obj": (SQUARE, "has no faces"),
    "triangle.obj": (SQUARE + "f 1 2 3\n", "too few faces with an area: 1, at least 4"),
    "degenerate.obj": (SQUARE + "f 1 2 2\nf 1 1 3\n" * 4, "too few faces with an area: 0"),
    "point.obj": ("v 1 1 1\n" * 4 + "f 1 2 3\nf 2 3 4\n" * 4, "has no extent"),
    "sheet.obj": (SQUARE + "v 0.5 0.5 0\nf 1 2 5\nf 2 3 5\nf 3 4 5\nf 4 1 5\n", "encloses no volume"),
    "wide.obj": (CUBE.replace("v 1 ", "v 1e308 ").replace("v 0 ", "v -1e308 ") + SIDES, "area|extent"),
    "mesh.obj.gz": (b"\x1f\x8b", "is a compressed file"),
    "mesh.zip": (b"PK", "is a compressed file"),
    "mesh.npz": (b"PK", "may run code"),
    "mesh.pt": (b"\x80", "may run code"),
    "mesh.dae": ("<x/>", "is a file of another format"),
    "mesh": ("", "is a file of another format"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("error")
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, sentence = REFUSED[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=sentence) as refusal:
        load_shape(tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_files_that_are_too_large_or_missing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="is not a file"):
        load_shape(tmp_path / "missing.ply")
    with pytest.raises(InputError, match="is not a file"):
        load_shape(tmp_path)
    ball().export(tmp_path / "ball.ply")
    monkeypatch.setattr(limits, "MAX_FACES", 100)
    with pytest.raises(InputError, match="5,120 faces, more than the 100 allowed"):
        load_shape(tmp_path / "ball.ply")
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="MiB allowed"):
        load_shape(tmp_path / "ball.ply")


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), KeyError("x"), ValueError("a\nb")])
def test_any_error_of_a_loader_becomes_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    (tmp_path / "a.ply").write_bytes(b"ply")
    monkeypatch.setitem(reading._READERS, ".ply", fail)
    with pytest.raises(InputError, match=rf"a\.ply cannot be read as a mesh \({type(error).__name__}"):
        load_shape(tmp_path / "a.ply")


def test_a_folder_gives_labeled_shapes_and_refused_files(tmp_path: Path) -> None:
    for name in ["top.ply", "b/one.ply", "a/deep/two.obj", "a/deep/two.ply", ".hidden/x.ply"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        ball().export(tmp_path / name)
    (tmp_path / "a" / "bad.stl").write_bytes(b"solid")
    (tmp_path / "b" / "notes.txt").write_text("not a mesh")
    (tmp_path / "b" / "manifest.csv").write_text("file")
    shapes = load_shapes(tmp_path)
    assert isinstance(shapes, Shapes)
    assert shapes[1:] == tuple(shapes)[1:]
    assert [(shape.name, shape.label) for shape in shapes] == [
        ("a-deep-two", "a"),
        ("a-deep-two.ply", "a"),
        ("b-one", "b"),
        ("top", "none"),
    ]
    assert [refusal.path for refusal in shapes.refused] == [tmp_path / "a" / "bad.stl"]
    assert "bad.stl" in shapes.refused[0].reason


def test_folders_without_meshes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_shapes(tmp_path / "missing")
    with pytest.raises(InputError, match="holds no mesh; put "):
        load_shapes(tmp_path)
    (tmp_path / "bad.obj").write_text("")
    with pytest.raises(InputError, match=r"has no mesh that can be read; the first of its 1 files: .*bad\.obj"):
        load_shapes(tmp_path)


def test_a_thickness_that_no_solid_can_have_is_refused_before_any_file_is_read(tmp_path):
    with pytest.raises(InputError, match=r"^the thickness is -1; give a length between 0 and 1"):
        load_shapes(tmp_path, thickness=-1)


@pytest.mark.parametrize(("suffix", "size", "offset"), [("stl", 1.0, 1e8), ("stl", 50.0, 1e8), ("ply", 1.0, 5e6)])
def test_a_mesh_that_lost_its_digits_is_refused_for_this_reason(
    tmp_path: Path, suffix: str, size: float, offset: float
) -> None:
    ball = trimesh.creation.icosphere(3, size)
    if suffix == "stl":
        corners = (ball.vertices[ball.faces] + offset).astype("<f4")
        records = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
        records["corners"] = corners
        content = bytes(80) + np.uint32(len(corners)).tobytes() + records.tobytes()
    else:
        content = trimesh.Trimesh((ball.vertices + offset).astype(np.float32), ball.faces, process=False).export(
            file_type="ply"
        )
    path = tmp_path / f"ball.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"where single precision has steps of .*; move the mesh to the origin"):
        load_shape(path)


def test_a_mesh_far_from_the_origin_that_has_its_digits_is_read(tmp_path: Path) -> None:
    cube = trimesh.creation.box((2.0, 2.0, 4.0))
    cube.apply_translation((8e6, 0, 0))
    assert saved(cube, tmp_path / "cube.stl").volume == pytest.approx(16, rel=1e-4)
