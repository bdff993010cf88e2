"""What Ctrl-C leaves switched on or off in torch is put back.

torch's own ``with`` blocks (function and dispatch modes, gradients off for an optimizer's step) end
in several lines of Python. An interrupt in one of these leaves what they had changed as it is.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

import torch
from torch.overrides import _get_current_function_mode_stack as function_modes
from torch.overrides import _pop_mode, _push_mode
from torch.utils import _python_dispatch as dispatch

# These tell torch.compile that a mode is on.
_FLAGS = [k for k, v in vars(dispatch).items() if k.startswith("_is_in") and v in (0, 1)]


@contextlib.contextmanager
def torch_modes_kept() -> Iterator[None]:
    """Where the block raises, gradients are on or off and modes are active as at its beginning.

    It stands around all that a public function does; then no single interrupt, wherever it lands,
    leaves anything behind: one in the end of this block finds the inner ones ended.
    """
    gradients, functions = torch.is_grad_enabled(), function_modes()
    depth = len(dispatch._get_current_dispatch_mode_stack())
    flags = {name: getattr(dispatch, name) for name in _FLAGS}
    try:
        yield
    except GeneratorExit:  # nobody called our end: what was to be put back is long past
        raise
    except BaseException as error:
        end_interrupted_blocks(error)
        while len(dispatch._get_current_dispatch_mode_stack()) > depth:
            dispatch._pop_mode()
            vars(dispatch).update(flags)
        if function_modes() != functions:
            for _ in function_modes():
                _pop_mode()
            for mode in functions:
                _push_mode(mode)
        torch.set_grad_enabled(gradients)
        raise


def end_interrupted_blocks(error: BaseException) -> None:
    """Where an interrupt cuts off the end of a block of ``contextlib``, the block ends when the
    traceback goes, and that is too late: end it now."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == contextlib.__file__:
            with contextlib.suppress(RuntimeError):  # those that are running
                frame.clear()
