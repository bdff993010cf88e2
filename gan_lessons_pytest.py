"""What pytest finds of gan-lessons by its entry point: the fixture ``recorded``.

Every run of pytest imports this, so it stands outside the package: that, and torch, are imported
when a test asks for the fixture.
"""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def recorded() -> Callable[..., Any]:
    """Record a training loop, and fail with a diagnosis where it trains on a wrong gradient.

    ``with recorded({"G": netG, "D": netD}, {"G": opt_g, "D": opt_d}) as rec:`` around two
    iterations; without names, nets and optimizers are found in the variables of the test.
    ``allow={"polluted": "the reason"}`` lets one kind of finding pass.
    """
    from gan_lessons.lens.watch import recorded

    return recorded
