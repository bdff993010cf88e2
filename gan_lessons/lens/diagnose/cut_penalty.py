"""A penalty on a gradient that has its graph, and does not come into the loss with it."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import ADDS, slopes_behind, summed
from gan_lessons.lens.diagnose.story import Finding, Story


def cut_penalty(story: Story) -> Iterator[Finding]:
    """A term of the loss is made of a gradient with its graph (create_graph=True), was cut off, and
    no backward ever walks that graph. Waste where the whole penalty was detached, for that may be
    there for what is printed; and nothing where it has a backward of its own."""
    if story.failed or story.inside:
        return
    told = set[tuple[str, object]]()
    for cut in story.record.graph.cuts:
        slopes = slopes_behind(story, cut)
        if not slopes or any(i in story.last_walk for i in slopes):
            continue
        logged = cut.how != "torch.no_grad" and story.record.graph.nodes[cut.source].shape == ()
        for call in (c for c in story.calls_made if cut.target in summed(story, c)[0]):
            pupils = {net for _, net in story.uses.get(call.index, ())}
            for net in sorted(story.behind[cut.source] & pupils):
                if (net, cut.line) in told:
                    continue
                told.add((net, cut.line))
                yield story.finding(
                    "cut-off", "waste" if logged else "wrong", net, [story.events[call.index]],
                    "{net} learns nothing from the penalty in {call}: it is made of a gradient "
                    "that has its graph (create_graph=True), and was cut off from it by "
                    "{how}{where}.",
                    "Compute all of the penalty with gradients on, outside torch.no_grad()."
                    if cut.how == "torch.no_grad"
                    else "Leave out {how} there. If it is for a log, leave it out of the loss."
                    if logged
                    else "Leave out {how} there.",
                    call=story.call(call.index), how=cut.how, where=story.in_line(cut.line),
                )  # fmt: skip


def added_too_late(story: Story) -> Iterator[Finding]:
    """A penalty on a gradient, which has its graph, is added to a loss whose backward is over; no
    backward ever walks that graph, though somebody had it built (create_graph=True)."""
    if story.failed or story.inside:
        return
    nodes, roots = story.record.graph.nodes, {c.nodes[-1]: c for c in story.calls_made if c.nodes}
    told = set[tuple[str, object]]()
    for key, node in sorted(nodes.items()):
        calls = [roots[i] for i in node.inputs if i in roots]
        if node.op not in ADDS or node.shape != () or key in story.last_walk or not calls:
            continue
        slopes = story.reached(key) & story.record.graph.curved
        late = story.built_after(key, calls[0]) and slopes.isdisjoint(story.last_walk)
        pupils = {net for _, net in story.uses.get(calls[0].index, ())}
        for net in sorted(pupils & {n for i in slopes for n in story.behind[i]} if late else ()):
            line = story.made_at(key, calls[0])
            if (net, line) not in told:
                told.add((net, line))
                yield story.finding(
                    "never-walked", "wrong", net, [story.events[calls[0].index]],
                    "A penalty on a gradient, with its graph (create_graph=True), is added to the "
                    "loss of {call} when that is over{where}: {net} learns nothing from it.",
                    "Add it to the loss before {call}.",
                    call=story.call(calls[0].index), where=story.in_line(line),
                )  # fmt: skip
