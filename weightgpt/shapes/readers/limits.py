"""How large a mesh may be; a reader checks it before it allocates memory.

The readers do not know the path. Their errors are the rest of a sentence that begins with the path.
"""

from weightgpt.errors import InputError

FORMATS = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
"""Extensions of the files that are read."""
REFUSED_FORMATS = {
    **dict.fromkeys(
        (".3ds", ".3mf", ".blend", ".ctm", ".dae", ".fbx", ".msh", ".step", ".stp", ".xyz"), "a file of another format"
    ),
    **dict.fromkeys((".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"), "a compressed file"),
    **dict.fromkeys((".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"), "a file that may run code when opened"),
}
"""Extensions that are refused by name in a folder, and what such a file is."""
MAX_BYTES = 64 * 2**20
"""Larger files are refused."""
MAX_FACES = 2_000_000
"""Meshes with more faces are refused."""


def check_faces(count: int) -> None:
    """Refuse a mesh with too many triangles, before it is decoded.

    Args:
        count: the number of triangles.

    Raises:
        InputError: there are more than `MAX_FACES`.
    """
    if count > MAX_FACES:
        raise InputError(f"has {count:,} faces, more than the {MAX_FACES:,} allowed; simplify the mesh.")


def check_vertices(count: int) -> None:
    """Refuse a mesh with more vertices than `MAX_FACES` triangles have corners.

    Args:
        count: the number of vertices.

    Raises:
        InputError: there are more than 3 · `MAX_FACES`.
    """
    if count > 3 * MAX_FACES:
        raise InputError(f"has {count:,} vertices, more than the {3 * MAX_FACES:,} allowed; simplify the mesh.")


def unreadable(reason: str) -> InputError:
    """The error for a file that breaks the rules of its format.

    Args:
        reason: what is wrong, without a period.
    """
    return InputError(f"cannot be read as a mesh ({reason}); export it again.")
