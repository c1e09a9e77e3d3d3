"""The numbers of a glTF file: buffers, views of them, and accessors.

Every size is checked against the bytes that there are, before any number is read. Only the wanted elements of an
accessor are read, because many meshes may share one large accessor.
"""

import base64
import binascii
from textwrap import shorten
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from weightgpt.errors import InputError
from weightgpt.shapes.readers.gltf_json import Entry, child, entry, whole_number
from weightgpt.shapes.readers.limits import check_vertices, unreadable

MAX_READ = 50_000_000
"""Elements that are read at most, over all accessors of a file."""

_COMPRESSED_VIEWS = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Accessors:
    """The accessors of a file."""

    def __init__(self, tree: Entry, binary: memoryview | None) -> None:
        """Args:
        tree: the JSON of the file.
        binary: the binary chunk of a GLB; None if there is none.
        """
        self._tree, self._binary = tree, binary
        self._buffers: dict[int, memoryview] = {}
        self._read = 0

    def count(self, index: Any) -> int:
        """Number of elements that an accessor states."""
        return whole_number(entry(self._tree, "accessors", index), "count")

    def has_data(self, index: Any) -> bool:
        """Whether an accessor has numbers of its own in the file, not only compressed ones."""
        return bool({"bufferView", "sparse"} & entry(self._tree, "accessors", index).keys())

    def read(
        self, index: Any, kind: str, components: tuple[int, ...], chosen: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Read elements of an accessor.

        Args:
            index: what an entry gives as the index of the accessor.
            kind: type that the accessor must have, such as 'VEC3'.
            components: component types that it may have.
            chosen: (n,) which elements, ascending and below the count; None reads all.

        Returns:
            (n, width) float64; normalized integers are between -1 and 1.

        Raises:
            InputError: the accessor is of another type, or claims more than its buffer holds.
        """
        accessor = entry(self._tree, "accessors", index)
        if accessor.get("type") != kind or accessor.get("componentType") not in components:
            stated = f"{accessor.get('type')!a} of {accessor.get('componentType')!a}"[:40]
            raise unreadable(f"accessor {index} is {stated}, not {kind} of {' or '.join(map(str, components))}")
        code, width = _COMPONENTS[accessor["componentType"]], _WIDTHS[kind]
        count = whole_number(accessor, "count")
        sparse = child(accessor, "sparse")
        self._read += (count if chosen is None else len(chosen)) + whole_number(sparse, "count", 0)
        if self._read > MAX_READ:
            raise InputError(f"has more than {MAX_READ:,} numbers, counting those of several uses; simplify the scene.")
        if "bufferView" in accessor:
            offset = whole_number(accessor, "byteOffset", 0)
            all_values = self._elements(accessor["bufferView"], offset, count, code, width)
            values = (all_values if chosen is None else all_values[chosen]).astype(np.float64)
        elif sparse:
            check_vertices(count)
            values = np.zeros((count if chosen is None else len(chosen), width))
        else:
            raise unreadable(f"accessor {index} has no data{_compression_hint(self._tree)}")
        if sparse:
            self._replace(values, sparse, count, code, width, chosen)
        normalized = accessor.get("normalized", False)
        if not isinstance(normalized, bool) or (normalized and code in ("<f4", "<u4")):
            raise unreadable(f"accessor {index} cannot be normalized")
        if normalized:
            values /= np.iinfo(code).max
            np.maximum(values, -1.0, out=values)
        return values

    def _replace(
        self,
        values: NDArray[np.float64],
        sparse: Entry,
        count: int,
        code: str,
        width: int,
        chosen: NDArray[np.int64] | None,
    ) -> None:
        """Replace the elements that a sparse accessor lists."""
        where, what, size = child(sparse, "indices"), child(sparse, "values"), whole_number(sparse, "count")
        if where.get("componentType") not in (5121, 5123, 5125):
            raise unreadable("the indices of a sparse accessor are not unsigned integers")
        at = self._elements(
            where.get("bufferView"), whole_number(where, "byteOffset", 0), size, _COMPONENTS[where["componentType"]], 1
        )[:, 0].astype(np.int64)
        if size and (at.max() >= count or (np.diff(at) <= 0).any()):
            raise unreadable("the indices of a sparse accessor do not ascend or are out of range")
        new = self._elements(what.get("bufferView"), whole_number(what, "byteOffset", 0), size, code, width)
        if chosen is not None:
            slots = np.searchsorted(chosen, at)
            inside = slots < len(chosen)
            inside[inside] = chosen[slots[inside]] == at[inside]
            at, new = slots[inside], new[inside]
        values[at] = new

    def _elements(self, view_index: Any, offset: int, count: int, code: str, width: int) -> NDArray[Any]:
        """Elements (count, width) of a view, without a copy."""
        view = entry(self._tree, "bufferViews", view_index)
        data = self._view_bytes(view, view_index)
        size = np.dtype(code).itemsize
        stride = whole_number(view, "byteStride", 0) or size * width
        if stride < size * width:
            raise unreadable(f"view {view_index} has elements that overlap")
        if count and offset + (count - 1) * stride + size * width > len(data):
            raise unreadable(f"an accessor claims {count:,} elements, more than view {view_index} holds")
        return np.ndarray((count, width), code, data, offset if count else 0, (stride, size))

    def _view_bytes(self, view: Entry, index: Any) -> memoryview:
        """The bytes of a view."""
        for extension in _COMPRESSED_VIEWS:
            stored = entry(self._tree, "buffers", view.get("buffer"))
            if (
                extension in child(view, "extensions")
                and "uri" not in stored
                and extension in child(stored, "extensions")
            ):
                raise compressed(extension)
        buffer = self._buffer(view.get("buffer"))
        offset, length = whole_number(view, "byteOffset", 0), whole_number(view, "byteLength")
        if offset + length > len(buffer):
            raise unreadable(f"view {index} claims {length:,} bytes, more than its buffer holds")
        return buffer[offset : offset + length]

    def _buffer(self, index: Any) -> memoryview:
        """The bytes of a buffer, which must be in the file."""
        buffer = entry(self._tree, "buffers", index)
        if index not in self._buffers:
            self._buffers[index] = self._load(buffer, index)
        return self._buffers[index]

    def _load(self, buffer: Entry, index: int) -> memoryview:
        uri, length = buffer.get("uri"), whole_number(buffer, "byteLength")
        if uri is None and index == 0 and self._binary is not None:
            data = self._binary
        elif isinstance(uri, str) and uri[:5].lower() == "data:":
            data = memoryview(_data_uri(uri))
        elif isinstance(uri, str):
            name = ascii(shorten(uri, 40))
            raise InputError(
                f"keeps its buffers in other files ({name}), which are not opened; export it again as .glb."
            )
        else:
            raise unreadable(f"buffer {index} has no data{_compression_hint(self._tree)}")
        if len(data) < length:
            raise unreadable(f"buffer {index} claims {length:,} bytes but holds {len(data):,}")
        return data


def compressed(extension: str) -> InputError:
    """The error for geometry that is compressed.

    Args:
        extension: name of the extension of glTF.
    """
    return InputError(f"is compressed with {extension}, which is not read; export it without compression.")


def _data_uri(uri: str) -> bytes:
    """The bytes inside a data: address."""
    head, comma, body = uri.partition(",")
    if not comma:
        raise unreadable("a data: address has no data")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        if "%" in body:
            body = unquote_to_bytes(body).decode("ascii")
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise unreadable("a data: address is not base64") from error


def _compression_hint(tree: Entry) -> str:
    """Which compression a file uses, for the error where data is missing."""
    used = tree.get("extensionsUsed")
    found = [name for name in used if isinstance(name, str) and "compression" in name] if isinstance(used, list) else []
    return f"; it may be compressed with {', '.join(found)[:80]}, which is not read" if found else ""
