"""What-if: the changed source, and what really happens, checked against plain torch."""

from __future__ import annotations

import copy
import functools
import inspect
import linecache
import math
import re
import sys
import textwrap
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import optimizer

from gan_lessons import data, published, record_step, tiny_gan
from gan_lessons import step_detach as s2
from gan_lessons import step_generator_first as s3
from gan_lessons import step_retain_graph as s1
from gan_lessons.lens.cost import copied
from gan_lessons.lens.whatif import (
    SWITCHES,
    Judge,
    PlayerGap,
    compare,
    rewrite,
    variants,
    what_if,
)
from gan_lessons.put_back import seeded

REAL, NOISE = data.ring(4, seed=0), data.noise(4, (2,), seed=0)
STEPS = (s1, s2, s3)

# (step, switch) -> (kind, the changed or new lines, what the judged line says, extra in vain)
TABLE = {
    (s1, "no_zero_grad_d"): ("wrong", ["# opt_d.zero_grad()"], "opt_d.step()", 0),
    (s1, "no_zero_grad_g"): ("wrong", ["# opt_g.zero_grad()"], "opt_g.step()", -4),
    (s1, "retain"): (
        "error",
        ["d_loss.backward(retain_graph=False)  # the other loss needs the graph too"],
        "g_loss.backward()",
        0,
    ),
    (s1, "freeze_d"): ("same", ["D.requires_grad_(False)", "D.requires_grad_(True)"], None, -4),
    (s1, "step_first"): ("error", ["opt_d.step()"], "g_loss.backward()", 0),
    (s2, "no_detach"): (
        "error",
        ["pred_fake, pred_real = D(fake), D(real)  # (batch, 1) each"],
        "g_loss.backward()",
        0,
    ),
    (s2, "no_zero_grad_d"): ("wrong", ["# opt_d.zero_grad()"], "opt_d.step()", 0),
    (s2, "no_zero_grad_g"): ("wrong", ["# opt_g.zero_grad()"], "opt_g.step()", 0),
    (s2, "retain"): ("waste", ["d_loss.backward(retain_graph=True)"], None, 0),
    (s2, "freeze_d"): ("same", ["D.requires_grad_(False)", "D.requires_grad_(True)"], None, -4),
    (s2, "step_first"): ("wrong", ["opt_d.step()"], "opt_d.step()", 4),
    (s3, "no_detach"): (
        "error",
        ["d_loss = (loss(D(real), ones) + loss(D(fake), zeros)) / 2"],
        "d_loss.backward()",
        0,
    ),
    (s3, "no_zero_grad_d"): ("wrong", ["# opt_d.zero_grad()"], "opt_d.step()", -4),
    (s3, "no_zero_grad_g"): ("wrong", ["# opt_g.zero_grad()"], "opt_g.step()", 0),
    (s3, "retain"): ("waste", ["g_loss.backward(retain_graph=True)"], None, 0),
    (s3, "freeze_d"): ("same", ["D.requires_grad_(False)", "D.requires_grad_(True)"], None, -4),
    (s3, "step_first"): ("wrong", ["opt_g.step()"], "opt_g.step()", 4),
}


@functools.cache
def judge_of(step):
    return Judge(step, tiny_gan(seed=0), REAL, NOISE)


@functools.cache
def outcome_of(step, key):
    return judge_of(step)(what_if(step, key))


@pytest.mark.parametrize("step", STEPS)
def test_the_switches_that_apply(step):
    keys = [key for of, key in TABLE if of is step]
    assert [v.key for v in variants(step)] == keys
    assert keys == [key for key in SWITCHES if key in keys]
    known = variants(step, judge_of(step).reference)
    assert [v.source for v in known] == [v.source for v in variants(step)]


@pytest.mark.parametrize(("step", "key"), TABLE)
def test_what_happens(step, key):
    kind, new, line, vain = TABLE[step, key]
    variant, outcome = what_if(step, key), outcome_of(step, key)
    assert outcome.kind == kind
    assert [e.new.strip() for e in variant.edits if e.new] == new
    shown = outcome.line and variant.source.splitlines()[outcome.line - 1].strip()
    assert shown == line
    assert outcome.extra_vain == vain
    assert outcome.run == 1
    assert (outcome.error is not None) == (kind == "error")
    assert (outcome.extra_peak > 0) == (key == "retain" and kind == "waste")


@pytest.mark.parametrize(("step", "key"), TABLE)
def test_the_edits_are_all_that_differs(step, key):
    variant = what_if(step, key)
    assert variant.before == inspect.getsource(step)
    lines = variant.before.splitlines()
    for edit in reversed(variant.edits):  # undo: from the changed lines back to the original
        changed = variant.source.splitlines()
        assert edit.new is None or changed[edit.line - 1] == edit.new
    undone = variant.source.splitlines()
    for edit in reversed(variant.edits):
        undone[edit.line - 1 : edit.line - 1 + (edit.new is not None)] = (
            [] if edit.old is None else [edit.old]
        )
    assert undone == lines
    for edit in variant.edits:
        assert edit.old is None or f"-{edit.old}" in variant.diff
        assert edit.new is None or f"+{edit.new}" in variant.diff


@pytest.mark.parametrize(("step", "key"), TABLE)
def test_the_source_is_what_runs(step, key):
    variant = what_if(step, key)
    assert inspect.getsource(variant.step) == variant.source
    assert variant.step.__name__ == step.__name__
    assert variant.step.__code__.co_qualname == step.__code__.co_qualname
    rec = outcome_of(step, key).record
    assert rec.source == variant.source
    for event in rec.events:  # each line that is told stands in the changed source
        assert event.line.text in variant.source


def test_a_variant_is_the_same_however_often_it_is_made():
    before = set(linecache.cache)
    first, again = what_if(s2, "retain"), what_if(s2, "retain")
    assert first.step.__code__.co_filename == again.step.__code__.co_filename
    assert len(set(linecache.cache) - before) <= 1


@pytest.mark.parametrize("step", STEPS)
def test_without_the_edit_nothing_differs(step, monkeypatch):
    """The mutant: where the change does not reach the source, no verdict of the table stands."""
    monkeypatch.setattr(rewrite.StepSource, "spliced", lambda self, splices: self.text)
    for variant in variants(step):
        assert variant.edits == ()
        outcome = judge_of(step)(variant)
        assert outcome.kind == "same"
        assert (outcome.extra_vain, outcome.extra_peak) == (0, 0)
        assert outcome.message.endswith("It costs the same, too.")


# The same by plain torch --------------------------------------------------------------------------


def started(step):
    return copied(judge_of(step).start, gradients=True)


def losses(gan):
    G, D, _, _, loss = gan.parts
    fake = G(NOISE)
    pred_fake, pred_real = D(fake), D(REAL)
    ones, zeros = torch.ones(4, 1), torch.zeros(4, 1)
    return (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2, loss(pred_fake, ones)


def gradient(loss, net):
    grads = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
    return torch.cat([g.double().flatten() for g in grads])


def left(net):
    return torch.cat([p.grad.double().flatten() for p in net.parameters()])


def assert_gap(gap, wrong, right):
    cosine = torch.cosine_similarity(wrong, right, dim=0).item()
    assert gap.cosine == pytest.approx(cosine, abs=1e-6)
    assert gap.ratio == pytest.approx((wrong.norm() / right.norm()).item(), rel=1e-5)
    assert abs(cosine - 1) > 1e-5 or abs(gap.ratio - 1) > 1e-2


@pytest.mark.parametrize("step", STEPS)
def test_without_zero_grad_d_the_last_steps_gradient_is_added(step):
    gan = started(step)
    if step is s3:  # D learns after G has moved, and after G's phase has added to its .grad
        d_loss, g_loss = losses(gan)
        junk = left(gan.discriminator) + gradient(g_loss, gan.discriminator)
        right = gradient(d_loss, gan.discriminator)  # G's old fake
    else:
        d_loss, _ = losses(gan)
        junk, right = left(gan.discriminator), gradient(d_loss, gan.discriminator)
    assert_gap(outcome_of(step, "no_zero_grad_d").players["D"], junk + right, right)


@pytest.mark.parametrize("step", [s1, s3])
def test_without_zero_grad_g(step):
    gan = started(step)
    d_loss, g_loss = losses(gan)
    right, junk = gradient(g_loss, gan.generator), left(gan.generator)
    if step is s1:  # D's backward went through G as well
        junk = junk + gradient(d_loss, gan.generator)
    assert_gap(outcome_of(step, "no_zero_grad_g").players["G"], junk + right, right)
    assert outcome_of(step, "no_zero_grad_g").players["D"].kind == "equal"


def test_a_step_before_the_backward_moves_nobody():
    gap = outcome_of(s2, "step_first").players
    assert (gap["D"].cosine, gap["D"].ratio, gap["D"].kind) == (None, None, "none")
    gan = started(s2)
    before = copy.deepcopy(gan.discriminator.state_dict())
    what_if(s2, "step_first").step(gan, REAL, NOISE)
    after = gan.discriminator.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert gap["G"].kind == "wrong"  # it learns from a D that has not moved
    unmoved, moved = started(s2), started(s2)
    d_loss, _ = losses(moved)
    for p, g in zip(
        moved.discriminator.parameters(),
        torch.autograd.grad(d_loss, list(moved.discriminator.parameters())),
        strict=True,
    ):
        p.data -= 0.1 * g
    wrong, right = (gradient(losses(g)[1], g.generator) for g in (unmoved, moved))
    assert gap["G"].ratio == pytest.approx((wrong.norm() / right.norm()).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("step", "key", "begins"),
    [
        (s1, "retain", "Trying to backward through the graph a second time"),
        (s2, "no_detach", "Trying to backward through the graph a second time"),
        (s3, "no_detach", "Trying to backward through the graph a second time"),
        (s1, "step_first", "one of the variables needed for gradient computation"),
    ],
)
def test_errors_are_torchs_own(step, key, begins):
    outcome = outcome_of(step, key)
    assert outcome.error.startswith(f"RuntimeError: {begins}")
    assert outcome.record.explanation in outcome.message
    assert outcome.message.startswith(f"Line {outcome.line}, `")
    with pytest.raises(RuntimeError, match=begins):
        what_if(step, key).step(tiny_gan(seed=0), REAL, NOISE)


def test_swapping_in_s1_gives_the_error_of_the_printed_one():
    rec = record_step(published.retain_graph_as_printed, tiny_gan(seed=0), REAL, NOISE)
    first_clause = str(rec.error).partition(":")[0]
    assert first_clause in outcome_of(s1, "step_first").error


def test_freezing_after_the_forward_only_throws_gradients_away():
    """S1 has one forward, before the freeze: backward computes them all the same."""
    late, early = outcome_of(s1, "freeze_d"), outcome_of(s3, "freeze_d")
    nodes = [sum(len(c.nodes) for c in o.record.backward_calls) for o in (late, early)]
    before = [sum(len(c.nodes) for c in judge_of(s).reference.backward_calls) for s in (s1, s3)]
    assert nodes[0] == before[0]
    assert nodes[1] < before[1]
    assert "walks as many nodes as before" in late.message
    assert "nodes fewer" in early.message


@pytest.mark.parametrize("step", STEPS)
def test_a_frozen_d_is_thawed_again(step):
    gan = started(step)
    what_if(step, "freeze_d").step(gan, REAL, NOISE)
    assert all(p.requires_grad for p in gan.discriminator.parameters())


@pytest.mark.parametrize("step", [s2, s3])
def test_what_retain_holds_is_counted(step):
    kept = outcome_of(step, "retain")
    records = kept.record, judge_of(step).reference
    peaks = [max(m.held.activations for m in record.moments) for record in records]
    assert kept.extra_peak == peaks[0] - peaks[1]
    assert f"{kept.extra_peak} bytes more at its peak" in kept.message


# The start, and what is left as it was -----------------------------------------------------------


def everything(gan):
    """All that training could change, as plain lists."""
    found = [gan.optimizer_g.state_dict(), gan.optimizer_d.state_dict()]
    for net in gan.nets.values():
        found += [(k, v.tolist()) for k, v in net.state_dict().items()]
        for p in net.parameters():
            grad = None if p.grad is None else p.grad.tolist()
            found.append((p.requires_grad, grad, dict(p._backward_hooks or {})))
        found += [net.training, len(net._forward_hooks), len(net._forward_pre_hooks)]
    return repr(found)


def world():
    return (
        torch.get_rng_state().tolist(), sys.gettrace(), torch.autograd._engine_run_backward,
        nn.Module.zero_grad, torch.optim.Optimizer.zero_grad,
        len(optimizer._global_optimizer_pre_hooks), len(optimizer._global_optimizer_post_hooks),
    )  # fmt: skip


def test_the_start_has_run_once():
    gan, once = tiny_gan(seed=0), tiny_gan(seed=0)
    judge = Judge(s2, gan, REAL, NOISE)
    assert all(p.grad is None for p in gan.discriminator.parameters())
    s2(once, REAL, NOISE)
    assert everything(judge.start) == everything(once)
    assert everything(started(s2)) == everything(once)
    judge(what_if(s2, "retain"))
    assert everything(judge.start) == everything(once)  # nothing ran on it since


def test_random_numbers_are_the_same_for_both():
    def noisy():
        with seeded(0):
            gan = tiny_gan(seed=0)
        net = gan.discriminator.net
        assert isinstance(net, nn.Sequential)
        net.insert(1, nn.Dropout(0.5))
        return gan

    judge = Judge(s3, noisy(), REAL, NOISE)
    assert judge(what_if(s3, "retain")).kind == "waste"
    assert judge(what_if(s3, "freeze_d")).kind == "same"
    again = Judge(s3, noisy(), REAL, NOISE, seed=5)
    assert again.reference.result != judge.reference.result


@pytest.mark.parametrize("key", SWITCHES)
def test_nothing_of_the_callers_is_changed(key):
    gan = tiny_gan(seed=0)
    s2(gan, REAL, NOISE)
    before, around = everything(gan), world()
    Judge(s2, gan, REAL, NOISE)(what_if(s2, key))
    assert everything(gan) == before
    assert world() == around


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_everything_is_put_back_whatever_ends_a_run(error, at):
    gan = tiny_gan(seed=0)
    calls = []

    class Stops(nn.Module):
        def forward(self, x):
            calls.append(1)
            if len(calls) == 3 * at:  # D is called three times in each run
                raise error("stop")
            return x

    net = gan.discriminator.net
    assert isinstance(net, nn.Sequential)
    net.append(Stops())
    before, around = everything(gan), world()

    def judged():
        return Judge(s2, gan, REAL, NOISE)(what_if(s2, "freeze_d"))

    if error is KeyboardInterrupt:
        with pytest.raises(error):
            judged()
    elif at == 4:
        assert judged().kind == "error"
    else:
        with pytest.raises(ValueError if at == 2 else error):  # 2: the reference is recorded
            judged()
    assert everything(gan) == before
    assert world() == around


def test_bad_input_goes_on_to_the_caller():
    with pytest.raises(ValueError, match="the generator expects"):
        Judge(s2, tiny_gan(), REAL, NOISE[:, :1])


def test_a_step_that_raises_unchanged_is_refused():
    with pytest.raises(ValueError, match=r"raises as it stands \(RuntimeError"):
        Judge(published.detach_as_printed, tiny_gan(), REAL, NOISE)


# A learner's own function -------------------------------------------------------------------------


def cell(source, name="my_step", **space):
    """Run a notebook cell: its source is known to ``linecache`` alone."""
    source = textwrap.dedent(source)
    file = f"<cell {abs(hash(source))}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space = {"torch": torch, "functools": functools, **space}
    exec(compile(source, file, "exec"), space)
    return space[name]


OWN = """
    half = 0.5

    def my_step(gan, real, noise, weight=half):
        # names of its own
        a, b, c, d, e = gan.parts
        made = (a(noise)).detach()  # ümlaut, cut here
        d.zero_grad(); target = torch.ones(len(real), 1)
        loss_of_d = weight * (e(b(real), target) + e(b(made), 1 - target))
        torch.autograd.backward(loss_of_d)
        d.step()
        if True:
            c.zero_grad(
                set_to_none=True,
            )
        made = a(noise)
        loss_of_g = e(b(made), target)
        loss_of_g.backward(
            gradient=None,  # the default
        )
        c.step()
"""


def test_a_cell_of_a_notebook():
    step = cell(OWN)
    found = {v.key: v for v in variants(step)}
    lines = {key: [e.new.strip() for e in v.edits if e.new] for key, v in found.items()}
    assert lines == {
        "no_detach": ["made = (a(noise))  # ümlaut, cut here"],
        "no_zero_grad_d": ["pass; target = torch.ones(len(real), 1)"],
        "no_zero_grad_g": [
            "pass  # c.zero_grad(",
            "#             set_to_none=True,",
            "#         )",
        ],
        "retain": ["torch.autograd.backward(loss_of_d, retain_graph=True)"],
        "freeze_d": ["b.requires_grad_(False)", "b.requires_grad_(True)"],
        "step_first": ["d.step()"],
    }
    judge = Judge(step, tiny_gan(seed=0), REAL, NOISE)
    kinds = {key: judge(v).kind for key, v in found.items()}
    assert kinds == {
        "no_detach": "waste", "no_zero_grad_d": "wrong", "no_zero_grad_g": "wrong",
        "retain": "waste", "freeze_d": "same", "step_first": "wrong",
    }  # fmt: skip
    assert judge(found["no_detach"]).extra_vain == 4  # G's, in D's phase


def test_a_difference_that_only_the_second_run_shows():
    step = cell(
        """
        def my_step(gan, real, noise):
            G, D, opt_g, opt_d, loss = gan.parts
            for opt in (opt_g,):
                opt.zero_grad()
            ones = torch.ones(len(real), 1)
            loss(D(real), ones).backward()
            opt_d.step()
            opt_d.zero_grad()
            loss(D(G(noise)), ones).backward(inputs=list(G.parameters()))
            opt_g.step()
        """
    )
    outcome = Judge(step, tiny_gan(seed=0), REAL, NOISE)(what_if(step, "no_zero_grad_d"))
    assert (outcome.kind, outcome.run) == ("wrong", 2)
    assert outcome.message.endswith("It shows only when the step runs once more.")
    assert outcome.players["D"].kind == "wrong"


UNNAMED = """
    def my_step(gan, real, noise):
        x, y = gan.optimizer_d, gan.optimizer_g
        u, v = gan.discriminator, gan.generator
        x.zero_grad()
        ones = torch.ones(len(real), 1)
        gan.loss(u(v(noise).detach()), ones).backward()
        x.step()
        y.zero_grad()
        gan.loss(u(v(noise)), ones).backward()
        y.step()
"""


def test_a_record_tells_who_is_who():
    step = cell(UNNAMED)
    assert [v.key for v in variants(step)] == ["retain"]
    with pytest.raises(ValueError, match="'no_detach' does not apply to my_step; these do: retain"):
        what_if(step, "no_detach")
    record = Judge(step, tiny_gan(seed=0), REAL, NOISE).reference
    assert [v.key for v in variants(step, record)] == list(SWITCHES)
    assert "- " in what_if(step, "no_zero_grad_g", record).diff
    assert what_if(step, "no_zero_grad_g", record).edits[0].old == "    y.zero_grad()"


def test_names_that_lie_are_overruled_by_a_record():
    step = cell(re.sub(r"\bx\b", "opt_g", re.sub(r"\by\b", "opt_d", UNNAMED)))
    record = Judge(step, tiny_gan(seed=0), REAL, NOISE).reference
    (edit,) = what_if(step, "no_zero_grad_d", record).edits
    assert edit.old == "    opt_g.zero_grad()"


def test_one_name_for_both_players_is_nobodys():
    step = cell(
        """
        def my_step(gan, real, noise):
            G, D, opt_g, opt_d, loss = gan.parts
            for opt_d2 in (opt_g, opt_d):
                opt_d2.zero_grad()
            ones = torch.ones(len(real), 1)
            (loss(D(real), ones) + loss(D(G(noise)), ones)).backward()
            opt_d.step()
            opt_g.step()
        """
    )
    record = Judge(step, tiny_gan(seed=0), REAL, NOISE).reference
    assert not {"no_zero_grad_d", "no_zero_grad_g"} & {v.key for v in variants(step, record)}


def test_closures_defaults_and_wrappers_stay():
    calls = []

    def wrapped(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            calls.append(function.__code__.co_filename)
            return function(*args, **kwargs)

        return wrapper

    def make(weight):
        @torch.enable_grad()
        @wrapped
        def my_step(gan, real, noise, *, sign=1):
            G, D, opt_g, opt_d, loss = gan.parts
            opt_d.zero_grad()
            opt_g.zero_grad()
            fake = G(noise)
            (sign * weight * loss(D(fake), torch.ones(len(real), 1))).backward()
            opt_g.step()

        return my_step

    step = make(2.0)
    variant = what_if(step, "no_zero_grad_g")
    assert variant.source.startswith("@torch.enable_grad()\n@wrapped\ndef my_step")
    assert inspect.getsource(variant.step) == variant.source
    assert inspect.unwrap(variant.step).__kwdefaults__ == {"sign": 1}
    outcome = Judge(step, tiny_gan(seed=0), REAL, NOISE)(variant)
    assert outcome.kind == "wrong"
    assert outcome.line == variant.source.splitlines().index("    opt_g.step()") + 1
    assert any(file.startswith("<what if: ") for file in calls)
    calls.clear()
    step(tiny_gan(seed=0), REAL, NOISE)  # the original's wrapper still holds the original
    assert calls == [__file__]


class Trainer:
    __hidden = 1

    def __init__(self):
        self.runs = 0

    def __call__(self, gan, real, noise):
        self.runs += 1
        G, D, opt_g, _, loss = gan.parts
        opt_g.zero_grad()
        loss(D(G(noise)), torch.ones(len(real), 1)).backward()
        opt_g.step()

    def method(self, gan, real, noise):
        G, D, opt_g, _, loss = gan.parts
        opt_g.zero_grad()
        loss(D(G(noise)), torch.ones(len(real), 1)).backward()
        opt_g.step()
        self.runs += 1

    def mangled(self, gan, real, noise):
        G, D, opt_g, _, loss = gan.parts
        opt_g.zero_grad()
        (self.__hidden * loss(D(G(noise)), torch.ones(len(real), 1))).backward()
        opt_g.step()


def test_methods_objects_and_partials():
    trainer = Trainer()
    for step in (trainer, trainer.method, functools.partial(trainer.method)):
        trainer.runs = 0
        variant = what_if(step, "no_zero_grad_g")
        assert Judge(step, tiny_gan(seed=0), REAL, NOISE)(variant).kind == "wrong"
        assert trainer.runs == 4  # warm, right, right again, changed
    assert variants(trainer.mangled) == ()  # private names mean something else outside the class


def test_what_cannot_be_read_is_left_out():
    space: dict[str, Any] = {}
    exec("def my_step(gan, real, noise):\n    gan.optimizer_d.zero_grad()", space)
    for step in (space["my_step"], lambda gan, real, noise: gan.optimizer_d.zero_grad(), print):
        assert variants(step) == ()
        with pytest.raises(ValueError, match="none of the switches applies"):
            what_if(step, "retain")
    with pytest.raises(ValueError, match="no switch 'detach'; the switches are no_detach, "):
        what_if(s2, "detach")
    with pytest.raises(TypeError, match="expected a function step"):
        variants("detach")  # type: ignore[arg-type]


def test_a_source_that_is_no_longer_what_runs_is_left_out():
    step = cell(OWN)
    file = step.__code__.co_filename
    lines = [line.replace("d.step()", "c.step()") for line in linecache.getlines(file)]
    linecache.cache[file] = (len(lines), None, lines, file)
    assert variants(step) == ()


def test_a_wrapper_that_hides_the_function_is_left_out():
    held = [cell(OWN)]

    @functools.wraps(held[0])
    def wrapper(*args):
        return held[0](*args)

    assert variants(wrapper) == ()


def test_a_step_with_nets_of_its_own_is_refused():
    gan = tiny_gan(seed=0)
    opt = gan.optimizer_d

    def my_step(other, real, noise):
        opt.step()

    with pytest.raises(ValueError, match="by the name opt, so it cannot run on a copy"):
        Judge(my_step, gan, REAL, NOISE)
    before = everything(gan)
    with pytest.raises(ValueError, match="moved neither player"):
        Judge(lambda gan, real, noise: None, gan, REAL, NOISE)
    assert everything(gan) == before
    # An attribute of that name is none of it.
    fine = cell(
        OWN.replace("a, b, c, d, e =", "gan.generator; a, b, c, d, e ="), generator=gan.generator
    )
    assert Judge(fine, gan, REAL, NOISE).reference.error is None


@pytest.mark.parametrize(
    ("mine", "right", "kind", "says"),
    [
        ([1.0, 2.0], [1.0, 2.0], "equal", ""),
        ([1.0, 2.0], [0.0, 0.0], "from nothing", "a gradient where there should be none"),
        ([1.0, 2.0], [None, None], "from nothing", "a gradient where there should be none"),
        ([0.0, 0.0], [1.0, 2.0], "zero", "a gradient of zeros"),
        ([None, None], [1.0, 2.0], "none", "gets no gradient"),
        ([1.0, 2.0], [1.0, math.nan], "was not finite", "the right one is not finite"),
        ([1.0, math.inf], [1.0, 2.0], "not finite", "a gradient that is not finite"),
        ([1.0, None], [1.0, 2.0], "wrong", "step as written: cosine 0.45"),
        ([None, None], [None, None], "equal", ""),
        ([0.0, 0.0], [0.0, 0.0], "equal", ""),
        ([math.nan, 2.0], [math.nan, 2.0], "equal", ""),
    ],
)
def test_in_which_way_a_gradient_differs(mine, right, kind, says):
    steps = [[tuple(g if g is None else torch.tensor(g) for g in side)] for side in (mine, right)]
    gap = compare.gap(*steps)
    assert gap.kind == kind
    assert kind == "equal" or says in compare.told({"G": gap})
    assert compare.gap([], []).kind == "equal"
    assert compare.gap(steps[0], []).kind == "no step"


def test_a_small_difference_is_told_with_enough_digits():
    assert compare.told({"D": PlayerGap(0.9999, 1.001, "wrong")}).endswith(
        "Beside that of the step as written: cosine 0.999900, 1.001000 times the length."
    )
    assert "cosine 0.50, " in compare.told({"D": PlayerGap(0.5, 1.001, "wrong")})


def test_a_gradient_of_the_right_direction_is_not_called_wrong_by_its_cosine():
    told = compare.told({"G": PlayerGap(1.0, 2.0, "wrong"), "D": PlayerGap(0.999, 0.5, "wrong")})
    assert "2.00 times as long as in the step as written. Its direction is right" in told
    assert told.endswith("D's is wrong too: 0.50 times as long (cosine 1.00).")


def test_every_switch_has_its_words():
    assert {key for _, key in TABLE} == set(SWITCHES)
    for step, key in TABLE:
        title, message = what_if(step, key).title, outcome_of(step, key).message
        assert title
        for text in (title, message):
            assert "{" not in text
            assert "None" not in text
