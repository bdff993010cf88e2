"""Dataclasses as plain data that JSON can hold, and back by their type hints."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints


def to_plain(value: Any, leave_out: Collection[str] = ()) -> Any:
    """``leave_out``: fields of ``value`` itself that are no plain data."""
    if is_dataclass(value):
        kept = [f.name for f in fields(value) if f.name not in leave_out]
        return {name: to_plain(getattr(value, name)) for name in kept}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(to_plain(item) for item in value)
    return [to_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def from_plain(kind: Any, value: Any) -> Any:
    """Build what the type ``kind`` describes; a field that is missing keeps its default."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else from_plain(inner[0], value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{k: from_plain(hints[k], item) for k, item in value.items() if k in hints})
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {from_plain(inner[0], k): from_plain(inner[1], item) for k, item in value.items()}
    if origin is tuple and inner[-1] is not Ellipsis:
        return tuple(from_plain(k, item) for k, item in zip(inner, value, strict=True))
    if origin in (tuple, list, set, frozenset):
        return origin(from_plain(inner[0], item) for item in value)
    return int(value) if kind is int else value  # keys of JSON are strings


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
