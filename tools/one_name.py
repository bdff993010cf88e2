"""One name, one thing: what a cell takes over from others is bound in one way in the whole lesson.

Cells are run again, out of order, or all of them for a second time. A name that first holds a loss
and later a function then breaks a cell that was right. So: a name that some cell reads without
binding it itself may be bound in several cells only by the same text. (``gan = mlp_gan(seed=0)``
twice is a fresh start; ``loss``, here a function and there a text in a loop, is not.)

What a compound statement (``for``, ``with``, ``def`` ...) binds itself counts as its own.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

COMPOUND = (ast.For, ast.While, ast.With, ast.If, ast.Try, ast.FunctionDef, ast.ClassDef)
OWN_SCOPE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def two_things(notebook: Any) -> list[str]:
    """One line for every name of ``notebook`` (a NotebookNode) that stands for two things."""
    ways: dict[str, dict[str, int]] = defaultdict(
        dict
    )  # name -> how it is bound -> a cell that does
    readers: dict[str, int] = {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        for statement in tree.body:
            for name, how in bindings(statement):
                ways[name].setdefault(how, number)
        for name in taken_over(tree):
            readers.setdefault(name, number)
    return [
        f"{name!r} is read in cell {readers[name]} and stands for several things: "
        + "; ".join(f"{how[:60]!r} in cell {number}" for how, number in found.items())
        for name, found in ways.items()
        if name in readers and len(set(found.values())) > 1
    ]


def taken_over(tree: ast.Module) -> set[str]:
    """The names that a cell reads, at once or when its functions run, without having bound them."""
    bound: set[str] = set(dir(builtins))
    taken: set[str] = set()
    for statement in tree.body:
        read, written = _names(statement)
        taken |= read - bound
        bound |= written
    return taken


def _names(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The global names that a statement reads, and those that it binds."""
    read: set[str] = set()
    written: set[str] = set()
    waiting = [symtable.symtable(ast.unparse(statement), "<cell>", "exec")]
    top = waiting[0]
    while waiting:
        table = waiting.pop()
        for symbol in table.get_symbols():
            if table is top and (symbol.is_assigned() or symbol.is_imported()):
                written.add(symbol.get_name())
            if symbol.is_referenced() and (table is top or symbol.is_global()):
                read.add(symbol.get_name())
        waiting += table.get_children()
    if isinstance(statement, ast.AugAssign):
        read |= written
    return (read - written if isinstance(statement, COMPOUND) else read), written


def bindings(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(name, how it is bound) for all that a statement binds outside of functions and classes."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name, f"def {ast.unparse(node)}"
        return
    if isinstance(node, OWN_SCOPE):
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield (alias.asname or alias.name).split(".")[0], f"import {alias.name}"
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _targets(target, node.value, ast.unparse(node.value))
    elif isinstance(node, ast.For):
        yield from _targets(node.target, None, f"in {ast.unparse(node.iter)}")
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from _targets(node.optional_vars, None, ast.unparse(node.context_expr))
    elif isinstance(node, ast.NamedExpr):
        yield node.target.id, ast.unparse(node.value)
    for child in ast.iter_child_nodes(node):
        yield from bindings(child)


def _targets(target: ast.expr, value: ast.expr | None, how: str) -> Iterator[tuple[str, str]]:
    """The names in the target of an assignment, each with its own part of the value."""
    if isinstance(target, ast.Name):
        yield target.id, how
    elif isinstance(target, ast.Tuple | ast.List):
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) else None
        for i, element in enumerate(target.elts):
            part = parts[i] if parts and len(parts) == len(target.elts) else None
            yield from _targets(element, part, ast.unparse(part) if part else f"({how})[{i}]")
