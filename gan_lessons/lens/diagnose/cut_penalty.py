"""A penalty on a gradient that has its graph, and is cut off from it on the way to the loss."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import slopes_behind, summed
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
