"""A small network that classifies images.

It learns from true training images alone, shifted by up to one pixel, and then measures generated images.

Dimensions: N images of h x w pixels, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def train_classifier(images: Tensor, labels: Tensor, seed: int, epochs: int = 15, batch_size: int = 64) -> nn.Module:
    """Train a convolutional network.

    Args:
        images: (N, h, w) gray values in [0, 1].
        labels: (N,) classes 0 … K-1.
        seed: seed of the weights, the batches and the shifts.
        epochs: passes over the images.
        batch_size: images of a step.

    Returns:
        A network of (n, 1, h, w) images -> (n, K) logits.
    """
    height, width = images.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * (height // 4) * (width // 4), 128), nn.ReLU()),
            *(nn.Dropout(0.3), nn.Linear(128, int(labels.max()) + 1)),
        )
        optimizer = torch.optim.AdamW(model.parameters())
        steps = epochs * -(-len(images) // batch_size)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(batch_size):
                shift = torch.randint(-1, 2, (2,)).tolist()
                shifted = torch.roll(images[rows], shift, (1, 2))[:, None]
                loss = F.cross_entropy(model(shifted), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images that the network assigns to their class.

    Args:
        model: a network of `train_classifier`.
        images: (N, h, w) gray values in [0, 1].
        labels: (N,) classes.
    """
    predictions = torch.cat([model(part[:, None]).argmax(1) for part in images.split(256)])
    return float((predictions == labels).float().mean())
