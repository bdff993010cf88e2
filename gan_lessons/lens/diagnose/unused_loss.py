"""A loss that nothing learns from: never sent backward, or its gradient thrown away."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.no_gradient_there import added_number
from gan_lessons.lens.diagnose.overwritten import WHICH, lost_numbers, overwritten
from gan_lessons.lens.diagnose.ownership import never_stepped
from gan_lessons.lens.diagnose.polluted import instead_of_its_own
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Event, Forward


def never_walked(story: Story) -> Iterator[Finding]:
    """A net that trains ran forward, a number was made of it, and nothing walked that graph.

    Wrong where nothing ever looked at the number: a loss that was overwritten, or whose backward
    is missing; and where it was read, and a number that is another one each time was added to a
    loss of the same net. Waste where it was only read, for a log perhaps. What is alive at the end
    of the recording may yet be walked, and what was detached went on without its graph. A helper
    that returns several losses, of which each turn takes its own, computes the others for nothing.
    """
    if story.failed or story.inside:
        return
    numbers, read, cut = _fates(story)
    alive = {story.record.graph.nodes[i].forward for i in story.record.events[-1].states
             if i not in story.last_walk} if story.record.events else set()  # fmt: skip
    for forward in story.record.forwards:
        i, net = forward.index, forward.net
        if i in alive or i in cut or i not in numbers or i in story.walked_forwards:
            continue
        if net in story.trained and forward.during is None and i in story.began:
            if i not in read and _for_another_turn(story, forward):
                yield _unused_here(story, forward)
            elif i in read and (sum_of := _number_added(story, forward)) is not None:
                yield _only_a_number(story, forward, *sum_of)
            else:
                yield _never_walked(story, forward, wrong=i not in read)


def _for_another_turn(story: Story, forward: Forward) -> bool:
    """Is what this line makes walked in other turns (from step to step), and nothing here?"""
    steps = [e.index for e in story.record.events if e.kind == "step"]

    def turn(one: Forward) -> int:
        return bisect(steps, story.began[one.index])

    mine = (forward.net, forward.line)
    began = (f for f in story.record.forwards if f.index in story.began)
    alike = [f for f in began if f.index in story.walked_forwards and (f.net, f.line) == mine]
    return bool(alike) and turn(forward) not in map(turn, alike)


def _number_added(story: Story, forward: Forward) -> tuple[str, BackwardCall, int] | None:
    """The next call that this net learned from, or one behind it, if a number was added to its
    loss; and who learned from that."""
    began = story.began[forward.index]
    later = [c for c in story.calls_made if story.events[c.index].index > began]
    for net in _players(story, forward):
        call = next((c for c in later if c.index in story.calls_of(net)), None)
        if call is not None and (key := added_number(story, call)) is not None:
            return net, call, key
    return None


def _players(story: Story, forward: Forward) -> list[str]:
    """Who would learn from a loss of this forward: its own net, and those behind it."""
    own = story.built_by.get(forward.index, [])
    behind = frozenset().union(*(story.behind[i] for i in own)) & {*story.trained}
    return [forward.net, *sorted(behind - {forward.net})]


def _only_a_number(
    story: Story, forward: Forward, net: str, call: BackwardCall, key: int
) -> Finding:
    began = story.record.events[story.began[forward.index]]
    return story.finding(
        "never-walked", "wrong", net, [began, story.events[call.index]],
        "A loss was made of {forward}, and only read as a number; no backward walked it. A number "
        "that is another one each time is added to the loss of {call}{where}: {net} learns nothing "
        "from it.",
        "Add the tensor itself, without .item(), float() or .detach() on its way into the sum. If "
        "that number is no loss of {net}, leave it out, or run {forward} under torch.no_grad().",
        forward=story.forward(forward), call=story.call(call.index),
        where=story.in_line(story.record.graph.lines.get(key)),
    )  # fmt: skip


def idle_net(story: Story) -> Iterator[Finding]:
    """An optimizer steps two nets, and never finds a gradient in one of them, though that one ran
    for it: nothing was made of what it said, and what it got was another player's."""
    if story.failed or story.inside or not story.record.events:
        return
    alive = {story.record.graph.nodes[i].forward for i in story.record.events[-1].states}
    for net in story.trained:
        steps = [s for s in story.steps_of(net) if s.used]
        got = [c for c in story.calls_made if net in story.receivers(c)]
        if not steps or story.calls_of(net) or not got or story.moved_outside.get(net):
            continue
        idle = [f for f in story.record.forwards if f.net == net and f.index in story.built_by
                and f.index in story.began and f.index not in story.walked_forwards
                and f.index not in alive and not _went_on(story, f)]  # fmt: skip
        if idle:
            began = story.record.events[story.began[idle[0].index]]
            yield story.finding(
                "never-walked", "wrong", net, [began, steps[0].event],
                "{step} never found a gradient in {net}: {forward} went into no loss, and what "
                "{calls} wrote there was for another player, and was cleared.",
                "Make a loss of what {forward} gives. Look for a line that was copied from another "
                "net's, with the name left as it was.",
                step=story.event(steps[0].event), forward=story.forward(idle[0]),
                calls=story.calls(c.index for c in got),
            )  # fmt: skip


def _went_on(story: Story, forward: Forward) -> bool:
    """Was something made of what this forward gave, or its value read?"""
    graph, own = story.record.graph, {*story.built_by[forward.index]}
    later = (n for n in graph.nodes.values() if n.id not in own)
    return bool(own & graph.read) or any(own & {*n.inputs} for n in later)


def _fates(story: Story) -> tuple[set[int], set[int], set[int]]:
    """Forwards of which a single number was made outside the nets, whose value was read, and whose
    value went on without its graph; through nodes that nothing walked."""
    graph = story.record.graph
    origins: dict[int, frozenset[int]] = {}
    sources = {c.source for c in graph.cuts} | {node for node, *_ in graph.left}
    numbers: set[int] = set()
    read: set[int] = set()
    cut: set[int] = set()
    for key, node in sorted(graph.nodes.items()):
        if node.is_leaf or key in story.last_walk:
            continue
        mine = frozenset() if node.forward is None else frozenset([node.forward])
        origins[key] = mine.union(*(origins.get(i, frozenset()) for i in node.inputs))
        numbers |= origins[key] if node.shape == () and node.net is None else set()
        read |= origins[key] if key in graph.read else set()
        cut |= origins[key] if key in sources else set()
    return numbers, read, cut


def _unused_here(story: Story, forward: Forward) -> Finding:
    return story.finding(
        "never-walked", "waste", forward.net, [story.record.events[story.began[forward.index]]],
        "{forward} built a graph of {net} that no backward of this turn walked; other turns walk "
        "what this line makes.",
        "If a helper makes several losses and each turn takes its own, compute only those that "
        "the turn takes. If one was forgotten here, call backward on it.",
        forward=story.forward(forward),
    )  # fmt: skip


def _never_walked(story: Story, forward: Forward, *, wrong: bool) -> Finding:
    began = story.record.events[story.began[forward.index]]
    nodes = story.record.graph.nodes
    own = (i for i, node in nodes.items() if node.forward == forward.index)
    players = sorted({net for i in own for net in story.behind[i]} & {*story.trained})
    if wrong:
        over = overwritten(story, forward)
        return story.finding(
            "never-walked", "wrong", forward.net, [began],
            (
                "{forward} went into a loss that no backward ever walked: {players} learn nothing "
                "from it."
                if len(players) > 1
                else "{forward} went into a loss that no backward ever walked: {net} learns "
                "nothing from it."
            )
            + (" {name} became another loss{where}." if over else ""),
            WHICH
            if over
            else "It may have been overwritten before its backward: then leave out the line that "
            "is not meant, one of the two. Call backward on that loss if it is one of its own, or "
            "add it to the one that backward is called on if both are terms.",
            forward=story.forward(forward), name=over and over.name,
            players=" and ".join(players), where=story.in_line(over and over.line),
        )  # fmt: skip
    return story.finding(
        "never-walked", "waste", forward.net, [began],
        "{forward} built a graph of {net} that no backward ever walked.",
        "If it is for a log, run it under torch.no_grad(). If it is a term of a loss, add the "
        "tensor itself, without .item(), float() or .detach(): from a number {players} cannot "
        "learn. If it is a loss of its own, its backward is missing.",
        forward=story.forward(forward), players=" and ".join(players),
    )  # fmt: skip


def parts_never_walked(story: Story) -> Iterator[Finding]:
    """Parts of a net never moved, and a number was made of them that no backward ever walked.

    The net as a whole was walked, so that ``never_walked`` says nothing: of several judges in one
    module, the last one counts. Nor where the number was read (a log), or is alive at the end.
    """
    if story.failed or story.inside:
        return
    graph, lost = story.record.graph, lost_numbers(story)
    for net in story.trained:
        held = {name for step in story.steps_of(net) for name in step.event.holds[net]}
        used = {name for step in story.steps_of(net) for n, name in step.used if n == net}
        idle = held - used - story.moved_outside.get(net, set())
        if not idle or not used:
            continue
        leaves = {i: {graph.nodes[k].parameter for k in story.leaves_behind(i, net)} for i in lost}
        roots = [i for i in lost if leaves[i] & idle]
        if not roots:
            continue
        calls = [c for c in story.calls_made if c.index in story.calls_of(net)]
        yield story.finding(
            "never-walked", "wrong", net, story.events_of(c.index for c in calls[:1]),
            "No backward ever walked the loss of a part of {net}{where}: {count} of its parameters "
            "never move.",
            "Add it to the one that backward is called on (`loss = loss + ...` instead of `loss = "
            "...`). It may have been overwritten before its backward.",
            where=story.in_line(graph.lines[roots[-1]]),
            count=len(set.union(*map(leaves.__getitem__, roots)) & idle),
        )  # fmt: skip


def lost_terms(story: Story) -> Iterator[Finding]:
    """A number was made of what nets gave that learn from other losses of the same forwards, and
    nothing came of it: no backward walked it, nothing read it, and so in each iteration.

    Waste: it may be a term that was to be added, or be left of something that is no longer wanted.
    """
    if story.failed or story.inside:
        return
    graph, told = story.record.graph, story.told_events(parts_never_walked)
    numbers = [i for i, n in graph.nodes.items() if n.shape == () and n.net is None]
    alive = {*story.record.events[-1].states} if story.record.events else set[int]()
    served = story.reached_from([*graph.read, *alive, *story.last_walk])
    of_use = {*story.last_walk} | graph.read | (served - alive)
    known = {_place(story, i) for i in numbers if i in of_use}
    lost = [i for i in lost_numbers(story) if i not in served and _place(story, i) not in known]
    parts = {k for i in lost for k in graph.nodes[i].inputs}
    seen = set[object]()
    for root in (i for i in lost if i not in parts):
        below = story.reached(root)
        forwards = {f for i in below if (f := graph.nodes[i].forward) is not None}
        nets = sorted(story.behind[root] & {*story.trained})
        place = (_place(story, root), *nets)  # a helper's line may serve several players
        new = place not in seen
        seen.add(place)
        begun = (story.began[f] for f in sorted(forwards) if f in story.began)
        events = [story.record.events[event] for event in begun]
        walked = forwards and forwards <= story.walked_forwards
        if new and walked and nets and told.isdisjoint(e.index for e in events):
            yield _lost_term(story, root, nets, events)


def _place(story: Story, node: int) -> object:
    """The line of a number, and those that called it."""
    graph = story.record.graph
    return graph.lines.get(node), graph.outer_lines.get(node, ())


def _lost_term(story: Story, root: int, nets: list[str], events: list[Event]) -> Finding:
    calls = story.calls_made  # the line is told as seen from a call of these nets
    call = next((c for c in calls if not story.receivers(c).keys().isdisjoint(nets)), calls[0])
    return story.finding(
        "never-walked", "waste", nets[0] if len(nets) == 1 else None, events[:1],
        "A number is made of what {nets} gave{where}, and nothing comes of it: no backward walks "
        "it, and nothing reads it.",
        "If it is a term of a loss, add it to the one that backward is called on. If not, leave it "
        "out: its graph is built for nothing.",
        nets=" and ".join(nets), where=story.in_line(story.made_at(root, call)),
    )  # fmt: skip


def thrown_away(story: Story) -> Iterator[Finding]:
    """A net's own gradient was cleared, no step having used it, before the next one was added.

    Not where weights were moved meanwhile (a look ahead), the graph was walked again (a measure),
    somebody read the gradient of an input (an attack), what the next step used was written or
    changed by hand, or it happens only now and then.
    """
    if story.failed or story.inside:
        return
    lost: dict[tuple[object, str], list[tuple[BackwardCall, Event]]] = defaultdict(list)
    told = story.told_events(cut_off, never_stepped, instead_of_its_own)
    for call in story.calls_made:
        if call.index in story.evaluations or story.events[call.index].index in told:
            continue
        if not story.record.graph.asked.isdisjoint(call.nodes):
            continue
        got = story.receivers(call)
        meant = {m for n, m in story.links(call) if m in got}  # it only passed through the others
        used = call.index in story.uses
        for net in sorted(_beside_the_used(story, call) if used else meant or got):
            event = _cleared_at(story, call, net)
            if event is not None and (not used or _of_another(story, call, net, event)):
                lost[story.kind(call), net].append((call, event))
    for (kind, net), found in lost.items():
        if len(found) > 1 or (kind, net) not in story.kinds_used:
            calls = [call.index for call, _ in found]
            yield story.finding(
                "thrown-away", "wrong", net, [*story.events_of(calls), *(e for _, e in found)],
                "{clearing} threw away what {call} had computed for {net}: no step had used it.",
                "Clear once, before the first backward of what is to be summed; or let {net} step "
                "before it is cleared. To keep another player's gradients out, name who is to "
                "receive in that call (inputs=) instead of clearing here.",
                clearing=story.event(found[0][1]), call=story.call(calls[0]),
            )  # fmt: skip


def _beside_the_used(story: Story, call: BackwardCall) -> set[str]:
    """Nets behind one whose step used this call; the same optimizer holds them, and used of this
    call nothing in them."""
    uses = story.uses[call.index]
    behind = {m for n, m in story.links(call) for step, net in uses if n == net and m in step.nets}
    return {m for m in behind if call.received.get(m)} - {net for _, net in uses}


def _of_another(story: Story, call: BackwardCall, net: str, cleared: Event) -> bool:
    """Did an optimizer clear this net that used none of this call, and holds the net as well?"""
    users = {step.event.target for step, _ in story.uses[call.index]}
    held = story.record.holds.get(cleared.target or "", {})
    return cleared.kind == "zero_grad" and cleared.target not in users and net in held


def _cleared_at(story: Story, call: BackwardCall, net: str) -> Event | None:
    """The event that threw this call's gradient of ``net`` away, if that was not meant."""
    record, end = story.record, story.events[call.index]
    names = call.received[net]
    if not story.finite_after(net, [call.index]):
        return None
    step = story.step_after(end, net)
    if step is None:
        return None
    for event in record.events[end.index + 1 : step.event.index]:
        if event.kind == "step" or event.moved.get(net):
            return None
        if not any(call.index in event.grads[net][name].sources for name in names):
            break
    else:
        return None
    later = story.calls_between(event.index, step.event.index)
    own = {c.index for c in later if net in story.receivers(c)} & step.calls(net)
    # Of a call that a step used, the part in this net may well serve the next loss, too.
    walked = call.nodes[-1:] if call.index in story.uses else story.through(call, net)
    again = any(story.last_walk[i] > end.index for i in walked)
    moved = any(e.moved.get(net) for e in record.events[event.index : step.event.began or 0])
    return None if not own or story.by_hand(step, net) or again or moved else event
