"""Metrics of sets of images: accuracy of a classifier, MMD, COV and 1-NNA under SSIM, and memorization.

Decisions:
- We compare images, never fields. Fields are rendered at the size of the images, and references are the original gray
  images, not renderings of them.
- The two sets of a comparison have equal size and the same number of images of each class.

Dimensions: N images of h x w pixels, B fields, L tokens of a sequence.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studies.digits.classifier import accuracy
from studies.digits.images import render_images, ssim_matrix
from weightgpt.fields.field import Fields
from weightgpt.metrics.set_metrics import set_metrics
from weightgpt.model import WeightGPT

Row = dict[str, Any]

MEMORIZED_SHARE = 0.05
"""Share of the test images that count as memorized, by definition."""


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes."""

    images: Tensor
    """(N, h, w) gray values in [0, 1]."""
    labels: Tensor
    """(N,) classes."""

    def select(self, index: Tensor) -> "ImageSet":
        """The images at `index` (n,)."""
        return ImageSet(self.images[index], self.labels[index])


def image_set_metrics(images: Tensor, references: Tensor) -> dict[str, float]:
    """MMD, COV and 1-NNA (Yang et al. 2019) under the distance 1 - SSIM.

    Args:
        images: (N, h, w) generated images.
        references: (N, h, w) true images.

    Returns:
        `mmd`, `cov` and `one_nna`.
    """
    count, both = len(images), torch.cat([images, references])
    distances = (1 - ssim_matrix(both, both)).double().numpy()
    metrics = set_metrics((distances[:count, :count], distances[:count, count:], distances[count:, count:]))
    return {"mmd": metrics.mmd, "cov": metrics.cov, "one_nna": metrics.one_nna}


@dataclass(frozen=True)
class DigitsEvaluator:
    """A trained model, the true images, and the classifier and the renderer that compare its digits with them."""

    model: WeightGPT
    edge_width: float
    """Width of the rendered edges, see `studies.digits.images.soft_occupancy`."""
    classifier: nn.Module
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    train_ids: Tensor
    """(N, L) sequences of the training images, without those of their copies."""
    memorized_ssim: float
    """Similarity to the nearest training image that 5 % of the test images exceed."""

    def render(self, fields: Fields, size: int | None = None) -> Tensor:
        """Render fields as gray images.

        Args:
            fields: B fields.
            size: pixels along each side; the size of the true images when None.
        """
        height, width = self.test.images.shape[1:]
        return render_images(fields, size or height, size or width, self.edge_width)

    def sample(self, labels: Tensor, temperature: float, top_k: int, seed: int) -> Fields:
        """Generate fields of these classes.

        Args:
            labels: (B,) classes.
            temperature: sampling temperature.
            top_k: number of likeliest codes to sample from; 0 for all.
            seed: seed of the samples.
        """
        names = [str(label) for label in labels.tolist()]
        shapes = self.model.generate(
            len(names), names, seed=seed, temperature=temperature, top_p=1.0, top_k=top_k, batch_size=512
        )
        return shapes.fields

    def evaluate(self, name: str, images: Tensor, reference: ImageSet, *, memorization: bool = True) -> Row:
        """Metrics of a set of images.

        Args:
            name: name of the row.
            images: (N, h, w) images with the classes of `reference`, in the same order.
            reference: N true images.
            memorization: whether to check memorization; the check means nothing for training images.
        """
        memorized = None
        if memorization:
            nearest = ssim_matrix(images, self.train.images).amax(1)
            memorized = float((nearest > self.memorized_ssim).float().mean())
        return {
            "set": name,
            "count": len(images),
            "accuracy": accuracy(self.classifier, images, reference.labels),
            **image_set_metrics(images, reference.images),
            "memorized_share": memorized,
        }
