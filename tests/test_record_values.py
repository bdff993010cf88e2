"""What a record tells of values that no gradient follows, of lines, and of what optimizers hold."""

from __future__ import annotations

import sysconfig
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_lessons import record


@pytest.fixture
def nets() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"G": nn.Linear(2, 2), "D": nn.Linear(2, 1)}


CUTS = {
    "detach()": lambda y: ((y + 1) / 2).detach(),
    "detach_()": lambda y: ((y + 1) / 2).detach_(),
    ".data": lambda y: y.data,
    "argmax()": lambda y: nn.functional.one_hot(y.argmax(1), 2).float(),
    "gt()": lambda y: (y > 0).float(),
}


@pytest.mark.parametrize("how", CUTS)
def test_a_cut_tells_how_where_and_between_whom(nets, how):
    with record(nets) as rec:
        fake = CUTS[how](nets["G"](torch.randn(4, 2)))
        nets["D"](fake)
    (cut,) = rec.graph.cuts
    assert cut.how == how
    assert rec.graph.nodes[cut.target].net == "D"
    assert cut.line is not None
    assert cut.line.file == __file__
    assert cut.source in rec.graph.read


def test_a_cut_by_keyword_is_a_cut(nets):
    with record(nets) as rec:
        nets["D"](torch.detach(input=nets["G"](torch.randn(4, 2))))
    (cut,) = rec.graph.cuts
    assert (cut.how, rec.graph.nodes[cut.source].net) == ("detach()", "G")


def test_a_verdict_without_gradients_is_a_cut_inside_the_judge(nets):
    with record(nets) as rec:
        fake = nets["G"](torch.randn(4, 2))
        with torch.no_grad():
            verdict = nets["D"](fake)
        (fake.mean() + verdict.mean()).backward()
    (cut,) = rec.graph.cuts
    assert (cut.how, cut.through) == ("torch.no_grad", "D")
    assert rec.graph.nodes[cut.target].op == "AddBackward0"


def test_a_variable_made_of_data_is_known_by_its_storage(nets):
    with record(nets) as rec:
        fake = torch.autograd.Variable(nets["G"](torch.randn(4, 2)).data, requires_grad=True)
        nets["D"](fake)
        nets["D"](torch.randn(4, 2))  # a stranger, and none is made of it
    assert [cut.how for cut in rec.graph.cuts] == [".data"]


def test_only_the_shape_goes_on_where_no_value_does(nets):
    with record(nets) as rec:
        pred = nets["D"](nets["G"](torch.randn(4, 2)))
        nn.functional.mse_loss(pred, torch.ones_like(pred) + pred.new_zeros(4, 1)).backward()
    assert rec.graph.cuts == ()


def test_a_value_that_leaves_for_numpy_is_noted(nets):
    with record(nets) as rec:
        y = nets["G"](torch.randn(4, 2))
        np.asarray(y.detach())
        y.sum().item()
    ((node, how, line),) = rec.graph.left
    assert (rec.graph.nodes[node].net, how) == ("G", "NumPy")
    assert "np.asarray" in line.text
    assert {rec.graph.nodes[i].op for i in rec.graph.read} == {"AddmmBackward0", "SumBackward0"}


def test_what_a_forward_without_a_graph_made_goes_into_a_node(nets):
    with record(nets) as rec:
        with torch.no_grad():
            fake = nets["G"](torch.randn(4, 2))
        nets["D"](fake * 2)
    ((forward, node),) = rec.graph.fed
    assert rec.forwards[forward].net == "G"
    assert rec.graph.nodes[node].net == "D"


def test_an_autograd_grad_tells_what_it_walked(nets):
    with record(nets) as rec:
        x = torch.randn(4, 2, requires_grad=True)
        torch.autograd.grad(nets["D"](x).sum(), x)
    (event,) = (e for e in rec.events if e.kind == "grad")
    assert "AddmmBackward0" in {rec.graph.nodes[i].op for i in event.nodes}
    assert not any(rec.graph.nodes[i].net == "G" for i in event.nodes)


def test_what_is_rewritten_by_hand_is_counted(nets):
    with record(nets) as rec:
        nets["D"](torch.randn(4, 2)).sum().backward()
        nn.utils.clip_grad_norm_(nets["D"].parameters(), 1e-3)
        nets["D"](torch.randn(4, 2)).sum().backward()
    assert [e.grads["D"]["weight"].rewritten for e in rec.events if e.kind == "backward"] == [0, 1]


@pytest.mark.parametrize("kept", [True, False])
def test_zeros_that_somebody_holds_are_known(nets, kept):
    aside = []
    with record(nets) as rec:
        for _ in range(2):
            nets["D"](torch.randn(4, 2)).sum().backward()
            aside.append([p.grad if kept else p.grad.clone() for p in nets["D"].parameters()])
            nets["D"].zero_grad(set_to_none=False)
    held = [{s.held for s in e.grads["D"].values()} for e in rec.events if e.kind == "zero_grad"]
    assert held == [{kept}, {kept}]


def test_lines_of_losses_are_known(nets):
    with record(nets) as rec:
        loss = nets["D"](torch.randn(4, 2)).mean()
        loss.backward()
    (line,) = {line.text for line in rec.graph.lines.values()}
    assert line == 'loss = nets["D"](torch.randn(4, 2)).mean()'


def test_a_parameter_that_an_optimizer_lists_twice(nets):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice = torch.optim.SGD([*nets["D"].parameters(), nets["D"].bias], lr=0.1)
    with record(nets, {"d": twice, "g": torch.optim.SGD(nets["G"].parameters(), lr=0.1)}) as rec:
        pass
    assert rec.twice == {"d": {"D": ("bias",)}}


def test_nets_of_the_same_parameters(nets):
    one = nets["G"]
    with record({"a": one, "b": one, **nets}) as rec:
        pass
    assert rec.shared == (("a", "b", "G"),)
    with record(nets) as rec:
        pass
    assert rec.shared == ()


@pytest.mark.parametrize("skipped", [False, True])
def test_a_fused_step_that_a_scaler_lets_skip_is_none(nets, skipped):
    optimizer = torch.optim.Adam(nets["D"].parameters(), fused=True)
    scaler = torch.amp.GradScaler("cpu")
    with record(nets, {"D": optimizer}) as rec:
        loss = nets["D"](torch.randn(4, 2)).sum() * (float("inf") if skipped else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert [e.kind for e in rec.events].count("step") == (0 if skipped else 1)


def test_the_line_is_the_users_and_not_a_librarys(nets):
    library = Path(sysconfig.get_paths()["purelib"]) / "some_trainer" / "loop.py"
    names: dict = {}
    exec(compile("def fit(loss):\n    loss.backward()\n", library, "exec"), names)
    with record(nets) as rec:
        names["fit"](nets["D"](torch.randn(4, 2)).sum())
    (call,) = rec.backward_calls
    assert call.line.file == __file__
    assert 'names["fit"]' in call.line.text


class Wrapper(torch.optim.Optimizer):
    """The shape of accelerate's: an optimizer by class, with nothing of its own."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner

    param_groups = property(lambda self: self.inner.param_groups)
    state = property(lambda self: self.inner.state)
    defaults = property(lambda self: self.inner.defaults)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.inner.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.inner.step(closure)


@pytest.mark.parametrize("named", ["the wrapper", "what it wraps"])
def test_a_wrapper_and_what_it_wraps_are_one_optimizer(nets, named):
    inner = torch.optim.SGD(nets["D"].parameters(), lr=0.1)
    outer = Wrapper(inner)
    with record(nets, {"mine": outer if named == "the wrapper" else inner}) as rec:
        outer.zero_grad()
        nets["D"](torch.randn(4, 2)).sum().backward()
        outer.step()
    seen = [(e.kind, e.target) for e in rec.events if e.kind in ("zero_grad", "step")]
    assert seen == [("zero_grad", "mine"), ("step", "mine")]
    assert list(rec.holds) == ["mine"]


def test_where_a_net_was_frozen_is_told_however_it_was_done(nets):
    D, x = nets["D"], torch.randn(4, 2)
    with record(nets) as rec:
        D.requires_grad_(False)
        D(x)
        D.requires_grad_(True)
        D(x)
        for parameter in D.parameters():
            parameter.requires_grad = False
        D(x)
    lines = [f.frozen and f.frozen.code for f in rec.forwards]
    assert lines == ["D.requires_grad_(False)", None, "parameter.requires_grad = False"]


def test_what_writes_in_place_is_known_by_keyword_too(nets):
    with record(nets) as rec:
        y = torch.exp(nets["G"](torch.randn(4, 2)))
        torch.relu_(input=y)
        with suppress(RuntimeError):
            y.sum().backward()
    assert "`torch.relu_(input=y)` has rewritten it" in str(rec.explanation)


def test_a_list_of_tensors_may_be_written_to(nets):
    with record(nets) as rec:
        y = nets["G"](torch.randn(4, 2))
        torch._foreach_mul_([y, torch.ones(2)], 2.0)
        y.sum().backward()
    assert rec.backward_calls[0].received["G"] == ("weight", "bias")


def test_a_recording_that_begins_inside_a_step_hears_only_the_end_of_it(nets):
    D = nets["D"]
    optimizer = torch.optim.SGD(D.parameters(), 0.1)
    with ExitStack() as stack:

        def closure():
            stack.enter_context(record(nets, {"D": optimizer}))
            return D(torch.randn(4, 2)).mean()

        loss = optimizer.step(closure)
        assert loss is not None
