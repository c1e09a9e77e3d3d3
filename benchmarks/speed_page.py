"""The figures of `encoding_speed.py` as a page."""

from typing import Any

from weightgpt.formatting import markdown_table


def render_page(result: dict[str, Any]) -> str:
    """The figures as Markdown.

    Args:
        result: what `benchmarks.encoding_speed.measure_speed` returns.
    """
    learning, config = result["learning"], result["config"]
    return f"""# Speed of encoding

Measured by weightgpt {result["version"]} with `{result["command"]}`, on one thread.

Learning ran once, and after every few of its steps a batch of plain fits ran. All other methods took turns, and their
times are medians. Compare ratios of one run; seconds depend on the machine.

## Learn a tokenizer

We learned a tokenizer of {config["num_shapes"]} chairs in {config["codebook"]["steps"]} steps, and fitted
{config["num_held_out"]} other chairs plainly. The times include all preparations. IoU compares the other chairs with
the true shapes; the tokenizer did not learn from them. Encoding them with {config["refine_steps"]} steps of refinement
took another {learning["seconds_encoding"]:.1f} s.

{_learning_table(learning, config)}

## Encode a new shape

Times run from the signed distance to tokens or to a plain fit and include sampling. Steps are refinement steps on the
latents. The tokenizer is {result["tokenizer"]}. IoU is that of the first {config["batch_size"]} shapes.

{_shapes_table(result["new_shapes"])}

## Find nearest codes

We find codes of existing fields and compare our code with vector-quantize-pytorch {result["library"]} in eval mode and
with the same code vectors. Latents are those of the tokenizer's codebook; the second row repeats them
{config["repeats"]} times. Weights are cut into short vectors for residual VQ. Codes may differ only where a vector is
equally far from both (a tie).

{_codes_table(result["nearest_codes"])}
"""


def _learning_table(learning: dict[str, float], config: dict[str, Any]) -> str:
    difference = learning["iou"] - learning["iou_plain_fit"]
    rows = [
        (
            f"learning from {config['num_shapes']} shapes",
            f"{learning['seconds_learning']:.1f}",
            f"{learning['iou']:.3f}",
        ),
        ("… before the first step", f"{learning['seconds_before_first_step']:.1f}", ""),
        (
            f"plain fits of {config['num_held_out']} shapes",
            f"{learning['seconds_plain_fits']:.1f}",
            f"{learning['iou_plain_fit']:.3f}",
        ),
        ("ratio, difference", f"{learning['seconds_ratio']:.2f}", f"{difference:+.3f}"),
    ]
    return markdown_table(("", "seconds", "IoU"), rows)


def _shapes_table(rows: list[dict[str, Any]]) -> str:
    cells = [
        (
            row["method"],
            str(row["batch_size"]),
            f"{1000 * row['seconds']:.1f}",
            f"{row['speedup']:.1f}",
            f"{row['iou']:.3f}",
        )
        for row in rows
    ]
    return markdown_table(("", "shapes at once", "ms per shape", "times faster than the fit", "IoU"), cells)


def _codes_table(rows: list[dict[str, Any]]) -> str:
    headers = ("", "fields", "vectors", "levels × codes × width", "ours, ms", "library, ms", "times faster")
    cells = [
        (
            row["name"],
            str(row["fields"]),
            str(row["vectors"]),
            " × ".join(map(str, row["code_vectors"])),
            f"{1000 * row['seconds_ours']:.0f}",
            f"{1000 * row['seconds_library']:.0f}",
            f"{row['speedup']:.1f}",
            f"{row['different']} ({row['ties']})",
        )
        for row in rows
    ]
    return markdown_table((*headers, "different codes (ties)"), cells)
