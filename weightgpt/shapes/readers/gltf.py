"""glTF 2.0, as .glb and .gltf: the meshes of a scene, where its nodes place them.

Decisions:

- The file is read as the specification says: quantized and sparse accessors, strips and fans, instances, morph targets
  at their stated weights, skins in the pose of the file. Materials, cameras, lights and animations are not read.
- A required extension that is not known here may change the geometry, so the file is refused. Compressed geometry is
  refused by the name of the extension.
- Nothing outside of the file is opened.
- Faces are counted with all their instances before any mesh is decoded.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from weightgpt.errors import InputError
from weightgpt.shapes.readers.gltf_accessors import Accessors, compressed
from weightgpt.shapes.readers.gltf_json import Entry, child, entries, entry, numbers, parse
from weightgpt.shapes.readers.gltf_meshes import read_mesh, triangle_count
from weightgpt.shapes.readers.gltf_nodes import Matrix, Node, compose, scene_nodes
from weightgpt.shapes.readers.gltf_skins import Skin
from weightgpt.shapes.readers.limits import check_faces, unreadable
from weightgpt.shapes.readers.part import MeshPart

_INSTANCES = "EXT_mesh_gpu_instancing"
_MATERIALS = (
    *("anisotropy", "clearcoat", "common", "diffuse_transmission", "dispersion", "emissive_strength", "ior"),
    *("iridescence", "pbrSpecularGlossiness", "sheen", "specular", "subsurface", "transmission", "unlit", "variants"),
    *("volume", "volume_scatter"),
)
KNOWN_EXTENSIONS = frozenset(
    {
        *(f"KHR_materials_{name}" for name in _MATERIALS),
        *("KHR_mesh_quantization", _INSTANCES, "KHR_node_visibility", "KHR_texture_transform", "KHR_texture_basisu"),
        *("KHR_lights_punctual", "EXT_lights_image_based", "EXT_lights_ies", "KHR_animation_pointer"),
        *("KHR_xmp", "KHR_xmp_json_ld", "EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds"),
        *("EXT_mesh_features", "EXT_instance_features", "EXT_structural_metadata", "EXT_mesh_manifold"),
        *("KHR_node_hoverability", "KHR_node_selectability", "KHR_techniques_webgl", "FB_ngon_encoding"),
    }
)
"""Extensions that a file may require: they are read, or do not change the geometry."""
_BLOCK = 2**16
_COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


@dataclass(frozen=True)
class _Placement:
    """A mesh, with all transforms that its triangles get."""

    mesh: int
    weights: tuple[float, ...]
    matrices: list[Matrix]
    skin: int | None


def read_gltf(data: bytes) -> list[MeshPart]:
    """Read a glTF file.

    Args:
        data: the content of a .glb or .gltf file.

    Returns:
        One part for each node with a mesh and for each of its instances.

    Raises:
        InputError: the file breaks the rules of the format, needs something that is not read, or is too large.
    """
    tree, binary = _split(data)
    _check_version(tree)
    _check_extensions(tree)
    accessors = Accessors(tree, binary)
    nodes = scene_nodes(tree)
    if not entries(tree, "nodes"):
        nodes = [Node(-1, {"mesh": mesh}, np.eye(4), True) for mesh in range(len(entries(tree, "meshes")))]
    placements = _placements(tree, accessors, nodes)
    transforms = {node.index: node.matrix for node in nodes}
    parts: list[MeshPart] = []
    for placement in placements:
        skin = None
        if placement.skin is not None:
            skin = Skin(accessors, entry(tree, "skins", placement.skin), transforms)
        part = read_mesh(accessors, entry(tree, "meshes", placement.mesh), placement.weights, skin)
        if skin is None:
            parts += _placed(part, np.stack(placement.matrices))
        else:
            parts.append(MeshPart(part.vertices, part.faces[:, ::-1] if skin.mirrors else part.faces))
    return parts


def _split(data: bytes) -> tuple[Entry, memoryview | None]:
    """The JSON and the binary chunk of a file."""
    if data[:4] != b"glTF":
        return parse(data), None
    if len(data) < 20:
        raise unreadable("it is cut short")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise InputError(f"is a GLB of version {version}, and version 2 is read; export it again as glTF 2.0.")
    if length > len(data):
        raise unreadable(f"its header states {length:,} bytes but it has {len(data):,}, so it is cut short")
    chunks, position = list[tuple[bytes, memoryview]](), 12
    while position + 8 <= length and len(chunks) < 2:
        size, kind = struct.unpack_from("<I4s", data, position)
        if position + 8 + size > length:
            raise unreadable(f"a chunk states {size:,} bytes, more than the file holds")
        chunks.append((kind, memoryview(data)[position + 8 : position + 8 + size]))
        position += 8 + size + -size % 4
    if not chunks or chunks[0][0] != b"JSON":
        raise unreadable("its first chunk is not JSON")
    binary = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == b"BIN\0" else None
    return parse(bytes(chunks[0][1])), binary


def _check_version(tree: Entry) -> None:
    """Refuse other versions of glTF than 2."""
    asset = child(tree, "asset")
    for version in (asset.get("version"), asset.get("minVersion", "2.0")):
        if not isinstance(version, str) or not version.startswith("2."):
            raise InputError(f"is glTF of version {version!a:.20}, and 2.0 is read; export it again as glTF 2.0.")


def _check_extensions(tree: Entry) -> None:
    """Refuse a file that requires an extension which is not known here."""
    required = tree.get("extensionsRequired", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise unreadable("extensionsRequired is not a list of names")
    for name in required:
        if name in _COMPRESSIONS:
            raise compressed(name)
    unknown = [ascii(name[:60])[1:-1] for name in required if name not in KNOWN_EXTENSIONS]
    if unknown:
        raise InputError(f"requires {', '.join(unknown[:3])}, which is not read; export it without this extension.")


def _placements(tree: Entry, accessors: Accessors, nodes: list[Node]) -> list[_Placement]:
    """The meshes of the nodes; the instances of a mesh with equal weights are one placement.

    Raises:
        InputError: the meshes have too many faces, counting each instance.
    """
    found: dict[tuple[int, tuple[float, ...], int | None, int | None], _Placement] = {}
    counts: dict[int, int] = {}
    total = 0
    for node in nodes:
        if "mesh" not in node.entry or not node.visible:
            continue
        mesh = entry(tree, "meshes", node.entry["mesh"])
        index: int = node.entry["mesh"]
        if index not in counts:
            counts[index] = triangle_count(accessors, mesh)
        instances = child(node.entry, "extensions").get(_INSTANCES)
        total += counts[index] * (1 if instances is None else _instance_count(accessors, node.entry))
        check_faces(total)
        if counts[index] == 0:
            continue
        weights = tuple(numbers(node.entry if "weights" in node.entry else mesh, "weights", None, []))
        skin = node.entry.get("skin")
        if skin is not None and instances is not None:
            raise InputError("has instances of a mesh with a skin, which are not read; export it without instances.")
        matrices = [node.matrix] if instances is None else _instance_matrices(accessors, node)
        key = (index, weights, skin, None if skin is None else node.index)
        found.setdefault(key, _Placement(index, weights, [], skin)).matrices.extend(matrices)
    return list(found.values())


def _instance_attributes(node: Entry) -> Entry:
    """The accessors of the transforms of instances."""
    attributes = child(node, "extensions", _INSTANCES, "attributes")
    return {name: attributes[name] for name in ("TRANSLATION", "ROTATION", "SCALE") if name in attributes}


def _instance_count(accessors: Accessors, node: Entry) -> int:
    """The number of instances that a node states."""
    counts = {accessors.count(index) for index in child(node, "extensions", _INSTANCES, "attributes").values()}
    if len(counts) != 1:
        raise unreadable("the transforms of instances are not of one number")
    return counts.pop()


def _instance_matrices(accessors: Accessors, node: Node) -> Iterator[Matrix]:
    """The transforms (4, 4) to the scene of the instances of a node."""
    attributes, count = _instance_attributes(node.entry), _instance_count(accessors, node.entry)
    floats, quantized = (5126,), (5120, 5122, 5126)
    translations, scales = np.zeros((count, 3)), np.ones((count, 3))
    rotations = np.tile((0.0, 0.0, 0.0, 1.0), (count, 1))
    if "TRANSLATION" in attributes:
        translations = accessors.read(attributes["TRANSLATION"], "VEC3", floats)
    if "ROTATION" in attributes:
        rotations = accessors.read(attributes["ROTATION"], "VEC4", quantized)
    if "SCALE" in attributes:
        scales = accessors.read(attributes["SCALE"], "VEC3", floats)
    return iter(node.matrix @ compose(translations, rotations, scales))


def _placed(part: MeshPart, matrices: Matrix) -> list[MeshPart]:
    """The part under each transform (k, 4, 4); a transform that mirrors also turns the faces."""
    mirrors = (np.linalg.det(matrices[:, :3, :3]) < 0).tolist()
    turned, last = part.faces[:, ::-1], len(mirrors) - 1
    parts = list[MeshPart]()
    for number, (matrix, mirror) in enumerate(zip(matrices, mirrors, strict=True)):
        points = part.vertices if number == last else part.vertices.copy()
        for first in range(0, len(points), _BLOCK):
            block = points[first : first + _BLOCK]
            block[:] = block @ matrix[:3, :3].T + matrix[:3, 3]
        parts.append(MeshPart(points, turned if mirror else part.faces))
    return parts
