"""The page of the study of neuron order."""

from typing import Any

from weightgpt.formatting import markdown_table


def render_page(result: dict[str, Any]) -> str:
    """The figures as Markdown.

    Args:
        result: the figures of `symmetry.json`.
    """
    permuted, random_init = result["permuted"], result["random_init"]
    differences, settings = result["largest_difference"], result["settings"]
    return f"""# Neurons in another order

Measured by weightgpt {result["version"]} with `{result["command"]}`.

All shapes are of the family "{settings["family"]}". Distances are mean Euclidean distances between all weights of two
fields. IoU is the volume IoU with the true shapes.

## Permuted fits

We put the hidden neurons of {permuted["fields"]} plain fits into random orders. `align` to the shared initial field
restored {permuted["restored_exactly"]} of {permuted["fields"]} fits bit for bit.

{_distance_table(permuted)}

A permutation does not change the function. At {settings["num_eval_points"]} points, the values of a field and of its
permuted copy differ by at most {differences["single"]:.1e} in single precision and by at most
{differences["double"]:.1e} in double precision.

## Fields fitted from random weights

{random_init["fields"]} fields were fitted, each from other random weights. Their mean distance to the shared initial
field is {random_init["distance_before"]:.3f}. After `align` it is {random_init["distance_aligned"]:.3f}, or
{random_init["ratio"]:.3f} of that distance.

## Round trips through tokens

Tokenizers encode the fields alone, without the shapes. "Aligned" means that `align` to the tokenizer's initial field
came before encoding; no tokenizer aligns fields itself. "As fitted" and "permuted" are fits from that initial field,
"random-init" are the fields from random weights.

{_round_trip_table(result["round_trips"])}
"""


def _distance_table(permuted: dict[str, Any]) -> str:
    to_init = [f"{permuted[f'distance_{part}']:.3f}" for part in ("as_fitted", "permuted", "aligned")]
    from_fit = [f"{permuted['distance_from_fit_permuted']:.3f}", f"{permuted['distance_from_fit_aligned']:.3g}"]
    rows = [["to the shared initial field", *to_init], ["to the fit itself", "0", *from_fit]]
    return markdown_table(("distance", "as fitted", "permuted", "aligned"), rows)


def _round_trip_table(rows: list[dict[str, Any]]) -> str:
    headers = ("tokenizer", "tokens", "fields", "IoU of the fit", "IoU of the round trip", "… aligned", "gain")
    cells = [
        (
            row["tokenizer"],
            str(row["tokens_per_field"]),
            row["source"],
            *(f"{row[key]:.3f}" for key in ("iou_plain_fit", "iou", "iou_aligned")),
            f"{row['gain']:+.3f}",
        )
        for row in rows
    ]
    return markdown_table(headers, cells)
