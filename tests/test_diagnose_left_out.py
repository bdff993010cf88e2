"""Who stays frozen, or learns though it is an average: loops that lack one thing of the fault."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

from gan_lessons.lens.diagnose import Finding
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_near_misses import of_code
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def toggle(nets: list[nn.Module], on: bool) -> None:
    for net in nets:
        net.requires_grad_(on)


# Frozen together, and one of them thawed ----------------------------------------------------------

Loss = Callable[[nn.Module, nn.Module, int], Tensor]


def of_both(one: nn.Module, two: nn.Module, i: int) -> Tensor:
    return bce(one(real(i)), 1.0) + bce(two(real(i)), 1.0)


def judges(asleep: tuple[bool, ...], loss: Loss = of_both) -> list[Finding]:
    """asleep: of each iteration, whether the second judge is not thawed with the first."""
    one, two, G = mlp(2, 2), mlp(2, 2), mlp(2, 2)
    both, og = sgd(one, two), sgd(G)

    def turn(i: int) -> None:
        toggle([one, two], False)
        step(og, bce(one(G(noise(i))), 1.0) + bce(two(G(noise(i))), 1.0))
        toggle([one] if asleep[i] else [one, two], True)
        step(both, loss(one, two, i))

    nets: dict[str, nn.Module] = {"one": one, "two": two, "G": G}
    found = told(nets, {"both": both, "G": og}, turn, len(asleep))
    return [f for f in of_code(found, "cut-off") if "it stayed frozen" in f.message]


@pytest.mark.parametrize(
    ("asleep", "times"),
    [
        ((True,), 0),
        ((True, True), 1),
        ((False, True), 0),
        ((False, True, True), 1),
        ((False, True, True, False), 0),
        ((True, True, False), 0),
    ],
)
def test_a_judge_is_left_frozen_from_some_call_on(asleep: tuple[bool, ...], times: int) -> None:
    found = judges(asleep)
    assert [f.net for f in found] == ["two"] * times


def test_it_is_told_at_the_first_of_these_calls() -> None:
    (one,) = judges((False, True, True, True))
    assert one.message.startswith("two learns nothing from `loss.backward()`: it stayed frozen")
    (again,) = judges((True, True, True, True))
    assert again.events[0] < one.events[0]


@pytest.mark.parametrize(
    ("loss", "times"),
    [
        (lambda one, two, i: bce(one(two(real(i))), 1.0), 0),
        (lambda one, two, i: bce(one(real(i)), 1.0), 0),
        (lambda one, two, i: bce(two(real(i)), 1.0) + 0 * one(real(i)).sum(), 1),
    ],
    ids=["under the other", "no term of it", "a term of each"],
)
def test_a_judge_is_left_frozen_if_the_loss_has_a_term_of_it(loss: Loss, times: int) -> None:
    assert len(judges((True, True, True), loss)) == times


def test_where_it_learned_beside_being_frozen_it_is_not_frozen_yet() -> None:
    """In the first turn a loss of two as it was frozen, and of two as it was thawed."""
    one, two, G = mlp(2, 2), mlp(2, 2), mlp(2, 2)
    both, og = sgd(one, two), sgd(G)

    def turn(i: int) -> None:
        toggle([one, two], False)
        step(og, bce(one(G(noise(i))), 1.0) + bce(two(G(noise(i))), 1.0))
        kept = two(noise(i))
        toggle([one] if i else [one, two], True)
        step(both, of_both(one, two, i) + (one(noise(i)) - kept).square().mean())

    found = of_code(
        told({"one": one, "two": two, "G": G}, {"both": both, "G": og}, turn), "cut-off"
    )
    assert not [f for f in found if "it stayed frozen" in f.message]


# Frozen for another, and not thawed for itself ----------------------------------------------------


def critic_after(order: str) -> list[Finding]:
    """q: the turn of a critic and its encoder; a: of the actor, who learns through the critic; n:
    the same without a step. F, f: the critic is frozen, by two lines; T: thawed."""
    enc, critic, actor = mlp(2, 2), mlp(2, 1), mlp(2, 2)
    oq, oa = sgd(enc, critic), sgd(actor)

    def turn(i: int) -> None:
        for part in order:
            if part == "q":
                step(oq, mse_loss(critic(enc(noise(i))), real(i)[:, :1]))
            elif part == "F":
                critic.requires_grad_(False)
            elif part == "f":
                toggle([critic], False)
            elif part == "T":
                critic.requires_grad_(True)
            elif part in "an":
                loss = -critic(actor(noise(i))).mean()
                oa.zero_grad()
                loss.backward()
                if part == "a":
                    oa.step()

    nets: dict[str, nn.Module] = {"enc": enc, "critic": critic, "actor": actor}
    found = told(nets, {"q": oq, "actor": oa}, turn, 1)
    return [f for f in of_code(found, "cut-off") if "never thawed again" in f.message]


@pytest.mark.parametrize(
    ("order", "times"),
    [
        ("qFaqaq", 1),
        ("qFaqaqa", 1),
        ("qFaqa", 0),
        ("qFaqqa", 0),
        ("qFaaqq", 0),
        ("qFaqaqTq", 0),
        ("FaqaqaqT", 0),
        ("qFqaqaq", 0),
        ("qFaTqFaTq", 0),
        ("qFaTqFaqaq", 1),
        ("qFnqnq", 0),
        ("qFnqaq", 0),
        ("qFaqTfaq", 0),
        ("qFaTfqaqaq", 0),
        ("qqFaqaqaq", 1),
        ("qaqFaqaaq", 1),
    ],
)
def test_a_critic_is_frozen_for_another_round_once_more(order: str, times: int) -> None:
    assert [f.net for f in critic_after(order)] == ["critic"] * times


# An average that learns ---------------------------------------------------------------------------


def averaged(mine: nn.Module, other: nn.Module, some: bool = False) -> None:
    with torch.no_grad():
        for (name, p), q in zip(mine.named_parameters(), other.parameters(), strict=True):
            if not some or "weight" in name:
                p.lerp_(q, 0.1)


def apart(one: nn.Module, two: nn.Module, i: int) -> Tensor:
    return mse_loss(one(noise(i)), two(real(i)))


def of_an_average(found: list[Finding]) -> list[Finding]:
    """(That neither of two sides stands still is another fault.)"""
    return [f for f in of_code(found, "moving-target") if "an average of" in f.message]


def averages(
    when: tuple[int, ...] = (0, 1, 2),
    *,
    some: bool = False,
    both: bool = False,
    loss: Callable[[nn.Module, nn.Module, int], Tensor] = apart,
    stepped: tuple[int, ...] = (0, 1, 2),
    larger: bool = False,
) -> list[Finding]:
    """when: in which iterations it is averaged. some: its weights, and not its biases. both: the
    other is moved by hand as well. stepped: where it is stepped. larger: it has one more layer."""
    more = nn.Sequential(mlp(2, 2), nn.Linear(2, 2, bias=False))
    online, average, third = mlp(2, 2), more if larger else mlp(2, 2), mlp(2, 2)
    whole = sgd(average, online, third)

    def turn(i: int) -> None:
        if i in when:
            averaged(more[0] if larger else average, online, some)
            if both:
                averaged(online, average)
        if i in stepped:
            step(whole, loss(online, average, i))
        step(whole, third(real(i)).square().mean())

    nets: dict[str, nn.Module] = {"online": online, "average": average, "third": third}
    return of_an_average(told(nets, {"whole": whole}, turn, 3))


@pytest.mark.parametrize("when", [(), (1,), (1, 2), (0, 1, 2)])
def test_an_average_is_rewritten_time_and_again(when: tuple[int, ...]) -> None:
    found = averages(when)
    assert [f.net for f in found] == ["average"] * (len(when) > 1)


@pytest.mark.parametrize("stepped", [(), (1,), (0, 2)])
def test_an_average_learns_more_than_once(stepped: tuple[int, ...]) -> None:
    assert bool(averages(stepped=stepped)) is (len(stepped) > 1)


@pytest.mark.parametrize("how", ["some", "both", "larger"])
def test_what_is_rewritten_otherwise_is_no_average(how: str) -> None:
    some, both, larger = (how == one for one in ("some", "both", "larger"))
    assert averages(some=some, both=both, larger=larger) == []


def test_an_average_that_runs_without_gradients_does_not_learn() -> None:
    assert averages(loss=lambda one, two, i: apart(one, two.requires_grad_(False), i)) == []


class Inside(nn.Module):
    """Parts of one module. deep: inside a part of it. layer: each is a single layer."""

    def __init__(self, deep: bool = False, layer: bool = False, other: int = 2) -> None:
        super().__init__()

        def made(m: int) -> nn.Module:
            return nn.Linear(2, m) if layer else mlp(2, m)

        parts = nn.ModuleDict({"online": made(2), "average": made(2), "third": made(other)})
        self.place = nn.ModuleDict({"inner": parts}) if deep else parts
        self.deep = deep

    def parts(self) -> list[nn.Module]:
        found = self.place["inner"] if self.deep else self.place
        assert isinstance(found, nn.ModuleDict)
        return [*found.values()]


def averages_inside(
    net: Inside, *, some: bool = False, both: bool = False, cut: bool = False, few: bool = False
) -> list[Finding]:
    opt = sgd(net)

    def turn(i: int) -> None:
        online, average, third = net.parts()
        if not few or i == 1:
            averaged(average, online, some)
            if both:
                averaged(online, average)
        of_average = average(real(i)).detach() if cut else average(real(i))
        step(opt, mse_loss(online(noise(i)), of_average))
        step(opt, third(real(i)).square().mean())

    return of_an_average(told({"net": net}, {"opt": opt}, turn, 3))


@pytest.mark.parametrize("deep", [False, True])
def test_a_part_that_is_an_average_of_another(deep: bool) -> None:
    """Of the one that learns by the same calls."""
    (one,) = averages_inside(Inside(deep))
    place = "net.place.inner" if deep else "net.place"
    assert f"moves {place}.average by" in one.message
    assert f"an average of {place}.online" in one.message


@pytest.mark.parametrize("how", ["some", "both", "cut", "few"])
def test_a_part_that_is_rewritten_otherwise_is_no_average(how: str) -> None:
    assert averages_inside(Inside(), **{how: True}) == []


class TwoPlaces(Inside):
    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = nn.ModuleDict({"online": mlp(2, 2)})
        self.place["online"] = mlp(2, 3)

    def parts(self) -> list[nn.Module]:
        return [self.elsewhere["online"], self.place["average"], self.place["third"]]


def test_a_part_of_another_place_is_no_average_of_this() -> None:
    assert averages_inside(TwoPlaces()) == []


def test_a_layer_that_is_rewritten_is_no_average() -> None:
    assert averages_inside(Inside(layer=True)) == []


# Listed twice -------------------------------------------------------------------------------------


def listed_twice(order: str, *, some: bool = False) -> list[Finding]:
    """The turn of an optimizer that lists D twice (or one parameter of it: some), by letters: f, a
    loss of free, which no optimizer holds, beside that of D; b, of a bare parameter of no net; e,
    the loss of free with that of E, whom another optimizer steps; n, no step."""
    D, E, free, bare = mlp(2, 1), mlp(2, 1), mlp(2, 1), nn.Parameter(torch.ones(1))
    twice = [*D.parameters(), *[*D.parameters()][: 1 if some else 9]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: a parameter is listed twice
        od = torch.optim.SGD(twice, lr=0.05)
    oe = sgd(E)

    def turn(i: int) -> None:
        loss = bce(D(real(i)) * (bare if "b" in order else 1.0), 1.0)
        od.zero_grad()
        (loss + bce(free(real(i)), 0.0) if "f" in order else loss).backward()
        if "n" not in order:
            od.step()
        other = bce(E(real(i)), 1.0)
        step(oe, other + bce(free(real(i)), 0.0) if "e" in order else other)

    nets: dict[str, nn.Module] = {"E": E, "D": D, "free": free}
    found = of_code(told(nets, {"od": od, "oe": oe}, turn), "ownership")
    return [f for f in found if "more than once" in f.message]


@pytest.mark.parametrize(
    ("order", "beside"),
    [("", ""), ("f", "free"), ("e", ""), ("fe", "free"), ("b", ""), ("fb", "free")],
)
def test_who_is_in_no_optimizer_where_another_is_listed_twice(order: str, beside: str) -> None:
    (one,) = listed_twice(order)
    assert one.net == "D"
    assert (f"No optimizer holds {beside}" in one.fix) is bool(beside)


def test_one_parameter_that_is_listed_twice_is_named() -> None:
    (one,) = listed_twice("", some=True)
    assert "holds D's 0.weight more than once" in one.message


def test_a_list_that_is_never_stepped_on_moves_nothing_twice() -> None:
    assert listed_twice("n") == []


# In a checkpoint, new in a net --------------------------------------------------------------------


def checkpoints(order: str, times: int = 3) -> list[Finding]:
    """c: the body runs in a reentrant checkpoint; p: it runs plainly as well. w: what goes in wants
    a gradient. h: the body is moved by hand. z: its first weight is frozen."""
    body, head = mlp(2, 2), mlp(2, 1)
    both = sgd(body, head)
    if "z" in order:
        next(body.parameters()).requires_grad_(False)

    def turn(i: int) -> None:
        given = real(i).requires_grad_("w" in order)
        made = checkpoint(body, given, use_reentrant=True) if "c" in order else body(given)
        loss = head(made).sum()
        step(both, loss + body(noise(i)).mean() if "p" in order and i == 0 else loss)
        if "h" in order:
            with torch.no_grad():
                [*body.parameters()][2].mul_(0.9)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = told({"body": body, "head": head}, {"both": both}, turn, times)
    return [f for f in of_code(found, "cut-off") if "they ran in a checkpoint" in f.message]


@pytest.mark.parametrize("order", ["c", "cw", "cp", "ch", "cz", "p"])
def test_what_runs_in_a_checkpoint_that_builds_no_graph(order: str) -> None:
    assert len(checkpoints(order)) == (order in ("c", "ch", "cz"))


@pytest.mark.parametrize("times", [1, 2])
def test_after_one_step_it_may_be_thawed_yet(times: int) -> None:
    assert len(checkpoints("c", times)) == times - 1


class Growing(nn.Module):
    """It gets a part in its first forward, or in one after the first iteration."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.first = kind, mlp(2, 2)
        self.later: nn.Module | None = None

    def grow(self) -> None:
        self.later = mlp(2, 2)
        if self.kind == "frozen":
            self.later.requires_grad_(False)
        if self.kind == "evaluated":
            self.later.eval()
        if self.kind == "loaded":
            with torch.no_grad():
                for p in self.later.parameters():
                    p.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.later is None:
            self.grow()
        assert self.later is not None
        made: Tensor = self.first(x)
        return made if self.kind == "unused" else made + self.later(x)


KINDS = ["", "frozen", "evaluated", "loaded", "unused", "given", "asked", "before"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_comes_later(kind: str) -> None:
    """given: the optimizer gets it then. asked: backward is told who is to receive. before: its
    first forward comes before the optimizer."""
    net = Growing(kind)
    if kind == "before":
        net(real(0))
    opt = sgd(net)
    early = [*net.parameters()]

    def turn(i: int) -> None:
        loss = net(real(i)).square().mean()
        if kind == "given" and i == 0:
            assert net.later is not None
            opt.add_param_group({"params": [*net.later.parameters()]})
        opt.zero_grad()
        loss.backward(inputs=early if kind == "asked" else None)
        opt.step()

    found = of_code(told({"net": net}, {"opt": opt}, turn, 3), "ownership")
    late = [f for f in found if "after its optimizer was built" in f.message]
    assert len(late) == (kind == "")


class Bare(nn.Module):
    def __init__(self, count: int, each_time: bool) -> None:
        super().__init__()
        self.last, self.each_time, self.count = mlp(2, 2), each_time, count
        self.make()

    def make(self) -> None:
        self.scale = torch.ones(2, requires_grad=True)
        self.shift = torch.zeros(2, requires_grad=self.count > 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.each_time:
            self.make()
        made: Tensor = self.last(x) * self.scale + self.shift
        return made


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("how", ["", "each time", "restricted", "once"])
def test_tensors_that_want_a_gradient_inside_a_net(how: str, count: int) -> None:
    net = Bare(count, how == "each time")
    opt = sgd(net)

    def turn(i: int) -> None:
        loss = net(real(i)).square().mean()
        opt.zero_grad()
        inputs = [*net.parameters(), net.scale] if how == "restricted" else None
        loss.backward(inputs=inputs)
        opt.step()

    found = of_code(told({"net": net}, {"opt": opt}, turn, 1 if how == "once" else 2), "ownership")
    mere = [f for f in found if "a mere tensor" in f.message]
    assert len(mere) == (how == "")
    assert all(("scale, shift" in f.message) is (count > 1) for f in mere)


# A group that is empty, an adapter that nobody holds ----------------------------------------------


class Whole(nn.Module):
    def __init__(self, below: bool = False) -> None:
        super().__init__()
        self.stem, self.body = nn.Linear(2, 2), mlp(2, 2)
        self.below = below

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.stem(self.body(x)) if self.below else self.body(self.stem(x))
        return made


def emptied(how: str, times: int = 2) -> list[Finding]:
    net = Whole(how == "below")
    if how == "loaded":
        with torch.no_grad():
            for p in net.body.parameters():
                p.mul_(0.5)
    if how == "evaluated":
        net.body.eval()
    if how == "frozen":
        net.body.requires_grad_(False)
    if how == "one frozen":
        next(net.body.parameters()).requires_grad_(False)
    groups: list[dict[str, Any]] = [{"params": [*net.stem.parameters()]}, {"params": iter(())}]
    opt = torch.optim.SGD(groups, lr=0.05)
    optimizers: dict[str, torch.optim.Optimizer] = {"opt": opt}
    if how == "held":
        optimizers["other"] = sgd(net.body)

    def turn(i: int) -> None:
        if how == "moved":
            with torch.no_grad():
                for p in net.body.parameters():
                    p.mul_(0.9)
        if how == "one moved":
            with torch.no_grad():
                next(net.body.parameters()).mul_(0.9)
        made = net(real(i)) if how != "once" or i == 0 else net.stem(real(i))
        loss = mse_loss(made, noise(i))
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()

    return of_code(told({"net": net}, optimizers, turn, times), "ownership")


EMPTIED: dict[str, str] = {
    "": "wrong", "loaded": "waste", "evaluated": "waste", "frozen": "", "held": "", "moved": "",
    "one moved": "wrong", "one frozen": "wrong", "once": "", "below": "waste",
}  # fmt: skip


@pytest.mark.parametrize("how", EMPTIED)
def test_a_part_beside_a_group_that_holds_nothing(how: str) -> None:
    found = [f for f in emptied(how) if "holds nothing" in f.message]
    assert [f.severity for f in found] == [EMPTIED[how]] * bool(EMPTIED[how])


def test_a_part_that_got_one_gradient_yet_is_not_told() -> None:
    assert emptied("", times=1) == []


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("how", ["", "once", "first", "behind nobody"])
def test_an_adapter_of_no_net_that_no_optimizer_holds(how: str, bias: bool) -> None:
    """first: it takes the data as well. behind nobody: it takes them alone."""
    enc, align = mlp(2, 2), nn.Linear(2, 2, bias=bias)
    opt = sgd(enc)

    def turn(i: int) -> None:
        loss = mse_loss(enc(noise(i)), real(i))
        if how == "first":
            loss = loss + mse_loss(align(noise(i)), real(i))
        if how == "behind nobody":
            loss = loss + align(noise(i)).square().mean()
        elif how != "once" or i == 0:
            loss = loss + mse_loss(align(enc(real(i))), noise(i))
        step(opt, loss)

    found = of_code(told({"enc": enc}, {"opt": opt}, turn), "ownership")
    assert any("They take what" in f.message for f in found) is (how == "")
