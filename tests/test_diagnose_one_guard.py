"""More guards of ``diagnose``, one at a time: what somebody's loop has beside what is judged."""

from __future__ import annotations

import pytest
import torch

from gan_lessons import diagnose, record
from tests.loops.kit import bce, mlp, noise, real
from tests.loops.right import domains
from tests.test_diagnose_real_code import codes


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def test_a_reversal_counts_beside_an_untrained_copy_of_the_features_too() -> None:
    """An average of the weights has the form of the features, and nothing to do with the judge."""
    it = domains(False)
    features, labels, domain = it.nets.values()
    with record({**it.nets, "average": mlp(2, 4)}, it.optimizers) as rec:
        for i in range(2):
            for optimizer in it.optimizers.values():
                optimizer.zero_grad()
            bce(domain(features(real(i)).detach()), 1.0).backward()
            x = features(noise(i))
            (labels(x).square().mean() + bce(domain(x), 0.0)).backward()
            for optimizer in it.optimizers.values():
                optimizer.step()
    assert codes(diagnose(rec), "wrong") == []
