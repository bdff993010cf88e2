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
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gan_lessons.lens.model import Record
from gan_lessons.lens.whatif import whatif_words as words

Splice = tuple[int, int, str]  # from byte, to byte, what stands there then
_Found = tuple[str, list[Splice]] | None  # title, changes; None: the switch does not apply

_D = re.compile(r"(^|_)[dD](_|$)|(?i:disc|critic)|[a-z]D($|[A-Z_])")
_G = re.compile(r"(^|_)[gG](_|$)|(?i:generator|netgen)|(^|_)gen(_|$)|[a-z]G($|[A-Z_])")
_NO_NET = re.compile(r"loss|err|opt|crit(?!ic)|step|zero_grad|backward", re.IGNORECASE)


@dataclass(frozen=True)
class Site:
    """A call, and the way to its statement: (block, index), from the outermost inwards."""

    call: ast.Call
    path: tuple[tuple[list[ast.stmt], int], ...]

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
        self.starts = [0]
        for line in self.bytes.split(b"\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.sites = sorted(_sites(tree.body, ()), key=lambda site: site.place)
        self.known = _unpacked(tree) | (_told(record, tree.name) if record is not None else {})

    def player(self, node: ast.expr) -> str | None:
        """ "G" or "D", whose optimizer, net or loss it is; None where that is not known."""
        text = ast.unparse(node)
        if text in self.known:
            return self.known[text]
        name = text.rpartition(".")[2]
        d, g = _D.search(name), _G.search(name)
        return None if bool(d) == bool(g) else "D" if d else "G"

    def named(self, name: str) -> list[Site]:
        """The calls of a method, in source order."""
        found = (s for s in self.sites if isinstance(s.call.func, ast.Attribute))
        return [s for s in found if s.call.func.attr == name]  # type: ignore[attr-defined]

    def of(self, player: str, method: str) -> list[Site]:
        return [s for s in self.named(method) if self.player(s.owner) == player]

    def calls_of_d(self) -> list[Site]:
        found = (s for s in self.sites if isinstance(s.call.func, ast.Name | ast.Attribute))
        found = (s for s in found if not _NO_NET.search(ast.unparse(s.call.func)))
        return [s for s in found if s.call.args and self.player(s.call.func) == "D"]

    def fed_to(self, call: ast.Call) -> list[ast.AST]:
        """All that stands in its arguments, or was assigned before to a name that stands there."""
        given = [*call.args, *(k.value for k in call.keywords)]
        inside = [n for node in given for n in ast.walk(node)]
        names = {n.id for n in inside if isinstance(n, ast.Name)}
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Assign) or node.lineno >= call.lineno:
                continue
            if names & {t.id for t in node.targets if isinstance(t, ast.Name)}:
                inside += ast.walk(node.value)
        return inside

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """From which byte to which byte it stands."""
        end = self.starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        return self.starts[node.lineno - 1] + node.col_offset, end

    def code(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.bytes[start:end].decode()

    def lines_of(self, statement: ast.stmt) -> tuple[int, int] | None:
        """The bytes of its whole lines; None if it shares a line with another statement."""
        start, end = self.span(statement)
        first, last = self.starts[statement.lineno - 1], self.starts[statement.end_lineno or 0]
        after = self.bytes[end:last].strip()
        alone = not self.bytes[first:start].strip() and (not after or after.startswith(b"#"))
        return (first, last) if alone else None

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
            return words.TITLE["no_detach"], [(dot, source.span(call)[1], "")]
    return None


def _no_zero_grad(player: str) -> Callable[[StepSource], _Found]:
    def change(source: StepSource) -> _Found:
        for site in source.of(player, "zero_grad"):
            if isinstance(site.statement, ast.Expr) and site.statement.value is site.call:
                title = words.TITLE[f"no_zero_grad_{player.lower()}"]
                return title.format(code=_one_line(source.code(site.call))), [_gone(source, site)]
        return None

    return change


def _gone(source: StepSource, site: Site) -> Splice:
    """The statement as a comment, on the lines where it stood."""
    start, end = source.span(site.statement)
    if source.lines_of(site.statement) is None:
        return start, end, "pass"
    text = "\n".join(f"# {line}" for line in source.code(site.statement).split("\n"))
    return start, end, text if len(site.path[-1][0]) > 1 else f"pass  {text}"


def _retain(source: StepSource) -> _Found:
    site = next(iter(source.named("backward")), None)
    keywords = {k.arg: k.value for k in site.call.keywords} if site else {}
    if site is None or len(site.call.args) > 1 or {None, "create_graph"} & set(keywords):
        return None
    value = keywords.get("retain_graph")
    title = words.TITLE["retain"]
    if isinstance(value, ast.Constant):
        way = words.OFF if value.value else words.ON
        return title.format(way=way), [(*source.span(value), str(not value.value))]
    if value is not None:
        return None
    if site.call.args:
        _, at = source.span(site.call.args[-1])
        return title.format(way=words.ON), [(at, at, ", retain_graph=True")]
    at = source.bytes.index(b"(", source.span(site.call.func)[1]) + 1
    comma = ", " if keywords else ""
    return title.format(way=words.ON), [(at, at, f"retain_graph=True{comma}")]


def _freeze_d(source: StepSource) -> _Found:
    name = next((source.code(site.call.func) for site in source.calls_of_d()), None)
    if name is None or re.search("requires_grad|fr[eo]ez|frozen", source.text, re.IGNORECASE):
        return None  # no D to be seen, or it is frozen already
    for step in source.of("G", "step"):
        before = [s for s in source.named("backward") if s.place < step.place]
        own = [s for s in before if source.player(s.owner) == "G"] or before
        if own and (splices := _around(source, own[-1], name)):
            return words.TITLE["freeze_d"], splices
    return None


def _around(source: StepSource, backward: Site, name: str) -> list[Splice] | None:
    """Freeze at the start of the phase that ends in this backward, thaw behind it."""
    block, last = backward.path[0]
    zeros = {s.index_in(block) for s in source.of("G", "zero_grad")}
    others = [s for s in source.named("backward") if s is not backward]
    barred = {s.index_in(block) for s in others + source.of("D", "step")}
    first = last
    while first > 0 and first not in zeros and first - 1 not in barred:
        if _is_docstring(block[first - 1]) or _binds(block[first - 1], name):
            break
        first -= 1
    start, end = source.lines_of(block[first]), source.lines_of(block[last])
    if start is None or end is None or last in barred:
        return None
    indent = source.bytes[start[0] :][: block[first].col_offset].decode()
    freeze, thaw = (f"{indent}{name}.requires_grad_({flag})\n" for flag in (False, True))
    return [(start[0], start[0], freeze), (end[1], end[1], thaw)]


def _step_first(source: StepSource) -> _Found:
    for step in source.named("step"):
        if source.player(step.owner) is None:
            continue
        block, own = step.path[-1]
        lines = source.lines_of(step.statement)
        for backward in reversed([s for s in source.named("backward") if s.place < step.place]):
            at = backward.index_in(block)
            if at is None or at >= own or lines is None:
                continue
            before = source.lines_of(block[at])
            if before is None:
                break
            moved = source.bytes[slice(*lines)].decode()
            title = words.TITLE["step_first"].format(code=_one_line(source.code(step.call)))
            return title, [(before[0], before[0], moved), (*lines, "")]
    return None


_REWRITES: dict[str, Callable[[StepSource], _Found]] = {
    "no_detach": _no_detach,
    "no_zero_grad_d": _no_zero_grad("D"),
    "no_zero_grad_g": _no_zero_grad("G"),
    "retain": _retain,
    "freeze_d": _freeze_d,
    "step_first": _step_first,
}
SWITCHES = tuple(_REWRITES)


def _sites(block: list[ast.stmt], path: tuple[tuple[list[ast.stmt], int], ...]) -> Iterator[Site]:
    """All calls below a block; a statement's own expressions belong to that statement."""
    for index, statement in enumerate(block):
        here = (*path, (block, index))
        waiting: list[ast.AST] = [statement]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Call):
                yield Site(node, here)
            for _, value in ast.iter_fields(node):
                if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                    yield from _sites(value, here)
                else:
                    values = value if isinstance(value, list) else [value]
                    waiting += [v for v in values if isinstance(v, ast.AST)]


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


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _binds(statement: ast.stmt, name: str) -> bool:
    root = re.split(r"\W", name)[0]
    nodes = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
    return any(n.id == root and isinstance(n.ctx, ast.Store) for n in nodes)


def _one_line(code: str) -> str:
    return " ".join(code.split())
