"""Conditioned against unconditioned fits of the same shapes: pictures, weights, and how alike they are.

Decisions: as in the presentation one shape is overfitted first; the others start from its weights (conditioned) or from
random ones (unconditioned). The differences to the first shape's weights are drawn layer by layer, on one scale for
all pictures. A third row of figures brings the neurons of the unconditioned fits into the order that is nearest to the
first shape's (`weightgpt.fields.symmetry.align`): what then remains apart is no matter of order.
"""

from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.colors import Normalize
from torch import Tensor

from studies.presentation.page import save_figure, save_small, write_part
from studies.presentation.subjects import CONDITIONS, Subjects, explained, spread
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.functional import layer_matrices
from weightgpt.fields.symmetry import align
from weightgpt.formatting import markdown_table
from weightgpt.visual.rendering import contact_sheet, render

NAME, ALIGNED = "conditioning", "unconditioned, neurons aligned"
COMPONENTS = (1, 2, 4, 8, 16, 32)
SHOWN, DRAWN, SIZE = 6, 3, 144


def run(output: Path, quick: bool, seed: int) -> None:
    """Fit, measure and draw."""
    config, options = FieldConfig(), FitConfig(steps=60 if quick else FitConfig.steps, seed=seed)
    subjects = Subjects.draw(8 if quick else 64, seed, 2048 if quick else 8192)
    fits = subjects.fits(config, options)
    first = fits[CONDITIONS[0]].flat[0]
    aligned = Fields(config, align(config, fits[CONDITIONS[0]].flat, first)[0])
    figures = {name: measure(subjects, fields) for name, fields in {**fits, ALIGNED: aligned}.items()}
    labels = [shape.label for shape in subjects.shapes]
    draw_shapes(subjects, fits, output / "conditioning-shapes.png")
    differences = {name: first - fields.flat[1 : 1 + DRAWN] for name, fields in fits.items()}
    limit = float(differences[CONDITIONS[0]].abs().flatten().quantile(0.99))
    for name, rows in differences.items():
        title = f"{name}: weights of the first shape ({labels[0]}) − weights of another"
        draw_differences(config, rows, labels[1 : 1 + DRAWN], limit, title, output / f"conditioning-{name}.png")
    draw_components(figures, output / "conditioning-components.png")
    shared = {
        "shapes": len(labels),
        "steps": options.steps,
        "weights": config.parameters,
        "first": labels[0],
        "difference_clipped_at": limit,
    }
    write_part(output, NAME, "Conditioning", describe(figures, shared), {**shared, "conditions": figures})


def measure(subjects: Subjects, fields: Fields) -> dict[str, Any]:
    """IoU, the distance between fields and from the first, and the principal components, of one condition."""
    flat, found = fields.flat, subjects.iou(fields)
    apart = (flat[1:] - flat[0]).norm(dim=1).mean() / flat.norm(dim=1).mean()
    return {
        "iou": float(found[1:].mean()),
        "iou_lowest": float(found[1:].min()),
        "iou_median": float(found[1:].median()),
        "distance_between": spread(flat),
        "distance_from_first": float(apart),
        "explained": explained(flat),
    }


def describe(figures: dict[str, dict[str, Any]], shared: dict[str, Any]) -> list[str]:
    """The text of the section."""
    apart, joined, aligned = (figures[name] for name in (*CONDITIONS, ALIGNED))
    counts = [k for k in COMPONENTS if k <= len(apart["explained"])]
    rows = [
        [
            name,
            f"{row['iou']:.3f} ({row['iou_median']:.3f}, {row['iou_lowest']:.3f})",
            f"{row['distance_from_first']:.2f}",
            f"{row['distance_between']:.2f}",
            *(f"{row['explained'][k - 1]:.2f}" for k in counts),
        ]
        for name, row in figures.items()
    ]
    heads = ["fits", "IoU (median, lowest)", "from the first", "between two", *(f"{k} PC" for k in counts)]
    half = {
        name: next(k for k, share in enumerate(row["explained"], 1) if share >= 0.5) for name, row in figures.items()
    }
    ratio = joined["distance_between"] / apart["distance_between"]
    nearer = "Conditioning brings the fields together" if ratio < 0.95 else "Conditioning does not bring them together"
    order = (apart["distance_between"] - aligned["distance_between"]) / apart["distance_between"]
    reached = apart["distance_between"] - joined["distance_between"]
    share = (apart["distance_between"] - aligned["distance_between"]) / reached if reached > 0 else float("nan")
    mean = (
        "more"
        if joined["iou"] > apart["iou"] + 0.005
        else "less"
        if joined["iou"] < apart["iou"] - 0.005
        else "as much"
    )
    return [
        f"{shared['shapes']} shapes of six families, fields of {shared['weights']} weights, {shared['steps']} steps"
        f" each. The first shape is a {shared['first']}; IoU is that of the others with the true shapes. Distances"
        " are shares of the mean norm of a field; PC is the share of the variance that so many principal components"
        " explain.",
        markdown_table(heads, rows),
        f"{nearer}: two of them are {joined['distance_between']:.2f} norms apart where unconditioned ones are"
        f" {apart['distance_between']:.2f} (√2 would be unrelated weights). Half of the variance needs"
        f" {half[CONDITIONS[1]]} principal components instead of {half[CONDITIONS[0]]} of {shared['shapes'] - 1}."
        f" The conditioned fits show {mean} of their shapes: IoU {joined['iou']:.3f} and {apart['iou']:.3f}.",
        f"Putting the neurons of the unconditioned fits in order lowers their distance by {100 * order:.0f} %"
        + (f", {100 * share:.0f} % of what conditioning does" if reached > 0 else "")
        + (": the order of neurons is only a part of what sets such fits apart." if share < 0.8 else "."),
        "![True shapes, unconditioned fits, conditioned fits](conditioning-shapes.png)",
        "Δ = weights of the first shape − weights of another, W and, to the right of each, b; the colors of both"
        f" pictures end at ±{shared['difference_clipped_at']:.2f}:",
        *(f"![Differences of weights, {name}](conditioning-{name}.png)" for name in CONDITIONS),
        "![Variance explained by principal components](conditioning-components.png)",
    ]


def draw_shapes(subjects: Subjects, fits: dict[str, Fields], path: Path) -> None:
    """Rows: the true shapes, then the fits of each condition; the first column is the first sample."""
    chosen = range(min(SHOWN, len(subjects.shapes)))
    truth = [subjects.shapes[i] for i in chosen]
    captions = [f"{'first: ' if i == 0 else ''}{shape.label}, true" for i, shape in enumerate(truth)]
    pictures = [*render([shape.sdf for shape in truth], SIZE)]
    for name, fields in fits.items():
        found = subjects.iou(fields)
        pictures += [*render([fields.sdf(i) for i in chosen], SIZE)]
        captions += [f"{name if i else 'overfitted'}, {found[i]:.2f}" for i in chosen]
    save_small(contact_sheet(pictures, captions, columns=len(truth)), path)


def draw_differences(
    config: FieldConfig, differences: Tensor, labels: list[str], limit: float, title: str, path: Path
) -> None:
    """Rows: shapes; columns: the layers, ΔW with Δb beside it; all on the scale ± limit."""
    layers = config.layers
    widths = [width for inputs, _ in layers for width in (inputs, 2.5)]
    figure, axes = pyplot.subplots(
        len(differences),
        len(widths),
        figsize=(11, 2.1 * len(differences) + 0.6),
        width_ratios=widths,
        squeeze=False,
        layout="constrained",
    )
    scale = Normalize(-limit, limit)
    for row, matrices in enumerate(zip(*layer_matrices(config, differences), strict=True)):
        for layer, matrix in enumerate(matrices):
            for place, part, sign in ((2 * layer, matrix[:, :-1], "W"), (2 * layer + 1, matrix[:, -1:], "b")):
                cell = axes[row, place]
                image = cell.imshow(part.numpy(), cmap="RdBu", norm=scale, aspect="auto", interpolation="nearest")
                cell.set(xticks=[], yticks=[])
                if row == 0:
                    size = "×".join(map(str, part.shape))
                    cell.set_title(f"ΔW, layer {layer + 1}: {size}" if sign == "W" else "Δb", fontsize=9)
        axes[row, 0].set_ylabel(labels[row], fontsize=10)
    figure.suptitle(title, fontsize=11)
    figure.colorbar(image, ax=axes, shrink=0.8, extend="both", pad=0.01)
    save_figure(figure, path)
    pyplot.close(figure)


def draw_components(figures: dict[str, dict[str, Any]], path: Path) -> None:
    """Explained variance against the number of components."""
    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for name, row in figures.items():
        style = "--" if name == ALIGNED else "-"
        axes.plot(range(1, len(row["explained"]) + 1), row["explained"], style, label=name)
    axes.set(xlabel="principal components", ylabel="share of the variance", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
    pyplot.close(figure)
