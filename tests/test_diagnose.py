"""``diagnose``: it finds what is wrong, with line and fix, and leaves legitimate code alone."""

from __future__ import annotations

import copy
import re
import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ipykernel.compiler import XCachingCompiler
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from gan_lessons import STRATEGIES, dcgan, diagnose, published, record, tiny_gan
from gan_lessons.gan import Gan
from gan_lessons.lens.diagnose import Diagnosis, Finding
from gan_lessons.lens.diagnose.parts import _prefix
from gan_lessons.lens.diagnose.quoting import Quotes
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import record_step
from gan_lessons.lens.whatif import Judge, variants
from gan_lessons.strategies import THREE

Body = Callable[[Gan, Tensor, Tensor, int], Any]
BCE = nn.BCELoss()
ONES, ZEROS = torch.ones(8, 1), torch.zeros(8, 1)


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def recorded(body: Body, iterations: int = 2, gan: Gan | None = None, **nets: Any) -> Record:
    """``body(gan, real, noise, i)``, that many times in one record; an exception ends it."""
    gan = gan or tiny_gan(seed=0)
    draw = torch.Generator().manual_seed(0)
    with record({**gan.nets, **nets}, gan.optimizers) as rec:
        try:
            for i in range(iterations):
                body(gan, torch.randn(8, 2, generator=draw), torch.randn(8, 2, generator=draw), i)
        except RuntimeError:
            assert rec.events[-1].kind == "error"
    return rec


def diagnosed(body: Body, iterations: int = 2, **options: Any) -> Diagnosis:
    return diagnose(recorded(body, iterations, **options))


def grave(diagnosis: Diagnosis) -> list[tuple[str, str | None]]:
    return [(f.code, f.net) for f in diagnosis.findings if f.severity in ("error", "wrong")]


def d_phase(gan: Gan, fake: Tensor, real: Tensor, clear: bool = True, step: bool = True) -> None:
    D, opt_d = gan.discriminator, gan.optimizer_d
    if clear:
        opt_d.zero_grad()
    d_loss = (BCE(D(real), ONES) + BCE(D(fake), ZEROS)) / 2
    d_loss.backward()
    if step:
        opt_d.step()


def g_phase(gan: Gan, fake: Tensor, clear: bool = True, step: bool = True) -> None:
    if clear:
        gan.optimizer_g.zero_grad()
    g_loss = BCE(gan.discriminator(fake), ONES)
    g_loss.backward()
    if step:
        gan.optimizer_g.step()


# What is wrong ------------------------------------------------------------------------------------


def forgot_to_clear_d(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real, clear=False)
    g_phase(gan, fake)


def forgot_to_clear_g_between_the_backwards(gan, real, noise, i):
    G, D, opt_g, opt_d, _ = gan.parts
    opt_g.zero_grad()
    opt_d.zero_grad()
    pred_fake = D(G(noise))
    d_loss = BCE(D(real), ONES) + BCE(pred_fake, ZEROS)
    d_loss.backward(retain_graph=True, inputs=[*G.parameters(), *D.parameters()])
    g_loss = BCE(pred_fake, ONES)
    g_loss.backward(inputs=list(G.parameters()))
    opt_d.step()
    opt_g.step()


def let_g_backward_pollute_d(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real, step=False)
    g_phase(gan, fake)
    gan.optimizer_d.step()


def stepped_twice_on_a_growing_sum(gan, real, noise, i):
    fake = gan.generator(noise).detach()
    d_phase(gan, fake, real, clear=i == 0)


def learned_from_the_detached_fake(gan, real, noise, i):
    fake = gan.generator(noise).detach()
    d_phase(gan, fake, real)
    g_phase(gan, fake)


def cleared_before_the_step(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real)
    g_phase(gan, fake, step=False)
    gan.optimizer_g.zero_grad()
    gan.optimizer_g.step()


def forgot_g_backward(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real)
    gan.optimizer_g.step()


def named_the_wrong_inputs(gan, real, noise, i):
    G, D, opt_g, _, _ = gan.parts
    opt_g.zero_grad()
    BCE(D(G(noise)), ONES).backward(inputs=list(D.parameters()))
    opt_g.step()


def stepped_with_g_frozen(gan, real, noise, i):
    gan.generator.requires_grad_(False)
    g_phase(gan, gan.generator(noise))


def forgot_the_step_of_g(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real)
    g_phase(gan, fake, step=False)


def moved_d_behind_autograds_back(gan, real, noise, i):
    G, D, _, opt_d, _ = gan.parts
    pred_fake = D(G(noise))
    opt_d.zero_grad()
    (BCE(D(real), ONES) + BCE(pred_fake, ZEROS)).backward(retain_graph=True)
    weights = tuple(D.parameters())
    with torch.autograd._unsafe_preserve_version_counter(weights):
        opt_d.step()
    gan.optimizer_g.zero_grad()
    BCE(pred_fake, ONES).backward()
    gan.optimizer_g.step()


def moved_a_checkpointed_d(gan, real, noise, i):
    G, D, opt_g, _, _ = gan.parts
    fake = G(noise)
    pred_fake = checkpoint(D, fake, use_reentrant=False)
    d_phase(gan, fake.detach(), real)
    opt_g.zero_grad()
    BCE(pred_fake, ONES).backward()
    opt_g.step()


def used_the_graph_twice(gan, real, noise, i):
    pred_fake = gan.discriminator(gan.generator(noise))
    BCE(pred_fake, ZEROS).backward()
    BCE(pred_fake, ONES).backward()


def had_no_graph(gan, real, noise, i):
    with torch.no_grad():
        pred_fake = gan.discriminator(gan.generator(noise))
    BCE(pred_fake, ONES).backward()


WRONG: list[tuple[Body, str, str | None, str]] = [
    (forgot_to_clear_d, "polluted", "D", "between `g_loss.backward()` and `d_loss.backward()`"),
    (forgot_to_clear_g_between_the_backwards, "polluted", "G", "zero_grad"),
    (let_g_backward_pollute_d, "polluted", "D", "inputs=list(G.parameters())"),
    (stepped_twice_on_a_growing_sum, "polluted", "D", "zero_grad"),
    (learned_from_the_detached_fake, "cut-off", "G", "not on the detached copy"),
    (cleared_before_the_step, "cut-off", "G", "Clear before backward"),
    (forgot_g_backward, "cut-off", "G", "Call backward"),
    (named_the_wrong_inputs, "cut-off", "G", "inputs="),
    (stepped_with_g_frozen, "cut-off", "G", "Thaw G"),
    (forgot_the_step_of_g, "never-stepped", "G", "Call the step"),
    (moved_d_behind_autograds_back, "stale-weights", "D", "before the step"),
    (moved_a_checkpointed_d, "stale-weights", "D", "before the step"),
    (used_the_graph_twice, "second-backward", None, "retain_graph=True"),
    (had_no_graph, "no-graph", None, "gradients switched on"),
]


@pytest.mark.parametrize(
    ("body", "code", "net", "fix"), WRONG, ids=[body.__name__ for body, *_ in WRONG]
)
def test_finds_what_is_wrong_and_only_that(body, code, net, fix):
    diagnosis = diagnosed(body)
    assert set(grave(diagnosis)) == {(code, net)}
    assert not diagnosis.sound
    finding = diagnosis.findings[0]
    assert fix in finding.fix
    assert finding.evidence
    assert len(finding.evidence) == len(finding.events)


@pytest.mark.parametrize("name", ["retain_graph_as_printed", "detach_as_printed"])
def test_the_published_orderings_raise(name):
    code = {"retain": "inplace-after-retain", "detach": "second-backward"}[name[:6]]
    rec = record_step(getattr(published, name), tiny_gan(seed=0), *torch.randn(2, 8, 2))
    (finding,) = diagnose(rec).findings
    assert (finding.code, finding.severity) == (code, "error")
    assert rec.explanation == f"{finding.message} {finding.fix}"
    assert "g_loss.backward()" in finding.evidence[0]


def test_of_what_was_there_before_the_recording_it_only_asks():
    """A forgotten ``zero_grad``, or a sum over batches: the record cannot know."""
    gan = tiny_gan(seed=0)
    recorded(forgot_to_clear_d, 1, gan=gan)
    diagnosis = diagnosed(forgot_to_clear_d, 1, gan=gan)
    assert grave(diagnosis) == []
    (asked,) = (f for f in diagnosis.findings if f.code == "from-before")
    assert (asked.net, asked.severity) == ("D", "info")
    assert "before the recording" in asked.message
    assert grave(diagnosed(forgot_to_clear_d, 2, gan=gan)) == [("polluted", "D")]


def sgd(**options):
    return lambda net: torch.optim.SGD(net.parameters(), lr=0.1, **options)


@pytest.mark.parametrize(
    ("make", "set_to_none", "warm", "moves"),
    [
        (sgd(), False, True, False),
        (sgd(momentum=0.9), False, True, True),
        (sgd(momentum=0.9), False, False, False),
        (sgd(momentum=0.9), True, True, False),
        (sgd(weight_decay=0.1), False, False, True),
        (lambda net: torch.optim.Adam(net.parameters()), False, True, True),
        (lambda net: torch.optim.Adam(net.parameters()), False, False, False),
    ],
    ids=["sgd", "momentum", "momentum cold", "momentum None", "decay", "adam", "adam cold"],
)
def test_a_step_on_zeros_is_not_said_to_change_nothing_where_it_moves(
    make, set_to_none, warm, moves
):
    """Zeros are a gradient to an optimizer that remembers, or that shrinks weights."""
    gan = tiny_gan(seed=0)
    gan.optimizer_g = make(gan.generator)
    noise = torch.randn(8, 2)
    if warm:
        g_phase(gan, gan.generator(noise))
    before = copy.deepcopy(gan.generator.state_dict())

    def cleared_too_early(gan, real, noise, i):
        fake = gan.generator(noise)
        d_phase(gan, fake.detach(), real)
        g_phase(gan, fake, step=False)
        gan.optimizer_g.zero_grad(set_to_none=set_to_none)
        gan.optimizer_g.step()

    rec = recorded(cleared_too_early, 1, gan=gan)
    moved = any(not torch.equal(p, before[name]) for name, p in gan.generator.named_parameters())
    assert moved is moves
    assert rec.events[-1].stood_still is not moves
    (finding,) = (f for f in diagnose(rec).findings if f.severity == "wrong")
    said = "moved G all the same" if moves else "G did not move"
    assert (finding.code, said in finding.message) == ("cut-off", True), finding.message


def test_a_finding_tells_lines_and_events():
    rec = recorded(learned_from_the_detached_fake, 1)
    finding = diagnose(rec).findings[0]
    assert finding.message == (
        "`gan.optimizer_g.step()` found no gradient in G, and G did not move. `g_loss.backward()` "
        "never reaches G: the graph was cut by detach() on the way in `fake = "
        "gan.generator(noise).detach()`."
    )
    step = rec.events[finding.events[-1]]
    assert (step.kind, step.target) == ("step", "G")
    assert finding.evidence[-1] == (
        f"event {step.index}, line {step.line.number}: `gan.optimizer_g.step()`"
    )


def test_a_cell_of_a_notebook_goes_by_its_number(monkeypatch):
    """As in tracebacks; the file that IPython compiles it under has a number for a name."""
    gan, compiler = tiny_gan(), XCachingCompiler()
    source = "def first(loss):\n    loss.backward()"
    name = compiler.cache(source, 7)
    cell: dict[str, Any] = {}
    exec(compile(source, name, "exec"), cell)
    with record(gan.nets) as rec:
        cell["first"](gan.generator(torch.randn(4, 2)).sum())
        gan.generator(torch.randn(4, 2)).sum().backward()
    quotes = Quotes(rec)
    line = rec.backward_calls[0].line
    assert quotes.place(line).endswith(".py, line 2")
    shell = SimpleNamespace(compile=compiler)
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    assert quotes.place(line) == "Cell In[7], line 2"
    shell.compile = SimpleNamespace()  # as older versions of IPython, which cannot tell
    assert quotes.place(line).endswith(".py, line 2")
    assert quotes.place(rec.backward_calls[1].line).startswith("test_diagnose.py, line ")


def test_the_same_in_each_iteration_is_told_once_with_all_its_lines():
    (finding,) = (f for f in diagnosed(learned_from_the_detached_fake, 3).findings if f.net == "G")
    assert len([line for line in finding.evidence if "optimizer_g.step()" in line]) == 3
    assert list(finding.events) == sorted(set(finding.events))


def test_a_line_of_evidence_is_shown_once_with_its_events():
    diagnosis = diagnosed(learned_from_the_detached_fake, 10)
    finding = diagnosis.findings[0]
    assert len(finding.evidence) == len(finding.events) == 20
    text, page = str(diagnosis), diagnosis._repr_html_()
    for line in ("g_loss.backward()", "gan.optimizer_g.step()"):
        mine = [one for one in finding.evidence if one.endswith(f"`{line}`")]
        numbers = [one.partition(",")[0].removeprefix("event ") for one in mine]
        first, last, what = ", ".join(numbers[:3]), numbers[-1], mine[0].partition(", ")[2]
        told = f"events {first}, … {last} (10 in all), {what}"
        assert text.count(f"Seen: {told}\n") == 1 or text.endswith(f"Seen: {told}")
        assert told.replace(f"`{line}`", f"<code>{line}</code>") in page
    twice = diagnosed(learned_from_the_detached_fake, 2).findings[0]
    a, b, *_ = twice.events[::2]
    assert f"Seen: events {a} and {b}, " in str(Diagnosis([twice]))


def test_of_many_lines_of_evidence_the_first_and_the_last_are_shown():
    lines = tuple(f"event {i}, line {i}: `step {i}`" for i in range(20))
    diagnosis = Diagnosis([Finding("in-vain", "waste", "G", "", "", lines, tuple(range(20)))])
    text = str(diagnosis)
    for line in (*lines[:3], *lines[-3:]):
        assert f"Seen: {line}" in text
    assert all(f"line {i}:" not in text for i in range(3, 17))
    assert "Seen: 14 more" in text
    assert "14 more" in diagnosis._repr_html_()


def test_the_work_grows_with_the_record_and_not_faster():
    """Counted, not timed: how often a rule looks at an event of a record twice as long."""
    looks = {}
    for iterations in (10, 20):
        rec = recorded(forgot_to_clear_d, iterations)
        counted = Counted(rec.events)
        rec.events = counted
        diagnose(rec)
        looks[iterations] = counted.looks
    assert looks[20] < 2.5 * looks[10], looks


class Counted(list):
    """A list that counts how many of its items were looked at."""

    looks = 0

    def __getitem__(self, index):
        found = super().__getitem__(index)
        self.looks += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self):
        for item in super().__iter__():
            self.looks += 1
            yield item


def test_the_call_that_was_meant_for_the_net_is_named():
    def body(gan, real, noise, i):
        fake = gan.generator(noise).detach()
        g_phase(gan, fake, step=False)
        d_phase(gan, fake, real)
        gan.optimizer_g.step()

    (finding,) = (f for f in diagnosed(body, 1).findings if f.severity == "wrong")
    assert "`g_loss.backward()` never reaches G" in finding.message


def test_what_was_meant_for_a_cut_off_net_is_no_waste_beside_it():
    assert diagnosed(learned_from_the_detached_fake, 1).codes == ["cut-off"]


# What is not wrong --------------------------------------------------------------------------------


class Saver(torch.optim.SGD):
    """Clears what it used, inside ``step``."""

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        self.zero_grad()
        return result


def several_critic_steps(gan, real, noise, i):
    for _ in range(3):
        d_phase(gan, gan.generator(noise).detach(), real)
    g_phase(gan, gan.generator(noise))


def critic_only(gan, real, noise, i):
    d_phase(gan, gan.generator(noise).detach(), real)


def critic_only_without_detach(gan, real, noise, i):
    d_phase(gan, gan.generator(noise), real)


def generator_only(gan, real, noise, i):
    g_phase(gan, gan.generator(noise))


def accumulation(gan, real, noise, i):
    gan.optimizer_d.zero_grad()
    gan.optimizer_g.zero_grad()
    for _ in range(2):
        d_phase(gan, gan.generator(noise).detach(), real, clear=False, step=False)
    gan.optimizer_d.step()
    gan.optimizer_d.zero_grad()
    for _ in range(2):
        g_phase(gan, gan.generator(noise), clear=False, step=False)
    gan.optimizer_g.step()


def gradient_penalty(gan, real, noise, i):
    D, fake = gan.discriminator, gan.generator(noise)
    gan.optimizer_d.zero_grad()
    mixed = (real + fake.detach()).div(2).requires_grad_()
    (slope,) = torch.autograd.grad(D(mixed).sum(), mixed, create_graph=True)
    d_loss = D(fake.detach()).mean() - D(real).mean() + (slope.norm(dim=1) - 1).square().mean()
    d_loss.backward()
    gan.optimizer_d.step()
    g_phase(gan, fake)


def r1_by_backward(gan, real, noise, i):
    D, fake = gan.discriminator, gan.generator(noise)
    gan.optimizer_d.zero_grad()
    (BCE(D(real), ONES) + BCE(D(fake.detach()), ZEROS)).backward()
    real = real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(D(real).sum(), real, create_graph=True)
    slope.square().sum().backward()
    gan.optimizer_d.step()
    g_phase(gan, fake)


def frozen_players(gan, real, noise, i):
    fake = gan.generator(noise)
    gan.discriminator.requires_grad_(False)
    g_phase(gan, fake)
    gan.discriminator.requires_grad_(True)
    gan.generator.requires_grad_(False)
    d_phase(gan, gan.generator(noise), real)
    gan.generator.requires_grad_(True)


def stashed_and_put_back(gan, real, noise, i):
    D, fake = gan.discriminator, gan.generator(noise)
    d_phase(gan, fake.detach(), real, step=False)
    stash = [p.grad for p in D.parameters()]
    for p in D.parameters():
        p.grad = None
    g_phase(gan, fake)
    for p, grad in zip(D.parameters(), stash, strict=True):
        p.grad = grad
    gan.optimizer_d.step()


def written_by_hand(gan, real, noise, i):
    G, D, opt_g, opt_d, _ = gan.parts
    pred_fake = D(G(noise))
    losses = (BCE(D(real), ONES) + BCE(pred_fake, ZEROS), BCE(pred_fake, ONES))
    for net, loss in ((D, losses[0]), (G, losses[1])):
        parameters = list(net.parameters())
        grads = torch.autograd.grad(loss, parameters, retain_graph=True)
        for p, grad in zip(parameters, grads, strict=True):
            p.grad = grad
    opt_d.step()
    opt_g.step()


def moved_by_hand(gan, real, noise, i):
    """No optimizer: plain descent, as in a first lesson."""
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real, step=False)
    with torch.no_grad():
        for p in gan.discriminator.parameters():
            p -= 0.1 * p.grad
            p.grad = None


def weight_clipping(gan, real, noise, i):
    d_phase(gan, gan.generator(noise).detach(), real)
    for p in gan.discriminator.parameters():
        p.data.clamp_(-0.01, 0.01)
    g_phase(gan, gan.generator(noise))


def copies_of_what_changes(gan, real, noise, i):
    """The printed lines, while torch keeps a copy of what is rewritten."""
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        published.retain_graph_as_printed(gan, real, noise)


def forward_on_clones(gan, real, noise, i):
    G, D, opt_g, opt_d, _ = gan.parts
    clones = {name: p.clone() for name, p in D.named_parameters()}
    pred_fake = functional_call(D, clones, (G(noise),))
    opt_d.zero_grad()
    (BCE(D(real), ONES) + BCE(pred_fake, ZEROS)).backward(retain_graph=True)
    opt_d.step()
    opt_g.zero_grad()
    BCE(pred_fake, ONES).backward()
    opt_g.step()


def cleared_inside_the_step(gan, real, noise, i):
    D, fake = gan.discriminator, gan.generator(noise)
    BCE(D(fake.detach()), ZEROS).backward()
    gan.optimizer_d.step()


def skipped_by_a_scaler(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    gan.optimizer_g.zero_grad()
    scaler.scale(BCE(gan.discriminator(fake), ONES) * 1e9).backward()
    scaler.step(gan.optimizer_g)
    scaler.update()


def two_backwards_for_d(gan, real, noise, i):
    """As the best known DCGAN example does, with D's outputs read for a log line."""
    G, D, opt_g, opt_d, _ = gan.parts
    D.zero_grad()
    on_real = BCE(D(real), ONES)
    on_real.backward()
    fake = G(noise)
    output = D(fake.detach())
    on_fake = BCE(output, ZEROS)
    on_fake.backward()
    output.mean().item()
    opt_d.step()
    G.zero_grad()
    BCE(D(fake), ONES).backward()
    opt_g.step()


def cleared_to_zero(gan, real, noise, i):
    fake = gan.generator(noise)
    gan.optimizer_d.zero_grad(set_to_none=False)
    d_phase(gan, fake.detach(), real, clear=False)
    gan.optimizer_g.zero_grad(set_to_none=False)
    g_phase(gan, fake, clear=False)


def cleared_after_each_step(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real, clear=False)
    g_phase(gan, fake, clear=False)
    gan.optimizer_d.zero_grad()
    gan.optimizer_g.zero_grad()


def scaled(gan, real, noise, i):
    fake, D, scaler = gan.generator(noise), gan.discriminator, torch.amp.GradScaler("cpu")
    for loss_of, optimizer in (
        (lambda: BCE(D(fake.detach()), ZEROS), gan.optimizer_d),
        (lambda: BCE(D(fake), ONES), gan.optimizer_g),
    ):
        optimizer.zero_grad()
        scaler.scale(loss_of()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        scaler.step(optimizer)
        scaler.update()


def closures(gan, real, noise, i):
    G, D, fake = gan.generator, gan.discriminator, gan.generator(noise).detach()
    for net, loss_of in ((D, lambda: BCE(D(fake), ZEROS)), (G, lambda: BCE(D(G(noise)), ONES))):
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)

        def closure(loss_of=loss_of, optimizer=optimizer):
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            return loss

        optimizer.step(closure)


def averaged_weights(gan, real, noise, i):
    fake = gan.generator(noise)
    d_phase(gan, fake.detach(), real)
    g_phase(gan, fake)
    average = torch.optim.swa_utils.AveragedModel(gan.generator)
    average.update_parameters(gan.generator)
    with torch.no_grad():
        average(noise)


def one_loss_for_two_nets(gan, real, noise, i):
    """No game at all: both nets follow one loss, as an encoder and a decoder do."""
    gan.optimizer_d.zero_grad()
    gan.optimizer_g.zero_grad()
    BCE(gan.discriminator(gan.generator(noise)), ONES).backward()
    gan.optimizer_d.step()
    gan.optimizer_g.step()


RIGHT: list[Body] = [
    several_critic_steps, critic_only, critic_only_without_detach, generator_only, accumulation,
    gradient_penalty, r1_by_backward, frozen_players, stashed_and_put_back, written_by_hand,
    moved_by_hand, weight_clipping, copies_of_what_changes, forward_on_clones,
    cleared_inside_the_step, skipped_by_a_scaler, one_loss_for_two_nets, two_backwards_for_d,
    cleared_to_zero, cleared_after_each_step, scaled, closures, averaged_weights,
]  # fmt: skip


@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("body", RIGHT, ids=[body.__name__ for body in RIGHT])
def test_raises_no_false_alarm(body, iterations):
    gan = tiny_gan(seed=0)
    if body is cleared_inside_the_step:
        gan.optimizer_d = Saver(gan.discriminator.parameters(), lr=0.1)
    rec = recorded(body, iterations, gan=gan)
    assert "error" not in {e.kind for e in rec.events}, rec
    assert grave(diagnose(rec)) == [], diagnose(rec)
    assert diagnose(rec).sound
    if body is cleared_inside_the_step:  # what it used is gone when the step is over
        assert "in-vain" not in diagnose(rec).codes


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("key", STRATEGIES)
def test_our_own_steps_are_sound(key, iterations):
    step = STRATEGIES[key].step
    assert grave(diagnosed(lambda gan, real, noise, _: step(gan, real, noise), iterations)) == []


def test_a_recording_may_begin_in_the_middle_of_an_accumulation():
    gan = tiny_gan(seed=0)
    recorded(lambda g, real, noise, i: d_phase(g, noise, real, clear=False, step=False), 1, gan=gan)

    def second_half(gan, real, noise, i):
        d_phase(gan, noise, real, clear=False)
        gan.optimizer_d.zero_grad()

    assert grave(diagnosed(second_half, 1, gan=gan)) == []


def test_weights_that_no_node_had_saved_may_move():
    """Only biases are trained: what the retained graph saved is as it was."""
    gan = tiny_gan(seed=0)
    biases = [p for name, p in gan.discriminator.named_parameters() if name.endswith("bias")]
    gan.optimizer_d = torch.optim.SGD(biases, lr=0.1)

    def body(gan, real, noise, i):
        published.retain_graph_as_printed(gan, real, noise)

    rec = recorded(body, 1, gan=gan)
    assert [e.kind for e in rec.events][-1] == "step"
    assert grave(diagnose(rec)) == []


def test_a_third_net_is_no_player():
    encoder = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)

    def body(gan, real, noise, i):
        optimizer.zero_grad()
        fake = gan.generator(encoder(real))
        d_phase(gan, fake.detach(), real)
        g_phase(gan, fake)
        optimizer.step()

    assert grave(diagnosed(body, encoder=encoder)) == []


# Waste, and what is worth knowing -----------------------------------------------------------------

EXPECTED = {
    "retain_graph": ["in-vain", "in-vain", "simultaneous"],
    "detach": ["in-vain", "alternating"],
    "generator_first": ["in-vain", "simultaneous"],
    "frozen": ["frozen", "simultaneous"],
    "selective": ["simultaneous"],
    "one_stage": ["shared-backward", "simultaneous"],
}


@pytest.mark.parametrize("key", EXPECTED)
def test_what_each_strategy_wastes_and_is(key):
    rec = record_step(STRATEGIES[key].step, tiny_gan(seed=0), *torch.randn(2, 8, 2))
    found = diagnose(rec).findings
    assert sorted(f.code for f in found) == sorted(EXPECTED[key])
    wasted = [f.net for f in found if f.code == "in-vain"]
    assert wasted == {"retain_graph": ["G", "D"]}.get(key, ["D"] * len(wasted))


def test_the_fix_for_waste_removes_it_and_keeps_the_result():
    """S1 with ``inputs=`` as the two findings say: the same weights, and no finding is left."""
    G, D, opt_g, opt_d, _ = (gan := tiny_gan(seed=0)).parts
    other = tiny_gan(seed=0)
    real, noise = torch.randn(2, 8, 2)
    before = diagnose(record_step(STRATEGIES["retain_graph"].step, other, real, noise))
    for finding, user in zip(before.findings, "DG", strict=False):
        assert finding.code == "in-vain"
        assert f"`backward(inputs=list({user}.parameters()))`" in finding.fix
    with record(gan.nets, gan.optimizers) as rec:
        pred_fake = D(G(noise))
        opt_d.zero_grad()
        d_loss = (BCE(D(real), ONES) + BCE(pred_fake, ZEROS)) / 2
        d_loss.backward(retain_graph=True, inputs=list(D.parameters()))
        opt_g.zero_grad()
        BCE(pred_fake, ONES).backward(inputs=list(G.parameters()))
        opt_d.step()
        opt_g.step()
    assert diagnose(rec).codes == ["simultaneous"]
    for net, theirs in ((G, other.generator), (D, other.discriminator)):
        for mine, right in zip(net.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, right)


@pytest.mark.parametrize("fresh", [False, True])
def test_generator_first_alternates_only_with_a_new_fake(fresh):
    def body(gan, real, noise, i):
        fake = gan.generator(noise)
        g_phase(gan, fake)
        d_phase(gan, (gan.generator(noise) if fresh else fake).detach(), real)

    assert ("alternating" if fresh else "simultaneous") in diagnosed(body, 1).codes


def test_a_step_that_finds_nothing_makes_no_update_simultaneous():
    """What D judged with is what it still is: its second step had no gradient to use."""

    def body(gan, real, noise, i):
        d_phase(gan, gan.generator(noise).detach(), real)
        gan.optimizer_d.zero_grad()
        pred = gan.discriminator(gan.generator(noise))
        gan.optimizer_d.step()
        gan.optimizer_g.zero_grad()
        BCE(pred, ONES).backward()
        gan.optimizer_g.step()

    codes = diagnosed(body, 1).codes
    assert "alternating" in codes
    assert "simultaneous" not in codes


def test_a_graph_that_is_kept_for_nothing():
    def body(gan, real, noise, i):
        fake = gan.generator(noise)
        gan.optimizer_d.zero_grad()
        d_loss = BCE(gan.discriminator(fake.detach()), ZEROS)
        d_loss.backward(retain_graph=True)
        gan.optimizer_d.step()
        g_phase(gan, fake)

    found = [f for f in diagnosed(body, 1).findings if f.code == "needless-retain"]
    assert [f.evidence[0].split(": ")[1] for f in found] == ["`d_loss.backward(retain_graph=True)`"]
    step = STRATEGIES["retain_graph"].step
    needed = diagnosed(lambda gan, real, noise, _: step(gan, real, noise))
    assert "needless-retain" not in needed.codes


@pytest.mark.parametrize("how", ["create_graph", "autograd.grad"])
def test_a_graph_may_be_kept_for_what_the_record_cannot_follow(how):
    def body(gan, real, noise, i):
        loss = BCE(gan.discriminator(real), ONES)
        if how == "create_graph":
            loss.backward(create_graph=True)
        else:
            loss.backward(retain_graph=True)
            torch.autograd.grad(loss, list(gan.discriminator.parameters()))
        gan.optimizer_d.step()
        gan.optimizer_d.zero_grad()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch: create_graph may leak
        assert "needless-retain" not in diagnosed(body, 1).codes


def test_a_look_in_eval_mode_is_no_part_of_the_game():
    def body(gan, real, noise, i):
        fake = gan.generator(noise)
        g_phase(gan, fake)
        gan.generator.eval()
        gan.generator(noise)  # a picture, say
        gan.generator.train()
        d_phase(gan, fake.detach(), real)

    assert "simultaneous" in diagnosed(body, 1).codes


def test_batchnorm_is_counted_by_its_own_counter():
    gan = dcgan(16, 1, 4, width=4, seed=0)
    real, noise = torch.randn(4, 1, 16, 16), torch.randn(4, 4)
    for key, counts in {
        "retain_graph": (1, 2),
        "detach": (1, 3),
        "generator_first": (1, 3),
    }.items():
        with record(gan.nets, gan.optimizers) as rec:
            STRATEGIES[key].step(gan, real, noise)
        found = {f.net: f.message for f in diagnose(rec).findings if f.code == "batchnorm-updates"}
        assert (rec.batchnorm["G"], rec.batchnorm["D"]) == counts, key
        assert f"updated {counts[1]} times" in found["D"]
    gan.discriminator.eval()
    with record(gan.nets, gan.optimizers) as rec:
        STRATEGIES["detach"].step(gan, real, noise)
    assert rec.batchnorm["D"] == 0


# Against an independent judge ---------------------------------------------------------------------


@pytest.mark.parametrize("key", THREE)
def test_agrees_with_the_gradients_themselves(key):
    """Each what-if is judged by its gradients; ``diagnose`` knows only the record of that run."""
    step = STRATEGIES[key].step
    gan, (real, noise) = tiny_gan(seed=0), torch.randn(2, 8, 2)
    judge = Judge(step, gan, real, noise)
    seen = set()
    for variant in variants(step):
        outcome = judge(variant)
        found = {f.severity for f in diagnose(outcome.record).findings}
        seen.add(outcome.kind)
        if outcome.kind == "wrong" and "wrong" not in found:
            # What was there before this one iteration is not known: so record two.
            copied = copy.deepcopy(judge.start)
            with record(copied.nets, copied.optimizers) as rec:
                for _ in range(2):
                    variant.step(copied, real, noise)
            assert "from-before" in diagnose(outcome.record).codes, variant
            found = {f.severity for f in diagnose(rec).findings}
        if outcome.kind in ("error", "wrong"):
            assert outcome.kind in found, (variant, outcome.message)
        else:
            assert not found & {"error", "wrong"}, (variant, diagnose(outcome.record))
    assert {"error", "wrong"} <= seen


# Asking, and looking ------------------------------------------------------------------------------


def test_bad_input_is_told():
    with pytest.raises(TypeError, match=r"diagnose\(\) got list; expected a Record"):
        diagnose([])  # type: ignore[arg-type]
    gan = tiny_gan(seed=0)
    with record(gan.nets) as rec, pytest.raises(ValueError, match="after the block"):
        diagnose(rec)


def test_an_empty_record_is_sound():
    with record(tiny_gan().nets) as rec:
        pass
    assert diagnose(rec).findings == []
    assert diagnose(rec).sound


def test_text_and_page_say_the_same():
    diagnosis = diagnosed(forgot_to_clear_d)
    text, page = str(diagnosis), diagnosis._repr_html_()
    for finding in diagnosis.findings:
        for said in (finding.code, *(one.partition(", ")[2] for one in finding.evidence)):
            assert said in text
        assert finding.code in page
        assert finding.evidence[0].split("`")[1] in page
    assert "≠ wrong gradient: polluted (D)" in text
    assert max(map(len, text.splitlines())) <= 130


def test_names_and_code_of_others_are_escaped():
    evil = "<script>alert(1)</script>"
    nets = {evil: nn.Linear(2, 1)}
    optimizer = torch.optim.SGD(nets[evil].parameters(), lr=0.1)
    with record(nets, {"x": optimizer}) as rec:
        optimizer.step()
    page = diagnose(rec)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_looking_costs_no_heavy_import():
    assert "gan_lessons.lens.diagnose" in sys.modules
    assert diagnose.__module__.startswith("gan_lessons.lens.diagnose")


def test_the_submodule_that_parameters_share_is_what_all_their_paths_begin_with():
    assert _prefix(["generator.0.bias", "generator.2.weight"]) == "generator."
    assert _prefix(["net.g.0.bias", "net.g.0.weight"]) == "net.g.0."
    assert _prefix(["g.0.bias", "d.0.bias"]) == ""


STEPPED = {
    "detach": [
        "D moved D by the gradient of `d_loss` (N). What G made was cut off.",
        "G moved G by the gradient of `g_loss` (N). It came through D as it was at that moment.",
    ],
    "generator_first": [
        "G moved G by the gradient of `g_loss` (N). It came through D as it was at that moment.",
        "D moved D by the gradient of `d_loss` (N). What G made was cut off.",
    ],
    "selective": [
        "D moved D by the gradient of `d_loss` (N).",
        "G moved G by the gradient of `g_loss` (N). It came through D as it was before its last "
        "step.",
    ],
}


@pytest.mark.parametrize("key", STEPPED)
def test_a_clean_verdict_shows_what_each_optimizer_stepped_on(key):
    """Whatever rules know: who meant something else sees it there."""
    rec = record_step(STRATEGIES[key].step, tiny_gan(seed=0), *torch.randn(2, 8, 2))
    found = diagnose(rec)
    assert [re.sub(r"line \d+", "N", line) for line in found.stepped] == STEPPED[key]
    shown = " ".join(str(found).split())
    assert all(line in shown for line in found.stepped)
    assert "stepped on" in found._repr_html_()


def test_steps_of_one_kind_are_told_once_and_a_sum_as_a_sum():
    def body(gan, real, noise, i):
        gan.optimizer_d.zero_grad()
        fake = gan.generator(noise).detach()
        for x, target in ((real, ONES), (fake, ZEROS)):
            loss = BCE(gan.discriminator(x), target)
            loss.backward()
        other = BCE(gan.discriminator(fake), ZEROS)
        other.backward()
        gan.optimizer_d.step()

    (line,) = diagnosed(body, 3).stepped
    assert re.fullmatch(
        r"D moved D 3 times by the sum of the gradients of `loss` \(line \d+\) and `other` "
        r"\(line \d+\)\. What G made was cut off\.",
        line,
    )


def test_of_many_kinds_of_step_the_first_are_shown_and_the_others_counted():
    nets = {f"net{i}": nn.Linear(2, 1) for i in range(11)}
    optimizers = {name: torch.optim.SGD(net.parameters(), 0.1) for name, net in nets.items()}
    with record(nets, optimizers) as rec:
        for name, net in nets.items():
            net(torch.ones(1, 2)).sum().backward()
            optimizers[name].step()
    *first, last = diagnose(rec).stepped
    assert [line.partition(" ")[0] for line in first] == [f"net{i}" for i in range(8)]
    assert last == "Kinds of step that are not shown: 3."


@pytest.mark.parametrize(("made_by_it", "offered"), [(True, False), (False, True)])
def test_the_wrong_optimizer_is_offered_where_the_loss_is_not_of_its_net(made_by_it, offered):
    """A fake that was made without gradients and went into this loss makes it a loss of G's."""

    def body(gan, real, noise, i):
        with torch.no_grad():
            fake = gan.generator(noise)
        gan.optimizer_d.zero_grad()
        (BCE(gan.discriminator(real), ONES) + BCE(gan.discriminator(fake), ZEROS)).backward()
        gan.optimizer_d.step()
        gan.optimizer_g.zero_grad()
        BCE(gan.discriminator(fake if made_by_it else real), ONES).backward()
        gan.optimizer_g.step()

    (told,) = (f for f in diagnosed(body, 2).findings if (f.code, f.net) == ("cut-off", "G"))
    assert ("wrong optimizer" in told.fix) is offered


@pytest.mark.parametrize("instead", [True, False])
def test_a_step_that_was_taken_instead_is_named_where_there_was_one(instead):
    def body(gan, real, noise, i):
        gan.optimizer_g.zero_grad()
        BCE(gan.discriminator(gan.generator(noise)), ONES).backward()
        gan.optimizer_g.step()
        d_phase(gan, gan.generator(noise).detach(), real, step=False)
        if instead:
            gan.optimizer_g.step()

    (told,) = (f for f in diagnosed(body, 2).findings if f.code == "never-stepped")
    assert told.net == "D"
    assert ("once more" in told.message) is instead
    assert ("in place of that" in told.fix) is instead
