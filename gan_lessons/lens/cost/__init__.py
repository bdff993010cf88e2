"""What a training step costs: FLOPs by net and call, bytes, and time."""

from gan_lessons.lens.cost.copies import copied
from gan_lessons.lens.cost.flops import Work, counting
from gan_lessons.lens.cost.formula import PASSES, NetFlops, step_flops, written_out
from gan_lessons.lens.cost.gain_trials import Gain, Gains, gains
from gan_lessons.lens.cost.measure import cost, cost_all
from gan_lessons.lens.cost.memory import peak_allocated
from gan_lessons.lens.show import flops_text

__all__ = [
    "PASSES", "Gain", "Gains", "NetFlops", "Work", "copied", "cost", "cost_all", "counting",
    "flops_text", "gains", "peak_allocated", "step_flops", "written_out",
]  # fmt: skip
