"""The source of functions, to be read in a lesson: what is shown is what runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def listing(*functions: Callable[..., Any]) -> Any:
    """Their source below each other, without decorators: these may tell what is asked about.

    Raises OSError where Python cannot read the source of one, as of what is typed in.
    """
    from IPython.display import Code

    return Code("\n\n".join(map(source_of, functions)), language="python")


def source_of(function: Callable[..., Any]) -> str:
    """From ``def`` on, dedented."""
    source = textwrap.dedent(inspect.getsource(function))
    (defined,) = ast.parse(source).body
    return "".join(source.splitlines(keepends=True)[defined.lineno - 1 :])
