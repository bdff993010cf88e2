"""How a diagnosis quotes the lines of a record: short, and told apart where they read alike."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property

from gan_lessons.lens.model import Event, Forward, Line, Record
from gan_lessons.lens.show import visible

LONGEST = 100  # characters of a line that is quoted


def _file_name(path: str) -> str:
    """A file without its folder; a cell of a notebook as in tracebacks, "Cell In[3]"."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    # Older versions of IPython do not know it.
    named = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)
    cell = named(path)
    return " ".join(cell) if cell else path.replace("\\", "/").rpartition("/")[-1]


def some(names: list[str]) -> str:
    """The first three of many names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class Quotes:
    """The lines of ``record``."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @cached_property
    def places(self) -> dict[str, set[tuple[str, int]]]:
        """Text of a line -> where it stands: more than one place where lines read alike."""
        found: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for line in (e.line for e in self.record.events if e.line.text):
            found[_short(line)].add((line.file, line.number))
        return found

    @cached_property
    def files(self) -> set[str]:
        return {file for places in self.places.values() for file, _ in places}

    def place(self, line: Line) -> str:
        """The number of a line, with the file's name where it is not the only one."""
        number = f"line {line.number}"
        return f"{_file_name(line.file)}, {number}" if len(self.files) > 1 else number

    def quoted(self, line: Line) -> str:
        """A line between backticks; with its number where others read alike. "" for none."""
        if not line.text:
            return ""
        alike = len(self.places.get(_short(line), ())) > 1
        return f"`{_short(line)}`" + (f" ({self.place(line)})" if alike else "")

    def in_line(self, line: Line | None) -> str:
        """`` in `the line` ``; "" for none."""
        return f" in {self.quoted(line)}" if line is not None and line.text else ""

    def call(self, index: int, numbered: bool = False) -> str:
        """The line of a backward call; its number too where one line serves several."""
        quoted = self.quoted(self.record.backward_calls[index].line)
        number = f"backward call {index}"
        return (f"{quoted} ({number})" if numbered else quoted) if quoted else number

    def calls(self, indices: Iterable[int], numbered: bool = False) -> str:
        return " and ".join(dict.fromkeys(self.call(i, numbered) for i in sorted(indices)))

    def one_line(self, some: Iterable[int], others: Iterable[int]) -> bool:
        """Do calls of both kinds stand at the same line (of a helper, say)?"""
        return bool({self.call(i) for i in some} & {self.call(i) for i in others})

    def event(self, event: Event) -> str:
        """The line of a step or of a ``zero_grad``."""
        what = "a step" if event.kind == "step" else event.kind
        return self.quoted(event.line) or f"{what} of {event.target}"

    def forward(self, forward: Forward) -> str:
        return self.quoted(forward.line) or f"{forward.net}(...)"

    def seen(self, event: Event) -> str:
        if not event.line.text:
            return f"event {event.index}: {event.kind} {event.target or ''}".strip()
        return f"event {event.index}, {self.place(event.line)}: `{_short(event.line)}`"

    def parameters_of(self, nets: Iterable[str], call: int) -> str:
        """Code for the parameters of some nets: for ``inputs=`` of this call, which refuses those
        that are frozen."""
        got, found = self.record.backward_calls[call].received, []
        for net in nets:
            if net in self.record.lone:
                names = [*self.record.parameters[net]]
                found.append(f"[{', '.join(names if len(names) < 4 else [*names[:2], '...'])}]")
            elif {*got.get(net, ())} == {*self.record.parameters[net]}:
                found.append(f"list({net}.parameters())")
            else:
                found.append(f"[p for p in {net}.parameters() if p.requires_grad]")
        return " + ".join(found)

    def strangers(self, numbers: Iterable[int]) -> str:
        """Parameters of no named net, by the outermost modules that own them; "" where none does.

        ``conv.0.weight, conv.0.bias and 2 more of Judge``; of several modules, each by its own."""
        rows: dict[str, list[str]] = defaultdict(list)
        places = self.record.graph.places
        for number in dict.fromkeys(numbers):
            if number in places:
                rows[places[number][0]].append(places[number][1])
        told = {kind: [*dict.fromkeys(sorted(names))] for kind, names in rows.items()}
        more = {kind: sorted((Counter(names) - Counter(told[kind])).elements())
                for kind, names in rows.items()}  # fmt: skip
        return " and ".join(f"{some(told[k] + more[k])} of {k}" for k in sorted(rows))


def _short(line: Line) -> str:
    crowded = ";" in line.text and line.expression
    text = line.expression if crowded else line.code
    return visible(" ".join(text.split()), LONGEST)
