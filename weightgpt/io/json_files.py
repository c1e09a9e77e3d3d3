"""JSON and text files; reading is strict."""

import json
import math
import re
from pathlib import Path
from typing import Any

from weightgpt.errors import InputError
from weightgpt.io.atomic import write_text
from weightgpt.io.wrapping import check_file, reading

MOST_BYTES = 2**26
"""The largest text file that is read unless the caller allows more."""
MAX_DEPTH = 64
"""The most lists and objects inside each other."""
MAX_DIGITS = 40
"""The most digits of a whole number."""
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON.

    Args:
        path: the file to write.
        value: lists, dicts, texts, numbers, bools and None.

    Raises:
        ValueError: `value` holds NaN or infinity, which are not JSON.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_text(path: Path | str, most_bytes: int = MOST_BYTES) -> str:
    """Read a file of text in UTF-8.

    Args:
        path: the file to read.
        most_bytes: the largest size that is allowed.

    Raises:
        InputError: the file is missing, too large, cannot be read, or is not UTF-8.
    """
    check_file(path, most_bytes)
    with reading(path, "file of text in UTF-8"):
        return Path(path).read_text(encoding="utf-8")


def read_json(path: Path | str, most_bytes: int = MOST_BYTES) -> Any:
    """Read a JSON file.

    Args:
        path: the file to read.
        most_bytes: the largest size that is allowed.

    Raises:
        InputError: the file is missing, too large, cannot be read, or is not JSON.
    """
    check_file(path, most_bytes)
    with reading(path):
        content = Path(path).read_bytes()
    try:
        return parse_json(content.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); the file may be cut short: make it again.") from error


def parse_json(text: str) -> Any:
    """Parse JSON more strictly than Python does.

    Args:
        text: the JSON.

    Raises:
        ValueError: the text is not JSON, names a key twice, is nested too deeply, or holds NaN, infinity, a number of
            more than 40 digits or a character that UTF-8 does not have.
    """
    _check_depth(text)
    try:
        value = json.loads(
            text,
            parse_int=_parse_int,
            parse_float=_parse_float,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_of_pairs,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if re.search(r"\\u[dD][89a-fA-F]", text):
        json.dumps(value, ensure_ascii=False).encode()  # half of a pair of surrogates is a UnicodeEncodeError
    return value


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a key twice")
    return value


def check_format(path: Path | str, header: Any, expected: str, version: int) -> None:
    """Check the `format` and the `version` of a file.

    Args:
        path: the file, for the error.
        header: its header, which may be anything.
        expected: the format that the file should have, such as 'weightgpt.fields'.
        version: the version that the file should have.

    Raises:
        InputError: the file is of another format or version.
    """
    values = header if isinstance(header, dict) else {}
    if values.get("format") != expected:
        actual = str(values.get("format", "of an unknown format"))[:100]
        raise InputError(f"{path} is {actual}, not {expected}; give a file of that format.")
    if values.get("version") != version or isinstance(values["version"], bool):
        actual = str(values.get("version"))[:100]
        raise InputError(f"{path} is of version {actual}, this library reads version {version}; make the file again.")
