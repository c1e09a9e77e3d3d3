"""Random changes of a file: of its bytes, of its JSON, and of the header of a safetensors file."""

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

WORDS = (
    *(b"\x00", b"\xff\xff\xff\xff", b"nan", b"1e999", b"-1", b"9" * 30),
    *(b"{", b"[", b'"', b"\n", b"../../etc", b"\x80\x04."),
)
"""Pieces that often break readers."""
VALUES = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**9, 10**30, 0.5, -1e300, 1e300),
    *("", "x" * 200, "../x", [], {}, [[]]),
)
"""Values that take the place of one in a JSON file."""
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "U32", "U8", "I8", "BOOL", "C64", "F8_E4M3", "X")


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to three random changes of a file."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        changes = [_flip, _flip, _cut, _remove, _insert, _repeat, _swap_number]
        if _header(content) is not None:
            changes += [_change_header] * 4
        elif content[:1] in (b"{", b"["):
            changes += [_change_json] * 6
        content = rng.choice(changes)(content, rng)
    return content


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    changed, at = bytearray(content), rng.randrange(len(content))
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _remove(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.randrange(1, 40) :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice((rng.choice(WORDS), rng.randbytes(8))) + content[at:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at : at + 64] * rng.choice((2, 30)) + content[at + 64 :]


def _swap_number(content: bytes, rng: random.Random) -> bytes:
    numbers = list(re.finditer(rb"\d+", content))
    if not numbers:
        return content
    number = rng.choice(numbers)
    other = rng.choice((b"0", b"-1", b"1000000000", b"4294967296", b"1e400", b"7", b"0.5"))
    return content[: number.start()] + other + content[number.end() :]


def _header(content: bytes) -> Any:
    """The header of a safetensors file; None where there is none."""
    try:
        (size,) = struct.unpack("<Q", content[:8])
        return json.loads(content[8 : 8 + size]) if size < len(content) else None
    except (struct.error, ValueError):
        return None


def _change_header(content: bytes, rng: random.Random) -> bytes:
    header = _header(content)
    (size,) = struct.unpack("<Q", content[:8])
    if not isinstance(header, dict) or not header:
        return content
    name = rng.choice(sorted(header))
    entry = header[name]
    changes: list[Callable[[], Any]] = [
        lambda: header.pop(name),
        lambda: header.update({name + "x": header.pop(name)}),
        lambda: header.update({name: change_value(entry, rng)}),
    ]
    if isinstance(entry, dict) and "dtype" in entry:
        changes += [lambda: entry.update(dtype=rng.choice(DTYPES))] * 2
        changes += [lambda: entry.update(shape=entry["shape"][::-1]), lambda: entry.update(shape=[10**9, 0])]
    rng.choice(changes)()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def _change_json(content: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(content)
    except ValueError:
        return content
    return json.dumps(change_value(value, rng)).encode()


def change_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with one random change, at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {name: part for name, part in value.items() if name != key}
        if rng.random() < 0.1:
            return {**value, "more": rng.choice(VALUES)}
        return {**value, key: change_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:at] + value[at + 1 :]
        return [*value[:at], change_value(value[at], rng), *value[at + 1 :]]
    return rng.choice((*VALUES, value))
