"""Change one thing in the source of a training step, and leave every other character as it is.

Places are found in the syntax tree, the change is made in the text: comments and layout stay.
Nothing is run here. One well-defined edit for each switch, the first place in source order:

- ``no_detach``: the first ``.detach()`` that feeds D, in the arguments of a call of D or in what
  was assigned to a name that stands there. A detached loss cuts nothing that matters.
- ``no_zero_grad_d``, ``no_zero_grad_g``: the player's first ``zero_grad``, made a comment.
- ``retain``: the first backward, its ``retain_graph`` switched on where it is off, off where on.
- ``freeze_d``: D frozen at the start of G's phase (its ``zero_grad``, or what follows the backward
  or the step of D before it), thawed after G's backward.
- ``step_first``: the first optimizer step goes right before the backward that it comes after.

Why by hand: asttokens would save the few lines that turn columns into places, at the same speed.
libcst takes 0.16 s to import and four times as long for all of this, and its trees are no shorter
to search.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from gan_lessons.lens.model import Record

Splice = tuple[int, int, str]  # from byte, to byte, what stands there then
Path = tuple[tuple[list[ast.stmt], int], ...]  # block and index, from the outermost inwards
_Found = tuple[str, list[Splice]] | None  # title, changes; None: the switch does not apply

_D = re.compile(r"(^|_)[dD](_|$)|(?i:disc|critic)|[a-z]D($|[A-Z_])")
_G = re.compile(r"(^|_)[gG](_|$)|(?i:generator|netgen)|(^|_)gen(_|$)|[a-z]G($|[A-Z_])")
_NO_NET = re.compile(r"loss|err|opt|crit(?!ic)|step|zero_grad|backward", re.IGNORECASE)


@dataclass(frozen=True)
class Site:
    """A call, and the way to its statement."""

    call: ast.Call
    path: Path

    @property
    def owner(self) -> ast.expr:
        """``x`` in ``x.method()``; of a plain call, what is called."""
        func = self.call.func
        return func.value if isinstance(func, ast.Attribute) else func

    @property
    def statement(self) -> ast.stmt:
        block, index = self.path[-1]
        return block[index]

    @property
    def place(self) -> tuple[int, int]:
        """Where the name of what is called ends: the order of the calls in one chain."""
        return self.call.func.end_lineno or 0, self.call.func.end_col_offset or 0

    def index_in(self, block: list[ast.stmt]) -> int | None:
        """Which statement of ``block`` the call stands in."""
        return next((i for b, i in self.path if b is block), None)


class StepSource:
    """The dedented source of one function: its calls, and who is who in it.

    record: of a run of this very function. What its events tell of names goes before what the
    names look like.
    """

    def __init__(self, text: str, record: Record | None = None) -> None:
        text = text if text.endswith("\n") else f"{text}\n"
        (tree,) = ast.parse(text).body
        if not isinstance(tree, ast.FunctionDef):
            raise ValueError(f"expected the source of one plain function, got: {text[:60]!r}")
        self.text, self.tree, self.bytes = text, tree, text.encode()  # columns count bytes
        self.starts = [0, *accumulate(len(line) + 1 for line in self.bytes.split(b"\n"))]
        self.sites = sorted(_sites(ast.Module(tree.body, [])), key=lambda site: site.place)
        self.known = _unpacked(tree) | (_told(record, tree.name) if record is not None else {})

    def player(self, node: ast.expr) -> str | None:
        """ "G" or "D", whose optimizer, net or loss it is; None where that is not known."""
        text = ast.unparse(node)
        if text in self.known:
            return self.known[text]
        name = text.rpartition(".")[2]
        d, g = _D.search(name), _G.search(name)
        return None if bool(d) == bool(g) else "D" if d else "G"

    def named(self, name: str, player: str | None = None) -> list[Site]:
        """The calls of a method, in source order; of anybody's, or of what is one player's."""
        found = (s for s in self.sites if getattr(s.call.func, "attr", None) == name)
        return [s for s in found if player in (None, self.player(s.owner))]

    def calls_of_d(self) -> list[Site]:
        named = (s for s in self.sites if isinstance(s.call.func, ast.Name | ast.Attribute))
        nets = (s for s in named if not _NO_NET.search(ast.unparse(s.call.func)))
        return [s for s in nets if s.call.args and self.player(s.call.func) == "D"]

    def fed_to(self, call: ast.Call) -> list[ast.AST]:
        """All that stands in its arguments, or was assigned before to a name that stands there."""
        inside = [n for node in [*call.args, *call.keywords] for n in ast.walk(node)]
        names = {n.id for n in inside if isinstance(n, ast.Name)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and node.lineno < call.lineno:
                assigned = {t.id for t in node.targets if isinstance(t, ast.Name)}
                inside += ast.walk(node.value) if names & assigned else []
        return inside

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """From which byte to which byte it stands."""
        end = self.starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        return self.starts[node.lineno - 1] + node.col_offset, end

    def code(self, node: ast.expr | ast.stmt) -> str:
        return self.bytes[slice(*self.span(node))].decode()

    def one_line(self, node: ast.expr) -> str:
        return " ".join(self.code(node).split())

    def lines_of(self, statement: ast.stmt) -> tuple[int, int] | None:
        """The bytes of its whole lines; None if it shares a line with another statement."""
        start, end = self.span(statement)
        first, last = self.starts[statement.lineno - 1], self.starts[statement.end_lineno or 0]
        before, after = self.bytes[first:start].strip(), self.bytes[end:last].strip()
        return None if before or (after and not after.startswith(b"#")) else (first, last)

    def spliced(self, splices: list[Splice]) -> str:
        """The text with these changes; they must not overlap."""
        new = self.bytes
        for start, end, text in sorted(splices, reverse=True):
            new = new[:start] + text.encode() + new[end:]
        return new.decode()


def rewrite(source: StepSource, key: str) -> tuple[str, str] | None:
    """(title, changed text) for a switch, or None where it does not apply."""
    found = _REWRITES[key](source)
    return None if found is None else (found[0], source.spliced(found[1]))


def _no_detach(source: StepSource) -> _Found:
    cuts = {id(s.call): s for s in source.named("detach") if not s.call.args}
    for site in source.calls_of_d():
        found = [cuts[id(n)] for n in source.fed_to(site.call) if id(n) in cuts]
        if found:
            call = min(found, key=lambda s: s.place).call
            _, name_end = source.span(call.func)
            dot = source.bytes.rindex(b".", 0, name_end)  # `(a + b).detach()` keeps its brackets
            return "Leave out `.detach()`", [(dot, source.span(call)[1], "")]
    return None


def _no_zero_grad(source: StepSource, player: str) -> _Found:
    title = "Leave out `{code}`"
    for site in source.named("zero_grad", player):
        statement = site.statement
        if not isinstance(statement, ast.Expr) or statement.value is not site.call:
            continue
        gone = "pass"
        if source.lines_of(statement) is not None:  # a comment, on the lines where it stood
            gone = "\n".join(f"# {line}" for line in source.code(statement).split("\n"))
            gone = gone if len(site.path[-1][0]) > 1 else f"pass  {gone}"
        return title.format(code=source.one_line(site.call)), [(*source.span(statement), gone)]
    return None


def _retain(source: StepSource) -> _Found:
    on, off = "Switch `retain_graph` on", "Switch `retain_graph` off"
    site = next(iter(source.named("backward")), None)
    keywords = {k.arg: k.value for k in site.call.keywords} if site else {}
    if site is None or len(site.call.args) > 1 or {None, "create_graph"} & set(keywords):
        return None
    value = keywords.get("retain_graph")
    if isinstance(value, ast.Constant):
        return off if value.value else on, [(*source.span(value), str(not value.value))]
    if value is not None:
        return None
    if site.call.args:
        _, at = source.span(site.call.args[-1])
        return on, [(at, at, ", retain_graph=True")]
    at = source.bytes.index(b"(", source.span(site.call.func)[1]) + 1
    return on, [(at, at, f"retain_graph=True{', ' if keywords else ''}")]


def _freeze_d(source: StepSource) -> _Found:
    name = next((source.code(site.call.func) for site in source.calls_of_d()), None)
    if name is None or re.search("requires_grad|fr[eo]ez|frozen", source.text, re.IGNORECASE):
        return None  # no D to be seen, or it is frozen already
    for step in source.named("step", "G"):
        before = [s for s in source.named("backward") if s.place < step.place]
        own = [s for s in before if source.player(s.owner) == "G"] or before
        if own and (splices := _around(source, own[-1], name)):
            return "Freeze D while G learns", splices
    return None


def _around(source: StepSource, backward: Site, name: str) -> list[Splice] | None:
    """Freeze at the start of the phase that ends in this backward, thaw behind it."""
    block, last = backward.path[0]
    zeros = {s.index_in(block) for s in source.named("zero_grad", "G")}
    others = [s for s in source.named("backward") if s is not backward]
    barred = {s.index_in(block) for s in others + source.named("step", "D")}
    before = barred | {i for i, s in enumerate(block) if _comes_before_a_freeze(s, name)}
    first = last
    while first > 0 and first not in zeros and first - 1 not in before:
        first -= 1
    start, end = source.lines_of(block[first]), source.lines_of(block[last])
    if start is None or end is None or last in barred:
        return None
    indent = source.bytes[start[0] :][: block[first].col_offset].decode()
    freeze, thaw = (f"{indent}{name}.requires_grad_({flag})\n" for flag in (False, True))
    return [(start[0], start[0], freeze), (end[1], end[1], thaw)]


def _step_first(source: StepSource) -> _Found:
    title = "`{code}` before the backward"
    for step in (s for s in source.named("step") if source.player(s.owner) is not None):
        block, own = step.path[-1]
        lines = source.lines_of(step.statement)
        places = [s.index_in(block) for s in source.named("backward") if s.place < step.place]
        at = next((i for i in reversed(places) if i is not None and i < own), None)
        before = None if at is None else source.lines_of(block[at])
        if before is not None and lines is not None:
            moved = source.bytes[slice(*lines)].decode()
            splices = [(before[0], before[0], moved), (*lines, "")]
            return title.format(code=source.one_line(step.call)), splices
    return None


_REWRITES: dict[str, Callable[[StepSource], _Found]] = {
    "no_detach": _no_detach,
    "no_zero_grad_d": lambda source: _no_zero_grad(source, "D"),
    "no_zero_grad_g": lambda source: _no_zero_grad(source, "G"),
    "retain": _retain,
    "freeze_d": _freeze_d,
    "step_first": _step_first,
}
SWITCHES = tuple(_REWRITES)


def _sites(node: ast.AST, path: Path = ()) -> Iterator[Site]:
    """All calls below a node; a statement's own expressions belong to that statement."""
    if isinstance(node, ast.Call):
        yield Site(node, path)
    for _, value in ast.iter_fields(node):
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                inner = ((value, i),) if isinstance(child, ast.stmt) else ()
                yield from _sites(child, path + inner)


def _unpacked(tree: ast.FunctionDef) -> dict[str, str | None]:
    """Who is who in ``G, D, opt_g, opt_d, loss = gan.parts``, under whatever names."""
    known: dict[str, str | None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            names = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else []
            if node.value.attr == "parts":
                known |= {ast.unparse(n): p for n, p in zip(names, "GDGD", strict=False)}
    return known


def _told(record: Record, function: str) -> dict[str, str | None]:
    """Who is who, by what happened: ``opt.step()`` moved D, so ``opt`` is D's. A name that was
    seen for both players, in a loop say, is nobody's."""
    known: dict[str, str | None] = {}
    for event in record.events:
        if event.target is None or event.line.function != function:
            continue
        try:
            call = ast.parse(event.line.expression, mode="eval").body
        except SyntaxError:  # the end of a ``with`` block is no expression
            continue
        if isinstance(call, ast.Call):
            func: Any = call.func
            text = ast.unparse(func if event.kind == "forward" else getattr(func, "value", func))
            known[text] = event.target if known.get(text, event.target) == event.target else None
    return known


def _comes_before_a_freeze(statement: ast.stmt, name: str) -> bool:
    """Is it a docstring, or does it make what is frozen by this name?"""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    root = re.split(r"\W", name)[0]
    nodes = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
    return any(n.id == root and isinstance(n.ctx, ast.Store) for n in nodes)
