"""The bytes of mesh files, without loss of precision where a mesh lies far from the origin.

Single precision holds about seven digits. A house of 10 m at a coordinate of 4,500,000 m would lose its shape, because
the next number of single precision is 0.5 m away.

Decisions:

- .obj holds as many digits as the mesh needs. .glb and .ply hold single precision, unless that is too coarse. Then .glb
  holds the mesh in a box about the origin, with position and size in the transform of its node, and .ply holds double
  precision.
- .stl holds single precision only. Where that is too coarse, the mesh is written about the origin, and a sentence tells
  where the origin lies.
"""

import math
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

COARSE = 1e-5
"""Single precision is too coarse if its steps are larger than this share of the longest side of a mesh."""
_OBJ_DIGITS = 8  # decimals of a mesh of size 1


def encode_mesh(mesh: trimesh.Trimesh, suffix: str) -> tuple[bytes, str | None]:
    """Encode a mesh.

    Args:
        mesh: the mesh.
        suffix: .glb, .ply, .obj or .stl.

    Returns:
        The bytes of the file, and a sentence if it has another position or size than the mesh.
    """
    vertices = np.asarray(mesh.vertices, np.float64)
    side = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0
    if suffix == ".obj":
        digits = _OBJ_DIGITS - math.floor(math.log10(side)) if side > 0 else _OBJ_DIGITS
        return _export(mesh, "obj", digits=max(digits, _OBJ_DIGITS)), None
    if side == 0 or _fits_single(vertices, side):
        return _export(mesh, suffix[1:]), None
    if suffix == ".ply":
        return _encode_ply(vertices, np.asarray(mesh.faces)), None
    center = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    size = 1.0 if _fits_single(vertices - center, side) else side
    local = trimesh.Trimesh((vertices - center) / size, mesh.faces, process=False)
    if suffix == ".glb":
        transform = np.diag([size, size, size, 1.0])
        transform[:3, 3] = center
        scene = trimesh.Scene()
        scene.add_geometry(local, transform=transform)
        return _export(scene, "glb"), None
    position = ", ".join(f"{value:.10g}" for value in center)
    scaled = "" if size == 1 else f" and divided by {size:.10g}"
    note = (
        f"is moved by -({position}){scaled}, because .stl holds single precision; use .glb, .ply or .obj to avoid this."
    )
    return _export(local, "stl"), note


def _fits_single(vertices: NDArray[np.float64], side: float) -> bool:
    """Whether single precision holds vertices (n, 3) to `COARSE` times their longest side."""
    single = np.finfo(np.float32)
    largest = float(np.abs(vertices).max())
    return bool(largest < single.max / 2 and side > single.tiny / single.eps and largest * single.eps < COARSE * side)


def _export(geometry: trimesh.Trimesh | trimesh.Scene, kind: str, **options: Any) -> bytes:
    """Encode by trimesh, which gives text or bytes."""
    content: Any = geometry.export(file_type=kind, **options)
    return content.encode() if isinstance(content, str) else bytes(content)


def _encode_ply(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> bytes:
    """Encode triangles as binary PLY in double precision."""
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\nproperty double x\nproperty double y\nproperty double z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(faces), dtype=[("count", "<u1"), ("index", "<i4", (3,))])
    rows["count"], rows["index"] = 3, faces
    return header.encode() + vertices.astype("<f8").tobytes() + rows.tobytes()
