"""A loss that does not move: eight questions, in this order, each answered by a recording.

The first answer that is not the healthy one names the illness. Nobody has to know the right
gradient: what is asked can be read off a record of two iterations, and off the nets.

    asked = ask(step, gan, real, noise)
    asked                      # for each player: the questions, the answers, what to do
    asked["G"].ending.name     # "cut off"; "healthy" where no question found anything
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gan_lessons.classroom.templating import template
from gan_lessons.gan import Gan
from gan_lessons.lens.model import Event, Record
from gan_lessons.lens.record import record


@dataclass(frozen=True)
class Case:
    """One player in a recorded loop. ``trainable``: some parameter of it requires gradient."""

    rec: Record
    net: str
    trainable: bool

    @property
    def steps(self) -> list[Event]:
        return [e for e in self.rec.events if e.kind == "step" and e.holds.get(self.net)]

    def calls(self, step: Event, net: str = "") -> set[int]:
        """The backward calls whose gradients this step used in the player (or in ``net``)."""
        used = self.rec.consumed(step).items()
        return {c for (n, _), state in used if n == (net or self.net) for c in state.sources}

    def sources(self, net: str) -> set[int]:
        """The backward calls that the steps of ``net`` used in it."""
        steps = (e for e in self.rec.events if e.kind == "step")
        return {call for step in steps for call in self.calls(step, net)}


@dataclass(frozen=True)
class Ending:
    """``name``: of the illness. ``remedy``: what to do."""

    name: str
    remedy: str


@dataclass(frozen=True)
class Question:
    """``text``: with {net} for the player. ``healthy``: the answer that leads to the next one."""

    text: str
    healthy: bool
    answer: Callable[[Case], bool]
    ending: Ending


def raises(case: Case) -> bool:
    return any(event.kind == "error" for event in case.rec.events)


def is_held(case: Case) -> bool:
    """All that its own steps' backwards write into: an optimizer of one layer is not enough."""
    held = {name for of in case.rec.holds.values() for name in of.get(case.net, ())}
    calls = [case.rec.backward_calls[call] for call in case.sources(case.net)]
    return bool(held) and held >= {name for c in calls for name in c.received[case.net]}


def is_stepped(case: Case) -> bool:
    return bool(case.steps)


def wants_gradient(case: Case) -> bool:
    return case.trainable


def receives(case: Case) -> bool:
    return any(call.received.get(case.net) for call in case.rec.backward_calls)


def is_there_at_the_step(case: Case) -> bool:
    return bool(case.sources(case.net))


def is_its_own(case: Case) -> bool:
    """Did a step use a gradient that another player's step used as well, beside one of its own?"""
    others = {net for net in case.rec.parameters if net != case.net}
    shared = {call for net in others for call in case.sources(net)}
    used = [case.calls(step) for step in case.steps]
    return not any(calls & shared and calls - shared for calls in used)


def fits_the_weights(case: Case) -> bool:
    """Was every forward that its gradient went through made by weights that have not moved?"""
    calls = [case.rec.backward_calls[c] for c in case.sources(case.net)]
    forwards = [(call, case.rec.forwards[f]) for call in calls for f in call.forwards]
    return all(forward.weights == call.weights[forward.net] for call, forward in forwards)


QUESTIONS = (
    Question(
        "Does it raise?", False, raises,
        Ending("an error", "Read it. Lesson 02 repairs the in-place error, 03 a second backward."),
    ),
    Question(
        "Does an optimizer hold all parameters of {net}?", True, is_held,
        Ending("no optimizer", "Make one from all {net}.parameters(), of the net that is trained."),
    ),
    Question(
        "Does that optimizer step?", True, is_stepped,
        Ending("never stepped", "Call its step() after the backward of {net}'s loss."),
    ),
    Question(
        "Do the parameters of {net} require gradient?", True, wants_gradient,
        Ending("frozen", "{net}.requires_grad_(True) before its turn."),
    ),
    Question(
        "Does a backward write into the .grad of {net}?", True, receives,
        Ending("cut off", "Look for detach, .data, no_grad between {net} and its loss."),
    ),
    Question(
        "Is that gradient there when the optimizer steps?", True, is_there_at_the_step,
        Ending("cleared too early", "zero_grad belongs before the backward, not after it."),
    ),
    Question(
        "Is it of {net}'s own loss alone?", True, is_its_own,
        Ending("another loss in it", "Clear .grad right before {net}'s backward, or use inputs=."),
    ),
    Question(
        "Have the weights that it went through stayed since the forward?", True, fits_the_weights,
        Ending("old graph, new weights", "Step after both backwards, or run the forward again."),
    ),
)  # fmt: skip
HEALTHY = Ending("healthy", "The gradients are right. Look at learning rates, data and balance.")
_SHOWN = template(
    "{% for net, path in paths.items() %}<p><strong>{{ net }}: {{ path.ending.name }}</strong></p>"
    "<ol>\n{% for text, yes, healthy in path.asked %}"
    "<li>{{ text }} {{ 'yes' if yes else 'no' }} {{ '✓' if healthy else '✗' }}</li>\n{% endfor %}"
    "</ol><p>{{ path.remedy }}</p>{% endfor %}"
)


@dataclass(frozen=True)
class Path:
    """What was asked about one player until it was clear. ``asked``: question, answer, healthy."""

    net: str
    asked: tuple[tuple[str, bool, bool], ...]
    ending: Ending

    @property
    def remedy(self) -> str:
        return self.ending.remedy.format(net=self.net)


class Asked(dict[str, Path]):
    """Net -> its path; shows itself."""

    @property
    def ending(self) -> str:
        """The first illness, or "healthy". What raises is told once, for the whole loop."""
        ill = [path.ending.name for path in self.values() if path.ending is not HEALTHY]
        return ill[0] if ill else HEALTHY.name

    @property
    def told(self) -> str:
        """The illnesses with their nets, in one line."""
        ill = [(net, p.ending.name) for net, p in self.items() if p.ending is not HEALTHY]
        if self.ending == QUESTIONS[0].ending.name or not ill:
            return self.ending
        return "; ".join(f"{net}: {name}" for net, name in ill)

    def __repr__(self) -> str:
        lines = []
        for net, path in self.items():
            lines.append(f"{net}: {path.ending.name}")
            for text, yes, healthy in path.asked:
                lines.append(f"  {'✓' if healthy else '✗'} {text} {'yes' if yes else 'no'}")
            lines.append(f"  {path.remedy}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return _SHOWN.render(paths=self)


def path_of(case: Case) -> Path:
    """Ask until an answer is not the healthy one."""
    asked: list[tuple[str, bool, bool]] = []
    for question in QUESTIONS:
        yes = question.answer(case)
        asked.append((question.text.format(net=case.net), yes, yes == question.healthy))
        if yes != question.healthy:
            return Path(case.net, tuple(asked), question.ending)
    return Path(case.net, tuple(asked), HEALTHY)


def ask(step: Callable[[Gan, Tensor, Tensor], Any], gan: Gan, real: Tensor, noise: Tensor) -> Asked:
    """Record two iterations of ``step`` and ask about each player. Trains ``gan``.

    An error of the loop ends the recording and is not passed on: the first question tells it.
    """
    return ask_record(recorded_twice(step, gan, real, noise), gan)


def ask_record(rec: Record, gan: Gan) -> Asked:
    """The same for a record that was made before; ``gan`` as it is now."""
    nets: Mapping[str, Any] = gan.nets
    wants = {n: any(p.requires_grad for p in net.parameters()) for n, net in nets.items()}
    return Asked({net: path_of(Case(rec, net, wants[net])) for net in nets})


def recorded_twice(
    step: Callable[[Gan, Tensor, Tensor], Any], gan: Gan, real: Tensor, noise: Tensor
) -> Record:
    """Two iterations, with the batch turned round in the second."""
    rec = None
    try:
        with record(gan.nets, gan.optimizers) as rec:
            for batch in ((real, noise), (real.flip(0), noise.flip(0))):
                step(gan, *batch)
    except RuntimeError:
        if rec is None or not any(event.kind == "error" for event in rec.events):
            raise
    assert rec is not None
    return rec
