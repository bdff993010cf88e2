"""Tensors that a net ran with in place of its parameters (``torch.func.functional_call``)."""

from __future__ import annotations

from gan_lessons.lens.diagnose.story import Step, Story
from gan_lessons.lens.model import FOLDABLE, BackwardCall, Cut

STAND_INS = (
    "In {call} {nets} ran with other tensors in place of its parameters, which {how} had cut off "
    "from those{where}."
)
WITH_THEIR_GRAPH = "Make these tensors of the parameters of {nets} with their graph: without {how}."

COPIES = (
    "{call} has no way to {nets}: it reaches parameters of just the same shapes, of a copy that "
    "was made for it."
)
NOT_COPIES = (
    "Compute this loss from the parameters of {nets} themselves. copy.deepcopy and .data leave no "
    "graph: if inner steps are to be learned through, make the new values of the parameters "
    "(`p - lr * grad`, create_graph=True) and run {nets} with them by torch.func.functional_call."
)


def cut_stand_ins(story: Story, step: Step, call: BackwardCall) -> Cut | None:
    """Where leaves were cut off from what was made of the parameters of the step's nets, which
    forwards of these nets took in this call though their parameters are not frozen."""
    ran = [f for i in call.forwards if (f := story.record.forwards[i]).net in step.nets]
    if not ran or any(f.frozen is not None for f in ran):
        return None
    nodes, taken = story.record.graph.nodes, set[int]()
    for key in reversed(call.nodes):  # inputs come first
        inside = nodes[key].net in step.nets or (key in taken and nodes[key].op in FOLDABLE)
        taken |= {*nodes[key].inputs} if inside else set()
    cuts = story.cuts_before(call, step.nets)
    leaves = {i for i in taken if i in nodes and nodes[i].is_leaf and nodes[i].net is None}
    return next((cut for cut in cuts if cut.target in leaves), None)
