"""A frozen net that its optimizer moves all the same, by what it remembers."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Story


def moves_though_frozen(story: Story) -> Iterator[Finding]:
    """All that a step holds of a net was frozen, its gradients are zeros of clearing, and the step
    moved it: by momentum, or by weight decay. (Where gradients are None it passes over them.)"""
    if story.failed or story.inside:
        return
    told = set[str]()
    for step in story.steps:
        moved = story.record.moved_by(step.event)
        for net in (n for n in step.event.frozen if n not in told and n in moved):
            states = [step.event.grads[net][name] for name in step.event.holds[net]]
            used = any(n == net for n, _ in step.used)
            if used or any(s.is_gradient or s.before for s in states):
                continue
            told.add(net)
            yield story.finding(
                "not-frozen", "wrong", net, [step.event],
                "{net} is frozen, and {step} moves it all the same: its gradients are zeros and "
                "not None, so that {target} goes on by momentum or weight decay.",
                "Leave this step out while {net} is frozen, or clear its gradients to None before "
                "it: zero_grad(set_to_none=True).",
                step=story.event(step.event), target=step.event.target,
            )  # fmt: skip
