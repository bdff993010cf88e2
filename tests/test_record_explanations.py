"""Errors of a graph in plain words: what happened, where, and an advice that fits the loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn, optim

from gan_lessons import record
from gan_lessons.lens.model import Event
from tests.loops.kit import mlp, noise, real, sgd

Body = Callable[[nn.Sequential, nn.Sequential, optim.Optimizer, optim.Optimizer], None]


def explained(body: Body) -> Event:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"og": og, "od": od}) as rec, suppress(RuntimeError):
        body(G, D, og, od)
    assert rec.events[-1].kind == "error"
    return rec.events[-1]


def by_hand(net: Any) -> None:
    with torch.no_grad():
        net[2].weight.mul_(2)


# Through a graph a second time --------------------------------------------------------------------


def one_loss(G, D, og, od):
    loss = D(real(0)).mean()
    loss.backward()
    loss.backward()


def moved_before(G, D, og, od):
    D(real(0)).mean().backward()
    od.step()
    one_loss(G, D, og, od)


def moved_since(G, D, og, od):
    said = D(G(noise(0)))
    said.mean().backward()
    od.step()
    said.exp().mean().backward()


def moved_inside(G, D, og, od):
    """By a step in a hook: an event before the end of the backward call."""
    D[0].weight.register_post_accumulate_grad_hook(lambda _: od.step())
    loss = D(G(noise(0))).mean()
    loss.backward()
    loss.backward()


def from_what_was_cut_off(G, D, og, od):
    said = D(G(noise(0)).detach())
    said.mean().backward()
    said.exp().mean().backward()


def from_what_was_cut_off_outside(G, D, og, od):
    said = (G(noise(0)).detach().sum() * D[0].weight).exp()
    said.mean().backward()
    said.exp().mean().backward()


def old_input(G, D, og, od):
    fake = G(noise(0))
    D(fake).mean().backward()
    D(fake).exp().mean().backward()


def old_input_of_what_moved(G, D, og, od):
    fake = G(noise(0))
    D(fake).mean().backward()
    og.step()
    D(fake).exp().mean().backward()


def old_input_and_its_judge_moved(G, D, og, od):
    fake = G(noise(0))
    D(fake).mean().backward()
    od.step()
    D(fake).exp().mean().backward()


def freed_by_two(G, D, og, od):
    said, made = D(real(0)), G(noise(0))
    said.mean().backward()
    made.sum().backward()
    (made.exp().sum() + said.exp().sum()).backward()


def freed_by_grad(G, D, og, od):
    x = real(0).requires_grad_()
    loss = D(x).mean()
    torch.autograd.grad(loss, x)
    loss.backward()


def of_no_net(G, D, og, od):
    w = torch.ones(2, requires_grad=True)
    loss = (w * w).exp().sum()
    loss.backward()
    loss.backward()


KEEP = "Run the forward again for this loss; or keep the graph in the first call"
INPUT = "If G needs no gradient here, pass the tensor it made through .detach(). If it does, "
NOT_KEEP = "Keeping the graph (retain_graph=True) would not help"
CUT = "off by detach(), so no gradient would get past the cut. Call {} once more on the tensor"
AGAIN: dict[Body, tuple[str, str]] = {
    one_loss: ("`loss.backward()` walks the graph of D's forward `loss = D(real(0)).mean()`", KEEP),
    moved_before: ("`loss.backward()` has already freed", KEEP),
    moved_since: ("`said = D(G(noise(0)))` and D's forward", "Run D again for this loss, on a"),
    moved_inside: ("`loss.backward()` has already freed", NOT_KEEP),
    from_what_was_cut_off: ("`said.mean().backward()` has already freed", CUT.format("D")),
    from_what_was_cut_off_outside: ("the graph of an earlier comp", CUT.format("the net")),
    old_input: ("the graph of G's forward `fake = G(noise(0))` again",
                INPUT + "the first backward must keep the graph: `D(fake).mean().backward()` with"),
    old_input_of_what_moved: ("the graph of G's forward `fake = G(noise(0))` again",
                              INPUT + "run G again: its weights were changed since"),
    old_input_and_its_judge_moved: ("`fake = G(noise(0))` again", INPUT + "the first backward"),
    freed_by_two: ("the graph of D's forward `said, made = D(real(0)), G(noise(0))` and G's", KEEP),
    freed_by_grad: ("again, but `backward` has already freed", KEEP),
    of_no_net: ("walks the graph of an earlier computation again", KEEP),
}  # fmt: skip


@pytest.mark.parametrize("body", AGAIN, ids=lambda body: body.__name__)
def test_a_graph_that_is_walked_again(body: Body) -> None:
    event, (what, fix) = explained(body), AGAIN[body]
    assert what in str(event.what)
    assert fix in str(event.fix)


def test_the_last_call_that_freed_something_is_named() -> None:
    assert "but `made.sum().backward()` has already" in str(explained(freed_by_two).what)


def test_to_keep_the_graph_does_not_help_where_a_step_came_inside_the_call() -> None:
    """As the advice says: torch raises all the same."""

    def kept(G, D, og, od):
        D[0].weight.register_post_accumulate_grad_hook(lambda _: od.step())
        loss = D(G(noise(0))).mean()
        loss.backward(retain_graph=True)
        loss.backward()

    assert "inplace operation" in str(explained(kept).message)


# Modified by an inplace operation -----------------------------------------------------------------


def step_before_its_backward(G, D, og, od):
    loss = D(real(0)).mean()
    loss.backward(retain_graph=True)
    od.step()
    loss.backward()


def judged_anew_after_the_step(G, D, og, od):
    fake = G(noise(0))
    D(fake).mean().backward(retain_graph=True)
    og.step()
    D(fake).mean().backward()


def judged_before_the_step(G, D, og, od):
    loss = D(G(noise(0))).mean()
    loss.backward(retain_graph=True)
    og.step()
    D(real(0))  # of another loss
    loss.backward()


def written_by_hand(G, D, og, od):
    D(real(0)).mean().backward()
    od.step()
    by_hand(D)
    loss = D(real(0)).mean()
    by_hand(D)
    loss.backward()


def written_by_hand_before_an_event(G, D, og, od):
    loss = D(real(0)).mean()
    by_hand(D)
    G(noise(0))
    loss.backward()


def a_penalty_of_weights_that_a_step_moved(G, D, og, od):
    D(real(0)).mean().backward()
    penalty = D[2].weight.square().sum()
    od.step()
    penalty.backward()


def a_penalty_of_weights_that_a_hand_wrote_to(G, D, og, od):
    D(real(0)).mean().backward()
    od.step()
    penalty = D[2].weight.square().sum()
    by_hand(D)
    penalty.backward()


def inside_a_forward_that_has_not_ended(G, D, og, od):
    class Judged(nn.Module):
        def forward(self, _):
            loss = layers(real(0)).mean()
            loss.backward(retain_graph=True)
            od.step()
            loss.backward()

    layers = nn.Sequential(*D)
    D.append(Judged())
    D(real(0))


def an_output_that_was_written_to(G, D, og, od):
    said = D(real(0)).exp()
    said += 1
    said.mean().backward()


NO_STEP = "Something that is no optimizer step has rewritten it since."
AFTER = "Call {} again after the step, and compute this loss from that"
WRITTEN: dict[Body, tuple[str, str]] = {
    step_before_its_backward: (
        "needs D's parameter 2.weight as it was when `loss = D(real(0)).mean()` ran. `od.step()`",
        AFTER.format("D")),
    judged_anew_after_the_step: (
        "needs G's parameter 2.weight as it was when `fake = G(noise(0))` ran. `og.step()` has",
        "If G is not to learn from this loss, pass what it made through .detach(). If it is, run"),
    judged_before_the_step: ("needs G's parameter 2.weight", AFTER.format("G")),
    written_by_hand: ("a tensor that AddmmBackward0 saved", "Look for an operation that writes in"),
    written_by_hand_before_an_event: (NO_STEP, "Call D again after that, and compute"),
    a_penalty_of_weights_that_a_step_moved: (
        "D's parameter 2.weight as it was when the forward ran. `od.step()` has", AFTER.format("D")
    ),
    a_penalty_of_weights_that_a_hand_wrote_to: (NO_STEP, "Look for an operation that writes in"),
    inside_a_forward_that_has_not_ended: (
        "needs D's parameter 2.weight as it was when `D(real(0))` ran. `od.step()`",
        AFTER.format("D")),
    an_output_that_was_written_to: ("saved (shape (8, 1)) as it was when the forward ran. `said +=",
                                    "Do not write in place there"),
}  # fmt: skip


@pytest.mark.parametrize("body", WRITTEN, ids=lambda body: body.__name__)
def test_a_tensor_that_was_written_to(body: Body) -> None:
    event, (what, fix) = explained(body), WRITTEN[body]
    assert what in str(event.what)
    assert fix in str(event.fix)


# Does not require grad ----------------------------------------------------------------------------


def cut_off(G, D, og, od):
    G(noise(0)).detach().mean().backward()


def cut_off_and_frozen(G, D, og, od):
    D.requires_grad_(False)
    D(G(noise(0)).detach()).mean().backward()


def switched_off(G, D, og, od):
    with torch.no_grad():
        D(real(0)).mean().backward()


def frozen(G, D, og, od):
    D.requires_grad_(False)
    D(real(0)).mean().backward()


def another_is_frozen(G, D, og, od):
    G.requires_grad_(False)
    D(real(0))
    torch.ones(2).sum().backward()


def of_nothing(G, D, og, od):
    torch.ones(2).sum().backward()


ON = "Compute it with trainable parameters and gradients switched on."
NO_GRAPH: dict[Body, tuple[str, str]] = {
    cut_off: ("computed from a tensor cut off by detach() in `G(noise(0))", "Leave out detach()"),
    cut_off_and_frozen: ("cut off by detach()", "If D is to learn from this loss, thaw it before"),
    switched_off: ("gradients are switched off here (torch.no_grad)", ON),
    frozen: ("every parameter of D is frozen", ON),
    another_is_frozen: ("it was computed without gradients", ON),
    of_nothing: ("it was computed without gradients", ON),
}


@pytest.mark.parametrize("body", NO_GRAPH, ids=lambda body: body.__name__)
def test_a_tensor_that_has_no_graph(body: Body) -> None:
    event, (what, fix) = explained(body), NO_GRAPH[body]
    assert what in str(event.what)
    assert fix in str(event.fix)
