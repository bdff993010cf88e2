"""What may be asked of a recording: named nets, named optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer


def check_names(nets: Any, optimizers: Any) -> None:
    """Raise TypeError or ValueError, in words, for anything but dicts of modules and optimizers."""
    for what, given, kind in (("nets", nets, nn.Module), ("optimizers", optimizers, Optimizer)):
        if not isinstance(given, Mapping):
            raise TypeError(
                f"record() got {what} of type {type(given).__name__}; expected a dict of names, "
                f'such as {{"G": ..., "D": ...}}'
            )
        for name, value in given.items():
            if not isinstance(name, str) or not isinstance(value, kind):
                raise TypeError(
                    f"record() got {name!r}: {type(value).__name__} among its {what}; expected "
                    f"names with a {kind.__module__}.{kind.__name__} each"
                )
    if not nets:
        raise ValueError('record() got no nets; name at least one, such as {"G": generator}')
