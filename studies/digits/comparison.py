"""The rows of the digits study: sampling settings on validation images, and the table on test images.

Decisions:
- Temperature and top-k are chosen on the validation images. The rows of the chosen setting use a new seed and the test
  images.

Dimensions: N rows, B target rows.
"""

import math

import torch
from torch import Tensor

from studies.digits.classifier import accuracy
from studies.digits.images import ssim_matrix
from studies.digits.metrics import DigitsEvaluator, Row, image_set_metrics
from training.compare.rows import draw_independent_codes
from training.data.corpus import column_tensor, split_rows
from training.pretrain import code_loss
from training.report.results import LearnedRun
from weightgpt.fields.field import Fields

TEMPERATURES, TOP_K = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5), (0, 50, 20, 5)
"""The sampling settings that are measured."""
MIN_ACCURACY = 0.95
"""We choose the setting with the lowest 1-NNA among the settings of this accuracy or more."""
ONE_CLASS = 3
"""NeF-GPT was published for threes, so we also measure this class alone."""
ONE_CLASS_COUNT = 256
"""Images in the sets of NeF-GPT."""


def rows_with_labels(labels: Tensor, targets: Tensor) -> Tensor:
    """Find one row for each target class, and use no row twice.

    Args:
        labels: (N,) classes of the rows.
        targets: (B,) target classes.

    Returns:
        (B,) indices into `labels`.
    """
    unused = {label: (labels == label).nonzero()[:, 0].tolist()[::-1] for label in set(targets.tolist())}
    return torch.tensor([unused[label].pop() for label in targets.tolist()])


def sweep_sampling(evaluator: DigitsEvaluator, seed: int) -> list[Row]:
    """Measure every temperature and top-k on the validation images.

    Args:
        evaluator: the model and the images.
        seed: seed of the samples.
    """
    rows, validation = [], evaluator.validation
    for temperature in TEMPERATURES:
        for top_k in TOP_K:
            images = evaluator.render(evaluator.sample(validation.labels, temperature, top_k, seed))
            share = accuracy(evaluator.classifier, images, validation.labels)
            metrics = image_set_metrics(images, validation.images)
            rows.append({"temperature": temperature, "top_k": top_k, "accuracy": share, **metrics})
    return rows


def choose_sampling(rows: list[Row]) -> Row:
    """Choose the accurate setting with the lowest 1-NNA, or the most accurate setting where none is accurate.

    Args:
        rows: the rows of `sweep_sampling`.
    """
    accurate = [row for row in rows if row["accuracy"] >= MIN_ACCURACY]
    return min(accurate, key=lambda row: row["one_nna"]) if accurate else max(rows, key=lambda row: row["accuracy"])


def compare_with_test_images(evaluator: DigitsEvaluator, best: Row, seed: int) -> tuple[list[Row], Fields]:
    """Measure references, baselines and samples on the test images.

    Args:
        evaluator: the model and the images.
        best: the sampling settings of `choose_sampling`.
        seed: seed of the samples.

    Returns:
        The rows, and the fields of the chosen setting.
    """
    train, test, decode = evaluator.train, evaluator.test, evaluator.model.tokenizer.batch_decode
    index = rows_with_labels(train.labels, test.labels)
    round_trip = evaluator.render(decode(evaluator.train_ids[index]))
    names, new_names = ([str(label) for label in part.labels.tolist()] for part in (train, test))
    independent = evaluator.render(decode(draw_independent_codes(evaluator.train_ids, names, new_names, seed)))
    plain = evaluator.render(evaluator.sample(test.labels, 1.0, 0, seed + 1))
    fields = evaluator.sample(test.labels, best["temperature"], best["top_k"], seed + 1)
    rows = [
        evaluator.evaluate("reference", train.images[index], test, memorization=False),
        evaluator.evaluate("round-trip", round_trip, test, memorization=False),
        evaluator.evaluate("independent-codes", independent, test),
        evaluator.evaluate("ours, temperature 1", plain, test),
        evaluator.evaluate("ours", evaluator.render(fields), test),
    ]
    return rows, fields


def compare_with_one_class(evaluator: DigitsEvaluator, best: Row, seed: int) -> list[Row]:
    """Compare samples of one class with training images, as NeF-GPT was compared.

    Args:
        evaluator: the model and the images.
        best: the sampling settings of `choose_sampling`.
        seed: seed of the samples.
    """
    train = evaluator.train
    label = ONE_CLASS if bool((train.labels == ONE_CLASS).any()) else int(train.labels[0])
    members = train.select((train.labels == label).nonzero()[:, 0])
    count = min(ONE_CLASS_COUNT, len(members.labels) // 2)
    reference, others = members.select(torch.arange(count)), members.images[count : 2 * count]
    fields = evaluator.sample(reference.labels, best["temperature"], best["top_k"], seed + 2)
    return [
        evaluator.evaluate(f"reference, class {label}", others, reference, memorization=False),
        evaluator.evaluate(f"ours, class {label}", evaluator.render(fields), reference),
    ]


def measure_stages(evaluator: DigitsEvaluator, learned: LearnedRun) -> Row:
    """Measure fits, round trip, classifier and GPT on the test images.

    Args:
        evaluator: the model and the images.
        learned: the results of the stages of the pipeline.
    """
    test, images = split_rows(learned.corpus, "test"), evaluator.test.images
    ids, tokenizer = column_tensor(test, "input_ids").long(), evaluator.model.tokenizer
    round_trip, gpt = evaluator.render(tokenizer.batch_decode(ids)), evaluator.model.gpt
    sets = {"train": evaluator.train, "validation": evaluator.validation, "test": evaluator.test}
    return {
        "images": {name: len(part.images) for name, part in sets.items()},
        "refused": len(learned.refusals),
        "parameters_per_field": tokenizer.quantizer.field_config.parameters,
        "tokens_per_field": tokenizer.quantizer.tokens_per_field,
        "codebook_size": tokenizer.quantizer.codebook_size,
        "iou_plain_fit": float(torch.tensor(test["iou_plain_fit"]).mean()),
        "iou": float(torch.tensor(test["iou"]).mean()),
        "ssim": float(ssim_matrix(round_trip, images).diagonal().mean()),
        "accuracy": accuracy(evaluator.classifier, round_trip, evaluator.test.labels),
        "accuracy_of_images": accuracy(evaluator.classifier, images, evaluator.test.labels),
        "edge_width_in_pixels": evaluator.edge_width * images.shape[2] / 2,
        "gpt_bits_per_token": code_loss(gpt, ids) / math.log(2),
        "gpt_parameters": gpt.num_parameters(),
    }
