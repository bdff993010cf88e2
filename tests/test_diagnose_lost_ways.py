"""Ways for a gradient that were lost in one term of a loss, and terms that only look like them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call
from torch.nn.functional import cross_entropy, huber_loss, mse_loss, smooth_l1_loss

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Finding
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_near_misses import of_code
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


# A distance that is cut off number by number ------------------------------------------------------

Apart = Callable[[Tensor, Tensor], Tensor]
APART: dict[str, tuple[bool, Apart]] = {
    "abs": (True, lambda a, b: (a - b).abs().detach().mean()),
    "data": (True, lambda a, b: (a - b).abs().data.mean()),
    "pow": (True, lambda a, b: (a - b).pow(2).detach().sum()),
    "mse": (True, lambda a, b: mse_loss(a, b, reduction="none").detach().mean()),
    "smooth l1": (True, lambda a, b: smooth_l1_loss(a, b, reduction="none").detach().mean()),
    "huber": (True, lambda a, b: huber_loss(a, b, reduction="none").detach().mean()),
    "one number": (False, lambda a, b: mse_loss(a, b).detach()),
    "abs of what is no difference": (False, lambda a, b: (a * b).abs().detach().mean()),
    "exp of a difference": (False, lambda a, b: (a - b).exp().detach().mean()),
    "mse taken from itself": (
        False,
        lambda a, b: taken_from_itself(mse_loss(a, b, reduction="none")),
    ),
    "mse from its like": (
        False,
        lambda a, b: (
            mse_loss(a, b, reduction="none") - mse_loss(a, b, reduction="none").detach()
        ).mean(),
    ),
    "another of one difference": (False, lambda a, b: of_one_difference(a - b)),
    "it weighs another": (
        False,
        lambda a, b: (mse_loss(a, b, reduction="none").detach() * a.exp()).mean(),
    ),
    "taken from itself": (False, lambda a, b: taken_from_itself((a - b).abs())),
    "a weight of the difference": (False, lambda a, b: ((a - b).abs().detach() * (a - b)).mean()),
    "numbers": (False, lambda a, b: torch.tensor((a - b).abs().tolist()).mean()),
    "one side": (False, lambda a, b: (a - b.detach()).abs().mean()),
}


def taken_from_itself(apart: Tensor) -> Tensor:
    return (apart - apart.detach()).mean()


def of_one_difference(d: Tensor) -> Tensor:
    return (d.square() - d.abs().detach()).mean()


@pytest.mark.parametrize("how", APART)
def test_a_distance_is_cut_off_in_each_form(how: str) -> None:
    cut, distance = APART[how]
    G, D = mlp(2, 2), mlp(2, 1)
    og = sgd(G)

    def turn(i: int) -> None:
        fake = G(noise(i))
        step(og, bce(D(fake), 1.0) + distance(fake, G(real(i)) + real(i)))

    found = of_code(told({"G": G, "D": D}, {"G": og}, turn), "cut-off")
    assert bool([f for f in found if "is a distance to the output" in f.message]) is cut


# A draw without a gradient ------------------------------------------------------------------------


def draws(order: str) -> list[Finding]:
    """A code that enc and spread make the mean and the width of, by letters: s, it is drawn by
    sample(); n, by one with a shape; r, by rsample(); h, by hand, without gradients. k, the
    divergence counts; g, one of something else. t, enc is near another net; l, what was drawn is
    scored. o, spread is in no optimizer. p, a backward of
    what was drawn alone comes before. w, the width is a number."""
    enc, spread, dec, other = mlp(2, 2), mlp(2, 2), mlp(2, 2), mlp(2, 2)
    opt = sgd(enc, dec, other) if "o" in order else sgd(enc, spread, dec, other)

    def turn(i: int) -> None:
        code = Normal(enc(real(i)), 1.0 if "w" in order else spread(real(i)).exp())
        plain = Normal(torch.zeros(8, 2), torch.ones(8, 2))
        if "n" in order:
            z = code.sample((1,))[0]
        elif "h" in order:
            with torch.no_grad():
                z = code.mean + code.stddev * noise(i)
        else:
            z = code.rsample() if "r" in order else code.sample()
        loss = mse_loss(dec(z), real(i))
        if "p" in order:
            loss.backward(retain_graph=True)
        if "k" in order:
            kl = kl_divergence(code, plain).mean()
            loss = loss + 0.1 * kl
        if "g" in order:
            kl = kl_divergence(Normal(other(real(i)), 1.0), plain).mean()
            loss = loss + 0.1 * kl
        if "t" in order:
            loss = loss + (enc(real(i)) - other(real(i))).square().mean()
        if "l" in order:
            loss = loss - code.log_prob(z).mean()
        step(opt, loss)

    nets: dict[str, nn.Module] = {"enc": enc, "spread": spread, "dec": dec, "other": other}
    found = of_code(told(nets, {"opt": opt}, turn), "cut-off")
    return [f for f in found if "a draw in" in f.message]


@pytest.mark.parametrize(
    "order",
    [
        "sk",
        "nk",
        "rk",
        "hk",
        "s",
        "sg",
        "st",
        "skl",
        "sko",
        "skg",
        "skt",
        "skp",
        "skw",
        "skwl",
        "sgt",
    ],
)
def test_a_draw_is_told_where_its_divergence_teaches_who_made_it(order: str) -> None:
    found = draws(order)
    is_told = "k" in order and order not in ("rk", "hk", "skl", "skwl")
    assert [f.net for f in found] == ["enc"] * is_told


# A penalty on a gradient --------------------------------------------------------------------------


def penalty(D: nn.Module, i: int, graph: bool = True) -> Tensor:
    x = real(i).requires_grad_()
    (slope,) = torch.autograd.grad(D(x).square().sum(), x, create_graph=graph)
    return (slope.norm(2, 1) - 1).square()


Loss = Callable[[nn.Module, int], Tensor]
PENALTIES: dict[str, tuple[str, Loss]] = {
    "in the sum": ("", lambda D, i: penalty(D, i).mean()),
    "detached": ("waste", lambda D, i: penalty(D, i).mean().detach()),
    "detached before its mean": ("wrong", lambda D, i: penalty(D, i).detach().mean()),
    "without a graph": ("", lambda D, i: penalty(D, i, graph=False).mean()),
    "twice": ("", lambda D, i: (lambda p: p + 2 * p.detach())(penalty(D, i).mean())),
    "a weight": ("", lambda D, i: penalty(D, i).mean().detach() * D(real(i)).mean()),
    "two of one line": (
        "waste", lambda D, i: sum((penalty(D, i + k).mean().detach() for k in range(2)),
                                  torch.zeros(())),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", PENALTIES)
def test_a_penalty_with_its_graph_that_counts_as_a_number(how: str) -> None:
    severity, more = PENALTIES[how]
    D, G = mlp(2, 1), mlp(2, 2)
    both = sgd(D, G)

    def turn(i: int) -> None:
        step(both, bce(D(real(i)), 1.0) + G(noise(i)).square().mean() + more(D, i))

    found = of_code(told({"D": D, "G": G}, {"both": both}, turn), "cut-off")
    found = [f for f in found if "that has its graph" in f.message]
    assert [(f.net, f.severity) for f in found] == ([("D", severity)] if severity else [])


@pytest.mark.parametrize("order", ["b+", "b+b", "+b", "bw+", "b+w", "b+2", "bn+", "b+-"])
def test_a_penalty_that_is_added_too_late(order: str) -> None:
    """b: backward of the loss. +: the penalty is added to it; n: one without its graph is. w: the
    penalty is walked by itself. 2: another is added. -: what was added is taken off."""
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        loss = bce(D(real(i)), 1.0)
        more = penalty(D, i, graph="n" not in order).mean()
        for letter in order:
            if letter == "b":
                loss.backward(retain_graph=True)
            elif letter == "+":
                loss = loss + more
            elif letter == "2":
                loss = loss + penalty(D, i + 1).mean()
            elif letter == "-":
                loss = loss - more
            elif letter == "w":
                more.backward(retain_graph=True)
        od.step()

    found = of_code(told({"D": D}, {"D": od}, turn), "never-walked")
    late = [f for f in found if "is added to the loss of" in f.message]
    assert [f.net for f in late] == ["D"] * {"b+": 1, "b+2": 1, "b+-": 1}.get(order, 0)


# A straight-through, and what only looks like one -------------------------------------------------

AROUND: dict[str, tuple[bool, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "z + (q - z)": (True, lambda z, q, w: z + (q - z).detach()),
    "z - (z - q)": (True, lambda z, q, w: z - (z - q).detach()),
    "q + z - z": (True, lambda z, q, w: q.detach() + z - z.detach()),
    "z - z + q": (True, lambda z, q, w: z - z.detach() + q.detach()),
    "z + (q - w)": (False, lambda z, q, w: z + (q - w).detach()),
    "z + q": (False, lambda z, q, w: z + q.detach()),
    "z + (q * z)": (False, lambda z, q, w: z + (q * z).detach()),
    "z + q - w": (False, lambda z, q, w: z + q.detach() - w.detach()),
    "z * (q - z)": (False, lambda z, q, w: z * (q - z).detach()),
}


@pytest.mark.parametrize("how", AROUND)
def test_a_straight_through_in_each_order_of_its_terms(how: str) -> None:
    """The codebook gets nothing by any of these: it may be left alone, or the cut is told."""
    around, made = AROUND[how]
    enc, book, dec, other = mlp(2, 2), nn.Embedding(4, 2), mlp(2, 2), mlp(2, 2)
    opt = sgd(enc, book, dec, other)

    def turn(i: int) -> None:
        z = enc(real(i))
        q = book(torch.cdist(z, book.weight).argmin(1))
        w = other(real(i))
        step(opt, mse_loss(dec(made(z, q, w)), real(i)) + w.square().mean())

    nets: dict[str, nn.Module] = {"enc": enc, "book": book, "dec": dec, "other": other}
    found = [f for f in of_code(told(nets, {"opt": opt}, turn), "cut-off") if f.net == "book"]
    assert any("There a straight-through hands on" in f.message for f in found) is around


@pytest.mark.parametrize("chosen", ["x", "both", "other"])
def test_what_is_added_to_what_it_is_taken_off_was_chosen_by_that(chosen: str) -> None:
    enc, book, dec, other = mlp(2, 2), nn.Embedding(4, 2), mlp(2, 2), mlp(2, 2)
    opt = sgd(enc, book, dec)

    def looked_up(by: Tensor) -> Tensor:
        found: Tensor = book(torch.cdist(by, book.weight).argmin(1))
        return found

    def turn(i: int) -> None:
        x = enc(real(i))
        y = looked_up(other(noise(i))) if chosen != "x" else looked_up(x)
        y = y + looked_up(x) if chosen == "both" else y
        step(opt, mse_loss(dec(x + (y - x)), real(i)))

    nets: dict[str, nn.Module] = {"enc": enc, "book": book, "dec": dec, "other": other}
    found = of_code(told(nets, {"opt": opt}, turn), "cancelled")
    assert bool(found) is (chosen != "other")


# Tensors in place of parameters -------------------------------------------------------------------


@pytest.mark.parametrize("order", ["l", "t", "v", "o", "f", "lf", "tf", "tp"])
def test_tensors_that_a_net_ran_with(order: str) -> None:
    """l: leaves that were cut off from its parameters; t: transposed before, once more transposed.
    v: it ran with numbers, and a cut leaf is viewed elsewhere; o: with what another net's are. f:
    the net was frozen; p: it ran once more so."""
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    opt = sgd(net)

    def turn(i: int) -> None:
        net.requires_grad_("f" not in order)
        source = other if "o" in order else net
        params = {k: p.detach().requires_grad_() for k, p in source.named_parameters()}
        more = torch.zeros(())
        if "v" in order:
            more = params["weight"].view(-1).sum()
            params = {k: p.detach() for k, p in params.items()}
        if "t" in order:
            params["weight"] = net.weight.t().detach().requires_grad_().t()
        loss = functional_call(net, params, (real(i).requires_grad_(),)).square().mean()
        if "p" in order:
            more = net.requires_grad_(False)(real(i).requires_grad_()).sum()
        net.requires_grad_(True)
        step(opt, loss + more)

    found = of_code(told({"net": net, "other": other}, {"opt": opt}, turn), "cut-off")
    ran = [f for f in found if "in place of its parameters" in f.message]
    assert bool(ran) is (order == "t")  # l: told as made anew, by its shapes


# A weight that is learned -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "is_told"),
    [
        ("", True),
        ("d", False),
        ("s", False),
        ("1", False),
        ("j", True),
        ("js", False),
        ("f", False),
    ],
)
def test_a_weight_weighs_the_same_twice(order: str, is_told: bool) -> None:
    """d: the other factor is detached in the second. s: one optimizer steps player and weight. 1:
    there is no first. j: two players, each with an optimizer; js: the second is in the weight's. f:
    another thing is weighed first."""
    one, two, weight = mlp(2, 2), mlp(2, 2), torch.zeros((), requires_grad=True)
    of_weight = torch.optim.SGD(
        [weight, *({"s": one, "js": two}[order].parameters() if "s" in order else [])], lr=0.05
    )
    optimizers: dict[str, torch.optim.Optimizer] = {"weight": of_weight}
    optimizers |= {} if order == "s" else {"one": sgd(one)}
    optimizers |= {} if order == "js" else {"two": sgd(two)}

    def turn(i: int) -> None:
        made = one(noise(i)).tanh() + (two(noise(i)) if "j" in order else 0.0)
        factor = weight.exp()
        first = one(real(i)).tanh() if order == "f" else made
        loss = made.square().mean() + two(real(i)).square().mean()
        loss = loss if order == "1" else loss + (factor.detach() * first).mean()
        loss = loss - (factor * (made.detach() if order == "d" else made)).mean()
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()

    with record({"one": one, "two": two, "weight": weight}, optimizers) as rec:
        for i in range(2):
            turn(i)
    found = of_code(diagnose(rec).findings, "polluted")
    assert any("weighs the same twice" in f.message for f in found) is is_told


# There for the gradient of an input ---------------------------------------------------------------


def attack(net: nn.Module, x: Tensor, i: int) -> Tensor:
    x = x.detach().requires_grad_()
    first = cross_entropy(net(x), torch.arange(8) % 3)
    first.backward()
    assert x.grad is not None
    return (x + 0.1 * x.grad.sign()).detach()


def attack_again(net: nn.Module, x: Tensor, i: int) -> Tensor:
    x = x.detach().requires_grad_()
    again = cross_entropy(net(x), torch.arange(8) % 3)
    again.backward()
    assert x.grad is not None
    return (x + 0.1 * x.grad.sign()).detach()


def unread(net: nn.Module, x: Tensor, i: int) -> None:
    cross_entropy(net(x.detach().requires_grad_()), torch.arange(8) % 3).backward()


@pytest.mark.parametrize("order", ["a", "ab", "aab", "b", "u", "la", "ao", "az", "as"])
def test_an_attack_before_what_is_learned_from_it(order: str) -> None:
    """a, b: two attacks; u: one whose gradient nobody reads. l: what is learned comes first; o: of
    other samples; z: all is cleared before it. s: it was one of two that stepped meanwhile."""
    net = mlp(2, 3)
    opt = sgd(net)

    def learned(x: Tensor) -> None:
        loss = cross_entropy(net(x), torch.arange(8) % 3)
        loss.backward()

    def turn(i: int) -> None:
        opt.zero_grad()
        x = real(i)
        for letter in order:
            if letter == "a":
                x = attack(net, x, i)
            elif letter == "b":
                x = attack_again(net, x, i)
            elif letter == "u":
                unread(net, x, i)
            elif letter == "l":
                learned(x)
            elif letter == "z":
                opt.zero_grad()
            elif letter == "s":
                opt.step()
        if "l" not in order:
            learned(noise(i) if "o" in order else x)
        opt.step()

    found = of_code(told({"net": net}, {"opt": opt}, turn), "polluted")
    there = [f for f in found if "is there for the gradient of its input" in f.message]
    assert len(there) == {"a": 1, "ab": 1, "aab": 1, "b": 1}.get(
        order, len(there) if order == "as" else 0
    )


@pytest.mark.parametrize("always", [True, False])
def test_an_attack_that_is_one_each_time(always: bool) -> None:
    net = mlp(2, 3)
    opt = sgd(net)

    def attacked(i: int) -> Tensor:
        x = real(i).requires_grad_()
        first = cross_entropy(net(x), torch.arange(8) % 3)
        first.backward()
        if always or i == 0:
            assert x.grad is not None
            x = x + 0.1 * x.grad.sign()
        return x.detach()

    def turn(i: int) -> None:
        opt.zero_grad()
        loss = cross_entropy(net(attacked(i)), torch.arange(8) % 3)
        loss.backward()
        opt.step()

    found = of_code(told({"net": net}, {"opt": opt}, turn), "polluted")
    assert any("is there for the gradient of its input" in f.message for f in found) is always


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_each_of_two_attacks_is_told_for_itself(half: bool, late: bool) -> None:
    """half: the first is read in the first iteration alone. late: the second begins after that."""
    net = mlp(2, 3)
    opt = sgd(net)

    def half_read(i: int) -> Tensor:
        x = real(i).requires_grad_()
        first = cross_entropy(net(x), torch.arange(8) % 3)
        first.backward()
        if not half or i == 0:
            assert x.grad is not None
            x = x + 0.1 * x.grad.sign()
        return x.detach()

    def turn(i: int) -> None:
        opt.zero_grad()
        x, y = half_read(i), noise(i)
        y = attack_again(net, y, i) if i or not late else y
        loss = cross_entropy(net(x), torch.arange(8) % 3) + net(y).square().mean()
        loss.backward()
        opt.step()

    found = of_code(told({"net": net}, {"opt": opt}, turn, 3), "polluted")
    there = [f for f in found if "is there for the gradient of its input" in f.message]
    assert len(there) == 2 - half
