"""What a file is by its content, where its extension says something else.

Decisions:

- This is asked only about files that cannot be read, so it never refuses a good file.
- Where the content is of a format that is read, the error names the right extension.
"""

import re

from weightgpt.errors import InputError

_UNPACK = "unpack it and give the mesh itself"
_EXPORT = "export the mesh in this format"
_SIGNATURES = {
    rb"PK(\x03\x04|\x05\x06)": ("a zip archive", _UNPACK),
    rb"\x1f\x8b|BZh\d|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!": ("a compressed file", _UNPACK),
    rb".{257}ustar": ("a tar archive", _UNPACK),
    rb"version https://git-lfs": ("a pointer of Git LFS", "get the file itself with `git lfs pull`"),
    rb"\s*(<!--.*?-->\s*)?<(!doctype )?html": ("a web page (HTML)", "download the mesh itself"),
    rb"\s*<\?xml|\s*<(COLLADA|X3D|svg)\b": ("an XML file", _EXPORT),
    rb"Kaydara FBX": ("an FBX file", _EXPORT),
    rb"BLENDER": ("a Blender file", _EXPORT),
    rb"ISO-10303-21": ("a STEP file", _EXPORT),
    rb"#usda|PXR-USDC": ("a USD file", _EXPORT),
    rb"#VRML": ("a VRML file", _EXPORT),
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*": ("a picture", _EXPORT),
    rb"%PDF": ("a PDF file", _EXPORT),
    rb"\x80[\x02-\x05][}\]c(X\x8c\x95]": ("a pickle, which may run code", _EXPORT),
}
"""Patterns at the start of a file: what the file is, and what to do."""
_MESHES = {
    rb"glTF\x02\0\0\0": (".glb", ".gltf"),
    rb'\s*\{.*"asset"': (".gltf", ".glb"),
    rb"ply[ \t]*[\r\n]": (".ply",),
    rb"\s*[A-Z]*OFF\s": (".off",),
    rb"\s*solid\b.{,400}?\bfacet\b": (".stl",),
    rb"(\s*(#|(mtllib|o|g|s|usemtl|vt|vn)\b)[^\n]*\n)*\s*v[ \t]+[-+\d.]": (".obj",),
}
"""Patterns at the start of a mesh, and the extensions under which it is read."""


def foreign_content(data: bytes, suffix: str) -> InputError | None:
    """The error for a file whose content is of another kind than its extension says.

    Args:
        data: the content of a file that cannot be read.
        suffix: its extension.

    Returns:
        The rest of a sentence that begins with the path; None if the content gives no better reason.
    """
    if not data.strip(b"\0 \t\r\n"):
        return InputError("is empty; export or download it again.")
    start = data[:4096].removeprefix(b"\xef\xbb\xbf")
    for pattern, (kind, advice) in _SIGNATURES.items():
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            return InputError(f"is {kind} by its content, not a {suffix} file; {advice}.")
    for pattern, suffixes in _MESHES.items():
        if re.match(pattern, start, re.DOTALL):
            return _misnamed(suffixes, suffix)
    stated = int.from_bytes(data[80:84], "little")
    return _misnamed((".stl",), suffix) if stated and len(data) == 84 + 50 * stated else None


def _misnamed(suffixes: tuple[str, ...], suffix: str) -> InputError | None:
    """The error for a mesh with the extension of another format; None if the extension is right."""
    if suffix in suffixes:
        return None
    return InputError(f"is a {suffixes[0]} file by its content, not a {suffix} file; rename it to {suffixes[0]}.")
