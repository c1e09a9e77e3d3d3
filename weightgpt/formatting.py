"""Numbers and tables as text, in one way for the command line, model cards, reports and pages of results."""

import unicodedata
from collections.abc import Iterable, Sequence

from tabulate import tabulate


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table.

    Args:
        headers: the text of each column header.
        rows: the text of each cell, row by row.
    """
    return tabulate(list(rows), list(headers), tablefmt="github", disable_numparse=True)


def text_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table for a terminal.

    Args:
        headers: the text of each column header.
        rows: the text of each cell, row by row.
    """
    return tabulate(list(rows), list(headers), tablefmt="simple", disable_numparse=True)


def format_number(value: float | str | None, digits: int = 4) -> str:
    """Format a value for people.

    Args:
        value: whole numbers are grouped by thousands, other numbers are rounded, text stays, None becomes a dash.
        digits: significant digits of numbers below 10,000.

    Examples:
        >>> format_number(12345), format_number(0.123456), format_number(None)
        ('12,345', '0.1235', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or float(value).is_integer() or 1e4 <= abs(value) < 1e15:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.{digits}g}"
    return f"{value:.{digits}g}"


def escape_controls(text: str) -> str:
    """Replace the characters of a text that control a terminal, or that cannot be written, by their codes.

    Args:
        text: any text, such as a name from a file; line breaks stay.

    Examples:
        >>> escape_controls("chair" + chr(27)) == "chair" + chr(92) + "x1b"
        True
    """
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in kinds and char != "\n" else char
        for char in text
    )
