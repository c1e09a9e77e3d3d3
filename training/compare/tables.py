"""Markdown tables of the rows of a comparison."""

from collections.abc import Sequence
from typing import Any

from weightgpt.formatting import format_number, markdown_table
from weightgpt.metrics.set_metrics import LOWER_IS_BETTER

Row = dict[str, Any]
"""A measured row, as JSON values."""
Column = tuple[str, str]
"""The title of a column, and the key of the rows that it shows."""

SETS = (("MMD", "mmd"), ("COV", "cov"), ("1-NNA", "one_nna"))
MEMORIZATION = (("memorized", "memorized_share"), ("nearest", "nearest_train_ratio"))
QUALITY = (
    ("samples", "count"),
    *SETS,
    ("Fréchet", "frechet"),
    ("one piece", "one_piece"),
    ("empty", "empty"),
    ("broken", "broken"),
    ("thin", "thin_share"),
    ("thin recall", "thin_recall"),
    *MEMORIZATION,
)
SQUARED = (("MMD²", "mmd_squared"), ("COV²", "cov_squared"), ("1-NNA²", "one_nna_squared"))
EMD = (("compared", "emd_compared"), ("MMD", "mmd_emd"), ("COV", "cov_emd"), ("1-NNA", "one_nna_emd"))
NOISE = (("amount", "amount"), *SETS, *MEMORIZATION)
COST = (
    ("parameters", "parameters"),
    ("training FLOPs", "train_flops"),
    ("FLOPs per sample", "sample_flops"),
    ("bytes", "bytes"),
    ("seconds of training", "seconds"),
)


def metrics_table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """A table with one line for each row.

    Args:
        columns: titles and keys.
        rows: measured rows; a dash stands for a value that a row does not have.
    """
    lines = [[row["row"], *(format_metric(row, key) for _, key in columns)] for row in rows]
    return markdown_table(["row", *(title for title, _ in columns)], lines)


def format_metric(row: Row, key: str) -> str:
    """A value of a row as text, with its 95 % interval if it has one; distances (MMD) are times 100.

    Args:
        row: a measured row.
        key: key of the value.
    """
    value, interval = row.get(key), row.get(f"{key}_interval")
    if value is None or isinstance(value, int):
        return format_number(value)
    if key.endswith("flops"):
        return f"{value:.1e}"
    if key == "seconds":
        return format_number(round(value))
    scale = 100 if key.startswith("mmd") else 1
    text = f"{scale * value:.3f}"
    return text if interval is None else f"{text} [{scale * interval[0]:.3f}, {scale * interval[1]:.3f}]"


def significance_table(subject: Row, others: Sequence[Row], paired: bool = True) -> str:
    """A table that says in which metrics one row is better than each of the others.

    Args:
        subject: the row to compare.
        others: the rows to compare with.
        paired: whether to use the intervals of paired differences, which the rows have with ours only.
    """
    lines = [[row["row"], *(compare_metric(subject, row, key, paired) for key in LOWER_IS_BETTER)] for row in others]
    return markdown_table(["row", *(title for title, _ in SETS)], lines)


def compare_metric(subject: Row, other: Row, key: str, paired: bool = True) -> str:
    """Whether one row is better than another in one metric.

    The word is bold if the intervals of the two rows do not overlap. It is italic if they overlap, but the interval of
    their paired difference excludes 0.

    Args:
        subject: the row to compare.
        other: the row to compare with.
        key: the metric.
        paired: whether to use the interval of the paired difference.
    """
    loss = LOWER_IS_BETTER[key]
    difference = loss(subject[key]) - loss(other[key])
    word = "equal" if difference == 0 else "better" if difference < 0 else "worse"
    (low, high), (other_low, other_high) = subject[f"{key}_interval"], other[f"{key}_interval"]
    if low > other_high or high < other_low:
        return f"**{word}**"
    intervals = other.get("paired_difference_interval", {}) if paired else {}
    low, high = intervals.get(key, (0.0, 0.0))
    return f"*{word}*" if low > 0 or high < 0 else word


def noise_table(rows: Sequence[Row]) -> str:
    """A table of all amounts of noise that were tried.

    Args:
        rows: measured rows; those without a noise sweep are left out.
    """
    lines = [
        {"row": row["row"] + (" (chosen)" if trial["amount"] == row["noise"] else ""), **trial}
        for row in rows
        for trial in row.get("noise_sweep", [])
    ]
    return metrics_table(NOISE, lines)
