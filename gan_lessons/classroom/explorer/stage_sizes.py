"""How large everything on the stage is, on a whole slide and on half of one.

Sizes are CSS pixels at the scale of one, at which the smallest text is of ``TEXT`` pixels. Widths
of texts are reckoned, so that nothing has to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TEXT = 18.5
LETTER = 0.602 * TEXT  # the width of one, in every monospace face that we name
SLIM = 0.54 * TEXT  # and in the others, on average
LANE = 12.0  # from one way up or down to the next
ROUND = 9.0

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sizes:
    """How much room everything gets."""

    pad: float = 8.0
    rail: float = 22.0
    gap: float = 10.0
    bank: float = 100.0  # heights: a net's weights, one of its calls, a loss
    call: float = 60.0
    loss: float = 56.0
    bar: float = 74.0  # from a frame's upper edge to below the bar of .grad
    least: float = 222.0  # what a bank has to say needs that
    beside: float = 16.0  # the title of a call, and the sides of its box
    around: float = 26.0  # the name of a loss, and the sides of its ellipse
    between: float = 58.0  # columns
    lane: float = 16.0  # from a frame to before its first lane
    blades: float = 24.0  # from a frame to the middle of a cut before it
    edge: float = 2.0
    labels: bool = True  # what goes in, and what goes from one to another


WIDE = Sizes()
# Of two steps beside each other each has half of a slide, with letters of 18 pixels: the titles of
# the calls say what goes where.
CLOSE = Sizes(
    pad=6.0, rail=18.0, gap=6.0, bank=86.0, call=54.0, loss=50.0, bar=66.0, least=206.0,
    beside=10.0, around=16.0, between=46.0, lane=10.0, blades=20.0, edge=1.0, labels=False,
)  # fmt: skip


@dataclass
class Frame:
    """A net in one column: its weights on top, its calls below."""

    net: str
    calls: list[int] = field(default_factory=list)
    width: float = WIDE.least
    x: float = 0.0
    y: float = 0.0
    sizes: Sizes = WIDE

    @property
    def height(self) -> float:
        pad, gap = self.sizes.pad, self.sizes.gap
        calls = len(self.calls) * (self.sizes.call + gap) + (pad - gap if self.calls else 0)
        return pad + self.sizes.bank + calls

    def covers(self, y: float) -> bool:
        return self.y <= y <= self.y + self.height
