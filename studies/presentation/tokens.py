"""The sweep over N with tokens: an ordinary GPT-2 learns the codes of an existing tokenizer.

Decisions:
- The shapes, the blocks, the steps and the batches are those of the regression sweep; the fields are those that the
  tokens decode to.
- Every sequence has the class token "none", so only the codes at the start distinguish fields. A free-running model
  gets the first two codes and takes the likeliest code at each position.

Dimensions: N fields, L tokens of a sequence.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studies.pages import findings
from studies.presentation import memorization
from studies.presentation.gpt import START, START_CODES, free_running_ids, new_model, teacher_forced_ids
from studies.presentation.memorization import FULL, METHODS, QUICK, Cell, MemorizationConfig, Row
from studies.presentation.page import write_part
from studies.presentation.shapes import CONDITIONS, StudyShapes
from training.baselines.budget import train_to_budget
from weightgpt.fields.field import Fields
from weightgpt.formatting import markdown_table
from weightgpt.io import read_json
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.tokens.collator import WeightDataCollator
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import NONE

NAME = "tokens"
FINDINGS = (
    """As tokens, fields have a mean agreement of 0.9 or more up to N = 64, the largest N of the sweep.""",
    """A GPT memorizes more fields as tokens than the regression transformer does as weights: a free run has an
agreement of 0.9 or more up to N = 64 fields instead of 2. The steps are the same and the operations at N = 64 are 16
times fewer, although each field of tokens has more weights. The training of the tokenizer is not counted. At N = 64 a
free run has an IoU of 0.837 with the true shapes instead of 0.223.""",
)


def run_part(output: Path, quick: bool, seed: int, tokenizer: WeightTokenizer) -> None:
    """Encode the shapes, sweep over N, and write the section.

    Args:
        output: folder of the parts.
        quick: use few shapes and steps.
        seed: seed of the shapes and the transformers.
        tokenizer: encodes the shapes.
    """
    config = QUICK if quick else FULL
    shapes = StudyShapes.draw(max(config.counts), seed, 2048 if quick else 8192)
    codes = tokenizer.quantizer.encode_shapes(shapes.shapes, EncodeConfig(steps=0))
    ids = tokenizer.vocabulary.ids(codes, [NONE] * len(codes))
    fields = tokenizer.batch_decode(ids)
    rows: list[Row] = []
    cells: dict[str, list[Cell]] = {}
    for count in config.counts:
        targets = fields.select(slice(0, count))
        row, decoded = train_and_decode(shapes, targets, ids[:count], tokenizer, config, seed)
        rows.append(row)
        print(f"tokens: N = {count}: free-running agreement {row['free_running_agreement']:.3f}", flush=True)
        for name, cell in pictures(shapes, targets, decoded).items():
            cells.setdefault(name, []).append(cell)
    memorization.draw_sheet(cells, output / "tokens-shapes.png")
    figures = {
        "parameters_per_field": tokenizer.quantizer.field_config.parameters,
        "tokens_per_field": tokenizer.quantizer.tokens_per_field,
        "codebook_size": tokenizer.quantizer.codebook_size,
        "iou": float(shapes.iou(fields).mean()),
        "model_steps": config.steps,
        "rows": rows,
    }
    weight_rows = regression_rows(output, figures)
    draw_agreement(rows, weight_rows, output / "tokens.png")
    write_part(output, NAME, "Tokens", paragraphs(figures, weight_rows, config), figures)


def pictures(shapes: StudyShapes, targets: Fields, decoded: dict[str, Fields]) -> dict[str, Cell]:
    """Draw the shown field and the worst field of one N.

    Args:
        shapes: the true shapes.
        targets: N fields to memorize.
        decoded: N fields by method.

    Returns:
        A picture with its caption for each row of the sheet.
    """
    shown = memorization.shown_index(len(targets))
    worst = memorization.worst_index(shapes, targets, decoded["free_running"])
    rows = {
        "the field": (targets, shown),
        "teacher-forced": (decoded["teacher_forced"], shown),
        "free-running": (decoded["free_running"], shown),
        "the worst field": (targets, worst),
        "the worst, free-running": (decoded["free_running"], worst),
    }
    return {
        name: memorization.captioned_picture(shapes, targets, fields, index) for name, (fields, index) in rows.items()
    }


def train_and_decode(
    shapes: StudyShapes,
    targets: Fields,
    ids: Tensor,
    tokenizer: WeightTokenizer,
    config: MemorizationConfig,
    seed: int,
) -> tuple[Row, dict[str, Fields]]:
    """Train a GPT-2 on N sequences, and generate the sequences again.

    Args:
        shapes: the true shapes.
        targets: the N fields that the sequences decode to.
        ids: (N, L) sequences.
        tokenizer: the tokenizer of the sequences.
        config: the transformer and its training.
        seed: seed of the transformer.

    Returns:
        The figures, and the decoded fields by method of `METHODS`.
    """
    model = new_model(tokenizer, config, seed)

    def loss(rows: Tensor, _: torch.Generator) -> Tensor:
        return model(**WeightDataCollator()([{"input_ids": row} for row in ids[rows].tolist()])).loss

    batch = torch.arange(min(config.optimizer.batch_size, len(ids)))
    budget = config.flop_budget(lambda: loss(batch, torch.Generator()).backward())
    cost = train_to_budget(model, loss, len(ids), config.optimizer, budget, seed, False)
    sequences = {
        "teacher_forced": teacher_forced_ids(model, ids, tokenizer),
        "free_running": free_running_ids(model, ids, tokenizer),
    }
    decoded = {method: tokenizer.batch_decode(rows) for method, rows in sequences.items()}
    decoded["mean_field"] = Fields(targets.config, targets.flat.mean(0).expand(len(ids), -1))
    row = {
        "fields": len(ids),
        **{f"{method}_wrong_codes": wrong_codes(rows, ids) for method, rows in sequences.items()},
        **memorization.compare(shapes, targets, decoded),
        "distinct_starts": memorization.count_distinct(ids[:, :START]),
        "steps": cost.steps,
        "train_flops": cost.flops,
        "seconds": cost.seconds,
    }
    return row, decoded


def wrong_codes(sequences: Tensor, ids: Tensor) -> float:
    """Share of the codes after the start that differ.

    Args:
        sequences: (N, L) sequences of the model.
        ids: (N, L) true sequences.
    """
    return float((sequences[:, START:-1] != ids[:, START:-1]).float().mean())


def regression_rows(output: Path, figures: Row) -> list[Row]:
    """The rows of conditioned fields in the regression sweep of the same folder.

    Args:
        output: folder of the parts.
        figures: the figures of the part.

    Returns:
        No rows where that sweep is absent or had other steps or other numbers N.
    """
    path = output / "regression.json"
    regression = read_json(path) if path.is_file() else {"rows": []}
    counts = [row["fields"] for row in figures["rows"]]
    rows = [row for row in regression["rows"] if row["condition"] == CONDITIONS[1]]
    same_steps = regression.get("model_steps") == figures["model_steps"]
    return rows if same_steps and [row["fields"] for row in rows] == counts else []


def paragraphs(figures: Row, weight_rows: list[Row], config: MemorizationConfig) -> list[str]:
    """The section as Markdown.

    Args:
        figures: the figures of the part.
        weight_rows: the rows of the regression sweep to compare with, or none.
        config: the transformers and their training.
    """
    lines = [
        [
            str(row["fields"]),
            *(f"{row[f'{method}_wrong_codes']:.3f}" for method in ("teacher_forced", "free_running")),
            *(f"{row[f'{method}_agreement']:.3f}" for method in METHODS),
            f"{row['free_running_iou']:.3f} ({row['iou_plain_fit']:.3f})",
            f"{row['distinct_starts']}",
            f"{row['train_flops']:.1e}",
        ]
        for row in figures["rows"]
    ]
    headers = ["N", "wrong codes, teacher-forced", "wrong codes, free-running"]
    headers += [f"agreement, {words}" for words in METHODS.values()]
    headers += ["IoU, free-running (decoded tokens)", "distinct starts", "FLOPs"]
    return [
        f"The same shapes become {figures['tokens_per_field']} tokens each, with {figures['codebook_size']} codes at"
        f" every position. The tokens decode to fields of {figures['parameters_per_field']} weights; their IoU with the"
        f" true shapes is {figures['iou']:.3f}. GPT-2 has {config.describe()}, as above. A free-running model gets the"
        f" first {START_CODES} codes, so it cannot distinguish fields with equal first codes.",
        markdown_table(headers, lines),
        findings("0.1.0", FINDINGS[0]),
        *(compare_with_weights(figures["rows"], weight_rows) if weight_rows else []),
        "![Agreement against N, tokens and weights](tokens.png)",
        "The pictures show the second of the N shapes (for N = 1 the first) and below it the field with the lowest"
        " agreement; the captions give the agreement with the field.",
        "![Decoded fields](tokens-shapes.png)",
    ]


def compare_with_weights(rows: list[Row], weight_rows: list[Row]) -> list[str]:
    """A table of tokens and of the weights of conditioned fields.

    Args:
        rows: the figures of the tokens.
        weight_rows: the figures of the regression sweep for the same numbers N.
    """
    lines = [
        [
            str(row["fields"]),
            *(f"{part['free_running_agreement']:.3f}" for part in (weights, row)),
            *(f"{part['free_running_iou']:.3f}" for part in (weights, row)),
            f"{weights['train_flops'] / row['train_flops']:.0f}",
        ]
        for row, weights in zip(rows, weight_rows, strict=True)
    ]
    headers = ["N", "agreement, weights", "agreement, tokens", "IoU, weights", "IoU, tokens", "FLOPs, weights ÷ tokens"]
    return [
        "The next table compares the tokens with the regression of conditioned fields, both free-running.",
        markdown_table(headers, lines),
        findings("0.1.0", FINDINGS[1]),
    ]


def draw_agreement(rows: list[Row], weight_rows: list[Row], path: Path) -> None:
    """Draw agreement against N, of tokens and of weights.

    Args:
        rows: the figures of the tokens.
        weight_rows: the figures of the regression sweep, or none.
        path: the PNG to write.
    """
    curves: dict[str, Any] = {}
    for name, selected, color in (("tokens", rows, "C2"), ("conditioned weights", weight_rows, "C0")):
        for method, style in (("teacher_forced", "--"), ("free_running", "o-")):
            if selected:
                counts = [row["fields"] for row in selected]
                agreements = [row[f"{method}_agreement"] for row in selected]
                curves[f"{name}, {METHODS[method]}"] = (counts, agreements, color + style)
    memorization.draw_agreement(curves, path)
