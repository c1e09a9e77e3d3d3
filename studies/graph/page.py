"""The table and the page of the study of graph encoders."""

from typing import Any

from weightgpt.formatting import format_number, markdown_table

HEADERS = ("", "IoU", "ratio", "lowest", "failed")


def table_rows(result: dict[str, Any]) -> list[list[str]]:
    """The cells of the table, one row for each kind of fields.

    Args:
        result: the figures of `metrics.json`.
    """
    return [
        [
            name,
            f"{row['iou']:.4f}",
            f"{row['iou_ratio']:.3f}",
            f"{row['iou_lowest']:.3f}",
            format_number(row["failed"]),
        ]
        for name, row in result["rows"].items()
    ]


def render_page(result: dict[str, Any]) -> str:
    """The figures as Markdown.

    Args:
        result: the figures of `metrics.json`.
    """
    settings = result["settings"]
    return f"""# A graph encoder for fields of any initialization

Measured by weightgpt {result["version"]} with `{result["command"]}`.

{settings["num_held_out"]} held-out shapes of the family "{settings["family"]}" were fitted, each from other random
weights. Each fit became {result["tokens_per_field"]} tokens and then a field again. IoU is the volume IoU with the true
shapes. The ratio divides by the IoU of the plain fits, which start from the shared initial field. A field has failed if
its IoU is 0.1 or less. The codebook was learned from {settings["num_shapes"]} shapes, the graph encoders from
{settings["num_fields"]} fields.

{markdown_table(HEADERS, table_rows(result))}

- *random-init fits*: the fields that the rows below encode, without tokens.
- *shape encoder without graph*: the shape encoder of the codebook reads the values of each field at its probes.
- *neuron values and messages*: the graph encoder reads weights and the values of each neuron at the probes, and its
  nodes exchange messages. The next two rows leave out the messages or the values. The last one adds the shape encoder.
"""
