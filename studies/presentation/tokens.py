"""The same sweep with tokens: an ordinary GPT-2 on the codes of a tokenizer that was learned before.

Decisions: the shapes, the blocks, the steps and the batches are those of the regression sweep; the fields are those
of the tokenizer. The class token is "none" for all, so that nothing but the start tells fields apart; a free run is
given the first two codes and takes the likeliest code each time.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, LogitsProcessorList

from studies.presentation import memory
from studies.presentation.memory import Row, Sweep
from studies.presentation.page import write_part
from studies.presentation.subjects import CONDITIONS, Subjects
from training.baselines.common import train_to_budget
from weightgpt.fields.field import Fields
from weightgpt.formatting import markdown_table
from weightgpt.io import read_json
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.tokens.collator import WeightDataCollator
from weightgpt.tokens.generation import Grammar
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import BOS, EOS, NONE, PAD

NAME = "tokens"
GIVEN = 2
"""Codes at the start of a free run."""
HEAD = 2 + GIVEN
"""Tokens at the start: BOS, the class, and those codes."""


def run(output: Path, quick: bool, seed: int, tokenizer: Path) -> None:
    """Encode the shapes, sweep over N, and write the section.

    Raises:
        InputError: there is no tokenizer in that folder.
    """
    sweep, words = Sweep.of(quick), WeightTokenizer.from_pretrained(tokenizer)
    subjects = Subjects.draw(max(sweep.counts), seed, 2048 if quick else 8192)
    codes = words.quantizer.encode_shapes(subjects.shapes, EncodeConfig(steps=0))
    ids = words.vocabulary.ids(codes, [NONE] * len(codes))
    fields = words.decode(ids)
    rows, cells = [], {name: [] for name in ("the field", "taught", "free", "the worst field", "the worst, free")}
    for count in sweep.counts:
        targets = fields.select(slice(0, count))
        row, found = learn(subjects, targets, ids[:count], words, sweep, seed)
        rows.append(row)
        print(f"tokens: N = {count}: free-running agreement {row['free_agreement']:.3f}", flush=True)
        drawn, worst = memory.show(count), memory.worst(subjects, targets, found["free"])
        parts = (targets, found["teacher"], found["free"], targets, found["free"])
        indices = (drawn, drawn, drawn, worst, worst)
        for name, part, index in zip(cells, parts, indices, strict=True):
            cells[name].append(memory.picture(subjects, targets, part, index))
    memory.draw_sheet(cells, output / "tokens-shapes.png")
    figures = {
        "weights": words.quantizer.field_config.parameters,
        "tokens": words.quantizer.tokens_per_field,
        "codes": words.quantizer.codebook_size,
        "fit_iou": float(subjects.iou(fields).mean()),
        "model_steps": sweep.steps,
        "rows": rows,
    }
    others = beside(output, figures)
    draw(rows, others, output / "tokens.png")
    write_part(output, NAME, "Tokens", describe(figures, others, sweep), figures)


def learn(
    subjects: Subjects, targets: Fields, ids: Tensor, words: WeightTokenizer, sweep: Sweep, seed: int
) -> tuple[Row, dict[str, Fields]]:
    """Train on N sequences; the figures, and the fields that come out by teacher forcing, running free, as a mean."""
    model = new_model(words, sweep, seed)

    def loss(rows: Tensor, _: torch.Generator) -> Tensor:
        return model(**WeightDataCollator()([{"input_ids": row} for row in ids[rows].tolist()])).loss

    first = torch.arange(min(sweep.descent.batch, len(ids)))
    budget = sweep.budget(lambda: loss(first, torch.Generator()).backward())
    cost = train_to_budget(model, loss, len(ids), sweep.descent, budget, seed, False)
    found_ids = {"teacher": taught(model, ids, words), "free": free(model, ids, words)}
    found = {way: words.decode(found) for way, found in found_ids.items()}
    wrong = {way: float((found[:, HEAD:-1] != ids[:, HEAD:-1]).float().mean()) for way, found in found_ids.items()}
    found["mean"] = Fields(targets.config, targets.flat.mean(0).expand(len(ids), -1))
    row = {
        "fields": len(ids),
        **{f"{way}_wrong": share for way, share in wrong.items()},
        **memory.compare(subjects, targets, found),
        "distinct_starts": memory.distinct(ids[:, :HEAD]),
        "steps": cost.steps,
        "flops": cost.flops,
        "seconds": cost.seconds,
    }
    return row, found


def new_model(words: WeightTokenizer, sweep: Sweep, seed: int) -> GPT2LMHeadModel:
    """An untrained GPT-2 with the blocks of the regression transformer."""
    sizes = {"n_layer": sweep.layers, "n_head": sweep.heads, "n_embd": sweep.width}
    rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    special = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    known = {"vocab_size": words.vocabulary.vocab_size, "n_positions": words.vocabulary.length}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(**known, **sizes, **rates, **special))
    model.loss_type = "ForCausalLM"
    return model


@torch.no_grad()
def taught(model: GPT2LMHeadModel, ids: Tensor, words: WeightTokenizer) -> Tensor:
    """(N, L) the start, and after it the likeliest code at every place, each from the true ones before it."""
    likeliest = (model(ids).logits[:, HEAD - 1 : -2] + Grammar(words.vocabulary).mask[HEAD:-1]).argmax(-1)
    return torch.cat([ids[:, :HEAD], likeliest, ids[:, -1:]], 1)


@torch.no_grad()
def free(model: GPT2LMHeadModel, ids: Tensor, words: WeightTokenizer) -> Tensor:
    """(N, L) the start, and after it what the model makes of its own likeliest codes."""
    start, length = ids[:, :HEAD], words.vocabulary.length
    settings = GenerationConfig(
        do_sample=False, max_length=length, pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS
    )
    processors = LogitsProcessorList([Grammar(words.vocabulary)])
    mask = torch.ones_like(start)
    return model.generate(start, attention_mask=mask, generation_config=settings, logits_processor=processors)


def beside(output: Path, figures: Row) -> list[Row]:
    """The rows of the regression sweep in the same folder, if it took the same steps for the same N."""
    path = output / "regression.json"
    found = read_json(path) if path.is_file() else {"rows": []}
    counts = [row["fields"] for row in figures["rows"]]
    rows = [row for row in found["rows"] if row["condition"] == CONDITIONS[1]]
    same = found.get("model_steps") == figures["model_steps"] and [row["fields"] for row in rows] == counts
    return rows if same else []


def describe(figures: Row, others: list[Row], sweep: Sweep) -> list[str]:
    """The text of the section."""
    rows = figures["rows"]
    lines = [
        [
            str(row["fields"]),
            f"{row['teacher_wrong']:.3f}",
            f"{row['free_wrong']:.3f}",
            f"{row['teacher_agreement']:.3f}",
            f"{row['free_agreement']:.3f}",
            f"{row['mean_agreement']:.3f}",
            f"{row['free_iou']:.3f} ({row['fit_iou']:.3f})",
            f"{row['distinct_starts']}",
            f"{row['flops']:.1e}",
        ]
        for row in rows
    ]
    heads = ["N", "wrong codes, taught", "wrong codes, free", "agreement, taught", "agreement, free"]
    heads += ["agreement, mean", "IoU, free (decoded tokens)", "distinct starts", "FLOPs"]
    return [
        f"The same shapes as {figures['tokens']} tokens each, every one of {figures['codes']} codes, which decode to"
        f" fields of {figures['weights']} weights; IoU with the true shapes {figures['fit_iou']:.3f}. GPT-2 has"
        f" {sweep.words()}, as above. A free run is given the first {GIVEN} codes; fields that share them"
        " cannot be told apart.",
        markdown_table(heads, lines),
        memory.told("As tokens", rows),
        *bought(rows, others),
        "![Agreement against N, tokens and weights](tokens.png)",
        "The second of the N shapes (for N = 1 the first), and below it the one that is remembered worst, each with its"
        " agreement with the field:",
        "![Decoded fields](tokens-shapes.png)",
    ]


def bought(rows: list[Row], others: list[Row]) -> list[str]:
    """What tokens buy, against the regression of conditioned fields at the same steps."""
    if not others:
        return []
    lines = [
        [
            str(row["fields"]),
            f"{other['free_agreement']:.3f}",
            f"{row['free_agreement']:.3f}",
            f"{other['free_iou']:.3f}",
            f"{row['free_iou']:.3f}",
            f"{other['flops'] / row['flops']:.0f}",
        ]
        for row, other in zip(rows, others, strict=True)
    ]
    heads = ["N", "agreement, weights", "agreement, tokens", "IoU, weights", "IoU, tokens", "FLOPs, weights ÷ tokens"]
    far, before = memory.remembered(rows), memory.remembered(others)
    verdict = "Tokens carry further" if far > before else "Tokens carry no further"
    last, other = rows[-1], others[-1]
    return [
        "Beside the regression of conditioned fields, both running free:",
        markdown_table(heads, lines),
        f"{verdict}: N = {far} fields are remembered by that measure instead of {before}, at the same steps and"
        f" {other['flops'] / last['flops']:.0f} times fewer operations at N = {last['fields']}, though each token field"
        " has more weights; the tokenizer, learned before, is not counted."
        f" At N = {last['fields']} a free run shows {last['free_iou']:.3f} IoU of the true shapes"
        f" instead of {other['free_iou']:.3f}.",
    ]


def draw(rows: list[Row], others: list[Row], path: Path) -> None:
    """Agreement against N, of tokens and, beside them, of the regression."""
    curves: dict[str, Any] = {}
    for name, own, color in (("tokens", rows, "C2"), ("conditioned weights", others, "C0")):
        for way, word, style in (("teacher", "taught", "--"), ("free", "free", "o-")):
            if own:
                values = [row[f"{way}_agreement"] for row in own]
                curves[f"{name}, {word}"] = ([row["fields"] for row in own], values, color + style)
    memory.draw_curves(curves, "IoU with the field to be remembered", path)
