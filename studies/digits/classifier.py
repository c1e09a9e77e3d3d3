"""A small judge of images: says which class an image is of.

It is trained on true training images alone, moved by up to a pixel, and sees generated ones only to judge them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def train_classifier(images: Tensor, labels: Tensor, seed: int, epochs: int = 15, batch: int = 64) -> nn.Module:
    """A convolutional network trained on images (N, h, w) in [0, 1] with classes 0 … K-1 (N,)."""
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
        steps = epochs * -(-len(images) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(batch):
                move = torch.randint(-1, 2, (2,)).tolist()
                seen = torch.roll(images[rows], move, (1, 2))[:, None]
                loss = F.cross_entropy(model(seen), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images (N, h, w) of which the model says the class that `labels` (N,) says."""
    answers = torch.cat([model(part[:, None]).argmax(1) for part in images.split(256)])
    return float((answers == labels).float().mean())
