"""Training fields with noise: a generator without a model.

Decisions:
- Noise is Gaussian, in standard deviations of each weight or latent dimension over the training set.
- We try several amounts on a few shapes, and report the one with the lowest 1-NNA among those that pass the
  memorization check. Without that check the smallest amount would win, because training shapes are the best samples.

Dimensions: n shapes of a row, P parameters, C chunks, r latent width.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from training.compare.reference_sets import ReferenceSets
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.metrics.memorization import EXPECTED_SHARE
from weightgpt.metrics.set_metrics import SET_METRICS

AMOUNTS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5)
"""Amounts of noise to try, in standard deviations."""
SWEEP_SIZE = 48
"""Shapes on which the amounts are compared."""
SWEEP_KEYS = (*SET_METRICS, "memorized_share", "nearest_train_ratio")
"""Metrics that the page shows for each amount."""

Decoder = Callable[[Tensor], Fields]
"""Weights or latents (n, …) -> fields."""


def add_noise(values: Tensor, amount: float, seed: int) -> Tensor:
    """Add Gaussian noise to each number.

    Args:
        values: (n, …) one row for each shape.
        amount: size of the noise, in standard deviations of each number over the rows.
        seed: equal seeds give equal noise.
    """
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(seed))
    return values + amount * values.std(0) * noise


def plain_fit_weights(sets: ReferenceSets) -> tuple[Tensor, Decoder]:
    """Weights (n, P) of plain fits of training shapes, and the function that makes fields of weights.

    Args:
        sets: the run.
    """
    fits = sets.plain_fits
    return fits.flat, lambda flat: Fields(fits.config, flat)


def training_latents(sets: ReferenceSets) -> tuple[Tensor, Decoder]:
    """Latents (n, C, r) of training shapes, and the function that decodes latents to fields.

    Args:
        sets: the run.

    Raises:
        InputError: the quantizer of the run has no latents.
    """
    tokenizer, quantizer = sets.model.tokenizer, sets.model.tokenizer.quantizer
    if not quantizer.has_latents:
        raise InputError("the tokenizer of this run has no latents to add noise to; compare a run with an rvq-ae.")
    codes, _ = tokenizer.vocabulary.parse(sets.ids[: sets.num_training])
    return quantizer.latents(codes), quantizer.decode_latents


def sweep_noise(sets: ReferenceSets, values: Tensor, decode: Decoder) -> list[dict[str, Any]]:
    """Measure each amount of noise on the first `SWEEP_SIZE` shapes: `amount` and the metrics in `SWEEP_KEYS`.

    Args:
        sets: the run.
        values: (n, …) weights or latents of training shapes.
        decode: makes fields of them.
    """
    size = min(SWEEP_SIZE, sets.set_size)
    evaluator, sweep = replace(sets.evaluator.with_first_held_out(size), emd=0), []
    for amount in AMOUNTS:
        fields = decode(add_noise(values, amount, sets.config.seed)[:size])
        row = evaluator.evaluate(sets.mesh(fields.sdfs(), f"noise {amount}")).to_row()
        sweep.append({"amount": amount} | {key: row[key] for key in SWEEP_KEYS})
    return sweep


def best_amount(sweep: list[dict[str, Any]]) -> float:
    """The amount with the lowest 1-NNA that passes the memorization check; the largest amount if none passes.

    Args:
        sweep: what `sweep_noise` returns.
    """
    passing = [row for row in sweep if row["one_nna"] is not None and passes_memorization_check(row)]
    return (min(passing, key=lambda row: row["one_nna"]) if passing else sweep[-1])["amount"]


def passes_memorization_check(row: dict[str, Any]) -> bool:
    """Whether samples are as far from the training shapes as held-out shapes are.

    Args:
        row: metrics of the samples.
    """
    return row["memorized_share"] <= EXPECTED_SHARE and row["nearest_train_ratio"] >= 1
