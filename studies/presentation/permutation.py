"""Two different weight matrices, one signal: hidden neurons in another order, drawn, measured and brought back.

Decisions: one layer of one small field is permuted for the pictures, W̃₀ = P W₀ and W̃₁ = W₁ Pᵀ as in the presentation;
the figures are of all hidden layers of many fields at once. Aligning a permuted field to the original must give its
weights back to the last bit, for weights are only moved.
"""

from pathlib import Path

import torch
from matplotlib import pyplot
from torch import Tensor

from studies.presentation.page import save_figure, write_part
from studies.presentation.subjects import CONDITIONS, Subjects
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.functional import evaluate, layer_matrices
from weightgpt.fields.symmetry import align, permute, random_permutations
from weightgpt.visual.rendering import render

NAME = "permutation"
CONFIG = FieldConfig(hidden=(12, 12), num_frequencies=2)


def run(output: Path, quick: bool, seed: int) -> None:
    """Fit, permute, align, measure and draw."""
    subjects = Subjects.draw(4 if quick else 32, seed, 2048 if quick else 8192)
    options = FitConfig(steps=60 if quick else 800, learning_rate=1e-2, batch_size=64, seed=seed)
    flat = subjects.fits(CONFIG, options)[CONDITIONS[0]].flat
    moved = permute(CONFIG, flat, random_permutations(CONFIG, len(flat), seed))
    back = torch.cat([align(CONFIG, m[None], original)[0] for m, original in zip(moved, flat, strict=True)])
    figures = {
        "fields": len(flat),
        "weights": CONFIG.parameters,
        "largest_difference_of_the_function": largest(subjects, flat, moved),
        "largest_value_of_the_function": float(values(subjects, flat).abs().max()),
        "relative_difference_of_the_weights": float(((moved - flat).norm(dim=1) / flat.norm(dim=1)).mean()),
        "brought_back_exactly": int((back == flat).all(1).sum()),
    }
    one = random_permutations(CONFIG, 1, seed + 1)[0]
    orders = [one, torch.arange(CONFIG.hidden[1])[None]]
    draw(flat[:1], permute(CONFIG, flat[:1], orders), one[0], output / "permutation.png")
    write_part(output, NAME, "Permutation", describe(figures), figures)


@torch.no_grad()
def values(subjects: Subjects, flat: Tensor) -> Tensor:
    """(B, n) values of fields at the points that shapes are judged at."""
    return evaluate(CONFIG, flat, subjects.judged.points)[..., 0]


def largest(subjects: Subjects, flat: Tensor, moved: Tensor) -> float:
    """The largest difference of two batches of fields anywhere."""
    return float((values(subjects, flat) - values(subjects, moved)).abs().max())


def describe(figures: dict[str, float]) -> list[str]:
    """The text of the section."""
    same = figures["largest_difference_of_the_function"] <= 1e-5 * max(1.0, figures["largest_value_of_the_function"])
    exact = figures["brought_back_exactly"] == figures["fields"]
    return [
        f"In {figures['fields']} fields of {figures['weights']} weights the neurons of all hidden layers were put in a"
        f" random order. Their weights changed by {figures['relative_difference_of_the_weights']:.2f} of their norm,"
        f" their values by {figures['largest_difference_of_the_function']:.1e} at most"
        f" (the largest value is {figures['largest_value_of_the_function']:.1f}): "
        + ("the same signal, up to rounding." if same else "more than rounding explains."),
        f"Aligned to the originals, {figures['brought_back_exactly']} of {figures['fields']} have their weights back to"
        " the last bit" + (": permutation alone loses nothing." if exact else "; the others keep another order."),
        "The first hidden layer of one field, permuted by P; both pairs of matrices make the same shape:",
        "![P, the matrices before and after, and the shape of both](permutation.png)",
    ]


def draw(flat: Tensor, moved: Tensor, order: Tensor, path: Path) -> None:
    """P, W₀ and W₁ with the shape above, P W₀ and W₁ Pᵀ with the shape below, one scale for all four."""
    p = torch.eye(len(order))[order]
    before, after = ([matrix[0, :, :-1] for matrix in layer_matrices(CONFIG, f)[:2]] for f in (flat, moved))
    assert torch.equal(after[0], p @ before[0])
    assert torch.equal(after[1], before[1] @ p.T)
    limit = float(torch.cat([m.flatten() for m in before]).abs().quantile(0.98))
    pictures = render(lambda points: evaluate(CONFIG, torch.cat([flat, moved]), points)[..., 0], 240)
    figure, axes = pyplot.subplots(2, 4, figsize=(10.5, 5.4), width_ratios=(1, 1.25, 1, 1), layout="constrained")
    rows = (("$W_0$", "$W_1$", before), ("$P\\,W_0$", "$W_1P^T$", after))
    for row, (left, right, matrices) in enumerate(rows):
        for column, name, matrix in ((1, left, matrices[0]), (2, right, matrices[1])):
            image = axes[row, column].imshow(
                matrix.numpy(), cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest"
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
    pyplot.close(figure)
