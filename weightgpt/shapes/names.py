"""Names of shapes and classes that come from file names: printable, short and distinct.

Decisions:

- Bytes that are not UTF-8, control characters and characters that change the direction of a text become `_`.
- A name has at most 100 bytes. A longer one keeps its beginning and gets 8 hexadecimal digits of its hash.
- Of names that would be equal, the later ones get the next free number.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

MAX_BYTES = 100
"""Longest name, in bytes of UTF-8."""
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def printable_name(text: str) -> str:
    """Return a name that can be printed, written to any file, and is not longer than `MAX_BYTES` bytes.

    Args:
        text: a file name, which may hold any bytes.

    Examples:
        >>> printable_name("chair\\x1b[31m"), len(printable_name("x" * 300))
        ('chair_[31m', 100)
    """
    normal = unicodedata.normalize("NFC", text)
    name = "".join("_" if unicodedata.category(char) in _UNPRINTABLE else char for char in normal)
    data = name.encode()
    if len(data) <= MAX_BYTES:
        return name or "_"
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return data[: MAX_BYTES - 9].decode(errors="ignore") + "-" + digest


def distinct_name(candidates: Iterable[str], taken: set[str]) -> str:
    """Return the first candidate that is free, or the last one with the next free number; it is then taken.

    Args:
        candidates: names in the order of preference, at least one.
        taken: the names in use; the result is added.
    """
    name = ""
    for candidate in candidates:
        name = printable_name(candidate)
        if name not in taken:
            break
    base, number = name, 2
    while name in taken:
        name = printable_name(f"{base.encode()[: MAX_BYTES - 9].decode(errors='ignore')}-{number}")
        number += 1
    taken.add(name)
    return name


def similar_classes(labels: Iterable[str]) -> list[str]:
    """Return a sentence for each group of classes whose names differ only in case, blanks or the form of letters.

    Args:
        labels: names of classes, repeated or not.

    Examples:
        >>> similar_classes(["Chair", "chair", "mug"])
        ["classes 'Chair' and 'chair' look equal; give one name if they are one class."]
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        groups["".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())].add(label)
    return [
        f"classes {' and '.join(map(repr, sorted(group)))} look equal; give one name if they are one class."
        for group in groups.values()
        if len(group) > 1
    ]
