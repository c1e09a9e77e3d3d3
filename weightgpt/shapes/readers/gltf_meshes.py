"""The meshes of a glTF file: primitives become triangles, with morph targets and skins applied."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.arrays import Faces, Vertices
from weightgpt.shapes.readers.gltf_accessors import Accessors, compressed
from weightgpt.shapes.readers.gltf_json import Entry, child, entries, whole_number
from weightgpt.shapes.readers.gltf_skins import Skin
from weightgpt.shapes.readers.limits import unreadable
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.readers.strips import strip_triangles

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_INDEX_TYPES = (5121, 5123, 5125)
_POSITION_TYPES = (5120, 5121, 5122, 5123, 5126)
_DRACO = "KHR_draco_mesh_compression"


def triangle_count(accessors: Accessors, mesh: Entry) -> int:
    """The number of triangles that a mesh states; points and lines have none.

    Args:
        accessors: those of the file.
        mesh: the JSON of the mesh.

    Raises:
        InputError: an accessor does not exist.
    """
    return sum(_primitive_count(accessors, primitive) for primitive in entries(mesh, "primitives"))


def _primitive_count(accessors: Accessors, primitive: Entry) -> int:
    mode, attributes = whole_number(primitive, "mode", _TRIANGLES), child(primitive, "attributes")
    if "POSITION" not in attributes or mode not in (_TRIANGLES, _STRIP, _FAN):
        return 0
    corners = accessors.count(primitive.get("indices", attributes["POSITION"]))
    return corners // 3 if mode == _TRIANGLES else max(corners - 2, 0)


def read_mesh(accessors: Accessors, mesh: Entry, weights: tuple[float, ...], skin: Skin | None) -> MeshPart:
    """Read all primitives of a mesh.

    Args:
        accessors: those of the file.
        mesh: the JSON of the mesh.
        weights: those of the morph targets.
        skin: the skin of the node, if it has one.

    Returns:
        One part, with the vertices that its triangles use; at least one primitive must have triangles.

    Raises:
        InputError: a primitive breaks the rules of the format, or is compressed.
    """
    parts, offset = list[MeshPart](), 0
    for primitive in entries(mesh, "primitives"):
        if _primitive_count(accessors, primitive):
            part = _read_primitive(accessors, primitive, weights, skin)
            parts.append(MeshPart(part.vertices, part.faces + offset if offset else part.faces))
            offset += len(part.vertices)
    if len(parts) == 1:  # no copy of a large mesh
        return parts[0]
    return MeshPart(np.concatenate([p.vertices for p in parts]), np.concatenate([p.faces for p in parts]))


def _read_primitive(accessors: Accessors, primitive: Entry, weights: tuple[float, ...], skin: Skin | None) -> MeshPart:
    attributes = child(primitive, "attributes")
    position = attributes["POSITION"]
    if _DRACO in child(primitive, "extensions") and not accessors.has_data(position):
        raise compressed(_DRACO)
    if "indices" in primitive:
        corners = accessors.read(primitive["indices"], "SCALAR", _INDEX_TYPES)[:, 0].astype(np.int64)
    else:
        corners = np.arange(accessors.count(position))
    corners = _triangles(corners, primitive.get("mode", _TRIANGLES)).reshape(-1)
    used, count, targets = _distinct(corners), accessors.count(position), entries(primitive, "targets")
    if len(used) and used[-1] >= count:
        raise InputError("has faces with vertices that do not exist; repair or export it again.")
    faces = np.searchsorted(used, corners).reshape(-1, 3)
    del corners
    if len(used) == count and skin is None and not any(weights):
        del used  # a large mesh that uses all its vertices needs less memory without their indices
        return MeshPart(_positions(accessors, position, None), faces)
    vertices = _positions(accessors, position, used)
    if any(weights) and len(weights) != len(targets):
        raise unreadable(f"a mesh has {len(targets)} morph targets and {len(weights)} weights of them")
    for weight, target in zip(weights, targets, strict=False):
        if weight and "POSITION" in target:
            vertices = vertices + weight * _positions(accessors, target["POSITION"], used)
    if skin is not None:
        vertices = skin.apply(accessors, attributes, used, vertices)
    return MeshPart(vertices, faces)


def _distinct(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each number once, ascending; `np.unique` takes five times as long, or twice the memory."""
    ordered = np.sort(corners)
    is_new = np.ones(len(ordered), bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def _positions(accessors: Accessors, index: Any, used: NDArray[np.int64] | None) -> Vertices:
    """Positions of the used vertices, or of all; integers are those of KHR_mesh_quantization."""
    return accessors.read(index, "VEC3", _POSITION_TYPES, used)


def _triangles(corners: NDArray[np.int64], mode: int) -> Faces:
    """Triangles (m, 3) of the corners of a primitive."""
    if mode == _TRIANGLES:
        if len(corners) % 3:
            raise unreadable(f"a mesh of triangles has {len(corners):,} corners, which is no multiple of 3")
        return corners.reshape(-1, 3)
    if mode == _STRIP:
        return strip_triangles(corners, np.array([len(corners)]))
    hub = np.broadcast_to(corners[:1], len(corners) - 2)
    return np.stack([corners[1:-1], corners[2:], hub], axis=1)
