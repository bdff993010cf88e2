"""Wait until a device has done what it was told to do."""

from __future__ import annotations

import torch


def wait_for(device: torch.device) -> None:
    """A GPU works on while Python goes ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
