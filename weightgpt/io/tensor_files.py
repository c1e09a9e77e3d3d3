"""Safetensors files with a checksum, and the check of their header before any tensor is allocated.

Decisions:

- The metadata of a file that we write has an entry `sha256` over all tensors and all other entries. Other libraries
  ignore it. A file without the entry is refused, unless another library may have written it, such as transformers.
- An entry `sha256:NAME` is the checksum of another file in the same folder, because JSON has no place for its own. When
  transformers writes the weights again, both kinds of entries disappear together with the old weights.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.io.atomic import atomic_write
from weightgpt.io.wrapping import check_file, reading, writing

CHECKSUM = "sha256"
"""The entry of the metadata with the checksum of the file itself."""
_KIND = "safetensors file"
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
}

Dtypes = torch.dtype | tuple[torch.dtype, ...]
Expected = Mapping[str, tuple[Dtypes, tuple[int | str, ...]]]
"""For each tensor, its dtype, or several that are allowed, and its shape. A text in a shape names a size that the file
decides; it is 1 or more, and equal wherever the name occurs."""


def write_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as safetensors.

    Args:
        path: the file to write.
        tensors: tensors by name, on any device.
        metadata: texts by name, for the header of the file.
    """
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    metadata = metadata or {}
    with atomic_write(path) as draft:
        with writing(path):
            save_file(tensors, draft, {**metadata, CHECKSUM: _checksum(tensors, metadata)})
        if metadata:
            _sort_metadata(draft)


def read_tensors(
    path: Path | str, expected: Expected | None = None, *, needs_checksum: bool = True
) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Args:
        path: the file to read.
        expected: as `expect_tensors` takes it. If it is given, other tensors and values that are not finite are
            refused.
        needs_checksum: False for weights that transformers may have written, without a checksum.

    Raises:
        InputError: the file is missing, cut short, not safetensors, changed since it was written, or has other tensors.
    """
    metadata = read_metadata(path)
    if expected is not None:
        expect_tensors(path, expected)
    if CHECKSUM not in metadata and (needs_checksum or not _is_of_transformers(metadata)):
        raise InputError(f"{path} has no checksum, so a change would not be noticed; make or download it again.")
    with reading(path, _KIND):
        tensors = load_file(path)
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(tensors, metadata):
        raise InputError(f"{path} was changed or damaged since it was written; make or download it again.")
    if expected is not None:
        for name, tensor in tensors.items():
            bad = (~torch.isfinite(tensor)).nonzero()
            if len(bad):
                row = f" in row {int(bad[0, 0])}" if tensor.ndim else ""
                raise InputError(
                    f"tensor {name!r} of {path} holds NaN or infinite values{row}; make or download it again."
                )
    return tensors


def read_metadata(path: Path | str) -> dict[str, str]:
    """Read the texts in the header of a safetensors file.

    Args:
        path: the file to read.

    Raises:
        InputError: the file is missing, cut short, or not safetensors.
    """
    check_file(path)
    with reading(path, _KIND), safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def expect_tensors(path: Path | str, expected: Expected) -> dict[str, int]:
    """Check names, dtypes and shapes of all tensors in the header of a file, before a tensor is allocated.

    Args:
        path: the file.
        expected: dtype and shape of each tensor by name; a text in a shape names a size that the file decides.

    Returns:
        The sizes that the file decides, by name.

    Raises:
        InputError: the file is missing or not safetensors, lacks a tensor, or has one more or another one.
    """
    found = read_shapes(path)
    if found.keys() != expected.keys():
        missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
        fault = f"lacks tensor {missing[0]!r}" if missing else f"has a tensor {extra[0]!r} that does not belong there"
        raise InputError(f"{path} {fault}; take all files from one folder.")
    sizes: dict[str, int] = {}
    for name, (dtypes, shape) in expected.items():
        allowed = [_DTYPES[dtype] for dtype in (dtypes if isinstance(dtypes, tuple) else (dtypes,))]
        if found[name][0] not in allowed or not _fits(found[name][1], shape, sizes):
            wanted = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in shape)
            raise InputError(
                f"tensor {name!r} of {path} is {found[name][0]} {_text(found[name][1])}, not {' or '.join(allowed)}"
                f" {_text(wanted)}; take all files from one folder."
            )
    return sizes


def read_shapes(path: Path | str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read the dtype, as the file names it, and the shape of each tensor from the header of a file.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, cut short, or not safetensors.
    """
    check_file(path)
    with reading(path, _KIND), safe_open(path, "pt") as file:
        names: list[str] = file.keys()
        slices = {name: file.get_slice(name) for name in names}
        return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}


def _fits(shape: tuple[int, ...], expected: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    """Whether a shape is the expected one; sizes that the file decides are added to `sizes`."""
    if len(shape) != len(expected):
        return False
    return all(
        size >= 1 and size == sizes.setdefault(want, size) if isinstance(want, str) else size == want
        for size, want in zip(shape, expected, strict=True)
    )


def _text(shape: Iterable[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"


def file_digest(path: Path | str) -> str:
    """The sha256 of a file, 64 hexadecimal digits.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    with reading(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def neighbor_digests(folder: Path | str, names: Iterable[str]) -> dict[str, str]:
    """Entries of metadata with the checksums of other files in a folder, for `check_neighbors`.

    Args:
        folder: the folder.
        names: the files.
    """
    return {f"{CHECKSUM}:{name}": file_digest(Path(folder) / name) for name in names}


def check_neighbors(path: Path | str, names: Iterable[str]) -> None:
    """Compare files with the checksums in the metadata of a file beside them.

    Args:
        path: a safetensors file that was written with `neighbor_digests`, or one that transformers has written.
        names: the files; one that is missing is not compared.

    Raises:
        InputError: a file was changed after `path` was written, or `path` was not written together with it.
    """
    metadata = read_metadata(path)
    if _is_of_transformers(metadata):
        return
    for name in names:
        neighbor, digest = Path(path).with_name(name), metadata.get(f"{CHECKSUM}:{name}")
        if os.path.exists(neighbor) and file_digest(neighbor) != digest:
            raise InputError(
                f"{neighbor} is not the one that {Path(path).name} was saved with; take all files from one folder, or"
                " save both again."
            )


def _is_of_transformers(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata of a file is what transformers writes, which has no checksum of any file."""
    return metadata.get("format") == "pt" and not any(entry.partition(":")[0] == CHECKSUM for entry in metadata)


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The sha256 of names, dtypes, shapes and bytes of tensors, and of other entries of the metadata."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(tensor_header(name, tensor))
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def tensor_header(name: str, tensor: Tensor) -> bytes:
    """Name, dtype and shape of a tensor as bytes, for checksums.

    Args:
        name: its name.
        tensor: the tensor.
    """
    return repr((name, str(tensor.dtype), tuple(tensor.shape))).encode()


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The numbers of a tensor as bytes, without a copy where they lie together on the CPU.

    Args:
        tensor: the tensor.
    """
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _sort_metadata(path: Path) -> None:
    """Sort the metadata of a new file, because safetensors writes it in an order that changes from call to call."""
    with path.open("rb+") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))  # our own file: no check is needed
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        assert len(text) == size
        file.seek(8)
        file.write(text)
