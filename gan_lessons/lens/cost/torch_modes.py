"""Take torch's dispatch modes, which hear every operation, off on every path.

Their own enter and exit take several lines of Python. Ctrl-C in one of these leaves the mode on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils import _python_dispatch as dispatch


@contextmanager
def modes_taken_off() -> Iterator[None]:
    """At the end of the block as many modes are on as at its beginning."""
    depth = len(dispatch._get_current_dispatch_mode_stack())
    flags = {
        k: v for k, v in vars(dispatch).items() if k.startswith("_is_in") and v in (True, False)
    }
    try:
        yield
    finally:
        while len(dispatch._get_current_dispatch_mode_stack()) > depth:
            dispatch._pop_mode()
            vars(dispatch).update(flags)  # these tell torch.compile that a mode is on
