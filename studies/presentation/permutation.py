"""Hidden neurons in another order: the weights change, and the field does not. We draw, measure and align such fields.

Decisions:
- The picture permutes one layer of one small field, W̃₀ = P W₀ and W̃₁ = W₁ Pᵀ, as in the presentation. For the figures
  we permute all hidden layers of many fields.
- Aligning a permuted field to the original must restore its weights bit for bit, because a permutation only moves
  weights.

Dimensions: B fields, P parameters, n points.
"""

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from studies.pages import findings, save_figure
from studies.presentation.page import write_part
from studies.presentation.shapes import CONDITIONS, StudyShapes
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.functional import evaluate, layer_matrices
from weightgpt.fields.symmetry import align, permute, random_permutations
from weightgpt.formatting import markdown_table
from weightgpt.visual.rendering import render

NAME = "permutation"
CONFIG = FieldConfig(hidden=(12, 12), num_frequencies=2)

FINDINGS = (
    "The permuted fields are the same signals up to rounding.",
    "Alignment restored every field, so a permutation alone loses nothing.",
)


def run_part(output: Path, quick: bool, seed: int) -> None:
    """Fit, permute and align fields, measure and draw them, and write the part.

    Args:
        output: folder of the parts.
        quick: use few shapes and steps.
        seed: seed of the shapes, the fits and the permutations.
    """
    shapes = StudyShapes.draw(4 if quick else 32, seed, 2048 if quick else 8192)
    fit_config = FitConfig(steps=60 if quick else 800, learning_rate=1e-2, batch_size=64, seed=seed)
    flat = shapes.fit_conditions(CONFIG, fit_config)[CONDITIONS[0]].flat
    permuted = permute(CONFIG, flat, random_permutations(CONFIG, len(flat), seed))
    pairs = zip(permuted, flat, strict=True)
    aligned = torch.cat([align(CONFIG, row[None], original)[0] for row, original in pairs])
    figures = {
        "fields": len(flat),
        "parameters_per_field": CONFIG.parameters,
        "largest_difference_of_values": largest_difference(shapes, flat, permuted),
        "largest_value": float(evaluate_fields(shapes, flat).abs().max()),
        "relative_difference_of_weights": float(((permuted - flat).norm(dim=1) / flat.norm(dim=1)).mean()),
        "restored_exactly": int((aligned == flat).all(1).sum()),
    }
    order = random_permutations(CONFIG, 1, seed + 1)[0]
    one_layer = [order, torch.arange(CONFIG.hidden[1])[None]]
    draw_permutation(flat[:1], permute(CONFIG, flat[:1], one_layer), order[0], output / "permutation.png")
    write_part(output, NAME, "Permutation", paragraphs(figures), figures)


@torch.no_grad()
def evaluate_fields(shapes: StudyShapes, flat: Tensor) -> Tensor:
    """(B, n) values of fields (B, P) at the n evaluation points of the shapes."""
    return evaluate(CONFIG, flat, shapes.evaluation.points)[..., 0]


def largest_difference(shapes: StudyShapes, flat: Tensor, other: Tensor) -> float:
    """The largest difference of the values of two batches of fields.

    Args:
        shapes: the shapes whose evaluation points are used.
        flat: (B, P) weights.
        other: (B, P) weights.
    """
    return float((evaluate_fields(shapes, flat) - evaluate_fields(shapes, other)).abs().max())


def paragraphs(figures: dict[str, Any]) -> list[str]:
    """The section as Markdown.

    Args:
        figures: the figures of the part.
    """
    rows = [
        ("mean change of the weights, as a share of their norm", f"{figures['relative_difference_of_weights']:.2f}"),
        ("largest change of a value", f"{figures['largest_difference_of_values']:.1e}"),
        ("largest value", f"{figures['largest_value']:.1f}"),
        ("fields that alignment restores bit for bit", f"{figures['restored_exactly']} of {figures['fields']}"),
    ]
    return [
        f"We put the neurons of all hidden layers of {figures['fields']} fields into random orders and then aligned the"
        f" permuted fields to the originals. Each field has {figures['parameters_per_field']} weights.",
        markdown_table(("figure", "value"), rows),
        findings("0.1.0", *FINDINGS),
        "The picture shows the first hidden layer of one field, permuted by P. Both pairs of matrices give the same"
        " shape.",
        "![P, the matrices before and after, and the shape of both](permutation.png)",
    ]


def draw_permutation(flat: Tensor, permuted: Tensor, order: Tensor, path: Path) -> None:
    """Draw P; W₀, W₁ and their shape above; P W₀, W₁ Pᵀ and their shape below; one scale for all matrices.

    Args:
        flat: (1, P) weights.
        permuted: (1, P) the same with the first hidden layer permuted.
        order: (width,) the permutation.
        path: the PNG to write.
    """
    p = torch.eye(len(order))[order]
    before, after = ([matrix[0, :, :-1] for matrix in layer_matrices(CONFIG, f)[:2]] for f in (flat, permuted))
    assert torch.equal(after[0], p @ before[0])
    assert torch.equal(after[1], before[1] @ p.T)
    color_limit = float(torch.cat([m.flatten() for m in before]).abs().quantile(0.98))
    pictures = render(lambda points: evaluate(CONFIG, torch.cat([flat, permuted]), points)[..., 0], 240)
    figure = Figure(figsize=(10.5, 5.4), layout="constrained")
    axes = figure.subplots(2, 4, width_ratios=(1, 1.25, 1, 1))
    rows = (("$W_0$", "$W_1$", before), ("$P\\,W_0$", "$W_1P^T$", after))
    for row, (left, right, matrices) in enumerate(rows):
        for column, name, matrix in ((1, left, matrices[0]), (2, right, matrices[1])):
            image = axes[row, column].imshow(
                matrix.numpy(), cmap="RdBu", vmin=-color_limit, vmax=color_limit, interpolation="nearest"
            )
            axes[row, column].set_title(name)
        axes[row, 3].imshow(pictures[row])
        axes[row, 3].set_title("the shape" if row == 0 else "the shape, permuted")
    axes[0, 0].imshow(p.numpy(), cmap="Grays", vmin=0, vmax=1.4, interpolation="nearest")
    axes[0, 0].set_title("$P$")
    axes[1, 0].axis("off")
    for cell in axes.flat:
        cell.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=axes[:, 2], shrink=0.8, extend="both")
    save_figure(figure, path)
