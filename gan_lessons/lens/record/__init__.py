"""The observer: run any code for real and write down what it did to every gradient."""

from gan_lessons.lens.record.attaching import replace_function, watch_forwards
from gan_lessons.lens.record.autograd_nodes import read_saved, snapshot, walk
from gan_lessons.lens.record.line_by_line import (
    Beside,
    innermost,
    readable_source,
    record_step,
)
from gan_lessons.lens.record.lone_parameters import LoneParameters
from gan_lessons.lens.record.operations import tensors_in
from gan_lessons.lens.record.optimizer_steps import held_parameters, held_twice, watch_steps
from gan_lessons.lens.record.recording import record
from gan_lessons.lens.record.source_lines import (
    caller_line,
    is_installed,
    is_stdlib,
    look_into,
    trainers,
)
from gan_lessons.lens.record.step_arguments import StepCall, is_own_call, of_gan, step_call
from gan_lessons.lens.record.undo import Undo, undone
from gan_lessons.torch_internals import (
    ENGINE,
    is_compiler_at_work,
    node_of,
    storage_of,
    weights_and_buffers,
    without_torch_functions,
)

__all__ = [
    "ENGINE",
    "Beside",
    "LoneParameters",
    "StepCall",
    "Undo",
    "caller_line",
    "held_parameters",
    "held_twice",
    "innermost",
    "is_compiler_at_work",
    "is_installed",
    "is_own_call",
    "is_stdlib",
    "look_into",
    "node_of",
    "of_gan",
    "read_saved",
    "readable_source",
    "record",
    "record_step",
    "replace_function",
    "snapshot",
    "step_call",
    "storage_of",
    "tensors_in",
    "trainers",
    "undone",
    "walk",
    "watch_forwards",
    "watch_steps",
    "weights_and_buffers",
    "without_torch_functions",
]
