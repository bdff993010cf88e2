"""What a training step costs: FLOPs by net and call, bytes, and time."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gan_lessons.lens.cost.copies import copied
from gan_lessons.lens.cost.flops import Work, counting
from gan_lessons.lens.cost.formula import PASSES, NetFlops, step_flops, written_out
from gan_lessons.lens.cost.memory import peak_allocated
from gan_lessons.lens.show import flops_text

if TYPE_CHECKING:  # they load what diagnoses and compares, and who only counts does without
    from gan_lessons.lens.cost.gain_trials import Gain, Gains, gains
    from gan_lessons.lens.cost.measure import cost, cost_all

_HOMES = {
    "Gain": "gain_trials", "Gains": "gain_trials", "gains": "gain_trials",
    "cost": "measure", "cost_all": "measure",
}  # fmt: skip

__all__ = [
    "PASSES", "Gain", "Gains", "NetFlops", "Work", "copied", "cost", "cost_all", "counting",
    "flops_text", "gains", "peak_allocated", "step_flops", "written_out",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
