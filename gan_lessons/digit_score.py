"""How good are generated digits? Scores that are no loss, on features of a small classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Adam

from gan_lessons.data import batch, rng
from gan_lessons.put_back import seeded


class DigitFeatures(nn.Module):
    """Digits (batch, 1, 8, 8) -> logits (batch, 10); ``features`` gives (batch, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()
        )
        self.last = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.features(images))
        return logits


def train_features(
    images: Tensor, labels: Tensor, steps: int = 600, seed: int = 0
) -> DigitFeatures:
    """A classifier trained on images (n, 1, 8, 8) and labels (n,). A few seconds at most. The
    global random state stays where it was."""
    with seeded(seed):
        net = DigitFeatures()
    optimizer, generator = Adam(net.parameters(), 3e-3), rng(seed)
    for _ in range(steps):
        rows = batch(torch.arange(len(images)), 128, generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
        optimizer.step()
    return net.eval()


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Between features (n, d) and (m, d), each taken for a normal distribution (arXiv 1706.08500):
    |mean difference|^2 + trace(A + B - 2 (A B)^(1/2)), 0 where both have the same moments."""
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # The eigenvalues of A B are those of A^(1/2) B A^(1/2), which is symmetric.
    both = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    gap = (a.mean(0) - b.mean(0)).square().sum()
    return float(gap + cov_a.trace() + cov_b.trace() - 2 * both)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Of features (n, d) and (m, d), by k nearest neighbours (arXiv 1904.06991). Precision: share
    of fakes that lie among the real ones; recall: share of real ones that lie among the fakes."""

    def inside(points: Tensor, cloud: Tensor) -> float:
        # The k-th neighbour of a point of the cloud, itself not counted, is its reach.
        reach = torch.cdist(cloud, cloud).kthvalue(k + 1, dim=1).values
        return float((torch.cdist(points, cloud) <= reach).any(1).double().mean())

    return inside(fake, real), inside(real, fake)
