"""What a detached copy is to give way to: behind it stands another net, or the loss alone."""

from __future__ import annotations

from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.model import FOLDABLE, BackwardCall, Cut

_ITSELF = "Compute this loss on what {nets} made itself, not on the detached copy"
_ONCE_MORE = ": call the other net once more, on that."
_OTHER_SIDE = (
    ". The other side of it has a graph that teaches nobody: that is the one to detach, if it is "
    "a target."
)


def not_on_the_copy(story: Story, call: BackwardCall, cut: Cut) -> str:
    """The advice where ``call`` never reaches what had made the copy at ``cut``."""
    if _went_into_a_net(story, *_later(story, call, cut)):
        return _ITSELF + _ONCE_MORE
    taught = {*story.receivers(call)} & {*story.trained, *story.moved_outside}
    if not taught and any(story.record.graph.nodes[i].is_leaf for i in call.nodes[:-1]):
        return _ITSELF + _OTHER_SIDE
    return _ITSELF + "."


def _later(story: Story, call: BackwardCall, cut: Cut) -> tuple[BackwardCall, Cut]:
    """The same in the last iteration: in the first, what had been made before the recording began
    stands in the graph as if it were made of the copy."""
    for other in reversed(story.calls_made):
        if other.line == call.line:
            for found in (k for node in other.nodes for k in story.cuts_into.get(node, ())):
                if found.line == cut.line:
                    return other, found
    return call, cut


def _went_into_a_net(story: Story, call: BackwardCall, cut: Cut) -> bool:
    """Did the copy meet parameters, of a named net or of any other, on its way to the loss?"""
    nodes, seen = story.record.graph.nodes, story.above(cut.target, {*call.nodes})
    taken = {i for key in seen for i in nodes[key].inputs if i in nodes}
    taken |= {j for i in taken if nodes[i].op in FOLDABLE for j in nodes[i].inputs if j in nodes}
    return any(story.owner[i] for i in seen) or any(nodes[i].is_leaf for i in taken)
