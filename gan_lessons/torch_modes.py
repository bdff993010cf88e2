"""What Ctrl-C leaves switched on or off in torch is put back.

torch's own ``with`` blocks (function and dispatch modes, gradients off for an optimizer's step) end
in several lines of Python. An interrupt in one of these leaves what they had changed as it is.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

import torch

import gan_lessons.torch_internals as internals


@contextlib.contextmanager
def torch_modes_kept() -> Iterator[None]:
    """Where the block raises, gradients are on or off and modes are active as at its beginning.

    It stands around all that a public function does; then no single interrupt, wherever it lands,
    leaves anything behind: one in the end of this block finds the inner ones ended.
    """
    gradients, functions = torch.is_grad_enabled(), internals.function_modes()
    depth, flags = len(internals.dispatch_modes()), internals.dispatch_flags()
    try:
        yield
    except GeneratorExit:  # nobody called our end: what was to be put back is long past
        raise
    except BaseException as error:
        end_interrupted_blocks(error)
        while len(internals.dispatch_modes()) > depth:
            internals.pop_dispatch_mode()
            internals.put_back_dispatch_flags(flags)
        if internals.function_modes() != functions:
            for _ in internals.function_modes():
                internals.pop_mode()
            for mode in functions:
                internals.push_mode(mode)
        torch.set_grad_enabled(gradients)
        raise


def end_interrupted_blocks(error: BaseException) -> None:
    """Where an interrupt cuts off the end of a block of ``contextlib``, the block ends when the
    traceback goes, and that is too late: end it now."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == contextlib.__file__:
            with contextlib.suppress(RuntimeError):  # those that are running
                frame.clear()
