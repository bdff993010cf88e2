"""The observer: run any training code for real and write down what it did to every gradient.

    with record({"G": generator, "D": discriminator}, {"G": opt_g, "D": opt_d}) as rec:
        ...                       # any code at all
    print(rec)

It sees forwards (module hooks), backwards (``torch.autograd``'s one way into the engine),
``zero_grad`` and ``step``, and every operation that builds the graph. It changes no number: the
weights, buffers and random state afterwards are those of a run without it. It keeps no tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.lens.model import Record
from gan_lessons.lens.record.journal import AnyRecord, Journal
from gan_lessons.lens.record.lone_parameters import LoneParameters
from gan_lessons.lens.record.recorder import Recorder
from gan_lessons.lens.record.undo import Undo
from gan_lessons.torch_modes import end_interrupted_blocks


@contextmanager
def record(
    nets: Mapping[str, nn.Module | Tensor], optimizers: Mapping[str, Optimizer] | None = None
) -> Iterator[Record]:
    """Record what the code in the ``with`` block does to the gradients of ``nets``.

    nets: name -> module, or a tensor that is learned by itself (a temperature, a latent code).
    optimizers: name -> optimizer; one that is not named here is seen all the same if it holds
    parameters of ``nets``, under the name of its class.

    Yields a ``Record``, filled in while the block runs and complete after it. An exception goes on
    to the caller; the record then holds an "error" event, with an explanation for the three errors
    that graphs raise. Blocks may be nested and used again. Mutates nothing that is recorded; hooks
    and patches are gone afterwards, on every path. Only the thread that entered is watched.

    Raises ``TypeError``/``ValueError`` for anything but named modules, tensors that hold a gradient
    of their own, and optimizers.

    >>> from gan_lessons import data, record, step_detach, tiny_gan
    >>> gan = tiny_gan()
    >>> with record(gan.nets, gan.optimizers) as rec:
    ...     losses = step_detach(gan, data.ring(4), data.noise(4, (2,)))
    >>> [call.source for call in rec.backward_calls]
    ['d_loss.backward()', 'g_loss.backward()']
    """
    named: Any = nets
    if isinstance(nets, Mapping):
        named = {name: _as_net(name, value) for name, value in nets.items()}
    with recording(Record, named, {} if optimizers is None else optimizers) as journal:
        yield journal.record


@contextmanager
def recording(
    kind: type[AnyRecord], nets: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> Iterator[Journal[AnyRecord]]:
    """The same, for other instruments: yields the journal, whose ``record`` is of that kind."""
    check_names(nets, optimizers)
    undo = Undo()
    recorder = Recorder(kind, nets, optimizers, undo)
    journal, gradients_on = recorder.journal, torch.is_grad_enabled()
    undo.callback(journal.finish)
    try:
        recorder.attach()
        yield journal
    except BaseException as error:
        end_interrupted_blocks(error)
        if isinstance(error, KeyboardInterrupt):  # optimizers turn them off, and on too late
            torch.set_grad_enabled(gradients_on)
        journal.failed(error)
        raise
    finally:
        try:
            undo.close()
        except BaseException:  # an interrupt: the rest is undone all the same
            undo.close()
            raise


def _as_net(name: Any, value: Any) -> Any:
    lone = isinstance(name, str) and isinstance(value, Tensor)
    return LoneParameters({name: value}) if lone else value


def check_names(nets: Any, optimizers: Any, function: str = "record") -> None:
    """Raise TypeError or ValueError, in words, for anything but dicts of modules and optimizers."""
    for what, given, kind in (("nets", nets, nn.Module), ("optimizers", optimizers, Optimizer)):
        if not isinstance(given, Mapping):
            raise TypeError(
                f"{function}() got {what} of type {type(given).__name__}; expected a dict of "
                f'names, such as {{"G": ..., "D": ...}}'
            )
        for name, value in given.items():
            if not isinstance(name, str) or not isinstance(value, kind):
                raise TypeError(
                    f"{function}() got {name!r}: {type(value).__name__} among its {what}; expected "
                    f"names with a {kind.__module__}.{kind.__name__} each"
                )
    if not nets:
        raise ValueError(f'{function}() got no nets; name at least one, such as {{"G": generator}}')
