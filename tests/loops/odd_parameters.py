"""Parameters made anew, two on one memory, hooks that pile up, a teacher that is moved; each with
right loops like it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy, kl_div, mse_loss

from .kit import It, draw, loop, mlp, noise, pair, real, sgd, usual
from .right import both


def with_codes(fixed: bool) -> It:
    G, codes = mlp(2, 2), nn.Parameter(noise(0))
    optimizer = optim.SGD([*G.parameters(), codes], lr=0.05)
    return It(fixed=fixed, nets={"G": G, "codes": codes}, optimizers={"both": optimizer}, now=codes)


def of_codes(it: It, who: str, i: int) -> Tensor:
    return mse_loss(it.nets["G"](it.nets["codes"]), real(0))


def learn_codes(it: It, in_place: bool) -> None:
    it.optimizers["both"].zero_grad()
    mse_loss(it.nets["G"](it.now), real(0)).backward()
    it.optimizers["both"].step()
    with torch.no_grad():
        if in_place:
            it.now.div_(it.now.norm(dim=1, keepdim=True))
        else:
            it.now = nn.Parameter(it.now / it.now.norm(dim=1, keepdim=True))


@loop(
    ("ownership", "codes"),
    build=with_codes,
    intended=of_codes,
    says="reaches another tensor of the same shape, which no optimizer holds",
    advice="Write new values into the old tensor",
)
def codes_that_are_made_anew(it: It, i: int) -> None:
    learn_codes(it, in_place=it.fixed)


@loop(build=with_codes, intended=of_codes)
def codes_that_are_scaled_in_place(it: It, i: int) -> None:
    learn_codes(it, in_place=True)


def with_a_new_head(fixed: bool) -> It:
    it = pair(fixed)
    D = it.nets["D"]
    D[2] = nn.Linear(8, 1)
    if fixed:
        it.optimizers["D"] = sgd(D)
    return it


@loop(
    ("ownership", "D"),
    build=with_a_new_head,
    intended=None,
    says="gradients for 2.weight, 2.bias of D.*D holds 2 parameters that are in no net",
    advice="Build D after the new part",
)
def a_head_that_was_made_anew(it: It, i: int) -> None:
    both(it, i)


def with_two_groups(fixed: bool) -> It:
    """Only the head of D is to learn, and another optimizer holds a number that rests."""
    it = pair(fixed)
    it.optimizers["D"] = optim.SGD(it.nets["D"][2].parameters(), lr=0.05)
    it.optimizers["G"].add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    return it


@loop(build=with_two_groups, intended=None)
def only_the_head_learns(it: It, i: int) -> None:
    both(it, i)


class Tied(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        if how == "memory":
            self.last.weight = nn.Parameter(self.first.weight.data)
        if how == "parameter":
            self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x).tanh())
        return out


def tied(fixed: bool) -> It:
    net = Tied("parameter" if fixed else "memory")
    return It(fixed=fixed, nets={"net": net}, optimizers={"net": sgd(net)})


def fit(it: It, i: int) -> None:
    it.optimizers["net"].zero_grad()
    mse_loss(it.nets["net"](noise(i)), real(i)).backward()
    it.optimizers["net"].step()


@loop(
    ("ownership", "net"),
    build=tied,
    intended=None,
    says="first.weight of net and last.weight of net are two parameters on one memory",
    advice="assign it, not a new nn.Parameter",
)
def two_parameters_on_one_memory(it: It, i: int) -> None:
    fit(it, i)


@loop(build=lambda fixed: tied(True), intended=None)
def one_parameter_in_two_places(it: It, i: int) -> None:
    fit(it, i)


def slow(it: It, i: int, again: bool) -> None:
    """The gradients of G are to be halved. (autograd.grad halves them as often: no truth.)"""
    G = it.nets["G"]
    handles = [p.register_hook(lambda g: g / 2) for p in G.parameters()] if again or i == 0 else []
    both(it, i)
    for handle in handles if again and it.fixed else []:
        handle.remove()


@loop(("hooks", "G"), intended=None, says="pile up: 4 at .* 12 the last time",
      advice="Register a hook once")  # fmt: skip
def a_hook_that_is_registered_again(it: It, i: int) -> None:
    slow(it, i, again=True)


@loop(intended=None)
def a_hook_that_is_registered_once(it: It, i: int) -> None:
    slow(it, i, again=False)


@loop(intended=None)
def a_hook_that_is_removed_in_time(it: It, i: int) -> None:
    it.fixed = True
    slow(it, i, again=True)


class Distilled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = mlp(2, 3), mlp(2, 3)
        self.teacher.eval()


def distilled(fixed: bool) -> It:
    model = Distilled()
    optimizer = sgd(model.student) if fixed else sgd(model)
    return It(fixed=fixed, nets={"model": model}, optimizers={"model": optimizer})


def of_student(it: It, i: int, teacher_learns: bool) -> Tensor:
    model = it.nets["model"]
    with torch.set_grad_enabled(teacher_learns):
        wanted = model.teacher(real(i)).softmax(1)
    said = model.student(real(i))
    labels = draw(i)[:, 0].gt(0).long()
    term: Tensor = kl_div(said.log_softmax(1), wanted, reduction="batchmean")
    return term + cross_entropy(said, labels)


def with_a_fixed_teacher(it: It, who: str, i: int) -> Tensor:
    return of_student(it, i, teacher_learns=False)


@loop(
    ("moving-target", "model"),
    build=distilled,
    intended=with_a_fixed_teacher,
    says="4 parameters of model .teacher.* in eval mode",
    advice="A teacher stands still",
)
def a_teacher_that_is_moved(it: It, i: int) -> None:
    it.optimizers["model"].zero_grad()
    of_student(it, i, teacher_learns=not it.fixed).backward()
    it.optimizers["model"].step()


@loop(build=distilled, intended=with_a_fixed_teacher)
def a_teacher_that_stands_still(it: It, i: int) -> None:
    it.optimizers["model"].zero_grad()
    of_student(it, i, teacher_learns=False).backward()
    it.optimizers["model"].step()


def two_students(fixed: bool) -> It:
    one, two = mlp(2, 3), mlp(2, 3)
    return It(fixed=fixed, nets={"one": one, "two": two}, optimizers={"both": sgd(one, two)})


@loop(build=two_students, intended=None)
def two_students_that_teach_each_other(it: It, i: int) -> None:
    one, two = (net(real(i)) for net in it.nets.values())
    labels = draw(i)[:, 0].gt(0).long()
    apart = mse_loss(one.softmax(1), two.softmax(1))
    it.optimizers["both"].zero_grad()
    (cross_entropy(one, labels) + cross_entropy(two, labels) + apart).backward()
    it.optimizers["both"].step()


def two_critics(fixed: bool) -> It:
    actor, q1, q2 = mlp(2, 2), mlp(2, 1), mlp(2, 1)
    return It(fixed=fixed, nets={"actor": actor, "q1": q1, "q2": q2},
              optimizers={"actor": sgd(actor), "q": sgd(q1, q2)})  # fmt: skip


def of_critics(it: It, i: int, copied: bool) -> Tensor:
    said = [it.nets[q](real(i)) for q in ("q1", "q2")]
    return mse_loss(said[0], noise(i)[:, :1]) + mse_loss(said[not copied], noise(i)[:, :1])


def twins(it: It, who: str, i: int) -> Tensor:
    if who == "q":
        return of_critics(it, i, copied=False)
    made = it.nets["actor"](noise(i))
    return -torch.min(it.nets["q1"](made), it.nets["q2"](made)).mean()


def turns_of_twins(it: It, i: int, copied: bool) -> None:
    for who in ("q", "actor"):
        it.optimizers[who].zero_grad()
        (of_critics(it, i, copied) if who == "q" else twins(it, who, i)).backward()
        it.optimizers[who].step()


@loop(
    ("never-walked", "q2"),
    build=two_critics,
    intended=twins,
    says="never found a gradient in q2",
    advice="a line that was copied",
)
def a_twin_whose_name_was_copied(it: It, i: int) -> None:
    turns_of_twins(it, i, copied=not it.fixed)


@loop(build=two_critics, intended=twins)
def twins_that_both_learn(it: It, i: int) -> None:
    turns_of_twins(it, i, copied=False)


@loop(build=two_critics, intended=None)
def a_twin_that_waits_for_its_turn(it: It, i: int) -> None:
    """Its verdict is looked at meanwhile."""
    it.optimizers["q"].zero_grad()
    it.kept = it.nets["q2"](real(i)).detach().mean()
    mse_loss(it.nets["q1"](real(i)), noise(i)[:, :1]).backward()
    it.optimizers["q"].step()
    it.optimizers["actor"].zero_grad()
    twins(it, "actor", i).backward()
    it.optimizers["actor"].step()


def with_a_backbone(fixed: bool, freeze: Callable[[nn.Module], object]) -> It:
    backbone, head = mlp(2, 3), nn.Linear(3, 3)
    if fixed:
        backbone.requires_grad_(False)
    else:
        freeze(backbone)
    it = It(fixed=fixed, nets={"backbone": backbone, "head": head})
    it.optimizers = {"opt": sgd(head) if fixed else sgd(backbone, head)}
    return it


def classified(it: It, i: int) -> None:
    backbone, head = it.nets.values()
    loss = cross_entropy(head(backbone(real(i))), torch.arange(8) % 3)
    it.optimizers["opt"].zero_grad()
    loss.backward()
    it.optimizers["opt"].step()


def say(things: Iterable[object], word: str) -> None:
    """``thing.word = False``, which torch does not refuse, whatever the word is."""
    for thing in things:
        setattr(thing, word, False)


@loop(
    ("not-frozen", "backbone"),
    build=lambda fixed: with_a_backbone(fixed, lambda net: say([net], "requires_grad")),
    intended=None,
    says="requires_grad of backbone is False, .* `.*` moves 4 parameters there all the same",
    advice="call requires_grad_\\(False\\) on the module",
)
def a_backbone_that_an_attribute_freezes(it: It, i: int) -> None:
    classified(it, i)


@loop(
    ("not-frozen", "backbone"),
    build=lambda fixed: with_a_backbone(fixed, lambda net: say(net.parameters(), "require_grad")),
    intended=None,
    says="0.weight.require_grad of backbone is False, and torch knows no such word",
    advice="set requires_grad of each parameter",
)
def a_backbone_that_a_wrong_word_freezes(it: It, i: int) -> None:
    classified(it, i)


@loop()
def a_judge_that_an_attribute_freezes_for_g(it: It, i: int) -> None:
    """It does nothing, and nothing was needed: what G leaves in D is cleared."""
    say([it.nets["D"]], "requires_grad")
    for who in ("G", "D"):
        loss = usual(it, who, i)
        assert loss is not None
        it.optimizers[who].zero_grad()
        loss.backward()
        it.optimizers[who].step()


class Grown(nn.Module):
    """Layers between the first and the last, more of them as it grows; ``anew``: with a new last
    one each time."""

    def __init__(self, out: int, anew: bool) -> None:
        super().__init__()
        self.first, self.layers, self.last = nn.Linear(2, 8), nn.ModuleList(), nn.Linear(8, out)
        self.anew = anew

    def grow(self) -> None:
        self.layers.append(nn.Linear(8, 8))
        if self.anew:
            self.last = nn.Linear(8, self.last.out_features)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        for layer in self.layers:
            x = layer(x).relu()
        out: Tensor = self.last(x)
        return out


def grown(before: bool) -> It:
    """before: they grow before their optimizers are built."""
    nets = {"G": Grown(2, anew=True), "D": Grown(1, anew=False)}
    if before:
        for net in nets.values():
            net.grow()
    optimizers = {name: sgd(net) for name, net in nets.items()}
    if not before:
        for net in nets.values():
            net.grow()
    return It(fixed=before, nets=nets, optimizers=optimizers)


@loop(
    ("ownership", "D"),
    ("ownership", "G"),
    build=grown,
    intended=lambda it, who, i: usual(it, who, i) if it.fixed else None,
    says="of D, and no optimizer holds them: .* A part of G was made after its optimizer",
    advice="Give them to the optimizer as well",
    source="https://github.com/pytorch/pytorch/issues/54765",
)
def two_nets_that_grow_after_their_optimizers(it: It, i: int) -> None:
    both(it, i)


@loop(build=lambda fixed: grown(True))
def two_nets_that_grow_before_their_optimizers(it: It, i: int) -> None:
    both(it, i)


def clip_weights(D: nn.Module, in_place: bool) -> None:
    for layer in (m for m in D.modules() if isinstance(m, nn.Linear)):
        if in_place:
            with torch.no_grad():
                layer.weight.clamp_(-0.3, 0.3)
                layer.bias.clamp_(-0.3, 0.3)
        else:
            layer.weight = nn.Parameter(layer.weight.clamp(-0.3, 0.3))
            layer.bias = nn.Parameter(layer.bias.clamp(-0.3, 0.3))


@loop(
    ("cut-off", "D"),
    intended=lambda it, who, i: usual(it, who, i) if it.fixed else None,
    says="of the same shapes as those that this optimizer holds, which were made anew",
    advice="Write new values into the old tensors .*`clamp_`",
)
def weights_that_are_clipped_into_new_ones(it: It, i: int) -> None:
    """On lines of its own: to what else they lead does not matter."""
    of_judge = usual(it, "D", i)
    assert of_judge is not None
    it.optimizers["D"].zero_grad()
    of_judge.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    of_maker = usual(it, "G", i)
    assert of_maker is not None
    of_maker.backward()
    it.optimizers["G"].step()
    clip_weights(it.nets["D"], in_place=it.fixed)


@loop()
def weights_that_are_clipped_where_they_lie(it: It, i: int) -> None:
    both(it, i)
    clip_weights(it.nets["D"], in_place=True)
