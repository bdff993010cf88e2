"""Widgets with two homes: JupyterLab, and exported pages that have no kernel and no network.

A widget holds plain JSON in ``data``; one ES module, ``static/page.js`` and its own file, draws it.
In JupyterLab anywidget runs the module. In a page the same text runs as a classic script over the
same JSON, which works from disk as well.
"""

from __future__ import annotations

import html
import json
import sys
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets
from ipywidgets.widgets import widget as widgets

from gan_lessons.classroom.repeats import once

# Where ipywidgets keeps every widget that is open: version 8, and 7, which Colab has.
_INSTANCES = widgets._instances if hasattr(widgets, "_instances") else widgets.Widget.widgets
STATIC = Path(__file__).with_name("static")


def static(name: str) -> str:
    """The text of a file that the front ends are made of."""
    return (STATIC / name).read_text(encoding="utf-8")


def module(*names: str, css: str | Iterable[str] = "") -> str:
    """The ES module of a front end: what all share, its style sheets as ``CSS``, its own files, of
    which the last one exports."""
    sheets = [css] if isinstance(css, str) else css
    looks = "".join(static(sheet) for sheet in sheets if sheet)
    parts = [f"const CSS = {json.dumps(looks)};"] if looks else []
    return "\n".join([static("page.js"), *parts, *(static(name) for name in names)])


def classic(text: str) -> str:
    """A module as an expression for a classic script; its value is what the module exports."""
    body = text.replace("export default {", "return {")
    return f"(() => {{\n{body}\n}})()".replace("</", "<\\/")


class PageWidget(anywidget.AnyWidget):
    """A widget that is alive in JupyterLab and in exported pages.

    group: views of one exported page that share it follow each other.

    A subclass names its ``kind`` (a word of its own in pages) and, in ``state``, the traits that a
    page starts from; those in ``kept`` it has again after it was loaded anew. ``still()`` is what
    stands there without JavaScript. ``late``: in a page it is drawn when one comes near it.
    ``recurs``: in its data much stands more than once; in a page it does not.
    """

    kind: ClassVar[str]
    state: ClassVar[tuple[str, ...]]
    kept: ClassVar[tuple[str, ...]] = ()
    late: ClassVar[bool] = False
    recurs: ClassVar[bool] = False
    data = traitlets.Dict().tag(sync=True)
    _ipython_display_ = None  # of ipywidgets 7: IPython would ask it first, and show the view alone

    def __init__(self, group: str = "", **traits: Any) -> None:
        super().__init__(**traits)
        self.group = group

    def still(self) -> str:
        """HTML for those without JavaScript, and for print."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live widget, and the same page for exporters and for those who have no kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        shown, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**(shown or {}), "text/plain": repr(self), "text/html": self.to_html()}, metadata

    def to_html(self) -> str:
        """A fragment that works in any page, from disk, with no network; and without scripts."""
        return self.fragment(self.group)

    def fragment(self, group: str) -> str:
        """The same, as one of this group."""
        start = {name: getattr(self, name) for name in self.state}
        parts = {"data": self.data, "state": start, "kept": self.kept}
        if self.recurs:
            parts["data"], parts["repeats"] = once(self.data)
        payload = json.dumps(parts, separators=(",", ":"))
        # Inside a script element nothing may look like a tag, not even a comment's beginning.
        payload = payload.replace("<", "\\u003c")
        mark = f' data-gl-group="{html.escape(group)}"' if group else ""
        mark += " data-gl-late" if self.late else ""
        return (
            f'<div class="gl-{self.kind} mathjax_ignore tex2jax_ignore" data-gl-{self.kind}{mark}>'
            f"<div data-gl-still>{self.still()}</div>"
            f'<script type="application/json">{payload}</script>'
            f"<script>{self._script()}</script></div>"
        )

    def _script(self) -> str:
        boot = static("boot.js").replace("__KIND__", self.kind)
        return boot.replace("/* __MODULE__ */", classic(str(self._esm)))


def running_cell() -> tuple[str | None, str]:
    """(id of the notebook cell that is running, id of this run of it)."""
    if "IPython" not in sys.modules:
        return None, ""
    parent_of = getattr(sys.modules["IPython"].get_ipython(), "get_parent", None)
    parent = parent_of() if parent_of is not None else None
    if not parent:
        return None, ""
    return parent.get("metadata", {}).get("cellId"), str(parent["header"]["msg_id"])


_last_run: dict[str, int] = {}  # cell -> number of the execution that last made such a widget


def _forget_last_run() -> None:
    """Where a cell runs again, IPython keeps what it gave before as ``Out[n]``: let go of that."""
    cell, _ = running_cell()
    if cell is None:
        return
    shell = sys.modules["IPython"].get_ipython()
    before, now = _last_run.get(cell), shell.execution_count
    _last_run[cell] = now
    outputs = shell.user_ns.get("_oh", {})
    if before != now and isinstance(outputs.get(before), StrategyWidget):
        del outputs[before]
        shell.user_ns.pop(f"_{before}", None)


class StrategyWidget(PageWidget):
    """One of several strategies at a time.

    strategy: the one that is shown, to be linked with other widgets by ``jslink``; index: its place
    in ``data["order"]``, which is what a menu such as ``ToggleButtons`` offers for a link.
    """

    strategy = traitlets.Unicode("").tag(sync=True)
    index = traitlets.Int(-1).tag(sync=True)

    def open(self) -> None:
        """As of every widget, but nobody else keeps this one, which holds its whole page.

        ipywidgets would until it is closed. Once no name and no output of a cell stands for it, it
        goes; what it has drawn stays on the page, and works on, for that needs no kernel.
        """
        super().open()
        myself, key = weakref.ref(self), self.model_id

        def heard(message: Any) -> None:
            if (widget := myself()) is not None:
                widget._handle_msg(message)

        self.comm.on_msg(heard)
        _INSTANCES[key] = weakref.proxy(self)
        weakref.finalize(self, _INSTANCES.pop, key, None).atexit = False
        _forget_last_run()

    def __del__(self) -> None:
        """Not as of every widget: its views stay."""

    def close(self) -> None:
        """Take its views off the page, and let go of all that it keeps there."""
        if self.comm is not None:
            self.layout.close()  # a widget too
        super().close()

    @traitlets.validate("strategy")
    def _known(self, proposal: Any) -> str:
        order = self.data.get("order", [])
        if order and proposal["value"] not in ["", *order]:
            text = "no strategy {value!r} here; it shows {order}"
            raise traitlets.TraitError(text.format(value=proposal["value"], order=", ".join(order)))
        return str(proposal["value"])

    @traitlets.observe("strategy", "index")
    def _agree(self, change: Any) -> None:
        order = self.data.get("order", [])
        if change["name"] == "strategy" and self.strategy in order:
            self.index = order.index(self.strategy)
        elif change["name"] == "index" and 0 <= self.index < len(order):
            self.strategy = order[self.index]
