"""The last three stages of a run: samples, figures, report.

Every figure is measured here from the files of the run and written to `metrics.json`; the report only shows it.
"""

import io
import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image
from torch import Tensor

from training.data.corpus import column_tensor, split_rows
from training.data.extra_shapes import ExtraShapes, join_shapes
from training.data.sdf_samples import SampledSplit
from training.evaluate import Judged, demo_set_metrics, mesh_fields
from training.presets import PipelineConfig
from training.pretrain import code_loss
from training.report.html import Curve, Pair, Report, write_report
from weightgpt._programs import command_line
from weightgpt.card import write_card
from weightgpt.errors import InputError
from weightgpt.fields.storage import ShapeMetadata, save_fields
from weightgpt.io import atomic_write, read_json, write_json
from weightgpt.metrics.memorization import NearestShapes
from weightgpt.metrics.pairwise import solid_pieces
from weightgpt.model import Bundle, GeneratedShapes
from weightgpt.quantizers.codes import CodebookUsage, measure_usage
from weightgpt.shapes.meshes import Refusal
from weightgpt.shapes.shape import Sdf
from weightgpt.shapes.splits import Split
from weightgpt.visual.meshing import mesh_sdf, save_mesh, sdf_grid
from weightgpt.visual.rendering import contact_sheet, render, save_png

PALETTE = ((0.36, 0.55, 0.83), (0.93, 0.58, 0.30), (0.40, 0.68, 0.45), (0.80, 0.42, 0.47), (0.58, 0.48, 0.76))
PALETTE = (*PALETTE, (0.30, 0.68, 0.70), (0.85, 0.70, 0.32), (0.62, 0.56, 0.50))
SHEET, PAIRS = 48, 24

Stage = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Parts:
    """What the earlier stages of a run made."""

    output: Path
    config: PipelineConfig
    split: Split
    refusals: list[Refusal]
    sampled: SampledSplit
    fit_history: Tensor
    """(B, 20) loss of the plain test fits."""
    fit_gain: float
    """IoU that the plain test fits gained in the last quarter of their steps."""
    corpus: Dataset
    more: ExtraShapes
    bundle: Bundle


def show(parts: Parts, stage: Stage) -> dict[str, Any]:
    """Sample, measure and report; returns the figures."""
    with stage("samples"):
        generated = parts.bundle.sample(parts.config.num_samples, seed=parts.config.seed, progress=True)
        judged = mesh_fields(generated.fields, parts.config.resolution, "meshing samples")
        posters = write_samples(parts, generated, judged)
    with stage("figures"):
        near = neighbors(parts, generated, judged)
        figures = measure(parts, generated, judged, *near) | sets(parts, generated, judged)
    with stage("report"):
        write_page(parts, figures, generated, judged, near[0], posters)
    figures |= read_json(parts.output / "seconds.json")
    write_json(parts.output / "metrics.json", figures)
    write_card(parts.output / "model", figures)
    return figures


def color(parts: Parts, label: str) -> tuple[float, float, float]:
    """The color of a class."""
    return PALETTE[parts.bundle.tokenizer.vocabulary.classes.index(label) % len(PALETTE)]


def write_samples(parts: Parts, generated: GeneratedShapes, judged: Judged) -> np.ndarray:
    """Write `samples/` and `samples.png`, class by class; returns the pictures (N, size, size, 3)."""
    colors = [color(parts, label) for label in generated.labels]
    pictures = render(generated.fields.sdfs(), 112, colors=colors)
    seen: dict[str, int] = {}
    names = []
    for label in generated.labels:
        seen[label] = seen.get(label, 0) + 1
        names.append(f"{label}-{seen[label]:03d}")
    with atomic_write(parts.output / "samples") as draft:
        draft.mkdir()
        for name, meshed in zip(names, judged.meshed, strict=True):
            if meshed.mesh is not None:
                save_mesh(meshed.mesh, draft / f"{name}.glb")
        save_fields(draft / "fields.safetensors", generated.fields, ShapeMetadata.plain(names, generated.labels))
        write_json(draft / "ids.json", generated.ids.tolist())
    order = sorted(range(min(SHEET, len(names))), key=lambda i: generated.labels[i])
    save_png(contact_sheet([pictures[i] for i in order], [names[i] for i in order]), parts.output / "samples.png")
    return pictures


def neighbors(parts: Parts, generated: GeneratedShapes, judged: Judged) -> tuple[NearestShapes, NearestShapes]:
    """The nearest training shapes of the samples that have a surface, and of the test shapes."""
    training = parts.more.seen_by_gpt(parts.split.train, parts.sampled.train)
    return training.nearest(solids(generated, judged)), training.nearest([shape.sdf for shape in parts.split.test])


def solids(generated: GeneratedShapes, judged: Judged) -> list[Sdf]:
    """The samples that have a surface."""
    return [generated.fields.sdf(i) for i, part in enumerate(judged.meshed) if part.mesh is not None]


def sets(parts: Parts, generated: GeneratedShapes, judged: Judged) -> dict[str, Any]:
    """MMD, COV and 1-NNA against held-out shapes: of the samples, and of training shapes as what can be hoped for.

    Empty samples are left out here and counted in `empty_rate`.
    """
    order = np.random.default_rng(0).permutation(len(parts.split.test))
    held_out = [parts.split.test[i].sdf for i in order]
    dimension = parts.split.test[0].dimension
    return {
        "set_metrics": demo_set_metrics(solids(generated, judged), held_out, dimension),
        "set_metrics_of_training_shapes": demo_set_metrics(
            [s.sdf for s in parts.split.train[:64]], held_out, dimension
        ),
    }


def measure(
    parts: Parts, generated: GeneratedShapes, judged: Judged, samples: NearestShapes, held_out: NearestShapes
) -> dict[str, Any]:
    """All figures of a run but the seconds."""
    tokenizer, test = parts.bundle.tokenizer, split_rows(parts.corpus, "test")
    train = split_rows(parts.corpus, "train")
    loss = code_loss(parts.bundle.model, column_tensor(test, "input_ids").long())
    fit, trip = np.array(test["iou_plain_fit"]), np.array(test["iou"])
    learned = np.array([value for value in train["iou"] if value is not None])
    seen = {tuple(row) for row in column_tensor(train, "input_ids").tolist()}
    ratio = median(samples.distance) / median(held_out.distance) if samples.distance and held_out.distance else None
    return {
        "shapes": {"train": len(train), "validation": len(parts.split.validation), "test": len(test)},
        "refused": len(parts.refusals),
        "tokens_per_field": tokenizer.quantizer.tokens_per_field,
        "parameters_per_field": tokenizer.quantizer.field_config.parameters,
        "fit_iou_heldout": float(fit.mean()),
        "fit_iou_heldout_gain_last_quarter": parts.fit_gain,
        "roundtrip_iou_heldout": float(trip.mean()),
        "roundtrip_over_fit": float(trip.mean() / max(fit.mean(), 1e-9)),
        "roundtrip_iou_train": float(learned.mean()),
        "by_class": by_class(test),
        "codebook": used(
            measure_usage(
                tokenizer.vocabulary.parse(column_tensor(train, "input_ids").long())[0],
                tokenizer.quantizer.codebook_size,
            )
        ),
        "gpt_parameters": parts.bundle.model.num_parameters(),
        "gpt_val_loss": loss,
        "gpt_val_bits_per_token": loss / math.log(2),
        "uniform_bits_per_token": math.log2(tokenizer.quantizer.codebook_size),
        "gpt_bits_over_uniform": loss / math.log(tokenizer.quantizer.codebook_size),
        "samples": len(generated.labels),
        "temperature": parts.config.temperature,
        "decode_rate": decode_rate(parts.bundle, generated.ids),
        "empty_rate": judged.empty_rate,
        "one_piece_rate": judged.one_piece_rate,
        "one_piece_rate_train": one_piece_rate_train(parts),
        "nearest_train_chamfer_ratio": ratio,
        "nearest_train_chamfer_samples": median(samples.distance) if samples.distance else None,
        "nearest_train_chamfer_heldout": median(held_out.distance) if held_out.distance else None,
        "samples_equal_to_training": sum(tuple(row) in seen for row in generated.ids.tolist()),
    }


def by_class(test: Dataset) -> dict[str, dict[str, float]]:
    """Mean fit and round-trip IoU of the test shapes of each class."""
    labels = np.array(test["label"])
    fit, trip = np.array(test["iou_plain_fit"]), np.array(test["iou"])
    return {
        str(label): {
            "fit_iou": float(fit[labels == label].mean()),
            "roundtrip_iou": float(trip[labels == label].mean()),
        }
        for label in sorted(set(labels))
    }


def used(found: CodebookUsage) -> dict[str, list[float]]:
    """Usage of the codebook over the training shapes, level by level."""
    return {"dead_codes": list(found.dead_codes), "perplexity": [round(value, 1) for value in found.perplexity]}


def decode_rate(bundle: Bundle, ids: Tensor) -> float:
    """Share of sequences that decode to a field with finite weights, each tried alone."""
    decoded = 0
    for row in ids:
        try:
            bundle.tokenizer.decode(row[None])
            decoded += 1
        except InputError as error:
            print(f"does not decode: {error}", file=sys.stderr)
    return decoded / len(ids)


def one_piece_rate_train(parts: Parts) -> float:
    """Share of the first training shapes, as many as there are samples, whose true solid is in one piece."""
    shapes = parts.split.train[: parts.config.num_samples]
    return float(np.mean([solid_pieces(sdf_grid(shape.sdf, parts.config.resolution)) == 1 for shape in shapes]))


def write_page(
    parts: Parts,
    figures: dict[str, Any],
    generated: GeneratedShapes,
    judged: Judged,
    near: NearestShapes,
    posters: np.ndarray,
) -> None:
    """Write `report.html`."""
    config = parts.config
    keys = ("tokens_per_field", "fit_iou_heldout", "roundtrip_iou_heldout", "gpt_val_bits_per_token", "one_piece_rate")
    plain = {key: value for key, value in figures.items() if isinstance(value, int | float)}
    report = Report(
        title="weightgpt: new shapes",
        summary=(
            f"{figures['shapes']['train']} shapes became fields of {figures['parameters_per_field']} weights,"
            f" {figures['tokens_per_field']} tokens each, and a GPT-2 of {figures['gpt_parameters']:,} parameters wrote"
            f" the {figures['samples']} shapes below. Each stands beside its nearest training shape; drag to turn both."
        ),
        headline={key: plain[key] for key in keys},
        tables={
            "Fit and round trip (held-out shapes)": {k: v for k, v in plain.items() if "iou" in k or "over_fit" in k},
            "IoU by class: fit / round trip": {
                label: f"{row['fit_iou']:.3f} / {row['roundtrip_iou']:.3f}"
                for label, row in figures["by_class"].items()
            },
            "GPT (held-out shapes)": {k: v for k, v in plain.items() if "gpt" in k or "bits" in k},
            "Generation": {k: v for k, v in plain.items() if "rate" in k or "nearest" in k or "samples" in k},
            "Against held-out shapes: samples / training shapes": compared(figures),
            "Seconds of each stage": read_json(parts.output / "seconds.json")["seconds"],
        },
        pairs=pairs(parts, generated, judged, near, posters),
        curves=curves(parts),
        command=command_line("training.pipeline"),
        config=config.to_dict(),
        contact_sheet=(parts.output / "samples.png").read_bytes(),
    )
    write_report(parts.output, report)


def compared(figures: dict[str, Any]) -> dict[str, str]:
    """The set metrics side by side."""
    ours, limit = figures["set_metrics"] or {}, figures["set_metrics_of_training_shapes"] or {}
    return {name: f"{ours[name]:.3f} / {limit[name]:.3f}" for name in ours.keys() & limit.keys()}


def pairs(
    parts: Parts, generated: GeneratedShapes, judged: Judged, near: NearestShapes, posters: np.ndarray
) -> list[Pair]:
    """The first samples with a surface, each beside its nearest training shape."""
    solid = [i for i, meshed in enumerate(judged.meshed) if meshed.mesh is not None]
    made = []
    known = join_shapes(parts.split.train, parts.split.more)
    for place, i in enumerate(solid[:PAIRS]):
        shape = known[near.index[place]]
        sample, other = mesh_sdf(generated.fields.sdf(i), 56).mesh, mesh_sdf(shape.sdf, 56).mesh
        if sample is None or other is None:
            continue
        tint = color(parts, generated.labels[i])
        beside = render([shape.sdf], posters.shape[1], colors=[tint])[0]
        made.append(
            Pair(
                sample=sample,
                neighbor=other,
                title=generated.labels[i],
                subtitle=f"nearest: {shape.name}, Chamfer distance {near.distance[place]:.3f}",
                color=tint,
                posters=(_png(posters[i]), _png(beside)),
            )
        )
    return made


def curves(parts: Parts) -> list[Curve]:
    """Training curves of the fits, the codebook and the GPT."""
    steps, size = parts.config.tokenizer.fit.steps, parts.bundle.tokenizer.quantizer.codebook_size
    fits = [((i + 1) * steps / 20, value) for i, value in enumerate(parts.fit_history.mean(0).tolist())]
    book = [(step, value) for step, value in read_json(parts.output / "codebook" / "history.json")]
    log = read_json(parts.output / "gpt" / "history.json")["log"]
    gpt = {
        "training": [(row["step"], row["loss"]) for row in log if "loss" in row],
        "validation": [(row["step"], row["eval_loss"]) for row in log if "eval_loss" in row],
    }
    return [
        Curve(title="Plain fits", x_label="step", y_label="loss", series={"held-out shapes": fits}, log=True),
        Curve(title="Quantizer", x_label="step", y_label="loss", series={"training": book}, log=True),
        Curve(title="GPT", x_label="step", y_label="nats a token", series=gpt, line=("uniform codes", math.log(size))),
    ]


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
