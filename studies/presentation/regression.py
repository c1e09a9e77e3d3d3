"""The regression transformer of the presentation on N = 1 … 64 fields, conditioned and unconditioned.

Decisions: small fields of a few hundred weights, as in the presentation, whose plain fits still show their shapes. A
whole neuron of the first layer is the start of a free run: a single number tells 64 fields apart badly. With N = 1 both
conditions are one and the same field.
"""

from pathlib import Path

import torch
from torch import Tensor

from studies.presentation import memory
from studies.presentation.memory import Row, Sweep
from studies.presentation.page import write_part
from studies.presentation.subjects import CONDITIONS, Subjects, spread
from training.baselines.field_sets import FieldSets
from training.baselines.regression import (
    RegressionConfig,
    RegressionTransformer,
    fit_regression,
    free_running,
    teacher_forced,
)
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.formatting import markdown_table

NAME = "regression"
CONFIG = FieldConfig(hidden=(12, 12), num_frequencies=2)
START = CONFIG.layers[0][0] + 1


def run(output: Path, quick: bool, seed: int) -> None:
    """Fit the fields, sweep over N and conditions, and write the section."""
    sweep = Sweep.of(quick)
    subjects = Subjects.draw(max(sweep.counts), seed, 2048 if quick else 8192)
    options = FitConfig(steps=60 if quick else 800, learning_rate=1e-2, batch_size=64, seed=seed)
    fits = subjects.fits(CONFIG, options)
    rows, cells = [], {"the field": []}
    for name, fields in fits.items():
        cells |= {f"{name}, {way}": [] for way in ("taught", "free")}
        for count in sweep.counts:
            targets = fields.select(slice(0, count))
            row, found = learn(subjects, targets, name, sweep, seed)
            rows.append(row)
            print(f"regression: {name}, N = {count}: free-running agreement {row['free_agreement']:.3f}", flush=True)
            if name == CONDITIONS[1]:
                cells["the field"].append(memory.picture(subjects, targets, targets, memory.show(count)))
            for way, part in (("taught", "teacher"), ("free", "free")):
                cells[f"{name}, {way}"].append(memory.picture(subjects, targets, found[part], memory.show(count)))
    memory.draw_sheet(cells, output / "regression-shapes.png")
    draw(rows, output / "regression.png")
    figures = {
        "weights": CONFIG.parameters,
        "start": START,
        "fit_steps": options.steps,
        "model_steps": sweep.steps,
        "fit_iou": {name: float(subjects.iou(fields).mean()) for name, fields in fits.items()},
        "distance_between": {name: spread(fields.flat) for name, fields in fits.items()},
        "rows": rows,
    }
    write_part(output, NAME, "The regression transformer", describe(figures, sweep), figures)


def learn(subjects: Subjects, targets: Fields, name: str, sweep: Sweep, seed: int) -> tuple[Row, dict[str, Fields]]:
    """Train on N fields; the figures, and the fields that come out by teacher forcing, running free, and as a mean."""
    true = targets.flat
    sets = FieldSets(CONFIG, true, true[:1], ("none",) * len(true), true[0])
    config = RegressionConfig(layers=sweep.layers, heads=sweep.heads, width=sweep.width, optimizer=sweep.descent)
    budget = sweep.budget(
        lambda: step(RegressionTransformer(CONFIG.parameters, config), true[: sweep.descent.batch_size])
    )
    model, cost = fit_regression(sets, budget, seed, False, config)
    with torch.no_grad():
        taught = torch.cat([true[:, :START], teacher_forced(model, true)[:, START - 1 :]], 1)
    mean = torch.cat([true[:, :START], true[:, START:].mean(0).expand(len(true), -1)], 1)
    flats = {"teacher": taught, "free": free_running(model, true[:, :START], CONFIG.parameters), "mean": mean}
    found = {way: Fields(CONFIG, flat) for way, flat in flats.items()}
    errors = {f"{way}_error": relative_error(flat, true) for way, flat in flats.items()}
    row = {
        "condition": name,
        "fields": len(true),
        **errors,
        **memory.compare(subjects, targets, found),
        "distinct_starts": memory.distinct(true[:, :START]),
        "steps": cost.steps,
        "flops": cost.flops,
        "seconds": cost.seconds,
    }
    return row, found


def step(model: RegressionTransformer, weights: Tensor) -> None:
    """One step of training, to count what it costs."""
    (teacher_forced(model, weights) - weights[:, 1:]).abs().mean().backward()


def relative_error(found: Tensor, true: Tensor) -> float:
    """Mean error of the weights after the start, as a share of the mean deviation of those weights from their mean."""
    rest = true[:, START:]
    return float((found[:, START:] - rest).abs().mean() / (rest - rest.mean()).abs().mean())


def describe(figures: Row, sweep: Sweep) -> list[str]:
    """The text of the section."""
    rows, fit = figures["rows"], figures["fit_iou"]
    lines = [
        [
            str(row["fields"]),
            row["condition"],
            *(f"{row[f'{way}_error']:.3f}" for way in ("teacher", "free", "mean")),
            *(f"{row[f'{way}_agreement']:.3f}" for way in ("teacher", "free", "mean")),
            f"{row['free_iou']:.3f} ({row['fit_iou']:.3f})",
            f"{row['flops']:.1e}",
        ]
        for row in sorted(rows, key=lambda row: (row["fields"], CONDITIONS.index(row["condition"])))
    ]
    heads = ["N", "fields", "error, taught", "error, free", "error, mean"]
    heads += ["agreement, taught", "agreement, free", "agreement, mean", "IoU, free (fit)", "FLOPs"]
    return [
        f"Fields of {figures['weights']} weights, {figures['fit_steps']} steps; IoU of the plain fits"
        f" {fit[CONDITIONS[0]]:.3f} unconditioned, {fit[CONDITIONS[1]]:.3f} conditioned; two fields are"
        f" {figures['distance_between'][CONDITIONS[0]]:.2f} and {figures['distance_between'][CONDITIONS[1]]:.2f} norms"
        f" apart. The transformer has {sweep.words()}.",
        f"*Error* is the mean error of a weight over the mean deviation of the weights; *agreement* is the IoU of the"
        f" decoded field with the one to be remembered; *taught* is teacher-forced; *free* runs from the first"
        f" {figures['start']} weights, one neuron; *mean* is the mean of the N fields after that same start.",
        markdown_table(heads, lines),
        *findings(rows),
        "All of this at the same few steps; nothing here says what many more would do."
        + ("" if all(row["distinct_starts"] == row["fields"] for row in rows) else " Some fields share their start."),
        "![Agreement against N](regression.png)",
        "The second of the N shapes (for N = 1 the first), and its agreement with the field above:",
        "![Decoded fields](regression-shapes.png)",
    ]


def findings(rows: list[Row]) -> list[str]:
    """What the figures say about the presentation's two claims."""
    apart, joined = ([row for row in rows if row["condition"] == name] for name in CONDITIONS)
    most = max(row["fields"] for row in rows)
    several = [(a, j) for a, j in zip(apart, joined, strict=True) if a["fields"] > 1]
    better = [j["fields"] for a, j in several if j["free_agreement"] > a["free_agreement"] + 0.01]
    nearer = [j["fields"] for a, j in several if j["free_error"] < a["free_error"]]
    beyond = [j["fields"] for _, j in several if j["free_agreement"] > j["mean_agreement"] + 0.01]
    last_a, last_j = apart[-1], joined[-1]
    first = "confirmed" if memory.remembered(apart) < most else "not confirmed"
    if not memory.remembered(apart):
        first = "not tested, for these steps do not suffice for one field"
    half = len(several) / 2
    second = "confirmed" if len(better) == len(several) else "confirmed in part" if better else "not confirmed"
    if second != "not confirmed" and remember_nothing(joined):
        second += ", but better is not good"
    return [
        f"*The transformer fails for larger N when unconditioned*: {first}. {memory.told('Unconditioned', apart)}",
        f"*Conditioned fields make it better*: {second}. {memory.told('Conditioned', joined)} The error of a free run"
        f" is smaller than unconditioned {listed(nearer)}, the agreement larger {listed(better)}; at N = {most} the"
        f" error is {last_j['free_error']:.2f} instead of {last_a['free_error']:.2f} and the agreement"
        f" {last_j['free_agreement']:.2f} instead of {last_a['free_agreement']:.2f}.",
        f"Much of a smaller error needs no memory: the mean of {most} conditioned fields alone has an error of"
        f" {last_j['mean_error']:.2f} ({last_a['mean_error']:.2f} unconditioned). Conditioned, a free run agrees better"
        f" with its field than that mean does {listed(beyond)}"
        + ("." if len(beyond) > half else "; otherwise structure is what was learned, not the single field."),
    ]


def remember_nothing(rows: list[Row]) -> bool:
    """Whether nothing beyond one field is remembered."""
    return memory.remembered(rows) <= 1


def listed(counts: list[int]) -> str:
    """For which N, in words."""
    return f"for N = {', '.join(map(str, counts))}" if counts else "for no N above 1"


def draw(rows: list[Row], path: Path) -> None:
    """Agreement against N, by condition and way."""
    curves = {}
    for color, name in zip(("C3", "C0"), CONDITIONS, strict=True):
        own = [row for row in rows if row["condition"] == name]
        for way, word, style in (("teacher", "taught", "--"), ("free", "free", "o-"), ("mean", "mean field", ":")):
            values = [row[f"{way}_agreement"] for row in own]
            curves[f"{name}, {word}"] = ([row["fields"] for row in own], values, color + style)
    memory.draw_curves(curves, "IoU with the field to be remembered", path)
