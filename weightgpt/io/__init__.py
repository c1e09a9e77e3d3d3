"""Atomic writing of files and folders, JSON, and safetensors; errors are one sentence.

Decisions:

- A file is written under a temporary name in the same folder and then renamed. So there is the old
  file, the new file or no file under that name, but never a part of a file, also after an interruption.
- Tensors are safetensors only; pickles are never loaded.
- Code of other libraries reads and writes files only inside `reading` and `writing`. They turn any error into an
  `InputError`.
- This package does not depend on shapes or models.
"""

from weightgpt.io.atomic import atomic_write, write_text
from weightgpt.io.json_files import check_format, parse_json, read_json, read_text, write_json
from weightgpt.io.tensor_files import (
    Dtypes,
    Expected,
    check_neighbors,
    expect_tensors,
    file_digest,
    neighbor_digests,
    read_metadata,
    read_shapes,
    read_tensors,
    tensor_bytes,
    tensor_header,
    write_tensors,
)
from weightgpt.io.wrapping import check_file, reading, writing, writing_error

__all__ = [
    "Dtypes",
    "Expected",
    "atomic_write",
    "check_file",
    "check_format",
    "check_neighbors",
    "expect_tensors",
    "file_digest",
    "neighbor_digests",
    "parse_json",
    "read_json",
    "read_metadata",
    "read_shapes",
    "read_tensors",
    "read_text",
    "reading",
    "tensor_bytes",
    "tensor_header",
    "write_json",
    "write_tensors",
    "write_text",
    "writing",
    "writing_error",
]
