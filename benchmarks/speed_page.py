"""The figures of `encoding_speed.py` as a page."""

from typing import Any


def page(result: dict[str, Any]) -> str:
    """All figures as Markdown."""
    first, settings = result["learning"], result["settings"]
    learned = [
        f"| learning from {settings['corpus']} shapes | {first['learning']:.1f} | {first['iou_round_trip']:.3f} |",
        f"| … of which before the first step | {first['before_the_first_step']:.1f} | |",
        f"| plain fits of {settings['held']} shapes | {first['plain_fits']:.1f} | {first['iou_plain_fits']:.3f} |",
        f"| ratio, difference | {first['ratio']:.2f} | {first['iou_round_trip'] - first['iou_plain_fits']:+.3f} |",
    ]
    new = [
        f"| {row['way']} | {row['at_once']} | {1000 * row['seconds']:.1f} | {row['faster']:.1f} | {row['iou']:.3f} |"
        for row in result["new_shapes"]
    ]
    codes = [
        f"| {row['what']} | {row['fields']} | {row['vectors']} | {' × '.join(map(str, row['tables']))} |"
        f" {1000 * row['seconds_ours']:.0f} | {1000 * row['seconds_library']:.0f} | {row['faster']:.1f} |"
        f" {row['different']} ({row['ties']}) |"
        for row in result["nearest_codes"]
    ]
    return f"""# Speed of encoding

Written by `{result["command"]}`. One thread. Learning ran once, a group of plain fits after every few of its steps; all
other ways took turns, and their times are medians. Only ratios of one run mean anything.

## Learning a tokenizer, and plain fits

A tokenizer of {settings["corpus"]} chairs, everything included, beside plain fits of {settings["held"]} others. IoU is
volume IoU with the true shapes, which the tokenizer never saw. Learning took {settings["steps"]} steps; the held-out
shapes were then refined in {settings["refine"]}, which took {first["encoding_held_out"]:.1f} s more.

| | seconds | IoU |
|---|---|---|
{chr(10).join(learned)}

## A new shape

From the signed distance to tokens or to a plain fit, sampling included; steps are those of refining latents. Tokenizer:
{result["tokenizer"]}. IoU is that of the first {settings["batch"]} shapes.

| | shapes at once | ms a shape | times faster than the fit | IoU |
|---|---|---|---|---|
{chr(10).join(new)}

## Nearest codes

Codes of fields that exist, beside vector-quantize-pytorch {result["library"]} in eval mode with the same tables.
Latents are those of the tokenizer's codebook, the second time the same {settings["copies"]} times over; weights are cut
into short vectors for residual tables. Codes may differ only where a vector is equally far from both (a tie).

| | fields | vectors | levels × codes × width | ours, ms | library, ms | times faster | different codes (ties) |
|---|---|---|---|---|---|---|---|
{chr(10).join(codes)}
"""
