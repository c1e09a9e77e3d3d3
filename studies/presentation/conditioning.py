"""Conditioned and unconditioned fits of the same shapes: pictures, weights, and the similarity of the weights.

Decisions:
- As in the presentation, one shape is overfitted first. The others start from its weights (conditioned) or from random
  weights (unconditioned). The charts show the differences to the first shape's weights layer by layer, on one scale.
- A third row of figures aligns the neurons of the unconditioned fits to those of the first shape
  (`weightgpt.fields.symmetry.align`), because the order of the neurons does not change a field.

Dimensions: N shapes, P parameters, B fields.
"""

from pathlib import Path
from typing import Any

from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from studies.pages import findings, save_figure
from studies.presentation.page import save_with_palette, write_part
from studies.presentation.shapes import CONDITIONS, StudyShapes, explained_variance, mean_distance
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.functional import layer_matrices
from weightgpt.fields.symmetry import align
from weightgpt.formatting import markdown_table
from weightgpt.visual.rendering import contact_sheet, render

NAME, ALIGNED = "conditioning", "unconditioned, neurons aligned"
COMPONENTS = (1, 2, 4, 8, 16, 32)
"""Numbers of principal components in the table."""
SHEET_SHAPES, CHART_SHAPES, SIZE = 6, 3, 144
"""Shapes in the contact sheet, shapes in the charts of differences, and pixels of a picture."""

FINDINGS = (
    """Conditioned fits lie closer together: two of them are 0.67 norms apart, two unconditioned fits 1.41 (unrelated
weights would be √2 apart). Half of the variance of the conditioned fits needs 10 of 63 principal components, half of
the variance of the unconditioned fits needs 27.""",
    "The conditioned fits also match their shapes better: their IoU is 0.931 instead of 0.897.",
    """Aligning the neurons of the unconditioned fits lowers their distance by 10 %, which is 18 % of the decrease by
conditioning. The order of the neurons is thus only a small cause of the distance between such fits.""",
)


def run_part(output: Path, quick: bool, seed: int) -> None:
    """Fit shapes under both conditions, measure and draw the fits, and write the part.

    Args:
        output: folder of the parts.
        quick: use few shapes and steps.
        seed: seed of the shapes and the fits.
    """
    config, fit_config = FieldConfig(), FitConfig(steps=60 if quick else FitConfig.steps, seed=seed)
    shapes = StudyShapes.draw(8 if quick else 64, seed, 2048 if quick else 8192)
    fits = shapes.fit_conditions(config, fit_config)
    first = fits[CONDITIONS[0]].flat[0]
    aligned = Fields(config, align(config, fits[CONDITIONS[0]].flat, first)[0])
    conditions = {name: measure_fits(shapes, fields) for name, fields in {**fits, ALIGNED: aligned}.items()}
    labels = [shape.label for shape in shapes.shapes]
    draw_shapes(shapes, fits, output / "conditioning-shapes.png")
    differences = {name: first - fields.flat[1 : 1 + CHART_SHAPES] for name, fields in fits.items()}
    color_limit = float(differences[CONDITIONS[0]].abs().flatten().quantile(0.99))
    for name, rows in differences.items():
        title = f"{name}: weights of the first shape ({labels[0]}) − weights of another"
        path = output / f"conditioning-{name}.png"
        draw_differences(config, rows, labels[1 : 1 + CHART_SHAPES], color_limit, title, path)
    draw_components(conditions, output / "conditioning-components.png")
    figures = {
        "shapes": len(labels),
        "steps": fit_config.steps,
        "parameters_per_field": config.parameters,
        "first_label": labels[0],
        "color_limit": color_limit,
        "conditions": conditions,
    }
    write_part(output, NAME, "Conditioning", paragraphs(figures), figures)


def measure_fits(shapes: StudyShapes, fields: Fields) -> dict[str, Any]:
    """Measure the fits of one condition.

    Args:
        shapes: N shapes.
        fields: their fits (N, P); the first one is the fit of the first shape.

    Returns:
        IoU of all fits but the first, distances as shares of the mean norm, and the explained variance.
    """
    flat, ious = fields.flat, shapes.iou(fields)
    from_first = (flat[1:] - flat[0]).norm(dim=1).mean() / flat.norm(dim=1).mean()
    return {
        "iou": float(ious[1:].mean()),
        "iou_lowest": float(ious[1:].min()),
        "iou_median": float(ious[1:].median()),
        "distance_between": mean_distance(flat),
        "distance_from_first": float(from_first),
        "explained_variance": explained_variance(flat),
    }


def paragraphs(figures: dict[str, Any]) -> list[str]:
    """The section as Markdown.

    Args:
        figures: the figures of the part.
    """
    conditions, color_limit = figures["conditions"], figures["color_limit"]
    counts = [k for k in COMPONENTS if k <= figures["shapes"] - 1]
    rows = [
        [
            name,
            f"{row['iou']:.3f} ({row['iou_median']:.3f}, {row['iou_lowest']:.3f})",
            f"{row['distance_from_first']:.2f}",
            f"{row['distance_between']:.2f}",
            *(f"{row['explained_variance'][k - 1]:.2f}" for k in counts),
        ]
        for name, row in conditions.items()
    ]
    headers = ["fits", "IoU (median, lowest)", "from the first", "between two", *(f"{k} PC" for k in counts)]
    return [
        f"We fitted {figures['shapes']} shapes of six families with fields of {figures['parameters_per_field']} weights"
        f" in {figures['steps']} steps each. The first shape is a {figures['first_label']}. IoU compares the other fits"
        " with the true shapes. Distances are shares of the mean norm of a field. PC columns give the share of the"
        " variance that this number of principal components explains.",
        markdown_table(headers, rows),
        findings("0.1.0", *FINDINGS),
        "![True shapes, unconditioned fits, conditioned fits](conditioning-shapes.png)",
        "Δ is the weights of the first shape minus the weights of another: W, and b to the right of each W. The colors"
        f" of both pictures end at ±{color_limit:.2f}.",
        *(f"![Differences of weights, {name}](conditioning-{name}.png)" for name in CONDITIONS),
        "![Variance explained by principal components](conditioning-components.png)",
    ]


def draw_shapes(shapes: StudyShapes, fits: dict[str, Fields], path: Path) -> None:
    """Draw the true shapes and, below them, the fits of each condition; the first column is the first shape.

    Args:
        shapes: N shapes.
        fits: fields (N, P) by condition.
        path: the PNG to write.
    """
    indices = range(min(SHEET_SHAPES, len(shapes.shapes)))
    true_shapes = [shapes.shapes[i] for i in indices]
    captions = [f"{'first: ' if i == 0 else ''}{shape.label}, true" for i, shape in enumerate(true_shapes)]
    pictures = [*render([shape.sdf for shape in true_shapes], SIZE)]
    for name, fields in fits.items():
        ious = shapes.iou(fields)
        pictures += [*render([fields.sdf(i) for i in indices], SIZE)]
        captions += [f"{name if i else 'overfitted'}, {ious[i]:.2f}" for i in indices]
    save_with_palette(contact_sheet(pictures, captions, columns=len(true_shapes)), path)


def draw_differences(
    config: FieldConfig, differences: Tensor, labels: list[str], color_limit: float, title: str, path: Path
) -> None:
    """Draw differences of weights: one row a shape, one pair of columns (ΔW, Δb) a layer.

    Args:
        config: the architecture.
        differences: (B, P) differences of weights.
        labels: B classes, the titles of the rows.
        color_limit: the colors run from minus to plus this value.
        title: title of the chart.
        path: the PNG to write.
    """
    widths = [width for num_inputs, _ in config.layers for width in (num_inputs, 2.5)]
    figure = Figure(figsize=(11, 2.1 * len(differences) + 0.6), layout="constrained")
    axes = figure.subplots(len(differences), len(widths), width_ratios=widths, squeeze=False)
    scale = Normalize(-color_limit, color_limit)
    for row, matrices in enumerate(zip(*layer_matrices(config, differences), strict=True)):
        for layer, matrix in enumerate(matrices):
            size = "×".join(map(str, matrix[:, :-1].shape))
            columns = ((matrix[:, :-1], f"ΔW, layer {layer + 1}: {size}"), (matrix[:, -1:], "Δb"))
            for column, (part, column_title) in enumerate(columns):
                cell = axes[row, 2 * layer + column]
                image = cell.imshow(part.numpy(), cmap="RdBu", norm=scale, aspect="auto", interpolation="nearest")
                cell.set(xticks=[], yticks=[])
                if row == 0:
                    cell.set_title(column_title, fontsize=9)
        axes[row, 0].set_ylabel(labels[row], fontsize=10)
    figure.suptitle(title, fontsize=11)
    figure.colorbar(image, ax=axes, shrink=0.8, extend="both", pad=0.01)
    save_figure(figure, path)


def draw_components(conditions: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the explained variance against the number of components.

    Args:
        conditions: the figures of `measure_fits` by name.
        path: the PNG to write.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, row in conditions.items():
        style = "--" if name == ALIGNED else "-"
        shares = row["explained_variance"]
        axes.plot(range(1, len(shares) + 1), shares, style, label=name)
    axes.set(xlabel="principal components", ylabel="share of the variance", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
