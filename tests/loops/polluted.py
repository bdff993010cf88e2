"""A step used a gradient that was meant for another."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import l1_loss, mse_loss, relu
from torch.nn.utils import clip_grad_norm_

from .kit import It, bce, draw, loop, mlp, noise, real, sgd, usual


def d_loss_of(it: It, fake: Tensor, i: int) -> Tensor:
    D = it.nets["D"]
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(
    ("polluted", "D"),
    advice="Clear the gradients of D \\(zero_grad\\) between `.*g_loss",
    source="https://github.com/Lightning-AI/pytorch-lightning/issues/557",
)
def each_cleared_before_its_own_turn_but_one(it: It, i: int) -> None:
    """D is cleared right after its own step: what G's turn leaves there waits for the next."""
    G, D = it.nets.values()
    d_loss = d_loss_of(it, G(noise(i)), i)
    if it.fixed:
        it.optimizers["D"].zero_grad()
    d_loss.backward()
    it.optimizers["D"].step()
    it.optimizers["D"].zero_grad()
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()


def student(fixed: bool) -> It:
    nets = {"student_unet": mlp(2, 2), "head": mlp(2, 1)}
    optimizers: dict[str, optim.Optimizer] = {
        name: optim.AdamW(net.parameters()) for name, net in nets.items()
    }
    return It(fixed=fixed, nets=nets, optimizers=optimizers)


def hinge(it: It, who: str, i: int) -> Tensor:
    one, head = it.nets.values()
    fake = one(noise(i))
    if who == "head":
        return relu(1 - head(real(i))).mean() + relu(1 + head(fake.detach())).mean()
    return -head(fake).mean()


@loop(
    ("polluted", "head"),
    build=student,
    intended=hinge,
    advice="Clear the gradients of head",
    source="https://github.com/leffff/FlowModels/issues/3",
)
def a_student_and_the_head_that_judges_it(it: It, i: int) -> None:
    """Fakes made without gradients, each net cleared after its own step only."""
    one, head = it.nets.values()
    with torch.no_grad():
        fake = one(noise(i))
    head_loss = relu(1 - head(real(i))).mean() + relu(1 + head(fake)).mean()
    head_loss.backward()
    it.optimizers["head"].step()
    it.optimizers["head"].zero_grad()
    loss = -head(one(noise(i))).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(one.parameters(), 1e9)
    it.optimizers["student_unet"].step()
    it.optimizers["student_unet"].zero_grad()
    if it.fixed:
        it.optimizers["head"].zero_grad()


def actor_and_critic(fixed: bool) -> It:
    nets = {"policy": mlp(2, 2, nn.Tanh()), "q": mlp(4, 1)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


def q_loss(it: It, i: int) -> Tensor:
    x = torch.cat([noise(i), draw(i, 0.5)], 1)
    return mse_loss(it.nets["q"](x), x.sum(1, keepdim=True))


def policy_loss(it: It, i: int) -> Tensor:
    policy, q = it.nets.values()
    return -q(torch.cat([noise(i), policy(noise(i))], 1)).mean()


@loop(
    ("polluted", "q"),
    build=actor_and_critic,
    intended=lambda it, who, i: q_loss(it, i) if who == "q" else policy_loss(it, i),
    advice="Clear the gradients of q",
)
def a_policy_that_learns_through_its_critic(it: It, i: int) -> None:
    if it.fixed:
        it.optimizers["q"].zero_grad()
    loss = q_loss(it, i)
    loss.backward()
    it.optimizers["q"].step()
    it.optimizers["q"].zero_grad()
    actor_loss = policy_loss(it, i)
    actor_loss.backward()
    it.optimizers["policy"].step()
    it.optimizers["policy"].zero_grad()


def micro_batches(it: It, who: str, i: int) -> Tensor | None:
    if who == "G":  # it steps second, by gradients that D was asked for before its step
        return None
    losses = (usual(it, who, 2 * i + j) for j in range(2))
    return sum((loss / 2 for loss in losses if loss is not None), torch.zeros(()))


@loop(
    ("polluted", "D"),
    intended=micro_batches,
    advice="Keep the other player's call out of D: in `g_loss.backward\\(\\)`",
    source="https://github.com/FoundationVision/OmniTokenizer/issues/15",
)
def accumulation_over_micro_batches(it: It, i: int) -> None:
    """Each micro batch brings both losses. A zero_grad between them would throw batches away."""
    G, D = it.nets.values()
    for j in (2 * i, 2 * i + 1):
        g_loss = bce(D(G(noise(j))), 1.0) / 2
        if it.fixed:
            g_loss.backward(inputs=list(G.parameters()))
        else:
            g_loss.backward()
        d_loss = d_loss_of(it, G(noise(j)), j) / 2
        d_loss.backward()
    for optimizer in (it.optimizers["D"], it.optimizers["G"]):
        optimizer.step()
        optimizer.zero_grad()


@loop(
    ("thrown-away", "D"),
    intended=micro_batches,
    advice="name who is to receive in that call \\(inputs=\\) instead of clearing here",
)
def the_zero_grad_that_throws_micro_batches_away(it: It, i: int) -> None:
    G, D = it.nets.values()
    for j in (2 * i, 2 * i + 1):
        g_loss = bce(D(G(noise(j))), 1.0) / 2
        if it.fixed:
            g_loss.backward(inputs=list(G.parameters()))
        else:
            g_loss.backward()
            it.optimizers["D"].zero_grad()
        d_loss = d_loss_of(it, G(noise(j)), j) / 2
        d_loss.backward()
    for optimizer in (it.optimizers["D"], it.optimizers["G"]):
        optimizer.step()
        optimizer.zero_grad()


@loop(("thrown-away", "D"), advice="Clear once, before the first backward")
def cleared_between_the_two_halves_of_one_loss(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    on_real = bce(D(real(i)), 1.0)
    on_real.backward()
    if not it.fixed:
        it.optimizers["D"].zero_grad()
    on_fake = bce(D(G(noise(i)).detach()), 0.0)
    on_fake.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


@loop(("thrown-away", "D"), advice="Clear once, before the first backward")
def cleared_between_the_halves_of_a_loss_of_inputs_that_want_gradients(it: It, i: int) -> None:
    """Nobody reads these: no attack."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    on_real = bce(D(real(i).requires_grad_()), 1.0)
    on_real.backward()
    if not it.fixed:
        it.optimizers["D"].zero_grad()
    on_fake = bce(D(G(noise(i)).detach().requires_grad_()), 0.0)
    on_fake.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


@loop(
    ("polluted", "D"),
    advice="Clear the gradients of D \\(zero_grad\\) after each of its steps",
    source="https://github.com/ajbrock/BigGAN-PyTorch/issues/25",
)
def several_critic_steps_cleared_once(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    for _ in range(2):
        if it.fixed:
            it.optimizers["D"].zero_grad()
        d_loss = d_loss_of(it, G(noise(i)), i)
        d_loss.backward()
        it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


@loop(("polluted", "D"), advice="name who is to receive, `backward\\(inputs=list\\(G.param")
def d_steps_after_the_turn_of_g(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    it.optimizers["G"].zero_grad()
    d_loss = d_loss_of(it, G(noise(i)), i)
    d_loss.backward()
    g_loss = bce(D(G(noise(i))), 1.0)
    if it.fixed:
        g_loss.backward(inputs=list(G.parameters()))
    else:
        g_loss.backward()
    it.optimizers["D"].step()
    if it.fixed:  # its gradient is that of D before its step; the truth asks for it here
        it.optimizers["G"].zero_grad()
        bce(D(G(noise(i))), 1.0).backward(inputs=list(G.parameters()))
    it.optimizers["G"].step()


@loop(("polluted", "D"), intended=lambda it, who, i: None if who == "G" else usual(it, who, i),
      advice="name who is to receive, `backward\\(inputs=list\\(G.param")  # fmt: skip
def fakes_without_gradients_and_a_late_step(it: It, i: int) -> None:
    G, D = it.nets.values()
    with torch.no_grad():
        fake = G(noise(i))
    it.optimizers["D"].zero_grad()
    it.optimizers["G"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(fake), 0.0)
    d_loss.backward()
    g_loss = bce(D(G(noise(i))), 1.0)
    if it.fixed:
        g_loss.backward(inputs=list(G.parameters()))
    else:
        g_loss.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].step()


@loop(("polluted", "G"), advice="Clear the gradients of G \\(zero_grad\\) between")
def the_loss_of_d_leaks_into_g(it: It, i: int) -> None:
    """No detach, and both are cleared at the beginning only."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    it.optimizers["G"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()
    if it.fixed:
        it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()


def two_judges(fixed: bool) -> It:
    nets = {"gen": mlp(2, 2), "mpd": mlp(2, 1), "msd": mlp(2, 1)}
    gen, mpd, msd = nets.values()
    return It(fixed=fixed, nets=nets, optimizers={"gen": sgd(gen), "discs": sgd(mpd, msd)})


def both_judges(it: It, who: str, i: int) -> Tensor:
    gen, *judges = it.nets.values()
    fake = gen(noise(i))
    if who == "gen":
        return sum((bce(D(fake), 1.0) for D in judges), torch.zeros(()))
    each = (bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0) for D in judges)
    return sum(each, torch.zeros(()))


@loop(
    ("polluted", "mpd"), ("polluted", "msd"),
    build=two_judges, intended=both_judges, advice="Clear the gradients of m",
)  # fmt: skip
def two_judges_in_one_optimizer(it: It, i: int) -> None:
    if it.fixed:
        it.optimizers["discs"].zero_grad()
    both_judges(it, "discs", i).backward()
    it.optimizers["discs"].step()
    it.optimizers["discs"].zero_grad()
    it.optimizers["gen"].zero_grad()
    both_judges(it, "gen", i).backward()
    it.optimizers["gen"].step()


class Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0] * 0.5


class Scaled(nn.Module):
    """Has a function of its own inside, as fused and quantized layers have."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(Halve.apply(torch.tanh(self.first(x))))
        return out


def with_a_function_inside(fixed: bool) -> It:
    G, D = mlp(2, 2), Scaled()
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


@loop(("polluted", "D"), build=with_a_function_inside, advice="Clear the gradients of D")
def a_function_of_ones_own_inside_d(it: It, i: int) -> None:
    G, D = it.nets.values()
    d_loss = d_loss_of(it, G(noise(i)), i)
    d_loss.backward()
    it.optimizers["D"].step()
    it.optimizers["D"].zero_grad()
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()
    if it.fixed:
        it.optimizers["D"].zero_grad()


def lbfgs(fixed: bool) -> It:
    G, D = mlp(2, 2), mlp(2, 1)
    optimizers = {"G": sgd(G), "D": optim.LBFGS(D.parameters(), max_iter=3)}
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers=optimizers)


@loop(
    ("polluted", "D"), build=lbfgs, intended=None, advice="Clear the gradients inside the closure"
)
def a_closure_that_adds_up(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()

    def closure() -> Tensor:
        if it.fixed:
            it.optimizers["D"].zero_grad()
        d_loss = d_loss_of(it, G(noise(i)), i)
        d_loss.backward()
        return d_loss

    it.optimizers["D"].step(closure)
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


def restoration(fixed: bool) -> It:
    nets = {"restore": mlp(2, 2), "judge": mlp(2, 1)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


def restored(it: It, who: str, i: int) -> Tensor:
    restore, judge = it.nets.values()
    fake = restore(noise(i))
    if who == "restore":
        return l1_loss(fake, real(i)) + 0.1 * bce(judge(fake), 1.0)
    return bce(judge(real(i)), 1.0) + bce(judge(fake.detach()), 0.0)


@loop(
    ("polluted", "judge"),
    build=restoration,
    intended=lambda it, who, i: restored(it, who, i) if who == "judge" else None,
    advice="freeze judge \\(requires_grad_\\(False\\)\\) for that call",
    source="https://github.com/conditionWang/NTL/issues/3",
)
def the_wrong_net_is_frozen(it: It, i: int) -> None:
    """Meant to freeze the judge for the other's turn; both are cleared at the beginning only."""
    judge = it.nets["judge"]
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    d_loss = restored(it, "judge", i)
    d_loss.backward()
    if it.fixed:
        judge.requires_grad_(False)
    g_loss = restored(it, "restore", i)
    g_loss.backward()
    judge.requires_grad_(True)
    it.optimizers["judge"].step()
    it.optimizers["restore"].step()


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.paint, self.judge = mlp(2, 2), mlp(2, 1)

    def forward(self, z: Tensor, who: str) -> Tensor:
        fake = self.paint(z)
        out: Tensor = self.judge(fake if who == "paint" else fake.detach())
        return out


def all_in_one(fixed: bool) -> It:
    model = Both()
    optimizers = {"a": sgd(model.paint), "b": sgd(model.judge)}
    return It(fixed=fixed, nets={"model": model}, optimizers=optimizers)


def of_both(it: It, who: str, i: int) -> Tensor:
    model = it.nets["model"]
    if who == "a":
        return bce(model.judge(model.paint(noise(i))), 1.0)
    return bce(model.judge(real(i)), 1.0) + bce(model.judge(model.paint(noise(i)).detach()), 0.0)


@loop(
    ("polluted", "model.judge"),
    build=all_in_one,
    intended=of_both,
    advice="Clear the gradients of model.judge",
)
def one_module_that_holds_both_players(it: It, i: int) -> None:
    model = it.nets["model"]
    if it.fixed:
        it.optimizers["b"].zero_grad()
    loss_b = bce(model.judge(real(i)), 1.0) + bce(model(noise(i), "judge"), 0.0)
    loss_b.backward()
    it.optimizers["b"].step()
    it.optimizers["b"].zero_grad()
    it.optimizers["a"].zero_grad()
    loss_a = bce(model(noise(i), "paint"), 1.0)
    loss_a.backward()
    it.optimizers["a"].step()


def with_a_code(fixed: bool) -> It:
    """A third optimizer moves G once more, by what another head reads in its output."""
    nets = {"G": mlp(2, 2), "D": mlp(2, 1), "Q": mlp(2, 2)}
    G, D, Q = nets.values()
    optimizers = {"G": sgd(G), "D": sgd(D), "info": sgd(G, Q)}
    return It(fixed=fixed, nets=nets, optimizers=optimizers)


def of_the_code(it: It, who: str, i: int) -> Tensor:
    G, D, Q = it.nets.values()
    fake = G(noise(i))
    if who == "info":
        return (Q(fake) - noise(i)).square().mean()
    if who == "G":
        return bce(D(fake), 1.0)
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


def three_turns(it: It, i: int, cleared: bool) -> None:
    for who in ("D", "G", "info"):
        if cleared or who != "info":
            it.optimizers[who].zero_grad()
        else:
            it.nets["Q"].zero_grad()
        of_the_code(it, who, i).backward()
        it.optimizers[who].step()


@loop(
    ("polluted", "G"),
    build=with_a_code,
    intended=of_the_code,
    says="had moved it by `of_the_code",
    advice="Clear the gradients of G \\(zero_grad\\) between `it.optimizers",
)
def two_optimizers_in_turn_cleared_once(it: It, i: int) -> None:
    three_turns(it, i, it.fixed)


@loop(build=with_a_code, intended=of_the_code)
def two_optimizers_in_turn_cleared_each_time(it: It, i: int) -> None:
    three_turns(it, i, True)


@loop(build=with_a_code, intended=None)
def two_optimizers_for_one_sum(it: It, i: int) -> None:
    """One backward, two steps: both follow the sum."""
    G, D, Q = it.nets.values()
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    fake = G(noise(i))
    loss = bce(D(fake), 1.0) + (Q(fake) - noise(i)).square().mean()
    loss.backward(inputs=[*G.parameters(), *Q.parameters()])
    it.optimizers["G"].step()
    it.optimizers["info"].step()
    it.optimizers["D"].zero_grad()
    of_the_code(it, "D", i).backward()
    it.optimizers["D"].step()


@loop(
    ("polluted", "G"),
    ("polluted", "D"),
    says="another player's",
    advice="Clear the gradients of [GD]",
)
def both_players_pollute_each_other(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    if not it.fixed:
        it.optimizers["G"].zero_grad()
    else:
        it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(fake), 0.0)).backward(retain_graph=True)
    it.optimizers["D"].step()
    it.optimizers["G" if it.fixed else "D"].zero_grad()
    bce(D(fake), 1.0).backward()
    it.optimizers["G"].step()


def twin_critics(fixed: bool) -> It:
    nets = {"policy": mlp(2, 2, nn.Tanh()), "q1": mlp(4, 1), "q2": mlp(4, 1)}
    optimizers = {"qs": sgd(nets["q1"], nets["q2"]), "policy": sgd(nets["policy"])}
    return It(fixed=fixed, nets=nets, optimizers=optimizers)


def of_twins(it: It, who: str, i: int) -> Tensor:
    policy, *critics = it.nets.values()

    def asked(action: Tensor) -> list[Tensor]:
        return [q(torch.cat([noise(i), action], 1)) for q in critics]

    if who == "policy":
        return -torch.min(*asked(policy(noise(i)))).mean()
    with torch.no_grad():
        target = noise(i).sum(1, keepdim=True) + 0.9 * torch.min(*asked(policy(noise(i))))
    return sum((mse_loss(q, target) for q in asked(draw(i, 0.5))), torch.zeros(()))


def all_backwards_then_all_steps(it: It, i: int, apart: bool) -> None:
    q_loss, policy_loss = of_twins(it, "qs", i), of_twins(it, "policy", i)
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    q_loss.backward()
    policy_loss.backward(inputs=list(it.nets["policy"].parameters()) if apart else None)
    for optimizer in it.optimizers.values():
        optimizer.step()


def before_its_step(it: It, who: str, i: int) -> Tensor | None:
    """The policy's gradient was computed before the critics moved, so it is not asked after."""
    return of_twins(it, who, i) if who == "qs" else None


@loop(
    ("polluted", "q1"),
    ("polluted", "q2"),
    build=twin_critics,
    intended=before_its_step,
    advice="backward\\(inputs=list\\(policy.parameters\\(\\)\\)\\)",
)
def twin_critics_stepped_after_the_loss_of_the_policy(it: It, i: int) -> None:
    all_backwards_then_all_steps(it, i, it.fixed)


@loop(build=twin_critics, intended=before_its_step)
def twin_critics_kept_from_the_loss_of_the_policy(it: It, i: int) -> None:
    all_backwards_then_all_steps(it, i, True)


def of_four(it: It, i: int) -> list[Tensor]:
    """The four micro batches from which D learns in one step."""
    G, D = it.nets.values()
    batches = range(4 * i, 4 * i + 4)
    return [(bce(D(real(j)), 1.0) + bce(D(G(noise(j)).detach()), 0.0)) / 4 for j in batches]


def accumulated(it: It, who: str, i: int) -> Tensor | None:
    return sum(of_four(it, i), torch.zeros(())) if who == "D" else usual(it, who, i)


def generators_turn(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward(inputs=list(G.parameters()))
    it.optimizers["G"].step()


@loop(
    ("thrown-away", "D"),
    intended=accumulated,
    says="threw away what .* had computed for D",
    advice="Clear once, before the first backward",
    source="https://github.com/bytetriper/RAE/issues/67",
)
def cleared_before_each_micro_batch(it: It, i: int) -> None:
    """And clipped before the step."""
    it.optimizers["D"].zero_grad()
    for loss in of_four(it, i):
        if not it.fixed:
            it.optimizers["D"].zero_grad()
        loss.backward()
    clip_grad_norm_(it.nets["D"].parameters(), 1e9)
    it.optimizers["D"].step()
    generators_turn(it, i)


@loop(intended=accumulated)
def each_micro_batch_is_clipped_alone(it: It, i: int) -> None:
    """Cleared before each, too, and summed elsewhere."""
    parameters = list(it.nets["D"].parameters())
    sums = [torch.zeros_like(p) for p in parameters]
    for loss in of_four(it, i):
        it.optimizers["D"].zero_grad()
        loss.backward()
        clip_grad_norm_(parameters, 1e9)
        for p, total in zip(parameters, sums, strict=True):
            assert p.grad is not None
            total += p.grad
    for p, total in zip(parameters, sums, strict=True):
        p.grad = total
    it.optimizers["D"].step()
    generators_turn(it, i)


def with_an_encoder_of_two_parts(fixed: bool) -> It:
    nets = {"embed": mlp(2, 3), "enc": mlp(3, 2), "dec": mlp(2, 2)}
    optimizers = {"D": sgd(nets["dec"]), "E": sgd(nets["embed"], nets["enc"])}
    return It(nets=nets, optimizers=optimizers, fixed=fixed)


def of_the_whole(it: It, who: str, i: int) -> Tensor:
    embed, enc, dec = it.nets.values()
    made = dec(enc(embed(noise(i))))
    loss: Tensor = (made - real(i)).square().mean()
    return loss + made.abs().mean() if who == "D" else loss


@loop(
    ("polluted", "embed"),
    ("polluted", "enc"),
    build=with_an_encoder_of_two_parts,
    intended=of_the_whole,
    says="moved (embed|enc) by the sum",
    advice="Clear the gradients of (embed|enc) \\(zero_grad\\) between",
    source="https://github.com/wiseodd/controlled-text-generation/issues/27",
)
def two_parts_of_one_optimizer_keep_what_the_decoder_learned_from(it: It, i: int) -> None:
    """One of them stands below the other: that it learns from the same call makes it no rival."""
    it.optimizers["D"].zero_grad()
    of_the_whole(it, "D", i).backward()
    it.optimizers["D"].step()
    if it.fixed:
        it.optimizers["E"].zero_grad()
    of_the_whole(it, "E", i).backward()
    it.optimizers["E"].step()
    it.optimizers["E"].zero_grad()


@loop(
    ("polluted", "D"),
    says="learned from it too. And `it.optimizers.* added to what an earlier step of D had used",
    advice="between `g_loss.backward\\(\\)` and `d_loss.*after each of its own steps as well",
)
def two_critic_steps_never_cleared_nor_after_the_turn_of_g(it: It, i: int) -> None:
    """Two clearings are missing: the one beside G's call alone leaves D's first step in."""
    G, D = it.nets.values()
    for _ in range(2):
        d_loss = d_loss_of(it, G(noise(i)), i)
        d_loss.backward()
        it.optimizers["D"].step()
        if it.fixed:
            it.optimizers["D"].zero_grad()
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()
    if it.fixed:
        it.optimizers["D"].zero_grad()


def encoder_decoder_judge(fixed: bool) -> It:
    """Steps so short that the order of the three is no part of the truth."""
    nets = {"enc": mlp(2, 2), "dec": mlp(2, 2), "judge": mlp(2, 1)}
    optimizers = {n: optim.SGD(net.parameters(), lr=1e-6) for n, net in nets.items()}
    return It(fixed=fixed, nets=nets, optimizers=optimizers)


def of_three(it: It, i: int) -> dict[str, Tensor]:
    enc, dec, judge = it.nets.values()
    code = enc(real(i))
    made, drawn = dec(code), dec(noise(i))
    distance = l1_loss(made, real(i))
    seen = bce(judge(real(i)), 1.0) + bce(judge(made), 0.0) + bce(judge(drawn), 0.0)
    prior = 0.1 * code.square().mean()
    return {"enc": prior + distance, "dec": distance - 0.1 * seen, "judge": seen}


@loop(
    ("polluted", "enc"),
    ("polluted", "dec"),
    build=encoder_decoder_judge,
    intended=lambda it, who, i: of_three(it, i)[who],
    says="`dec_loss.* and `judge_loss.* are another player's: dec learned from them",
    advice="in `dec_loss.*`, name who is to receive, `backward\\(inputs=list\\(dec.parameters.*; "
    "in `judge_loss.*`, name who is to receive, `backward\\(inputs=list\\(judge.parameters",
    source="https://github.com/ry85/VAE-GAN/issues/1",
)
def three_backward_calls_of_one_forward_and_then_the_steps(it: It, i: int) -> None:
    """Each call has its own to keep: the decoder that of the second, the judge that of the last."""
    nets = it.nets.values()
    enc_loss, dec_loss, judge_loss = of_three(it, i).values()
    for net in nets:
        net.zero_grad()
    mine = [list(net.parameters()) if it.fixed else None for net in nets]
    enc_loss.backward(inputs=mine[0], retain_graph=True)
    for net in (it.nets["dec"], it.nets["judge"]):
        net.zero_grad()
    dec_loss.backward(inputs=mine[1], retain_graph=True)
    it.nets["judge"].zero_grad()
    judge_loss.backward(inputs=mine[2])
    for optimizer in it.optimizers.values():
        optimizer.step()
