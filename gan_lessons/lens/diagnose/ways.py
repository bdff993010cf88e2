"""Which way each backward call pulls what a judge says of what a player made: facts for rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from gan_lessons.lens.diagnose.loss_forms import DISTANCES, RESHAPES, SQUARES
from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.model import BackwardCall, Pull

MEANS = {"MeanBackward0", "SumBackward0", "MulBackward0", "DivBackward0", "AddBackward0"}
LOSSES = ("Softplus", "LogSigmoid", "BinaryCrossEntropy", "NllLoss", "MseLoss", "SmoothL1Loss",
          "HuberLoss")  # fmt: skip
LABELLED = ("Softplus", "LogSigmoid", "BinaryCrossEntropy", "Relu")  # the last of a hinge
SHIFTS = {"SubBackward0", "RsubBackward1", "AddBackward0"}  # the label of a square knows of them


class Way(NamedTuple):
    """By the sign of the gradient at the verdict (-1 raises it); or, where the loss is a distance,
    which pulls either way, by the number to which it draws."""

    by: Literal["sign", "label"]
    number: float

    def against(self, other: Way | None) -> bool:
        return other is not None and self.by == other.by and self.number != other.number


class Pulled(NamedTuple):
    """A pull, and which way it goes; None: both ways at once, or it is not known."""

    pull: Pull
    way: Way | None


def pulls_at(
    story: Story, learner: str, judge: str, player: str, together: bool = False
) -> list[Pulled]:
    """At the judge's verdicts on what the player made, by calls that only ``learner`` of the two
    learns from. ``together``: by calls through the judge that both learn from."""
    rival = player if learner == judge else judge
    found = []
    for pull in story.record.pulls:
        call = story.record.backward_calls[pull.call]
        if story.record.forwards[pull.forward].net != judge:
            continue
        if not learns(story, call, learner) or learns(story, call, rival) != together:
            continue
        if _is_a_loss(story, pull.forward):
            continue
        linked = player in behind(story, pull.forward)
        if linked or (not together and learner == judge and story.comes_from(pull.forward, player)):
            found.append(Pulled(pull, _way(story, pull, judge)))
    return found


def _is_a_loss(story: Story, forward: int) -> bool:
    """Is what this forward gives one number, made of a distance or of what squashes a verdict? Each
    of its losses is to be lowered, whoever is judged."""
    nodes, built = story.record.graph.nodes, story.built_by.get(forward, [])
    key = max(built, default=None)
    key = key if key is not None and nodes[key].shape == () else None
    while key is not None and nodes[key].op in MEANS:
        key = next((i for i in nodes[key].inputs if i in nodes), None)
    return key is not None and nodes[key].op.startswith(LOSSES)


def pulls_of_all_else(
    story: Story, judge: str, player: str, together: bool = False
) -> list[Pulled]:
    """At the judge's verdicts on what the player had no part in: in calls that the player does not
    learn from, or, ``together``, in those that both learn from."""
    found = []
    for pull in story.record.pulls:
        call = story.record.backward_calls[pull.call]
        if story.record.forwards[pull.forward].net != judge or not learns(story, call, judge):
            continue
        if learns(story, call, player) == together and not _has_a_part(story, pull, player):
            found.append(Pulled(pull, _way(story, pull, judge)))
    return found


def _has_a_part(story: Story, pull: Pull, player: str) -> bool:
    return player in behind(story, pull.forward) or story.comes_from(pull.forward, player)


def by_call(found: Iterable[Pulled]) -> dict[int, Way | None]:
    """Backward call -> which way it pulls, where it is one; else None."""
    ways: dict[int, Way | None] = {}
    for pull, way in found:
        ways[pull.call] = way if ways.get(pull.call, way) == way else None
    return ways


def learns(story: Story, call: BackwardCall, net: str) -> bool:
    return any(n == net for _, n in story.uses.get(call.index, ()))


def behind(story: Story, forward: int) -> set[str]:
    """The nets that a gradient at the output of a forward goes on to, beside the net itself."""
    built = story.built_by.get(forward, [])
    own = story.record.forwards[forward].net
    return {net for key in built for net in story.behind[key]} - {own}


def _way(story: Story, pull: Pull, judge: str) -> Way | None:
    call = story.record.backward_calls[pull.call]
    labels = _labels(story, call, judge)
    if labels is None:
        return None
    if (mine := labels.get(pull.forward)) is not None:
        return Way("label", mine.copy().pop()) if len(mine) == 1 else None
    return Way("sign", pull.sign) if pull.sign else None


def _labels(story: Story, call: BackwardCall, judge: str) -> dict[int, set[float]] | None:
    """The judge's forward -> to which numbers distances draw its verdict, where nothing else is
    made of it. None: a distance draws what went through the judge, and it is not known where to."""
    if (call.index, judge) not in story.labels:
        story.labels[call.index, judge] = _drawn(story, call, judge)
    return story.labels[call.index, judge]


def _drawn(story: Story, call: BackwardCall, judge: str) -> dict[int, set[float]] | None:
    graph = story.record.graph
    found: dict[int, set[float]] = {}
    others = set[int | None]()
    for term in (t for t in summed(story, call)[1] if judge in story.behind[t]):
        if graph.nodes[term].op not in DISTANCES | SQUARES:
            others |= {graph.nodes[i].forward for i in story.nodes_of(judge, term)}
            continue
        verdict = _verdict(story, term)
        forward = None if verdict is None else graph.nodes[verdict].forward
        if term not in graph.labels or forward is None or story.owner[verdict or 0] != judge:
            return None
        found.setdefault(forward, set()).add(graph.labels[term])
    return None if others & {*found} else found


def has_a_label(story: Story, pull: Pull) -> bool:
    """Did this verdict go into what a label makes a loss, a distance to a number included, and into
    nothing else?"""
    nodes, walked = story.record.graph.nodes, {*story.record.backward_calls[pull.call].nodes}
    waiting, found = [max(story.built_by.get(pull.forward, [-1]))], set[str]()
    while waiting:
        for taker in walked.intersection(story.takers.get(waiting.pop(), ())):
            if nodes[taker].op in RESHAPES | SHIFTS | {"NegBackward0"}:
                waiting.append(taker)
            else:
                found.add(nodes[taker].op)
    return bool(found) and all(op.startswith(LABELLED) or op in DISTANCES | SQUARES for op in found)


def _verdict(story: Story, term: int) -> int | None:
    """The node of a net whose output, as it is, this distance takes."""
    nodes = story.record.graph.nodes
    key: int | None = term
    while key is not None and nodes[key].forward is None:
        if key != term and nodes[key].op not in RESHAPES | SHIFTS:
            return None
        inputs = [i for i in nodes[key].inputs if i in nodes]
        key = inputs[0] if len(inputs) == 1 else None
    return key
