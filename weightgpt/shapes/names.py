"""Names of shapes and classes that come from file names: printable, short and distinct.

Decisions:

- Bytes that are not UTF-8, control characters and characters that change the direction of a text become `_`.
- A name has at most 100 bytes. A longer one keeps its beginning and gets 8 hexadecimal digits of its hash.
- Of names that would be equal, the later ones get the next free number.
"""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

MAX_BYTES = 100
"""Longest name, in bytes of UTF-8."""
# The first row is Cyrillic. The second row is Greek, and Cyrillic letters whose capitals look Latin.
_LATIN = str.maketrans(
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455\u04bb\u0501\u051b\u051d"
    "\u03b1\u03bf\u03c1\u03bd\u03b9\u03ba\u03c4\u03c7\u0442\u043a\u043c\u043d\u0432",
    "aceopxyijshdqwaopviktxtkmhb",
)
"""Small letters of other alphabets, and the Latin letters that look like them or like their capitals."""
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def printable_name(text: str) -> str:
    """Return a name that can be printed, written to any file, and is not longer than `MAX_BYTES` bytes.

    Args:
        text: a file name, which may hold any bytes.

    Examples:
        >>> printable_name("chair\\x1b[31m"), len(printable_name("x" * 300))
        ('chair_[31m', 100)
    """
    normal = unicodedata.normalize("NFC", _decoded(text))
    name = "".join("_" if unicodedata.category(char) in _UNPRINTABLE else char for char in normal)
    data = name.encode()
    if len(data) <= MAX_BYTES:
        return name or "_"
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return data[: MAX_BYTES - 9].decode(errors="ignore") + "-" + digest


def _decoded(text: str) -> str:
    """The text of bytes in UTF-8 that Python could not decode in the locale of the process, such as C."""
    try:
        return text.encode(errors="surrogateescape").decode()
    except UnicodeError:
        return text


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
    """Return a sentence for each group of classes whose names differ only in case, blanks or letters that look equal.

    Args:
        labels: names of classes, repeated or not.

    Examples:
        >>> similar_classes(["Chair", "chair", "mug"])
        ["classes 'Chair' and 'chair' look equal; give one name if they are one class."]
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        folded = unicodedata.normalize("NFKC", label).casefold().translate(_LATIN)
        groups["".join(folded.replace("_", " ").split())].add(label)
    return [
        f"classes {' and '.join(map(repr, sorted(group)))} look equal; give one name if they are one class."
        for group in groups.values()
        if len(group) > 1
    ]


def joined_classes(folders: Iterable[str]) -> list[str]:
    """Return a sentence for each class that several folders make, because their names are printed alike.

    Args:
        folders: names of the folders of classes, repeated or not.

    Examples:
        >>> joined_classes(["mug", "St\u00fchle", "Stu\u0308hle"])
        ["2 folders make one class 'St\u00fchle'; rename them if they are different classes."]
    """
    counts = Counter(printable_name(folder) for folder in set(folders))
    return [
        f"{number} folders make one class {label!r}; rename them if they are different classes."
        for label, number in sorted(counts.items())
        if number > 1
    ]
