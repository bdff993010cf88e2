"""HTML from jinja2 templates: whatever is filled in is escaped."""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined, Template

# JupyterLab's colours where there are any; the words beside them say the same.
_BAR = {
    True: "var(--jp-success-color1, #2e7d32)",
    False: "var(--jp-warn-color1, #e65100)",
    None: "var(--jp-border-color1, #888)",
}
_ENVIRONMENT = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.globals["bar"] = lambda right: (
    f"border-left: 4px solid {_BAR[right]}; padding-left: 0.5em"
)


def template(source: str) -> Template:
    """A template; ``bar(right)`` in it is the style of a bar for True, False or None (open)."""
    return _ENVIRONMENT.from_string(source)
