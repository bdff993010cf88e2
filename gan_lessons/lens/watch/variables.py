"""Which variables there are: those in the frames of the running code, and what they hold.

Names are those of the variables: ``netG``, ``self.netG`` and ``nets["netG"]`` all give ``netG``.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record import is_installed, is_stdlib

DEPTH, WIDTH, MOST = 3, 200, 20_000  # how far, and at how many values, names are looked for
LENS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_TORCH = os.path.dirname(torch.__file__) + os.sep
_CLOSED = (ModuleType, type, FunctionType, BuiltinFunctionType, Tensor, str, bytes)


class Variable(NamedTuple):
    """``name``: ``netG``; ``path``: how to get there, ``self.netG``, for where names collide."""

    name: str
    path: str
    value: Any


def users_frames() -> list[FrameType]:
    """The frames of the user's code, outermost first; those of installed packages come last."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((LENS, _TORCH)) and not is_stdlib(file):
            frames.insert(0, frame)
        frame = frame.f_back
    return sorted(frames, key=lambda frame: is_installed(frame.f_code.co_filename))


def loop_frame() -> FrameType:
    """The innermost frame of the user's code, past tqdm and the like."""
    frames = users_frames()
    own = (f for f in reversed(frames) if not is_installed(f.f_code.co_filename))
    return next(own, frames[-1])


def variables(frames: Sequence[FrameType]) -> Iterator[Variable]:
    """Every value once, the nearest to a plain variable first: breadth first over all frames."""
    seen: set[int] = set()
    level = [
        Variable(name, name, value)
        for scope in (s for frame in frames for s in (frame.f_locals, frame.f_globals))
        for name, value in list(scope.items())
        if not name.startswith("_") and name not in ("In", "Out")
    ]
    # What a method was given by its own object has a name there: `step(self, net)` serves many.
    own = {id(v) for frame in frames for v in _attributes(frame.f_locals.get("self"))}
    given = {
        (name, id(frame.f_locals.get(name)))
        for frame in frames
        for name in frame.f_code.co_varnames[: frame.f_code.co_argcount]
    }
    level = [v for v in level if id(v.value) not in own or (v.name, id(v.value)) not in given]
    # "self" names nobody: there are many.
    level = [v._replace(name=type(v.value).__name__) if v.name == "self" else v for v in level]
    for _ in range(DEPTH + 1):
        fresh = []
        for variable in level:
            if id(variable.value) not in seen and len(seen) < MOST:
                seen.add(id(variable.value))
                fresh.append(variable)
                yield variable
        level = [inner for variable in fresh for inner in _inside(variable)]


def _attributes(holder: Any) -> list[Any]:
    """What an object holds under names that people would use, its submodules included."""
    try:
        attributes = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        return []
    own = [value for key, value in attributes.items() if not key.startswith("_")]
    # An object that is no module may have something else under the same name (skorch's has a list).
    return [*own, *attributes[internals.PARTS].values()] if is_a(holder, nn.Module) else own


def _inside(holder: Variable) -> Iterator[Variable]:
    """What a container or an object holds. Runs no code of the user's: no property, no getattr."""
    name, path, value = holder
    if is_a(value, dict):
        for key, item in islice(list(value.items()), WIDTH):
            place = f"[{key!r}]"
            yield Variable(key if isinstance(key, str) else name + place, path + place, item)
    elif is_a(value, (list, tuple)):
        for i, item in enumerate(islice(value, WIDTH)):
            yield Variable(f"{name}[{i}]", f"{path}[{i}]", item)
    elif not is_a(value, _CLOSED):
        try:
            attributes = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return
        for key, item in islice(list(attributes.items()), WIDTH):
            if is_a(value, nn.Module) and key.startswith("_"):
                continue  # its parts are told by ``named_children``
            if not is_a(value, Optimizer):
                yield Variable(key, f"{path}.{key}", item)
            elif is_a(item, Optimizer):  # a wrapper; what it holds is no variable
                yield Variable(name, f"{path}.{key}", item)


def is_a(value: Any, kind: Any) -> bool:
    """isinstance, for stand-ins that answer every question: asks the type alone."""
    return issubclass(type(value), kind)


def unique(variables: Sequence[Variable]) -> dict[str, Any]:
    """Name -> value; where two have one name they go by their paths, numbered if need be."""
    counts = Counter(v.name for v in variables)
    named: dict[str, Any] = {}
    for v in variables:
        name = v.name if counts[v.name] == 1 else v.path
        numbers = (f"{name} {i}" for i in count(2))
        named[name if name not in named else next(n for n in numbers if n not in named)] = v.value
    return named
