"""All that a record holds, as plain data without torch, and the facts that are read off it."""

from gan_lessons.lens.model.as_json import from_plain, to_plain
from gan_lessons.lens.model.events import (
    BackwardCall,
    Event,
    Forward,
    GradState,
    Kind,
    Moment,
    Pull,
    Quarrel,
    Scaling,
)
from gan_lessons.lens.model.graph import (
    FOLDABLE,
    FREED,
    HELD,
    INPLACE,
    NO_GRAPH,
    NOTHING,
    REVERSAL,
    SECOND_BACKWARD,
    STALE,
    STATES,
    UNKNOWN,
    Cut,
    Graph,
    HeldBytes,
    Node,
    Saved,
)
from gan_lessons.lens.model.line import Line
from gan_lessons.lens.model.record import Record, StepRecord

__all__ = [
    "FOLDABLE", "FREED", "HELD", "INPLACE", "NOTHING", "NO_GRAPH", "REVERSAL", "SECOND_BACKWARD",
    "STALE", "STATES", "UNKNOWN", "BackwardCall", "Cut", "Event", "Forward", "GradState", "Graph",
    "HeldBytes", "Kind", "Line", "Moment", "Node", "Pull", "Quarrel", "Record", "Saved",
    "Scaling", "StepRecord", "from_plain", "to_plain",
]  # fmt: skip
