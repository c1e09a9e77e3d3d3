"""Right checksums for changed files, so that the checks behind the checksums are tried as well."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from weightgpt.io import file_digest, read_metadata, write_json, write_tensors
from weightgpt.quantizers.files import ENCODER_KEY, encoder_fingerprint


def renew_checksums(folder: Path) -> None:
    """Make the checksums of all files right that can be read; the others stay as they are.

    Args:
        folder: a folder of files, such as a model.
    """
    for path in folder.rglob("*.json"):
        with suppress(Exception):
            _renew_json(path)
    for path in folder.rglob("*.safetensors"):
        with suppress(Exception):
            _renew_tensors(path)


def _renew_json(path: Path) -> None:
    content: dict[str, Any] = json.loads(path.read_text())
    new = dict(content)
    if path.name == "tokens.json":
        values = [content[name] for name in ("names", "labels", "center", "scale", "ids")]
        new["sha256"] = _digest(values)
    elif path.name == "tokenizer_config.json":
        words = json.loads(path.with_name("tokenizer.json").read_text())["model"]["vocab"]
        new["weightgpt_sha256"] = _digest(sorted(words, key=words.get))
    elif ENCODER_KEY in content:
        new[ENCODER_KEY] = encoder_fingerprint(load_file(path.with_name("encoder.safetensors")))
    if new != content:
        write_json(path, new)


def _renew_tensors(path: Path) -> None:
    tensors, metadata = load_file(path), read_metadata(path)
    metadata.pop("sha256", None)
    for name in metadata:
        if name.startswith("sha256:"):
            metadata[name] = file_digest(path.with_name(name.removeprefix("sha256:")))
    write_tensors(path, tensors, metadata)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
