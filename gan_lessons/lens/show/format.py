"""Short texts that every view writes alike: names, shapes, norms, bytes, events, columns."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from gan_lessons.lens.model import Event, HeldBytes, Node

EVENT = {
    "forward": "forward {target}",
    "zero_grad": "zero_grad {target}",
    "backward": "backward call {call}",
    "grad": "autograd.grad",
    "step": "step {target}",
    "error": "error ✗",
}


def visible(text: str, limit: int = 60) -> str:
    """One line without control characters: names are other people's, and go into DOT and XML."""
    line = text
    if not text.isprintable():
        line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def marked(text: str) -> str:
    """The text as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(visible(text, 1000)))


def short(op: str) -> str:
    """``Addmm`` for ``AddmmBackward0``."""
    return visible(re.sub(r"Backward\d*$", "", op) or op)


def shape_text(shape: tuple[int, ...] | None) -> str:
    """``(4, 3)``; nothing for a shape that is not known."""
    return "" if shape is None else f"({', '.join(map(str, shape))})"


def norm_text(value: float | None) -> str:
    """Two digits are enough to compare by eye."""
    if value is None:
        return ""
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.2g}"


def bytes_text(held: HeldBytes) -> str:
    """``13.8 MiB``; ``≥`` where some could not be looked at."""
    power = min(max(held.activations.bit_length() - 1, 0) // 10, 3)
    number = held.activations / 1024**power
    text = f"{number:.1f} {('B', 'KiB', 'MiB', 'GiB')[power]}" if power else f"{number:.0f} B"
    return text if held.complete else f"≥ {text}"


def flops_text(flops: float) -> str:
    """``304.3 M``: FLOPs in thousands (k), millions (M) or thousand millions (G)."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if flops >= size:
            return f"{flops / size:.1f} {letter}"
    return f"{flops:.0f}"


def event_text(event: Event) -> str:
    """``step D``, ``backward call 0``."""
    target = None if event.target is None else visible(event.target)
    return EVENT[event.kind].format(target=target, call=event.call).strip()


def leaf_name(node: Node) -> str:
    """A parameter's name within its net; other leaves have none."""
    return "leaf tensor" if node.parameter is None else visible(node.parameter)


def owned_name(node: Node) -> str:
    """A parameter's name with the net that it belongs to: ``D 0.weight``."""
    name = leaf_name(node)
    return f"{visible(node.net)} {name}" if node.net and node.parameter is not None else name


def group_title(net: str | None, forward: int | None) -> str:
    """``D, forward 1``"""
    if net is None:
        return "No net"
    text = "{net}" if forward is None else "{net}, forward {index}"
    return text.format(net=visible(net), index=forward)


def aligned(rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Rows of text in columns; the first ``numbers`` of them flush right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            text.rjust(width) if i < numbers else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
