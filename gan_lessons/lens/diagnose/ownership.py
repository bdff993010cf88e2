"""Which optimizer holds which net: parameters that none moves, or that one moves twice."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.cut_off import cut_off, steps_of_the_wrong_net
from gan_lessons.lens.diagnose.forgotten import forgotten
from gan_lessons.lens.diagnose.odd_parameters import made_anew
from gan_lessons.lens.diagnose.partly_cut_off import summed, without_pupils
from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.diagnose.unregistered import come_later
from gan_lessons.lens.model import BackwardCall

OF_WEIGHTS = {"SoftmaxBackward0", "SigmoidBackward0", "SelectBackward0", "UnbindBackward0"}


def never_stepped(story: Story) -> Iterator[Finding]:
    """A net with an optimizer got gradient, and no step used any of it in the whole record."""
    if story.failed or story.inside:
        return
    told = story.told_events(cut_off)  # calls meant for another net
    for net in story.trained:
        if story.steps_of(net) or story.moved_outside.get(net):
            continue  # a step that found nothing is cut off
        # What another player's own call left here is waste: that player's rule tells of it.
        calls = [
            c.index
            for c in story.calls_made
            if net in story.receivers(c)
            and c.index not in story.uses
            and story.events[c.index].index not in told
        ]
        if not calls or not story.finite_after(net, calls):
            continue  # a GradScaler skips the step where a gradient is not finite
        again = _stepped_instead(story, calls)
        yield story.finding(
            "never-stepped", "wrong", net,
            [*story.events_of(calls), *([] if again is None else [again.event])],
            "{calls} filled the gradients of {net}, and no step used them: {net} does not learn."
            + ("" if again is None else " {again} moved {others} once more, by what had moved "
               "{others} before."),
            "Call the step of the optimizer of {net} after it. If that comes later in your loop, "
            "record up to there."
            if again is None
            else "Call the step of the optimizer of {net} in place of that {again}.",
            calls=story.calls(calls), again=again and story.event(again.event),
            others=again and " and ".join(again.nets),
        )  # fmt: skip


def _stepped_instead(story: Story, calls: list[int]) -> Step | None:
    """A step that came next after one of these calls, and found what it had used before."""
    for call in calls:
        now = story.events[call].index
        step = next((s for s in story.steps if s.event.index > now), None)
        if step is not None and step.calls() and step.calls() == story.used_before(step):
            return step
    return None


def exchanged(story: Story) -> Iterator[Finding]:
    """Two optimizers hold each other's nets.

    The call on which one steps has a term that teaches nobody: it is about a net that the other
    holds, which steps on a call of which all terms reach a net of the first as well, in vain.
    """
    told = set[frozenset[str]]()
    for mine in story.trained if not story.failed and not story.inside else ():
        for index in sorted(story.calls_of(mine)):
            call = story.record.backward_calls[index]
            for _, other in without_pupils(story, call):
                pair, theirs = frozenset([mine, other]), sorted(story.calls_of(other))
                if theirs and pair not in told and _is_of_another(story, theirs, other, mine):
                    told.add(pair)
                    yield _exchanged(story, (mine, index), (other, theirs[0]))


def _is_of_another(story: Story, calls: list[int], net: str, other: str) -> bool:
    """Do all terms of these calls that reach ``net`` reach ``other`` too, which uses none?"""
    for call in (story.record.backward_calls[c] for c in calls):
        terms = [story.behind[t] for t in summed(story, call)[1] if net in story.behind[t]]
        used = any(n == other for _, n in story.uses[call.index])
        if used or other not in story.receivers(call) or not all(other in t for t in terms):
            return False
    return True


def _exchanged(story: Story, one: tuple[str, int], two: tuple[str, int]) -> Finding:
    (step, mine), (other_step, other) = (
        next((s, n) for s, n in story.uses[call] if n == net) for net, call in (one, two)
    )
    return story.finding(
        "ownership", "wrong", mine,
        [*story.events_of([one[1], two[1]]), step.event, other_step.event],
        "{one} steps {net} on {call}, of which a term reaches {other} and not {net}; {two} steps "
        "{other} on {others}, of which every term reaches {net}, in vain. These optimizers seem to "
        "hold each other's nets.",
        "Exchange what {one} and {two} are made of: {two} from the parameters of {net}, {one} "
        "from those of {other}.",
        one=step.event.target, two=other_step.event.target, other=other,
        call=story.call(one[1]), others=story.call(two[1]),
    )  # fmt: skip


def holds_the_wrong_net(story: Story) -> Iterator[Finding]:
    """Two optimizers hold one net, and none the net that the turn of one of them is about."""
    if story.failed or story.inside:
        return
    for step, call in steps_of_the_wrong_net(story):
        got, strangers = list(story.receivers(call)), story.record.graph.strangers
        count = len({strangers[i] for i in call.nodes if i in strangers})
        others = (s.event.target or "" for net in step.nets for s in story.steps_of(net))
        yield story.finding(
            "ownership", "wrong", got[0] if got else None,
            [story.events[call.index], step.event],
            "{target} holds {nets}, which {others} trains, so that {step} finds nothing there. "
            "{call} reaches {what}, which no optimizer holds: they never learn.",
            "Make {target} from the parameters of {got}."
            if got
            else "Make {target} from the parameters of the net that {call} is about.",
            target=step.event.target, nets=" and ".join(step.nets), call=story.call(call.index),
            others=" and ".join(dict.fromkeys(o for o in others if o != step.event.target)),
            step=story.event(step.event),
            got=" and ".join(got),
            what=f"the parameters of {' and '.join(got)}" if got else f"{count} other parameters",
        )  # fmt: skip


def in_no_optimizer(story: Story) -> Iterator[Finding]:
    """A net got a gradient that was meant for it, and no optimizer holds any of it.

    Meant for it: the call went through no other net on its way to or from this one (a fixed net
    that a loss only passes through gets gradients, too); or nobody used that call at all, and an
    optimizer was given that holds none of the nets.
    """
    stepped = any(event.kind == "step" for event in story.record.events)
    if story.failed or story.inside or not stepped:
        return
    empty = [name for name, held in story.record.holds.items() if not held]
    told = {f.net for rule in (cut_off, holds_the_wrong_net) for f in story.told(rule)}
    for net in sorted(story.record.parameters.keys() - {*story.trained} - told):
        if story.moved_outside.get(net):
            continue
        calls = [c for c in story.calls_made if story.receivers(c).get(net)]
        alone = [c for c in calls if not any(net in pair for pair in story.links(c))]
        if net in story.record.look_alikes.values():  # its optimizer steps on something else
            alone = calls
        elif empty:
            alone += [c for c in calls if c not in alone and c.index not in story.uses]
        if alone and story.finite_after(net, [c.index for c in alone]):
            yield _in_no_optimizer(story, net, [c.index for c in alone])


def _in_no_optimizer(story: Story, net: str, calls: list[int]) -> Finding:
    holds = (f"{name} holds {' and '.join(held) or 'none of these nets'}"
             for name, held in story.record.holds.items())  # fmt: skip
    alike = [name for name, other in story.record.look_alikes.items() if other == net]
    return story.finding(
        "ownership", "wrong", net, story.events_of(calls),
        "{calls} computed gradients for {net}, and no optimizer holds {net}: it never learns. "
        "({holds}.)"
        + (" What {alike} does hold has the same shapes: {net} seems to have been made "
           "anew, loaded or copied after {alike} was built." if alike else ""),
        "Make {alike} from the parameters of {net} as it is now: after it was made, loaded or "
        "copied for the last time."
        if alike else
        "Make an optimizer from the parameters of {net} as it is now, or add them to one. If "
        "one holds them and is stepped later, record up to there.",
        calls=story.calls(calls), holds=", ".join(holds), alike=" and ".join(alike),
    )  # fmt: skip


def of_nobody(story: Story) -> Iterator[Finding]:
    """Backward fills parameters that are in no named net and in no optimizer.

    A net in a plain list is no submodule, so that ``parameters()`` leaves it out. Waste: it may as
    well be a fixed net that nobody froze. Wrong where a term is for them alone, or where they are
    as they were made and take what a net that learns has made: no fixed net is left like that.
    """
    graph, found = story.record.graph, dict[frozenset[int], list[BackwardCall]]()
    anew = story.told_events(made_anew, holds_the_wrong_net, cut_off)
    later = {number for one in story.told(come_later)
             for number in story.record.come_later[one.net or ""].values()}  # fmt: skip
    for call in (c for c in story.calls_made if not c.restricted):
        numbers = frozenset(graph.strangers[i] for i in call.nodes if i in graph.strangers)
        if numbers := numbers - later:
            found.setdefault(numbers, []).append(call)
    largest = {n: c for n, c in found.items() if not any(n < other for other in found)}
    for numbers, calls in largest.items():
        if story.events[calls[0].index].index in anew:
            continue
        if (place := _in_a_plain_list(story, calls[0], numbers)) is not None:
            yield _not_registered(story, calls[0], *place, len(numbers), sure=True)
        elif (place := _as_made_in_a_plain_list(story, calls, numbers)) is not None:
            yield _not_registered(story, calls[0], *place, len(numbers), sure=False)
        elif (alone := next((c for c in calls if _taught_alone(story, c)), None)) is not None:
            listed = _listed(story, numbers)
            yield (
                _not_registered(story, alone, *listed, len(numbers), sure=False)
                if listed
                else _of_nobody(story, alone, numbers, alone=True)
            )
        elif between := forgotten(story, calls, numbers):
            listed = _listed(story, numbers)
            yield (
                _not_registered(story, calls[0], *listed, len(numbers), sure=False)
                if listed
                else between
            )
        else:
            yield _of_nobody(story, calls[0], numbers, alone=False)


def _of_nobody(story: Story, call: BackwardCall, found: frozenset[int], *, alone: bool) -> Finding:
    graph, forwards = story.record.graph, [story.record.forwards[i] for i in call.forwards]
    inside = dict.fromkeys(
        f.net for f in forwards for i in call.nodes
        if graph.nodes[i].forward == f.index and graph.strangers.keys() & graph.nodes[i].inputs
    )  # fmt: skip
    names = story.strangers(found)
    return story.finding(
        "ownership", "wrong" if alone else "waste", next(iter(inside), None),
        story.events_of([call.index]),
        ("A term of the loss of {call} teaches nobody but {count} parameters that no optimizer "
         "holds, and that are not among those of {nets}: they never learn."
         if alone else
         "{call} computes gradients for {count} parameters that no optimizer holds, and that "
         "are not among the parameters of {nets}.")
        + (" These are {names}." if names else ""),
        "If they are to learn, register them (a list of nets is an nn.ModuleList), and make "
        "the optimizer after that, from them as well. If they are of a fixed net, freeze it "
        "(requires_grad_(False)).",
        call=story.call(call.index), count=len(found), names=names,
        nets=" and ".join(inside or story.record.parameters),
    )  # fmt: skip


def _in_a_plain_list(
    story: Story, call: BackwardCall, found: frozenset[int]
) -> tuple[str, str] | None:
    """(net, attribute) of a list that holds such parameters, where the net has parameters of its
    own on both sides of them: what stands in the middle of a net that learns is no fixed net."""
    nodes, strangers = story.record.graph.nodes, story.record.graph.strangers
    leaves = {i for i in call.nodes if strangers.get(i) in found}
    takers = [i for i in call.nodes if leaves & {*nodes[i].inputs}]
    for net, row in story.record.unregistered.items():
        got = {(net, name) for name in call.received.get(net, ())}
        below = [got & story.leaves_of(i) for i in takers]
        for place, numbers in row.items():
            if {*numbers} & found and any(some and got - some for some in below):
                return net, place
    return None


def _listed(story: Story, found: frozenset[int]) -> tuple[str, str] | None:
    """(net, attribute) of a list that holds all of these parameters."""
    rows = story.record.unregistered.items()
    return next(((n, at) for n, row in rows for at, held in row.items() if found <= {*held}), None)


def _as_made_in_a_plain_list(
    story: Story, calls: list[BackwardCall], found: frozenset[int]
) -> tuple[str, str] | None:
    """(net, attribute) of a list of several modules that hold all such parameters, under others of
    the net that learn from these calls, and as they were made: fixed ones would have been loaded,
    or frozen, or be in eval mode. Random targets have nothing above them that learns."""
    graph = story.record.graph
    for net, row in story.record.unregistered.items():
        place = next((place for place, numbers in row.items() if found <= {*numbers}), None)
        used = [call for call in calls if any(n == net for _, n in story.uses.get(call.index, ()))]
        if place is None or len(used) < 2 or not found <= graph.fresh:
            continue
        own = {i for i in used[0].nodes if graph.nodes[i].net == net and graph.nodes[i].parameter}
        own |= {i for i in used[0].nodes if own.issuperset(graph.nodes[i].inputs or [-1])}  # turned
        for i in used[0].nodes:  # or a row of weights, softmaxed and read one by one
            only = own.issuperset(graph.nodes[i].inputs or [-1])
            own |= {i} if only and graph.nodes[i].op in OF_WEIGHTS else set()
        above = (i for i in used[0].nodes if own & {*graph.nodes[i].inputs})
        below = {graph.strangers[k] for i in above for k in story.reached(i)
                 if k in graph.strangers}  # fmt: skip
        if found <= below:
            return net, place
    return None


def _not_registered(
    story: Story, call: BackwardCall, net: str, place: str, count: int, *, sure: bool
) -> Finding:
    return story.finding(
        "ownership", "wrong", net, story.events_of([call.index]),
        "{call} computes gradients for {count} parameters inside {net} that are not among its "
        "parameters, for {place} is a plain list: no optimizer holds them, and they never learn.",
        "Make {place} an nn.ModuleList (or nn.ModuleDict, nn.ParameterList), before the optimizer "
        "is built."
        + ("" if sure else " If they are to stand still, freeze them (requires_grad_(False))."),
        call=story.call(call.index), count=count, place=place,
    )  # fmt: skip


def _taught_alone(story: Story, call: BackwardCall) -> bool:
    """Is there a term that leads to such parameters, and to no net that an optimizer trains? It is
    for them alone; through a fixed net (of features, say) a term leads on to one that learns. Where
    they are as they were made, a judge that does not learn from this call may stand before them."""
    graph, pupils = story.record.graph, {net for _, net in story.uses.get(call.index, ())}
    for term in summed(story, call)[1] if pupils else ():
        numbers = {graph.strangers[i] for i in story.reached(term) if i in graph.strangers}
        others = pupils if numbers <= graph.fresh else {*story.trained}
        # In a list of the net that learns they are behind it, and no parameter of its own is.
        within = {net for net, _ in story.leaves_of(term)} if numbers <= graph.fresh else None
        if numbers and not (story.behind[term] if within is None else within) & others:
            return True
    return False


def one_module(story: Story) -> Iterator[Finding]:
    """Two of the named nets are one, and two optimizers move it: no player is left to play."""
    for nets in story.record.shared:
        steps = [step for step in story.steps if {*nets} & {*step.nets}]
        targets = list(dict.fromkeys(step.event.target or "" for step in steps))
        if len(targets) > 1:
            yield story.finding(
                "ownership", "wrong", nets[0], [step.event for step in steps],
                "{nets} are one and the same module, and {targets} both move it.",
                "Build a module for each of them: a second call of the class, not the same object.",
                nets=" and ".join(nets), targets=" and ".join(targets),
            )  # fmt: skip
