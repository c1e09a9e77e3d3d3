"""The header of a PLY file: which elements follow, and which numbers each has."""

import re
from dataclasses import dataclass

from weightgpt.shapes.readers.limits import unreadable

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"int64": "i8", "uint64": "u8", "float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
"""Types of numbers of PLY, and those of numpy without the order of the bytes."""
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
"""Formats of the body, and the order of the bytes of numpy."""


@dataclass(frozen=True)
class Property:
    """A number, or a list of numbers, that each row of an element has."""

    name: str
    """Such as 'x' or 'vertex_indices'."""
    kind: str
    """Type of the number, or of the numbers of the list, for numpy."""
    count_kind: str = ""
    """Type of the length of the list; empty for a number."""


@dataclass(frozen=True)
class Element:
    """A table of the file."""

    name: str
    """Such as 'vertex' or 'face'."""
    count: int
    """Number of rows."""
    properties: tuple[Property, ...]
    """What each row has, in order."""


@dataclass(frozen=True)
class Header:
    """All tables of a file."""

    order: str
    """Order of the bytes, '<' or '>'; empty for text."""
    elements: tuple[Element, ...]
    """The tables, in order."""
    end: int
    """Position of the first byte behind the header."""


def read_header(data: bytes) -> Header:
    """Read the header.

    Args:
        data: the content of a file.

    Raises:
        InputError: the header breaks the rules of the format.
    """
    first = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data)
    if first is None:
        raise unreadable("it does not begin with the word ply")
    # Where lines end with \r alone, a \n behind the header is a number of a binary body.
    line_end = rb"\r" if first[1] == b"\r" else rb"\r\n|\n|\r"
    found = re.search(rb"[\r\n][ \t]*end_header[ \t]*(" + line_end + rb"|$)", data)
    if found is None:
        raise unreadable("its header has no end")
    form, tables = "", []
    for line in re.split(rb"[\r\n]+", data[: found.start()])[1:]:
        words = line.decode("latin-1").split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) >= 2:
            form = words[1].lower()
        elif words[0] == "element" and len(words) == 3 and re.fullmatch("[0-9]{1,18}", words[2]):
            tables.append((words[1], int(words[2]), list[Property]()))
        elif words[0] == "property" and tables:
            tables[-1][2].append(_property(words[1:]))
        else:
            raise unreadable(f"its header has a line {' '.join(words)[:40]!a}")
    if form not in FORMATS:
        raise unreadable(f"its format is {form[:30]!a}, not one of {', '.join(FORMATS)}")
    elements = tuple(Element(name, count, tuple(properties)) for name, count, properties in tables)
    return Header(FORMATS[form], elements, found.end())


def _property(words: list[str]) -> Property:
    """A property, from its line without the first word."""
    if len(words) == 4 and words[0] == "list" and {words[1], words[2]} <= set(TYPES) and TYPES[words[1]][0] in "iu":
        return Property(words[3], TYPES[words[2]], TYPES[words[1]])
    if len(words) == 2 and words[0] in TYPES:
        return Property(words[1], TYPES[words[0]])
    raise unreadable(f"its header has a property {' '.join(words)[:40]!a}")
