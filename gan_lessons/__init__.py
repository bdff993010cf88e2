"""See which weights a GAN training step really reaches: nets, steps, and a lens to watch them.

Importing the package needs torch and nothing else; the lens is imported when it is first asked for.

>>> from gan_lessons import data, losses, published, tiny_gan
>>> from gan_lessons import step_detach, step_generator_first, step_retain_graph
>>> from gan_lessons import step_by_halves, step_frozen, step_one_stage, step_selective
>>> real, noise = data.ring(4), data.noise(4, (2,))
>>> steps = (step_retain_graph, step_detach, step_generator_first, step_frozen, step_selective,
...          step_one_stage, step_by_halves)
>>> d_losses = [step(tiny_gan(), real, noise).d_loss.item() for step in steps]
>>> max(d_losses) - min(d_losses) < 1e-6  # they differ in what comes after it
True
>>> published.detach_as_printed(tiny_gan(), real, noise)
Traceback (most recent call last):
RuntimeError: Trying to backward through the graph a second time...
>>> round(float(losses.bce_with_logits(noise * 0, noise * 0)), 2)  # in nats: log 2
0.69
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import torch  # noqa: F401 - as a whole: begun with a part of it, its import touches 14 MB more

from gan_lessons import losses, published
from gan_lessons.extras import EXTRA_OF, absent, installed_for
from gan_lessons.factories import dcgan, mlp_gan, tiny_gan
from gan_lessons.gan import Gan, StepLosses
from gan_lessons.lean_steps import step_by_halves, step_frozen, step_one_stage, step_selective
from gan_lessons.steps import step_detach, step_generator_first, step_retain_graph
from gan_lessons.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:  # so that a type checker sees what is imported when it is asked for
    from gan_lessons import train
    from gan_lessons.classroom import explore
    from gan_lessons.lens.cost import cost, cost_all, gains
    from gan_lessons.lens.diagnose import diagnose
    from gan_lessons.lens.record import record, record_step
    from gan_lessons.lens.show import draw_graph
    from gan_lessons.lens.watch import assert_sound, same, terms, watch, watched

_LAZY = {
    "assert_sound": "gan_lessons.lens.watch",
    "cost": "gan_lessons.lens.cost",
    "cost_all": "gan_lessons.lens.cost",
    "diagnose": "gan_lessons.lens.diagnose",
    "draw_graph": "gan_lessons.lens.show",
    "explore": "gan_lessons.classroom",
    "gains": "gan_lessons.lens.cost",
    "record": "gan_lessons.lens.record",
    "record_step": "gan_lessons.lens.record",
    "same": "gan_lessons.lens.watch",
    "terms": "gan_lessons.lens.watch",
    "watch": "gan_lessons.lens.watch",
    "watched": "gan_lessons.lens.watch",
}
_MODULES = ("data", "train", "training")  # what trains is no part of one step

__all__ = [
    "STRATEGIES",
    "Gan",
    "StepLosses",
    "Strategy",
    "assert_sound",
    "cost",
    "cost_all",
    "dcgan",
    "diagnose",
    "draw_graph",
    "explore",
    "gains",
    "losses",
    "mlp_gan",
    "published",
    "record",
    "record_step",
    "same",
    "step_by_halves",
    "step_detach",
    "step_frozen",
    "step_generator_first",
    "step_one_stage",
    "step_retain_graph",
    "step_selective",
    "terms",
    "tiny_gan",
    "train",
    "watch",
    "watched",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("gan-lessons")
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'gan_lessons' has no attribute {name!r}")
    try:
        with installed_for(name):
            return getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA_OF:
            raise
        return absent(error)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
