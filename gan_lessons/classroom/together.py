"""One choice of strategy for several views: an explorer, tables, figures.

In JupyterLab one ``ToggleButtons`` drives them all, in the browser alone (``jslink``): it goes on
working when the kernel is gone. In an exported page the explorer's own buttons do.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets

from gan_lessons.classroom.explorer import StrategyExplorer
from gan_lessons.classroom.templating import template

Pages = Mapping[str, Any]  # strategy -> something that a notebook can show as HTML

_PAGES = template("""\
{{ explorer.to_html() | safe }}
<div style="display:flex;flex-wrap:wrap;gap:16px">
{% for pages in columns %}
<div style="flex:1 1 600px;min-width:0">
{% for key, page in pages.items() %}
<div data-gl-page="{{ key }}" data-gl-group="{{ explorer.group }}"\
{{ "" if key == explorer.strategy else " hidden" }}>{{ page | safe }}</div>
{% endfor %}
</div>
{% endfor %}
</div>
""")


class Together(ipywidgets.VBox):
    """A toggle, an explorer, and pages of which those of the chosen strategy are shown.

    Changes nothing but the explorer's ``group``, which names the views of one exported page.
    """

    def __init__(self, explorer: StrategyExplorer, **pages: Pages) -> None:
        order = list(explorer.data["order"])
        for name, shown in pages.items():
            if missing := [key for key in order if key not in shown]:
                text = (
                    "{name} has no page for {missing}; give one for each strategy that the "
                    "explorer shows ({order})"
                )
                lists = {"missing": ", ".join(missing), "order": ", ".join(order)}
                raise ValueError(text.format(name=name, **lists))
        self.explorer = explorer
        self.pages = {
            name: {key: _html(shown[key]) for key in order} for name, shown in pages.items()
        }
        explorer.group = explorer.group or f"together-{explorer.model_id}"
        titles = [explorer.data["films"][key]["title"] for key in order]
        self.toggle = ipywidgets.ToggleButtons(
            options=titles, index=explorer.index, style={"button_width": "auto"}
        )
        self.links = [ipywidgets.jslink((self.toggle, "index"), (explorer, "index"))]
        stacks = [self._stack(shown) for shown in self.pages.values()]
        super().__init__([self.toggle, explorer, *stacks])

    def _stack(self, shown: Mapping[str, str]) -> ipywidgets.DOMWidget:
        if not hasattr(ipywidgets, "Stack"):  # ipywidgets 7: there the kernel changes the page
            return self._one_page(list(shown.values()))
        stack = ipywidgets.Stack(
            [ipywidgets.HTML(text) for text in shown.values()],
            selected_index=self.explorer.index,
        )
        self.links.append(ipywidgets.jslink((self.toggle, "index"), (stack, "selected_index")))
        return stack

    def _one_page(self, shown: list[str]) -> ipywidgets.HTML:
        page = ipywidgets.HTML(shown[self.explorer.index])

        def turn(change: Any) -> None:
            page.value = shown[change["new"]]

        self.toggle.observe(turn, "index")
        return page

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self.explorer), "text/html": self.to_html()}

    def to_html(self) -> str:
        """For exported pages: the pages follow the explorer, whose group they share."""
        return _PAGES.render(explorer=self.explorer, columns=self.pages.values())


def _html(shown: Any) -> str:
    """The HTML that a notebook would show for it; text as it is."""
    if isinstance(shown, str):
        return f"<p>{html.escape(shown)}</p>"
    if hasattr(shown, "_repr_html_"):
        return str(shown._repr_html_())
    if hasattr(shown, "_repr_mimebundle_"):
        bundle = shown._repr_mimebundle_()
        found = bundle[0] if isinstance(bundle, tuple) else bundle
        if "text/html" in found:
            return str(found["text/html"])
    text = "a page must be a text or something with an HTML display; got {kind}"
    raise TypeError(text.format(kind=type(shown).__name__))
