"""What is not installed with the core, and what to type to have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

# Module -> the extra of `pip install gan-lessons[...]` that brings it.
EXTRA_OF = {
    "torchviz": "draw",
    "graphviz": "draw",
    "pygraphviz": "draw",
    "sklearn": "lessons",
    "matplotlib": "lessons",
    "ipywidgets": "lessons",
    "anywidget": "lessons",
    "traitlets": "lessons",
    "IPython": "lessons",
    "tqdm": "lessons",
    "PIL": "lessons",
    "packaging": "lessons",
    "nbconvert": "slides",
    "nbclient": "slides",
    "nbformat": "slides",
    "bs4": "slides",
    "jupyter_core": "slides",
    "pyreveal": "slides",
    "latex2mathml": "slides",
}


@contextmanager
def installed_for(what: str) -> Iterator[None]:
    """Around an import: if a module of an extra is missing, say which extra ``what`` needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRA_OF:
            raise
        raise ModuleNotFoundError(
            '{what} needs {module}, which is not installed. To have it: pip install "gan-lessons'
            '[{extra}]"'.format(what=what, module=module, extra=EXTRA_OF[module]),
            name=error.name,
        ) from error


def absent(error: ModuleNotFoundError) -> Callable[..., NoReturn]:
    """What stands for a name whose extra is missing: when it is called, it says which one.

    So ``from gan_lessons import *`` works with the core alone.
    """

    def ask(*_: object, **__: object) -> NoReturn:
        raise ModuleNotFoundError(str(error), name=error.name)

    return ask
