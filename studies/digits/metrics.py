"""Sets of generated images judged: by a classifier, against true images, and by how near they are to training images.

Decisions:
- What is compared is always images: fields are rendered at the size of the images, and references are the original gray
  values of held-out images, not renderings of them.
- Sets are of equal size, drawn without replacement, with the same number of each class.
- Temperature and top-k are chosen on the validation images; the figures of the choice are of a new draw, against the
  test images.

Dimensions: N images of h x w pixels, B fields, L tokens of a sequence.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studies.digits.classifier import accuracy
from studies.digits.images import render_images, ssim_matrix
from training.data.corpus import column_tensor, split_rows
from training.pretrain import code_loss
from training.report.results import LearnedRun
from weightgpt.fields.field import Fields
from weightgpt.metrics import set_metrics
from weightgpt.model import WeightGPT
from weightgpt.tokens.generation import SamplingConfig, sample_ids

TEMPERATURES, TOP_K = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5), (0, 50, 20, 5)
ACCURATE = 0.95
"""Of the settings whose digits the classifier reads at least so often, that of the lowest 1-NNA is chosen."""
THREES = 256
"""Digits of class 3 in the sets of NeF-GPT."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Pictures:
    """Images (N, h, w) and their classes (N,), as in the idx files."""

    images: Tensor
    labels: Tensor

    def rows(self, index: Tensor) -> "Pictures":
        """Those at `index`."""
        return Pictures(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Benchmark:
    """All that sets of images are judged by."""

    bundle: WeightGPT
    softness: float
    classifier: nn.Module
    train: Pictures
    validation: Pictures
    test: Pictures
    train_ids: Tensor
    """(N, L) sequences of the training images, not of their copies."""
    familiar: float
    """Similarity to the nearest training image that 5 % of the test images exceed."""

    def rendered(self, fields: Fields, size: int | None = None) -> Tensor:
        """Gray images of fields, as large as the true ones or of `size` pixels along each side."""
        height, width = self.test.images.shape[1:]
        return render_images(fields, size or height, size or width, self.softness)

    def draw(self, labels: Tensor, temperature: float, top_k: int, seed: int) -> Fields:
        """New fields of these classes."""
        model, tokenizer = self.bundle.gpt, self.bundle.tokenizer
        names = [str(label) for label in labels.tolist()]
        sampling = SamplingConfig(seed=seed, temperature=temperature, top_k=top_k, batch_size=512)
        ids = sample_ids(model, tokenizer.vocabulary, names, sampling)
        return tokenizer.decode(ids)

    def row(self, name: str, images: Tensor, reference: Pictures, seen: bool = False) -> Row:
        """Figures of a set of images that has the classes of `reference`; `seen` are training images themselves."""
        wanted, found = reference.labels, image_set_metrics(images, reference.images)
        nearest = None if seen else ssim_matrix(images, self.train.images).amax(1)
        close = None if nearest is None else float((nearest > self.familiar).float().mean())
        right = accuracy(self.classifier, images, wanted)
        return {"set": name, "count": len(images), "accuracy": right, **found, "familiar": close}


def image_set_metrics(images: Tensor, references: Tensor) -> dict[str, float]:
    """MMD, COV and 1-NNA of two sets of as many images under the distance 1 - SSIM."""
    count, both = len(images), torch.cat([images, references])
    joint = (1 - ssim_matrix(both, both)).double().numpy()
    found = set_metrics.set_metrics((joint[:count, :count], joint[:count, count:], joint[count:, count:]))
    return {"mmd": found.mmd, "cov": found.cov, "1-nna": found.one_nna}


def of_classes(labels: Tensor, wanted: Tensor) -> Tensor:
    """Places in `labels`, each at most once, at which the classes `wanted` stand, in their order."""
    waiting = {label: (labels == label).nonzero()[:, 0].tolist()[::-1] for label in set(wanted.tolist())}
    return torch.tensor([waiting[label].pop() for label in wanted.tolist()])


def independent(benchmark: Benchmark, labels: Tensor, seed: int) -> Tensor:
    """(B, L) sequences whose codes are drawn each for itself, as often as they occur at their place in the class."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.zeros(len(labels), benchmark.train_ids.shape[1], dtype=torch.long)
    for label in set(labels.tolist()):
        known, asked = benchmark.train_ids[benchmark.train.labels == label], labels == label
        drawn = torch.randint(len(known), (int(asked.sum()), known.shape[1]), generator=generator)
        rows[asked] = known.gather(0, drawn)
    return rows


def sweep(benchmark: Benchmark, seed: int) -> list[Row]:
    """Accuracy and set figures against the validation images at every temperature and top-k."""
    rows = []
    wanted = benchmark.validation.labels
    for temperature in TEMPERATURES:
        for top_k in TOP_K:
            images = benchmark.rendered(benchmark.draw(wanted, temperature, top_k, seed))
            right = accuracy(benchmark.classifier, images, wanted)
            found = image_set_metrics(images, benchmark.validation.images)
            rows.append({"temperature": temperature, "top_k": top_k, "accuracy": right, **found})
    return rows


def choose(rows: list[Row]) -> Row:
    """The accurate setting of the lowest 1-NNA; the most accurate one where none is accurate."""
    accurate = [row for row in rows if row["accuracy"] >= ACCURATE]
    return min(accurate, key=lambda row: row["1-nna"]) if accurate else max(rows, key=lambda row: row["accuracy"])


def compare(benchmark: Benchmark, chosen: Row, seed: int) -> tuple[list[Row], Fields]:
    """The rows of the main table, against the test images; and the chosen fields themselves."""
    train, test, decode = benchmark.train, benchmark.test, benchmark.bundle.tokenizer.decode
    wanted = test.labels
    like = of_classes(train.labels, wanted)
    apart = benchmark.rendered(decode(independent(benchmark, wanted, seed)))
    plain = benchmark.rendered(benchmark.draw(wanted, 1.0, 0, seed + 1))
    fields = benchmark.draw(wanted, chosen["temperature"], chosen["top_k"], seed + 1)
    three = 3 if bool((train.labels == 3).any()) else int(train.labels[0])
    threes = train.rows((train.labels == three).nonzero()[:, 0])
    count = min(THREES, len(threes.labels) // 2)
    known, others = threes.rows(torch.arange(count)), threes.images[count : 2 * count]
    drawn = benchmark.rendered(benchmark.draw(known.labels, chosen["temperature"], chosen["top_k"], seed + 2))
    rows = [
        benchmark.row("training images (what can be hoped for)", train.images[like], test, seen=True),
        benchmark.row(
            "… after the round trip through tokens", benchmark.rendered(decode(benchmark.train_ids[like])), test, True
        ),
        benchmark.row("independent codes of the class", apart, test),
        benchmark.row("ours, temperature 1, all codes", plain, test),
        benchmark.row("ours, as chosen", benchmark.rendered(fields), test),
        benchmark.row(f"other training images of class {three}", others, known, seen=True),
        benchmark.row(f"ours, as chosen, class {three}", drawn, known),
    ]
    for number, row in enumerate(rows):
        row |= {"reference": "test" if number < 5 else "train", "chosen": number in (4, 6)}
    return rows, fields


def measure(benchmark: Benchmark, parts: LearnedRun) -> Row:
    """The figures of the stages: fields, round trip, classifier and GPT, all of held-out images."""
    test = split_rows(parts.corpus, "test")
    ids, images = column_tensor(test, "input_ids").long(), benchmark.test.images
    tokenizer = benchmark.bundle.tokenizer
    trip = benchmark.rendered(tokenizer.decode(ids))
    loss = code_loss(benchmark.bundle.gpt, ids)
    return {
        "images": {
            "train": len(benchmark.train.images),
            "validation": len(benchmark.validation.images),
            "test": len(images),
        },
        "refused": len(parts.refusals),
        "weights": tokenizer.quantizer.field_config.parameters,
        "tokens": tokenizer.quantizer.tokens_per_field,
        "codes": tokenizer.quantizer.codebook_size,
        "fit_iou": float(torch.tensor(test["iou_plain_fit"]).mean()),
        "roundtrip_iou": float(torch.tensor(test["iou"]).mean()),
        "roundtrip_ssim": float(ssim_matrix(trip, images).diagonal().mean()),
        "roundtrip_accuracy": accuracy(benchmark.classifier, trip, benchmark.test.labels),
        "classifier_accuracy": accuracy(benchmark.classifier, images, benchmark.test.labels),
        "softness_in_pixels": benchmark.softness * images.shape[2] / 2,
        "gpt_bits_per_token": loss / torch.tensor(2.0).log().item(),
        "gpt_parameters": benchmark.bundle.gpt.num_parameters(),
    }
