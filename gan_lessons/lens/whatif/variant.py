"""A training step with one thing changed in its source, ready to run in its place.

    judge = Judge(step_detach, gan, real, noise)
    for variant in variants(step_detach):
        print(variant.diff, judge(variant).message)

Nothing runs before it is judged, or its ``step`` is called.
"""

from __future__ import annotations
import __future__

import ast
import difflib
import dis
import functools
import hashlib
import linecache
import types
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from gan_lessons.lens.model import Record
from gan_lessons.lens.record import innermost, readable_source
from gan_lessons.lens.whatif.rewrite import SWITCHES, StepSource, rewrite

Step = Callable[..., Any]


@dataclass(frozen=True)
class Edit:
    """One line that differs. ``old``, ``new``: whole lines, None for a line that is not there.

    ``line``: counted from 1 in the changed source, where ``new`` stands, or before which ``old``
    stood.
    """

    line: int
    old: str | None
    new: str | None


@dataclass(frozen=True)
class WhatIf:
    """A step with one thing changed.

    ``source``, ``before``: of the changed and of the original step, dedented. ``step``: the changed
    step, with the globals, closure and defaults of the original. ``inspect.getsource`` and every
    traceback show the changed text, which stands in ``linecache`` and in no file.
    """

    key: str
    title: str
    source: str
    before: str
    step: Step

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Every line that differs, from the top."""
        old, new = self.before.splitlines(), self.source.splitlines()
        found: list[Edit] = []
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        for kind, i, i_end, j, j_end in blocks:
            if kind != "equal":
                pairs = enumerate(zip_longest(old[i:i_end], new[j:j_end]), start=j)
                found += [Edit(min(k, j_end) + 1, gone, come) for k, (gone, come) in pairs]
        return tuple(found)

    @property
    def diff(self) -> str:
        """A unified diff of the two sources, without file names."""
        old, new = self.before.splitlines(), self.source.splitlines()
        return "\n".join([*difflib.unified_diff(old, new, n=1, lineterm="")][2:])


def variants(step: Step, record: Record | None = None) -> tuple[WhatIf, ...]:
    """``step`` with one thing changed, for each of ``SWITCHES`` that applies, in that order.

    record: of a run of this step, such as ``Judge.reference``: it tells who is who where names do
    not. () for a step without readable source. Runs nothing.
    """
    source = _readable(step, record)
    if source is None:
        return ()
    found = (_variant(step, key, source) for key in SWITCHES)
    return tuple(variant for variant in found if variant is not None)


UNKNOWN = "there is no switch {key!r}; the switches are {all}"
NO_SOURCE = (
    "none of the switches applies to {name}: its source cannot be read, is no plain function, or "
    "is no longer what runs. Define it with `def` in a file or a notebook cell, and run that again."
)
NOT_HERE = "switch {key!r} does not apply to {name}; these do: {these}"


def what_if(step: Step, key: str, record: Record | None = None) -> WhatIf:
    """The one variant; ValueError where that switch does not apply, with those that do."""
    if key not in SWITCHES:
        raise ValueError(UNKNOWN.format(key=key, all=", ".join(SWITCHES)))
    found = {variant.key: variant for variant in variants(step, record)}
    if key in found:
        return found[key]
    text = NO_SOURCE if _readable(step, record) is None else NOT_HERE
    name, these = getattr(step, "__name__", type(step).__name__), ", ".join(found) or "none"
    raise ValueError(text.format(key=key, name=name, these=these))


def _readable(step: Step, record: Record | None) -> StepSource | None:
    """The step's source, if there is one and if it is what runs (a file may have changed)."""
    if not callable(step):
        raise TypeError(f"expected a function step(gan, real, noise), got {type(step).__name__}")
    code, text = readable_source(step)
    try:
        source = StepSource(text, record)
        return source if code and _shape(_code(source.text, "", code)) == _shape(code) else None
    except (ValueError, SyntaxError):
        return None


def _shape(code: types.CodeType) -> list[tuple[int, str]]:
    """Every name and constant that it uses, with its line. The instructions themselves may differ:
    Python writes a call of an imported module's function in a shorter way where it sees the import.
    """
    naming = {*dis.hasname, *dis.haslocal, *dis.hasfree, *dis.hasconst}
    return [  # a function inside goes by its name, for it has an address and a file
        (i.positions.lineno - code.co_firstlineno, getattr(i.argval, "co_name", repr(i.argval)))
        for i in dis.get_instructions(code)
        if i.opcode in naming and i.positions is not None and i.positions.lineno is not None
    ]


def _variant(step: Step, key: str, source: StepSource) -> WhatIf | None:
    found = rewrite(source, key)
    if found is None:
        return None
    title, text = found
    code = innermost(step).__code__
    mark = hashlib.sha256(f"{code.co_filename} {text}".encode()).hexdigest()[:12]
    file = f"<what if: {code.co_qualname}, {key}, {mark}>"
    try:
        changed = _rebuilt(step, _code(text, file, code))
    except (ValueError, SyntaxError):  # a wrapper, or brackets that the tree does not tell of
        return None
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    return WhatIf(key, title, text, source.text, changed)


def _code(text: str, file: str, like: types.CodeType) -> types.CodeType:
    """The code of the function in ``text``, compiled as ``like`` was. Its decorators do not run."""
    own = like.co_name, like.co_qualname, like.co_freevars, like.co_flags & _FUTURE
    return _compiled(text, file, *own)


@functools.lru_cache(maxsize=64)  # the same steps are changed again and again, in the same ways
def _compiled(
    text: str, file: str, name: str, qualname: str, free: tuple[str, ...], flags: int
) -> types.CodeType:
    tree = ast.parse(text)
    # The names that it takes from the function around it must be there, or they would be globals.
    around = ast.parse(f"def _({', '.join(free)}): pass").body[0]
    assert isinstance(around, ast.FunctionDef)
    around.body, tree.body = tree.body, [around]
    whole = compile(tree, file, "exec", flags, dont_inherit=True)
    (outer,) = (c for c in whole.co_consts if isinstance(c, types.CodeType))
    inner = next(c for c in outer.co_consts if getattr(c, "co_name", None) == name)
    return inner.replace(co_qualname=qualname)


# Each feature has a bit of its own, or none.
_FUTURE = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})


def _rebuilt(step: Any, code: types.CodeType) -> Any:
    """The same callable with other code inside; ValueError where its wrapper hides the function."""
    if isinstance(step, functools.partial):
        return functools.partial(_rebuilt(step.func, code), *step.args, **step.keywords)
    if isinstance(step, types.MethodType):
        return types.MethodType(_rebuilt(step.__func__, code), step.__self__)
    if not isinstance(step, types.FunctionType):
        return types.MethodType(_rebuilt(type(step).__call__, code), step)
    cells = dict(zip(step.__code__.co_freevars, step.__closure__ or (), strict=True))
    attributes, inner = dict(vars(step)), getattr(step, "__wrapped__", None)
    if inner is not None:
        held = [name for name, cell in cells.items() if _content(cell) is inner]
        if not held:
            raise ValueError("the wrapper does not hold what it wraps in a closure")
        code, attributes["__wrapped__"] = step.__code__, _rebuilt(inner, code)
        cells |= {name: types.CellType(attributes["__wrapped__"]) for name in held}
    closure = tuple(cells[name] for name in code.co_freevars)
    new = types.FunctionType(code, step.__globals__, step.__name__, step.__defaults__, closure)
    for name in ("__kwdefaults__", "__doc__", "__module__"):
        setattr(new, name, getattr(step, name))
    vars(new).update(attributes)
    return new


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
