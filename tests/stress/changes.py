"""Small changes of the code of a file, such as somebody might make by mistake."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stress.report import ROOT

SWAPPED: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
OTHER_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """``new`` in place of what stands between two places of a file."""

    path: Path
    line: int
    begin: int
    end: int
    old: str
    new: str

    def within(self, source: bytes) -> bytes:
        """The whole file, changed; ``source``: as it was when this was made."""
        return source[: self.begin] + self.new.encode() + source[self.end :]

    def __str__(self) -> str:
        one = " ".join
        old, new = (one(text.split())[:90] for text in (self.old, self.new))
        return f"{self.path.relative_to(ROOT)}:{self.line}: {old}  ->  {new}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All changes of a file that somebody might make by mistake; words are left alone."""
    source = path.read_bytes()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for node in _code(ast.parse(source)):
        begin = lines[node.lineno - 1] + node.col_offset
        end = lines[node.end_lineno - 1] + node.end_col_offset
        old = source[begin:end].decode()
        for new in _changed(node, old):
            yield Mutant(path, node.lineno, begin, end, old, new)


def _code(tree: ast.AST) -> Iterator[Any]:
    """What runs: no annotations, decorators, docstrings, imports, nor what an error says."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from _code(ast.Expr(node.value))
            continue
        if isinstance(node, ast.arguments):
            yield from _code(ast.Tuple([d for d in [*node.defaults, *node.kw_defaults] if d]))
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.expr | ast.stmt):
            yield node
        yield from _code(node)


def _changed(node: Any, old: str) -> Iterator[str]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPPED:
            yield ast.unparse(ast.Compare(node.left, [SWAPPED[type(op)]()], node.comparators))
        case ast.BinOp(op=op) if type(op) in SWAPPED and not isinstance(node.left, ast.Constant):
            yield f"({ast.unparse(ast.BinOp(node.left, SWAPPED[type(op)](), node.right))})"
        case ast.BoolOp(op=op):
            yield f"({ast.unparse(ast.BoolOp(SWAPPED[type(op)](), node.values))})"
        case ast.UnaryOp(op=ast.Not()):
            yield ast.unparse(node.operand)
        case ast.Constant(value=bool() as value):
            yield str(not value)
        case ast.Constant(value=int() | float() as value):
            yield str(value + 1)
        case ast.Name(id=name, ctx=ast.Load()) if name in OTHER_NAMES:
            yield OTHER_NAMES[name]
        case ast.Return(value=value) if value is not None and ast.unparse(value) != "None":
            yield "return None"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete():
            yield "pass"
        case ast.Continue():
            yield "break"
        case ast.If(test=test) if not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp):
            head, written = old, ast.unparse(test)
            if written in head.partition("\n")[0]:
                yield head.replace(written, f"not ({written})", 1)
        case ast.Call(args=args, keywords=keywords) if keywords and all(k.arg for k in keywords):
            yield ast.unparse(ast.Call(node.func, args, keywords[:-1]))
