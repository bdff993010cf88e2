"""One loss that a GradScaler scaled hides no other that it did not."""

from __future__ import annotations

import pytest
import torch

from gan_lessons import diagnose, record
from tests.loops.kit import bce, mlp, noise, real, sgd


@pytest.mark.parametrize("scaled", [(True, False), (False, True), (True, True)])
def test_each_loss_whose_scale_is_taken_off_has_to_have_it(scaled: tuple[bool, bool]) -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od, scaler = sgd(G), sgd(D), torch.amp.GradScaler("cpu")
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            od.zero_grad()
            losses = bce(D(real(i)), 1.0), bce(D(G(noise(i)).detach()), 0.0)
            for loss, is_scaled in zip(losses, scaled, strict=True):
                (scaler.scale(loss) if is_scaled else loss).backward()
            scaler.step(od)
            og.zero_grad()
            scaler.scale(bce(D(G(noise(i))), 1.0)).backward()
            scaler.step(og)
            scaler.update()
    assert ("still-scaled" in diagnose(rec).codes) is (scaled != (True, True))
