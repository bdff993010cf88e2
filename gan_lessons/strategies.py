"""The step functions by name, for menus, tables and widgets."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from gan_lessons.gan import Gan, StepLosses
from gan_lessons.lean_steps import step_frozen, step_one_stage, step_selective
from gan_lessons.steps import step_detach, step_generator_first, step_retain_graph

Step = Callable[[Gan, Tensor, Tensor], StepLosses]


@dataclass(frozen=True)
class Strategy:
    """A step function with a name for people.

    >>> from gan_lessons import STRATEGIES
    >>> STRATEGIES["detach"].title, STRATEGIES["detach"].step.__name__
    ('S2: detach', 'step_detach')
    """

    key: str
    step: Step
    title: str
    summary: str


class _Strategies(dict[str, Strategy]):
    def __missing__(self, key: object) -> Strategy:
        close = difflib.get_close_matches(str(key), self, n=1, cutoff=0)[0]
        raise KeyError(
            "no strategy {key!r}; known: {known}. Did you mean {close!r}?".format(
                key=key, known=", ".join(self), close=close
            )
        )


def _strategy(title: str, step: Step) -> Strategy:
    """Named after its function; the summary is the first line of the docstring."""
    summary = (step.__doc__ or "").partition("\n")[0]
    return Strategy(step.__name__.removeprefix("step_"), step, title, summary)


_ALL = [
    _strategy("S1: retain the graph", step_retain_graph),
    _strategy("S2: detach", step_detach),
    _strategy("S3: generator first", step_generator_first),
    _strategy("S3, D frozen", step_frozen),
    _strategy("S1, inputs=", step_selective),
    _strategy("One stage", step_one_stage),
]
STRATEGIES: Mapping[str, Strategy] = MappingProxyType(_Strategies({s.key: s for s in _ALL}))
# The three orderings of the article; the other three are leaner.
THREE = ("retain_graph", "detach", "generator_first")
