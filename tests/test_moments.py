"""record_step: one moment for each line of the step that ran, with how things stood after it."""

from __future__ import annotations

import functools
import linecache
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from gan_lessons import (
    data,
    published,
    record,
    record_step,
    step_detach,
    step_generator_first,
    step_retain_graph,
    tiny_gan,
)

REAL, NOISE = data.ring(4, seed=0), data.noise(4, (2,), seed=0)
STEPS = (step_retain_graph, step_detach, step_generator_first)


def watched(step):
    return record_step(step, tiny_gan(seed=0), REAL, NOISE)


def lines_that_ran(step):
    """The same by another way: Python's own line events, as a set."""
    ran, code = set(), step.__code__

    def local(frame, kind, arg):
        if kind == "line":
            ran.add(frame.f_lineno - code.co_firstlineno + 1)
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, kind, arg: local if frame.f_code is code else None)
    try:
        step(tiny_gan(seed=0), REAL, NOISE)
    finally:
        sys.settrace(before)
    return ran


@pytest.mark.parametrize("step", STEPS)
def test_every_line_that_ran_has_its_moment(step):
    rec = watched(step)
    assert {m.line for m in rec.moments} == lines_that_ran(step)
    assert [m.index for m in rec.moments] == list(range(len(rec.moments)))
    assert rec.text(rec.moments[0]) == "check(gan, real, noise)"
    assert rec.text(rec.moments[-1]).startswith("return StepLosses(")
    assert not any(m.raised for m in rec.moments)


@pytest.mark.parametrize("step", STEPS)
def test_moments_share_out_all_events_and_all_nodes(step):
    rec = watched(step)
    assert [e for m in rec.moments for e in m.events] == [e.index for e in rec.events]
    assert [n for m in rec.moments for n in m.built] == sorted(rec.graph.nodes)
    for moment in rec.moments:
        for index in moment.events:
            assert rec.events[index].line.text in rec.source
        if moment.events:
            last = rec.events[moment.events[-1]]
            assert moment.grads == last.grads
            if last.kind != "forward":  # after a forward, its line may go on to build a loss
                assert moment.states == last.states
                assert moment.held == last.held


@pytest.mark.parametrize("step", STEPS)
def test_the_same_as_record_sees(step):
    gan = tiny_gan(seed=0)
    with record(gan.nets, gan.optimizers) as plain:
        losses = step(gan, REAL, NOISE)
    rec = watched(step)
    assert [(e.kind, e.target, e.line.text, e.grads) for e in rec.events] == [
        (e.kind, e.target, e.line.text, e.grads) for e in plain.events
    ]
    assert rec.result == losses
    assert rec.error is None


@pytest.mark.parametrize("step", STEPS)
def test_the_step_runs_as_without_it(step):
    mine, theirs = tiny_gan(seed=0), tiny_gan(seed=0)
    record_step(step, mine, REAL, NOISE)
    step(theirs, REAL, NOISE)
    for net in ("G", "D"):
        pairs = zip(mine.nets[net].parameters(), theirs.nets[net].parameters(), strict=True)
        assert all(torch.equal(p, q) for p, q in pairs)


def test_the_leaving_of_a_with_block_is_a_moment_of_its_own():
    rec = watched(step_retain_graph)
    texts = [rec.text(m) for m in rec.moments]
    heads = [i for i, text in enumerate(texts) if text.startswith("with gradients_kept")]
    enter, leave = (rec.moments[i] for i in heads)
    assert all(s.value is None for s in enter.grads["D"].values())
    assert all(s.sources == (0,) for s in leave.grads["D"].values())


def test_uses_are_known_at_every_moment():
    rec = watched(step_retain_graph)
    after = next(m for m in rec.moments if any(rec.events[i].call == 0 for i in m.events))
    assert all(s.used_by is None and s.value for s in after.grads["G"].values())
    assert all(s.used_by is not None for s in after.grads["D"].values())


def test_a_step_that_raises_is_kept_with_the_moment_that_raised():
    rec = watched(published.retain_graph_as_printed)
    assert isinstance(rec.error, RuntimeError)
    assert [rec.text(m) for m in rec.moments if m.raised] == ["g_loss.backward()"]
    assert rec.moments[-1].raised
    assert rec.error.__traceback__ is None
    assert "has rewritten it since" in rec.explanation


def test_the_moment_that_raised_inside_a_with_block():
    """On its way out the exception passes the end of the block, whose line is a moment as well."""

    def my_step(gan, real, noise):
        with torch.enable_grad():
            loss = gan.discriminator(real).sum()
            loss.backward()
            loss.backward()

    rec = watched(my_step)
    assert [rec.text(m) for m in rec.moments if m.raised] == ["loss.backward()"]
    assert rec.text(rec.moments[-1]) == "with torch.enable_grad():"


def test_bad_input_is_raised():
    with pytest.raises(ValueError, match="the generator expects"):
        record_step(step_detach, tiny_gan(), REAL, NOISE[:, :1])
    with pytest.raises(TypeError, match="expected a function"):
        record_step("detach", tiny_gan(), REAL, NOISE)  # type: ignore[arg-type]


def defined(source, name="my_step"):
    """A function from source that only ``linecache`` knows, as in a notebook."""
    source, file = textwrap.dedent(source), f"<cell {abs(hash(source))}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space = {"torch": torch}
    exec(compile(source, file, "exec"), space)
    return space[name]


LOOPS = """
    x = 1


    def my_step(gan, real, noise):
        G, D, opt_g, opt_d, loss = gan.parts
        for _ in range(2):
            opt_d.zero_grad()
        d_loss = loss(
            D(real),
            torch.ones(len(real), 1),
        )
        d_loss.backward()
        try:
            raise KeyError("caught")
        except KeyError:
            opt_d.step()
        return d_loss
"""


def test_loops_and_statements_of_several_lines():
    rec = watched(defined(LOOPS))
    texts = [rec.text(m) for m in rec.moments]
    assert rec.source.startswith("def my_step")
    assert texts.count("opt_d.zero_grad()") == 2
    assert texts.count("for _ in range(2):") == 3  # the third finds the end
    (several,) = [m for m in rec.moments if m.last_line > m.line]
    assert rec.text(several).startswith("d_loss = loss(\n    D(real),")
    assert len(several.events) == 1
    assert texts[-2:] == ["opt_d.step()", "return d_loss"]
    assert not any(m.raised for m in rec.moments)


def test_wrapped_steps_are_read_through():
    @functools.wraps(step_detach)
    def wrapper(*args):
        return step_detach(*args)

    class Callable:
        def __call__(self, gan, real, noise):
            return step_detach(gan, real, noise)

        def method(self, gan, real, noise):
            return step_detach(gan, real, noise)

    assert watched(wrapper).source == watched(step_detach).source
    assert watched(functools.partial(wrapper)).source == watched(step_detach).source
    assert len(watched(wrapper).moments) == len(watched(step_detach).moments)
    assert len(watched(Callable()).moments) == 1
    assert watched(Callable().method).source.startswith("def method")


def test_without_source_there_are_events_only():
    space: dict[str, Any] = {}
    exec("def my_step(gan, real, noise):\n    return gan.generator(noise)", space)
    rec = watched(space["my_step"])
    assert (rec.source, rec.moments) == ("", ())
    assert [e.kind for e in rec.events] == ["forward"]


def test_another_tracer_hears_all_and_comes_back():
    heard = []

    def outer(frame, kind, arg):
        if frame.f_code is step_detach.__code__:
            heard.append((kind, frame.f_lineno))
        return outer

    def listen(run):
        heard.clear()
        before = sys.gettrace()
        sys.settrace(outer)
        try:
            run()
            assert sys.gettrace() is outer
        finally:
            sys.settrace(before)
        return list(heard)

    alone = listen(lambda: step_detach(tiny_gan(seed=0), REAL, NOISE))
    assert listen(lambda: watched(step_detach)) == alone
    assert alone


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_the_tracer_is_gone_after_every_end(error):
    def my_step(gan, real, noise):
        gan.generator(noise)
        raise error("stop")

    before = sys.gettrace()
    if issubclass(error, Exception):
        assert watched(my_step).moments[-1].raised
    else:
        with pytest.raises(error):
            watched(my_step)
    assert sys.gettrace() is before


def _asked_inside_backward(ask: Callable[[], Any]) -> tuple[Any, Any]:
    """What ``ask`` gives in the middle of a backward call, where instruments are at work, and then
    in the step itself, with the number of its moments."""
    found = []

    def my_step(gan, real, noise):
        fake = gan.generator(noise)
        fake.register_hook(lambda grad: found.append(ask()))
        gan.discriminator(fake).sum().backward()
        found.append(sys.gettrace())
        gan.optimizer_g.step()

    moments = watched(my_step).moments
    inside, after = found
    return inside, (after, len(moments))


def test_nobody_is_traced_while_an_instrument_is_at_work():
    before = sys.gettrace()
    sys.settrace(None)  # a coverage tool goes on hearing: see the next test
    try:
        inside, (after, lines) = _asked_inside_backward(sys.gettrace)
    finally:
        sys.settrace(before)
    assert inside is None
    assert after is not None
    assert lines == 5


def test_another_tracer_hears_what_happens_inside_instruments_too():
    def outer(frame, kind, arg):
        return outer

    before = sys.gettrace()
    sys.settrace(outer)
    try:
        inside, (after, lines) = _asked_inside_backward(sys.gettrace)
    finally:
        sys.settrace(before)
    assert inside is not None
    assert after is not None
    assert lines == 5


def test_a_debugger_that_comes_inside_stays():
    def debugger(frame, kind, arg):
        return None

    before = sys.gettrace()
    sys.settrace(None)
    try:
        _, (after, _) = _asked_inside_backward(lambda: sys.settrace(debugger))
    finally:
        sys.settrace(before)
    assert after is debugger


def test_what_nodes_saved_is_told():
    rec = watched(step_detach)
    by_op = {rec.graph.nodes[i].op: saved for i, saved in rec.graph.saved.items()}
    (tanh,) = by_op["TanhBackward0"]
    assert (tanh.name, tanh.shape, tanh.bytes, tanh.what) == ("result", (4, 2), 32, "activation")
    assert "parameter" in {s.what for saved in rec.graph.saved.values() for s in saved}
    assert "input" in {s.what for saved in rec.graph.saved.values() for s in saved}


def test_what_a_node_saved_is_of_the_kind_as_which_its_bytes_are_counted():
    """A BatchNorm in eval mode saves its running statistics, which live on without the graph."""
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3), nn.Tanh()).eval()
    x = torch.randn(4, 2)
    with record({"D": net}) as rec:
        out = net(x)
    assert out.requires_grad
    saved = {(s.name, s.what): s.bytes for found in rec.graph.saved.values() for s in found}
    assert {("running_mean", "buffer"), ("running_var", "buffer")} <= {*saved}
    sizes = Counter[str]()
    for (_, what), size in saved.items():
        sizes[what] += size
    held = rec.events[-1].held
    assert held.activations == sizes["activation"] > 0
    assert held.parameters == sizes["parameter"] + sizes["buffer"]
    assert held.inputs == sizes["input"] == x.nbytes
    assert set(rec.graph_at(0).saved) == set(rec.graph.saved)


def test_lines_tell_the_expression_that_ran():
    rec = watched(step_detach)
    assert [f.line.expression for f in rec.forwards] == [
        "G(noise)", "D(fake.detach())", "D(real)", "D(fake)"
    ]  # fmt: skip
