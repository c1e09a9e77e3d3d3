"""What the metrics of a run say about it in words: sentences for the console and for the top of the report.

A newcomer does not know which of a hundred values means that something is wrong. Each rule below looks at one of them.
The limits lie far from the values of sound runs, such as those in docs/results, so that a sound run says nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from weightgpt.formatting import format_number

MIN_HELD_OUT = 20
"""Fewest test shapes at which set metrics mean something."""
MIN_TRAIN_RATIO = 0.7
"""Least `nearest_train_ratio`: below, samples are copies of training shapes."""
MAX_MEMORIZED = 0.25
"""Largest `memorized_share`; it is 0.05 for new shapes."""
MIN_IOU_RATIO = 0.8
"""Least share of the IoU of plain fits that tokens may leave."""
MIN_CLASS_RATIO = 0.7
"""The same within one class."""
MIN_IOU_PLAIN_FIT = 0.6
"""Least IoU of plain fits."""
MAX_IOU_GAIN = 0.02
"""Largest IoU that fits may still gain in the last quarter of their steps."""
MIN_PERPLEXITY = 0.05
"""Least perplexity of a level, as a share of its codes."""
MAX_DEAD_CODES = 0.5
"""Largest share of codes of a level that never occur."""
MAX_BITS_FRACTION = 0.95
"""Largest share of the bits of random codes that a trained GPT may need."""
MIN_PIECES_RATIO = 0.7
"""Least `one_piece` of samples, as a share of that of true shapes."""


def run_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences about values that mean that something is wrong; none for a sound run.

    Args:
        metrics: the content of `metrics.json`.
    """
    rules = (_warn_of_copies, _warn_of_tokens, _warn_of_fits, _warn_of_codes, _warn_of_samples, _warn_of_few)
    return [sentence for rule in rules for sentence in rule(metrics)]


def _warn_of_copies(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Samples that are nearer to training shapes than held-out shapes are."""
    samples = metrics["samples"]
    ratio, memorized = samples["nearest_train_ratio"], samples["memorized_share"]
    if (ratio is not None and ratio < MIN_TRAIN_RATIO) or (memorized is not None and memorized > MAX_MEMORIZED):
        yield (
            f"The samples are copies of training shapes: they lie at {_text(ratio)} of the distance at which held-out"
            f" shapes lie (nearest_train_ratio), and {_percent(memorized)} of them are nearer than 95 % of"
            " held-out shapes (memorized_share). 1-NNA and COV look good for copies. Add shapes, or train the GPT for"
            " fewer epochs."
        )
    if equal := metrics["samples_equal_to_training"]:
        yield f"{equal} of {samples['count']} samples have exactly the tokens of a training shape."


def _warn_of_tokens(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Tokens that lose much of the shapes, overall or in one class."""
    if metrics["iou_ratio"] < MIN_IOU_RATIO:
        yield (
            f"The tokens lose much of the shapes: after them the IoU is {_text(metrics['iou'])}, and"
            f" {_text(metrics['iou_plain_fit'])} without tokens. Learn from more shapes, or with more quantizer levels."
        )
    for label, row in metrics["by_class"].items():
        if row["iou"] < MIN_CLASS_RATIO * row["iou_plain_fit"]:
            yield (
                f"The tokens lose much of the class {label}: after them the IoU is {_text(row['iou'])}, and"
                f" {_text(row['iou_plain_fit'])} without tokens."
            )


def _warn_of_fits(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Plain fits that are bad or have not converged."""
    if metrics["iou_plain_fit"] < MIN_IOU_PLAIN_FIT:
        yield (
            f"The plain fits are far from the shapes: their IoU is {_text(metrics['iou_plain_fit'])}. Use wider fields,"
            " more steps of a fit, or check the meshes."
        )
    if metrics["iou_gain_last_quarter"] > MAX_IOU_GAIN:
        yield (
            "The plain fits have not converged: their IoU gained"
            f" {_text(metrics['iou_gain_last_quarter'])} in the last quarter of the steps. Give more steps of a fit."
        )


def _warn_of_codes(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A collapsed codebook."""
    size, levels = metrics["codebook_size"], zip(metrics["perplexity"], metrics["dead_codes"], strict=True)
    if collapsed := [
        str(level)
        for level, (perplexity, dead) in enumerate(levels, 1)
        if perplexity < MIN_PERPLEXITY * size or dead > MAX_DEAD_CODES * size
    ]:
        levels_text = "level" if len(collapsed) == 1 else "levels"
        yield (
            f"The codebook has collapsed at {levels_text} {', '.join(collapsed)}: few of the {size} codes are used"
            " (perplexity, dead_codes). Learn from more shapes, or with fewer codes."
        )


def _warn_of_samples(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A GPT that has learned nothing, and samples that fall apart."""
    if metrics["gpt_bits_fraction"] > MAX_BITS_FRACTION:
        yield (
            f"The GPT has learned little: it needs {_text(metrics['gpt_bits_per_token'])} bits for a token, and random"
            f" codes {_text(metrics['uniform_bits_per_token'])}. Give more shapes or more epochs."
        )
    if metrics["decode_rate"] < 1:
        yield f"Only {_percent(metrics['decode_rate'])} of the samples decode to a field with finite weights."
    pieces, true_pieces = metrics["samples"]["one_piece"], metrics["reference"]["one_piece"]
    if pieces is not None and true_pieces is not None and pieces < MIN_PIECES_RATIO * true_pieces:
        yield f"Only {_percent(pieces)} of the samples are one piece, and {_percent(true_pieces)} of the true shapes."


def _warn_of_few(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Set metrics of few held-out shapes."""
    if metrics["held_out"] < MIN_HELD_OUT:
        yield (
            f"The number of held-out test shapes is only {metrics['held_out']}: IoU, 1-NNA, COV and the share of copies"
            " are rough. Give more files, or a larger held_out_fraction."
        )


def _percent(value: float | None) -> str:
    """A share in percent, of which a share below 1 is never 100."""
    return "–" if value is None else f"{min(100 * value, 99.9) if value < 1 else 100:.3g} %"


def _text(value: float | None) -> str:
    """A value with two significant digits."""
    return format_number(value, 2)
