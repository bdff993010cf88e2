"""Scores of generated digits: against cases whose answer is known."""

import pytest
import torch
from sklearn.datasets import load_digits

from gan_lessons.data import digits
from gan_lessons.digit_score import frechet_distance, precision_recall, train_features


@pytest.fixture(scope="module")
def images():
    return digits()


@pytest.fixture(scope="module")
def net(images):
    return train_features(images[:1200], torch.tensor(load_digits().target[:1200]))


def test_the_classifier_knows_digits(images, net):
    right = net(images[1200:]).argmax(1) == torch.tensor(load_digits().target[1200:])
    assert float(right.double().mean()) > 0.85


def test_frechet_distance_of_normal_clouds():
    """Diagonal normals have a closed form: |m|^2 + sum (s - t)^2."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(200_000, 3, generator=generator, dtype=torch.float64)
    scale, shift = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([1.0, 0.0, -2.0]).double()
    b = torch.randn(200_000, 3, generator=generator, dtype=torch.float64) * scale + shift
    wanted = float(shift.square().sum() + (scale - 1).square().sum())
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=0.01)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_noise_scores_worse_than_digits(images, net):
    with torch.no_grad():
        known, held, noise = (
            net.features(x)
            for x in (images[:800], images[800:1600], torch.rand(800, 1, 8, 8) * 2 - 1)
        )
    assert frechet_distance(known, held) < 0.2 * frechet_distance(known, noise)
    precision, recall = precision_recall(known, held)
    assert min(precision, recall) > 0.6
    assert precision_recall(known, noise)[1] < 0.3


def test_precision_and_recall_by_hand():
    cloud = torch.arange(10.0).unsqueeze(1)
    few = torch.tensor([[0.1], [0.2], [0.3], [0.4]])  # one corner of it
    precision, recall = precision_recall(cloud, few, k=1)
    assert precision == 1.0
    assert recall == pytest.approx(0.1)  # only 0 lies within 0.1 of one of them
    far = few + 100
    assert precision_recall(cloud, far, k=1) == (0.0, 0.0)
