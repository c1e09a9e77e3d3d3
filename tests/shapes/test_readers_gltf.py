"""glTF is read as its specification says, or refused in a sentence that names what is not read."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shapes.mesh_files import CORNERS, CUBE, Glb, bounds, cube_glb, open_edges, volume
from weightgpt.errors import InputError
from weightgpt.shapes.readers import gltf_json, gltf_nodes, limits
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.reading import read_mesh_file

BOX = [[-1, -1, -1], [1, 1, 1]]
STRIP = [0, 1, 2, 3, 6, 7, 4, 5, 0, 1]
"""The four sides of the cube around the axis x = y, as one strip."""


def refuse(glb: Glb, folder: Path, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_mesh_file(glb.save(folder))


@pytest.mark.parametrize(("code", "low"), [("i1", -1), ("i2", -1), ("u1", 0), ("u2", 0)])
@pytest.mark.parametrize("normalized", [True, False])
def test_case_01_quantized_positions(tmp_path: Path, code: str, low: int, normalized: bool) -> None:
    glb = Glb()
    most = np.iinfo(code).max if normalized else 1
    rows = np.zeros((8, 4), code)
    rows[:, :3] = most * (CORNERS if low == -1 else (CORNERS + 1) / 2)
    view = glb.view(rows.tobytes(), byteStride=rows.itemsize * 4)
    component = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123}[code]
    entry = {"bufferView": view, "componentType": component, "count": 8, "type": "VEC3"}
    glb.tree["accessors"].append({**entry, **({"normalized": True} if normalized else {})})
    mesh = glb.primitive(attributes={"POSITION": 0}, indices=glb.accessor(CUBE.ravel(), "u1", "SCALAR"))
    glb.require("KHR_mesh_quantization")
    for x in (0, 3):
        glb.node(mesh=mesh, translation=[x, 0, 0], scale=[1.0 if low == -1 else 2.0] * 3)
    parts = read_mesh_file(glb.save(tmp_path))
    assert len(parts) == 2
    assert volume(parts) == pytest.approx(16)
    assert np.ptp(bounds(parts), axis=0).tolist() == pytest.approx([5, 2, 2])


def test_sparse_accessors_replace_elements(tmp_path: Path) -> None:
    glb = Glb()
    mesh = glb.mesh(np.where(np.arange(8)[:, None] == 7, 9.0, CORNERS))
    values, where = CORNERS[[7]].astype("<f4").tobytes(), np.array([7], "u1").tobytes()
    sparse = {"count": 1, "indices": {"bufferView": glb.view(where), "componentType": 5121}}
    glb.tree["accessors"][0]["sparse"] = {**sparse, "values": {"bufferView": glb.view(values)}}
    glb.node(mesh=mesh)
    assert bounds(read_mesh_file(glb.save(tmp_path))) == BOX
    # Without a view, the other elements are zero.
    del glb.tree["accessors"][0]["bufferView"]
    assert bounds(read_mesh_file(glb.save(tmp_path))) == [[0, 0, 0], [1, 1, 1]]


def test_strips_and_fans_face_outwards(tmp_path: Path) -> None:
    glb = Glb()
    position = {"POSITION": glb.accessor(CORNERS, "f4", "VEC3")}
    ends = [[0, 2, 6, 4], [1, 5, 7, 3]]
    glb.tree["meshes"].append(
        {
            "primitives": [
                {"attributes": position, "mode": 5, "indices": glb.accessor(STRIP, "u1", "SCALAR")},
                *({"attributes": position, "mode": 6, "indices": glb.accessor(end, "u1", "SCALAR")} for end in ends),
                {"attributes": position, "mode": 1, "indices": glb.accessor([0, 7], "u1", "SCALAR")},
                {"attributes": position, "mode": 0},
            ]
        }
    )
    glb.node(mesh=0)
    parts = read_mesh_file(glb.save(tmp_path))
    assert volume(parts) == pytest.approx(8)
    assert len(parts[0].faces) == 12


def test_a_mesh_without_indices(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(mesh=glb.primitive(attributes={"POSITION": glb.accessor(CORNERS[CUBE].reshape(-1, 3), "f4", "VEC3")}))
    assert volume(read_mesh_file(glb.save(tmp_path))) == pytest.approx(8)


def test_nodes_apply_their_transforms_in_order(tmp_path: Path) -> None:
    glb = Glb()
    quarter = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]
    child = glb.node(root=False, mesh=glb.mesh(), translation=[3, 0, 0], scale=[1, 2, 1])
    turned = glb.node(root=False, children=[child], rotation=quarter)
    matrix = np.eye(4)
    matrix[:3, 3] = 0, 0, 10
    glb.node(children=[turned], matrix=matrix.T.ravel().tolist())
    assert bounds(read_mesh_file(glb.save(tmp_path))) == [[-2, 2, 9], [2, 4, 11]]


def test_a_mirrored_node_still_faces_outwards(tmp_path: Path) -> None:
    glb = Glb()
    mesh = glb.mesh(CORNERS + np.array([3, 0, 0]))
    glb.node(mesh=mesh)
    glb.node(mesh=mesh, scale=[-1, 1, 1])
    assert [round(volume([part])) for part in read_mesh_file(glb.save(tmp_path))] == [8, 8]


def test_case_09_a_node_hidden_by_scale_0_has_no_area(tmp_path: Path) -> None:
    glb = Glb()
    mesh = glb.mesh()
    glb.node(mesh=mesh)
    glb.node(mesh=mesh, translation=[50.1, 0.3, 0.7], rotation=[0.1, 0.2, 0.3, 0.9], scale=[0, 0, 0])
    hidden = read_mesh_file(glb.save(tmp_path))[1]
    assert np.ptp(hidden.vertices, axis=0).tolist() == [0, 0, 0]
    glb.tree["nodes"][1] = {"mesh": mesh, "extensions": {"KHR_node_visibility": {"visible": False}}}
    assert len(read_mesh_file(glb.save(tmp_path))) == 1


def test_only_the_scene_that_the_file_names_is_read(tmp_path: Path) -> None:
    glb = Glb()
    mesh = glb.mesh()
    glb.node(mesh=mesh)
    glb.node(root=False, mesh=mesh, translation=[5, 0, 0])
    glb.tree["scenes"].append({"nodes": [1]})
    assert bounds(read_mesh_file(glb.save(tmp_path))) == BOX
    glb.tree["scene"] = 1
    assert bounds(read_mesh_file(glb.save(tmp_path)))[0] == [4, -1, -1]
    for name in ("scene", "scenes"):
        del glb.tree[name]
    assert bounds(read_mesh_file(glb.save(tmp_path))) == [[-1, -1, -1], [6, 1, 1]]
    del glb.tree["nodes"]
    assert bounds(read_mesh_file(glb.save(tmp_path))) == BOX


def test_instances_are_placed_below_their_node(tmp_path: Path) -> None:
    glb = Glb()
    attributes = {
        "TRANSLATION": glb.accessor([[0, 0, 0], [3, 0, 0]], "f4", "VEC3"),
        "ROTATION": glb.accessor([[0, 0, 0, 127], [0, 127, 0, 0]], "i1", "VEC4", normalized=True),
        "SCALE": glb.accessor([[1, 1, 1], [0.5, 0.5, 0.5]], "f4", "VEC3"),
    }
    extension = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    glb.node(mesh=glb.mesh(), translation=[0, 0, 7], extensions=extension)
    glb.require("EXT_mesh_gpu_instancing")
    parts = read_mesh_file(glb.save(tmp_path))
    assert [round(volume([part])) for part in parts] == [8, 1]
    assert bounds(parts) == [[-1, -1, 6], [3.5, 1, 8]]
    attributes["SCALE"] = glb.accessor([[1, 1, 1]], "f4", "VEC3")
    refuse(glb, tmp_path, "transforms of instances are not of one number")


def test_morph_targets_have_their_default_weights(tmp_path: Path) -> None:
    glb = Glb()
    delta = glb.accessor(np.where(CORNERS > 0, 2.0, 0.0) * [1, 0, 0], "f4", "VEC3")
    mesh = glb.mesh(targets=[{"POSITION": delta}])
    glb.node(mesh=mesh)
    assert bounds(read_mesh_file(glb.save(tmp_path))) == BOX
    glb.tree["meshes"][mesh]["weights"] = [0.5]
    assert bounds(read_mesh_file(glb.save(tmp_path))) == [[-1, -1, -1], [2, 1, 1]]
    glb.tree["nodes"][0]["weights"] = [1]
    assert bounds(read_mesh_file(glb.save(tmp_path))) == [[-1, -1, -1], [3, 1, 1]]
    glb.tree["nodes"][0]["weights"] = [1, 1]
    refuse(glb, tmp_path, "1 morph targets and 2 weights")


def skinned(glb: Glb, **more: Any) -> None:
    """A cube whose upper half follows a joint that is 5 higher than at rest; its node has another transform."""
    upper = (CORNERS[:, 2] > 0).astype(int)
    joints, weights = np.stack([0 * upper, upper, 0 * upper, 0 * upper], 1), np.zeros((8, 4))
    weights[np.arange(8), upper] = 1
    mesh = glb.mesh()
    attributes = glb.tree["meshes"][mesh]["primitives"][0]["attributes"]
    attributes |= {"JOINTS_0": glb.accessor(joints, "u1", "VEC4"), "WEIGHTS_0": glb.accessor(weights, "f4", "VEC4")}
    low, high = glb.node(), glb.node(translation=[0, 0, 6])
    rest = np.stack([np.eye(4), np.eye(4)])
    rest[1, 2, 3] = -1
    matrices = glb.accessor(rest.transpose(0, 2, 1).reshape(2, 16), "f4", "MAT4")
    glb.tree["skins"] = [{"joints": [low, high], "inverseBindMatrices": matrices, **more}]
    glb.node(mesh=mesh, skin=0, scale=[100, 100, 100])


def test_a_skin_moves_vertices_by_its_joints_alone(tmp_path: Path) -> None:
    glb = Glb()
    skinned(glb)
    assert bounds(read_mesh_file(glb.save(tmp_path))) == [[-1, -1, -1], [1, 1, 6]]
    glb.tree["skins"][0]["joints"] = [0, 9]
    refuse(glb, tmp_path, "a skin has no joints, or one that is not in the scene")


@pytest.mark.parametrize("name", ["ACME_folded_space", "EXT_primitive_voxels", "KHR_materials_displacement"])
def test_a_required_extension_that_is_unknown_is_named(tmp_path: Path, name: str) -> None:
    glb = Glb()
    glb.node(mesh=glb.mesh())
    glb.require("KHR_materials_unlit")
    assert volume(read_mesh_file(glb.save(tmp_path))) == pytest.approx(8)
    glb.require(name)
    refuse(glb, tmp_path, f"requires {name}, which is not read; export it without this extension")


def test_case_05_compressed_geometry_is_refused_by_name(tmp_path: Path) -> None:
    glb = Glb()
    draco = {"KHR_draco_mesh_compression": {"bufferView": glb.view(bytes(64)), "attributes": {"POSITION": 0}}}
    mesh = glb.mesh(extensions=draco)
    glb.node(mesh=mesh)
    glb.tree["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    # The uncompressed numbers are there as well.
    assert volume(read_mesh_file(glb.save(tmp_path))) == pytest.approx(8)
    del glb.tree["accessors"][0]["bufferView"]
    refuse(glb, tmp_path, "is compressed with KHR_draco_mesh_compression, which is not read")
    glb.require("KHR_draco_mesh_compression")
    refuse(glb, tmp_path, "is compressed with KHR_draco_mesh_compression, which is not read")


def test_case_05_views_compressed_by_meshopt_are_refused_by_name(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(mesh=glb.mesh())
    glb.tree["extensionsUsed"] = ["EXT_meshopt_compression"]
    view = glb.tree["bufferViews"][0]
    view["extensions"] = {"EXT_meshopt_compression": {"buffer": 0, "byteLength": 9, "count": 8, "byteStride": 12}}
    assert volume(read_mesh_file(glb.save(tmp_path))) == pytest.approx(8)
    view["buffer"] = 1
    fallback = {"byteLength": 200, "extensions": {"EXT_meshopt_compression": {"fallback": True}}}
    glb.tree["buffers"] = [{"byteLength": len(glb.binary)}, fallback]
    refuse(glb, tmp_path, "is compressed with EXT_meshopt_compression, which is not read")
    fallback["extensions"] = {}
    refuse(glb, tmp_path, "buffer 1 has no data; it may be compressed with EXT_meshopt_compression")


def test_fault_26_buffers_inside_a_gltf_are_read_and_others_are_not_opened(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(mesh=glb.mesh(), camera=0)
    path = tmp_path / "x.gltf"
    for uri in (
        "data:application/octet-stream;base64," + base64.b64encode(glb.binary).decode(),
        "data:," + "".join(f"%{byte:02x}" for byte in glb.binary),
    ):
        path.write_text(json.dumps({**glb.tree, "buffers": [{"byteLength": len(glb.binary), "uri": uri}]}))
        assert volume(read_mesh_file(path)) == pytest.approx(8)
    (tmp_path / "x.bin").write_bytes(glb.binary)
    for uri in ("x.bin", "file:///etc/passwd", "http://localhost/x.bin"):
        path.write_text(json.dumps({**glb.tree, "buffers": [{"byteLength": len(glb.binary), "uri": uri}]}))
        with pytest.raises(InputError, match=r"keeps its buffers in other files .*which are not opened.*as \.glb"):
            read_mesh_file(path)


SPOILED = {
    "a point of two numbers": ({"accessors": {0: {"type": "VEC2"}}}, "accessor 0 is 'VEC2' of 5126, not VEC3"),
    "a count without bytes": ({"accessors": {0: {"count": 2**31}}}, "claims 2,147,483,648 elements"),
    "an index that is too large": ({"accessors": {0: {"count": 7}}}, "faces with vertices that do not exist"),
    "a text as an index": ({"nodes": {0: {"mesh": "0"}}}, "meshes has no entry"),
    "an overlapping stride": ({"bufferViews": {0: {"byteStride": 4}}}, "has elements that overlap"),
    "a view behind the end": ({"bufferViews": {0: {"byteOffset": 10**9}}}, "more than its buffer holds"),
    "one index too few": ({"accessors": {1: {"count": 35}}}, "has 35 corners, which is no multiple of 3"),
    "signed indices": ({"accessors": {1: {"componentType": 5122}}}, "accessor 1 is 'SCALAR' of 5122"),
    "a rotation of 0": ({"nodes": {0: {"rotation": [0, 0, 0, 0]}}}, "a rotation is the quaternion 0"),
    "a matrix of 15": ({"nodes": {0: {"matrix": [1] * 15}}}, "matrix is not a list of 16 finite numbers"),
    "a projection": ({"nodes": {0: {"matrix": [1] * 16}}}, "the matrix of a node is not affine"),
    "its own child": ({"nodes": {0: {"children": [0]}}}, "uses node 0 in two places"),
    "version 1": ({"asset": {"version": "1.0"}}, "is glTF of version '1.0', and 2.0 is read"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_refused_names_the_true_reason(tmp_path: Path, name: str) -> None:
    glb = Glb()
    glb.node(mesh=glb.mesh())
    changes, sentence = SPOILED[name]
    for table, rows in changes.items():
        for key, values in rows.items():
            glb.tree[table][key] = values if table == "asset" else {**glb.tree[table][key], **values}
    refuse(glb, tmp_path, sentence)


def test_fault_25_meshes_that_unfold_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_FACES", 12_000)
    monkeypatch.setattr(gltf_json, "MAX_VALUES", 20_000)
    glb = Glb()
    mesh = glb.mesh()
    glb.tree["scenes"][0]["nodes"] = list(range(1_001))
    glb.tree["nodes"] = [{"mesh": mesh}] * 1_001
    refuse(glb, tmp_path, "has 12,012 faces, more than the 12,000 allowed")
    glb.tree["nodes"] = [{"children": [i + 1] * 10} for i in range(6)] + [{"mesh": mesh}]
    glb.tree["scenes"][0]["nodes"] = [0]
    refuse(glb, tmp_path, "uses node .* in two places")
    glb.tree["nodes"] = [{"children": [i + 1], "translation": [1, 0, 0]} for i in range(2_000)] + [{"mesh": mesh}]
    assert bounds(read_mesh_file(glb.save(tmp_path)))[0] == [1_999, -1, -1]
    glb.tree["extras"] = [{}] * 20_001
    refuse(glb, tmp_path, "values in its JSON, more than the 20,000 allowed")


@pytest.mark.parametrize("length", range(0, 200, 9))
def test_a_glb_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "x.glb").write_bytes(cube_glb()[:length])
    with pytest.raises(InputError, match=r"is empty|cut short|JSON is broken"):
        read_mesh_file(tmp_path / "x.glb")


def test_parts_do_not_share_more_vertices_than_they_use(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(mesh=glb.mesh(np.concatenate([np.full((9999, 3), 1e9), CORNERS]), CUBE + 9999))
    (part,) = read_mesh_file(glb.save(tmp_path))
    assert isinstance(part, MeshPart)
    assert part.vertices.shape == (8, 3)
    assert open_edges(part) == 0


def test_nodes_without_transforms_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(gltf_nodes, "numbers", lambda *of: calls.append(of) or [1.0, 2.0, 3.0])
    matrices = gltf_nodes.local_matrices([{} for _ in range(100)] + [{"translation": [1, 2, 3]}])
    assert len(calls) == 1
    assert (matrices[:-1] == np.eye(4)).all()
    assert matrices[-1, :3, 3].tolist() == [1, 2, 3]
