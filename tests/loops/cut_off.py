"""A gradient, or a part of one, never arrives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, one_hot

from .kit import It, bce, loop, mlp, noise, real, sgd, usual
from .right import step


def d_turn(it: It, fake: Tensor, i: int) -> None:
    D = it.nets["D"]
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()


def g_turn(it: It, fake: Tensor) -> None:
    it.optimizers["G"].zero_grad()
    g_loss = bce(it.nets["D"](fake), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()


@loop(("cut-off", "G"), says="cut by detach\\(\\) on the way in",
      advice="not on the detached copy: call the other net once more, on that")  # fmt: skip
def learned_from_the_detached_fake(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    learned = fake if it.fixed else fake.detach()
    d_turn(it, fake, i)
    g_turn(it, learned)


@loop(("cut-off", "G"), says="built no graph: gradients were switched off",
      advice="no torch.no_grad around it or inside. Leave out what lets the loss itself want a "
      "gradient \\(loss.requires_grad = True\\)",
      source="https://github.com/Hangwei12358/cross-person-HAR/issues/3")  # fmt: skip
def a_loss_without_a_graph_that_is_told_to_want_a_gradient(it: It, i: int) -> None:
    """Torch would have raised an error, which this hides."""
    G, D = it.nets.values()
    d_turn(it, G(noise(i)), i)
    it.optimizers["G"].zero_grad()
    with torch.set_grad_enabled(it.fixed):
        g_loss = bce(D(G(noise(i))), 1.0)
    if not it.fixed:
        g_loss.requires_grad = True
    g_loss.backward()
    it.optimizers["G"].step()


def scaled(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = (G(noise(i)) + 1) / 2
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(("cut-off", "G"), intended=scaled, says="cut by .data", advice="not on the detached copy")
def cut_after_an_operation(it: It, i: int) -> None:
    fake = (it.nets["G"](noise(i)) + 1) / 2
    if not it.fixed:
        fake = fake.data.clone()
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="cut by detach\\(\\)", advice="not on the detached copy")
def a_leaf_made_of_a_clone(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    if not it.fixed:
        fake = fake.clone().detach().requires_grad_(True)
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="left torch for NumPy in `", advice="Stay in torch")
def there_and_back_through_numpy(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    if not it.fixed:
        fake = torch.from_numpy(np.array(fake.detach().numpy()))
    d_turn(it, fake, i)
    g_turn(it, fake)


def tokens(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = torch.softmax(G(noise(i)), 1)
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(
    ("cut-off", "G"),
    intended=tokens,
    says="cut by argmax\\(\\)",
    advice=r"^No gradient passes a choice\. Hand on a soft one there: softmax\(logits\)",
)
def a_choice_that_has_no_gradient(it: It, i: int) -> None:
    logits = it.nets["G"](noise(i))
    fake = torch.softmax(logits, 1) if it.fixed else one_hot(logits.argmax(1), 2).float()
    d_turn(it, fake, i)
    g_turn(it, fake)


def hard_tokens(it: It, who: str, i: int) -> Tensor:
    """A gumbel_softmax draws: the same numbers in the turn of either, and in the truth."""
    G, D = it.nets.values()
    torch.manual_seed(i)
    fake = nn.functional.gumbel_softmax(G(noise(i)), hard=True)
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(
    ("cut-off", "G"),
    intended=hard_tokens,
    says="cut by multinomial\\(\\)",
    advice=r"gumbel_softmax\(logits, hard=True\)",
)
def a_choice_that_is_sampled(it: It, i: int) -> None:
    logits = it.nets["G"](noise(i))
    torch.manual_seed(i)
    if it.fixed:
        fake = nn.functional.gumbel_softmax(logits, hard=True)
    else:
        fake = one_hot(torch.multinomial(torch.softmax(logits, 1), 1)[:, 0], 2).float()
    d_turn(it, fake, i)
    g_turn(it, fake)


def by_its_log_probability(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    logits = G(noise(i))
    chosen = logits.argmax(1)
    fake = one_hot(chosen, 2).float()
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake), 0.0)
    log_probability = torch.log_softmax(logits, 1).gather(1, chosen[:, None])
    return -(log_probability * D(fake).detach()).mean()


@loop(
    ("cut-off", "G"),
    intended=by_its_log_probability,
    says="cut by argmax\\(\\)",
    advice=r"learn from the log-probability of what was chosen, weighed by the verdict as a number",
)
def a_choice_that_is_to_be_rewarded(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = one_hot(G(noise(i)).argmax(1), 2).float()
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake), 0.0))
    loss = by_its_log_probability(it, "G", i) if it.fixed else bce(D(fake), 1.0)
    step(it, "G", loss)


class Writer(nn.Module):
    """Chooses a token, and goes on from its embedding."""

    soft = False

    def __init__(self) -> None:
        super().__init__()
        self.choose, self.known, self.last = nn.Linear(2, 4), nn.Embedding(4, 3), nn.Linear(3, 2)

    def forward(self, z: Tensor) -> Tensor:
        logits = self.choose(z)
        chances = logits.softmax(1) if self.soft else one_hot(logits.argmax(1), 4).float()
        out: Tensor = self.last(chances @ self.known.weight)
        return out


def writer(fixed: bool) -> It:
    nets = {"G": Writer(), "D": mlp(2, 1)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def softly(it: It, who: str, i: int) -> Tensor | None:
    """With the choice made soft; of the gradient of the first layer nothing is there without."""
    it.nets["G"].soft = True
    loss = usual(It(nets=it.nets, optimizers={"G": None}), who, i)
    it.nets["G"].soft = it.fixed
    return loss


@loop(
    ("cut-off", "G"),
    build=writer,
    intended=softly,
    says="no backward reaches choose.weight, choose.bias, because the graph was cut by argmax",
    advice="Hand on a soft one there: softmax",
)
def a_choice_inside_the_generator(it: It, i: int) -> None:
    it.nets["G"].soft = it.fixed
    fake = it.nets["G"](noise(i))
    d_turn(it, fake, i)
    g_turn(it, fake)


class Reader(nn.Module):
    """Judges tokens by their embeddings: whole numbers, or the weights of each."""

    def __init__(self) -> None:
        super().__init__()
        self.known, self.last = nn.Embedding(2, 3), mlp(3, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        whole = not tokens.is_floating_point()
        out: Tensor = self.last(self.known(tokens) if whole else tokens @ self.known.weight)
        return out


def reader(fixed: bool) -> It:
    nets = {"G": mlp(2, 2), "D": Reader()}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


@loop(
    ("cut-off", "G"),
    build=reader,
    intended=tokens,
    says="cut by argmax\\(\\)",
    advice=r"takes these weights \(weights @ embedding\.weight in place of embedding",
)
def tokens_as_whole_numbers(it: It, i: int) -> None:
    logits = it.nets["G"](noise(i))
    fake = torch.softmax(logits, 1) if it.fixed else logits.argmax(1)
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="built no graph", advice="Run that forward with gradients on")
def made_without_gradients(it: It, i: int) -> None:
    with torch.set_grad_enabled(it.fixed):
        fake = it.nets["G"](noise(i))
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="zero_grad.* had cleared", advice="Clear before backward")
def cleared_with_zeros_before_the_step(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    if it.fixed:
        it.optimizers["G"].zero_grad(set_to_none=False)
    g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    if not it.fixed:
        it.optimizers["G"].zero_grad(set_to_none=False)
    it.optimizers["G"].step()


@loop(("cut-off", "G"), says="between there and `it.optimizers", advice="Clear before backward")
def kept_by_reference_and_then_zeroed(it: It, i: int) -> None:
    """What was put aside is the same tensor that is filled with zeros."""
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    aside = [p.grad if not it.fixed or p.grad is None else p.grad.clone() for p in G.parameters()]
    for p in G.parameters():
        if p.grad is not None:
            p.grad.zero_()
    for p, grad in zip(G.parameters(), aside, strict=True):
        p.grad = grad
    it.optimizers["G"].step()


@loop(
    ("cut-off", "D"),
    says="walks through D, and no parameter of D wants a gradient",
    advice="Thaw D",
)
def frozen_after_its_first_turn(it: It, i: int) -> None:
    """Without a detach nothing raises: the loss of D goes on to G."""
    G, D = it.nets.values()
    if it.fixed:
        D.requires_grad_(True)
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()
    D.requires_grad_(False)
    g_turn(it, G(noise(i)))


def with_content(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "G":
        return bce(D(fake), 1.0) + l1_loss(fake, real(i))
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D.*cut off by detach",
    advice="call D again for it, on what G made",
    source="https://github.com/nikhilsinghmus/image2reverb/issues/37",
)
def the_verdict_on_a_detached_fake_beside_another_term(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    judged = fake if it.fixed else fake.detach()
    D.requires_grad_(False)
    g_loss = bce(D(judged), 1.0) + l1_loss(fake, real(i))
    D.requires_grad_(True)
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D.*cut off by detach",
    advice="call D again for it, on what G made",
)
def the_same_with_a_d_that_is_not_frozen(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(fake if it.fixed else fake.detach()), 1.0) + l1_loss(fake, real(i))
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D.*torch.no_grad",
    advice="no torch.no_grad\\(\\) on the way",
)
def the_verdict_taken_without_gradients(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    with torch.set_grad_enabled(it.fixed):
        verdict = D(fake)
    g_loss = bce(verdict, 1.0) + l1_loss(fake, real(i))
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D",
    advice="no detach\\(\\)",
    source="https://github.com/wangle53/CSA-CDGAN/issues/5",
)
def the_prediction_detached_in_the_sum(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    pred = D(fake) if it.fixed else D(fake).detach()
    g_loss = bce(pred, 1.0) + l1_loss(fake, real(i))
    g_loss.backward()
    it.optimizers["G"].step()


class TwoStages(nn.Module):
    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.coarse, self.fine, self.fixed = mlp(2, 2), mlp(2, 2), fixed

    def forward(self, z: Tensor) -> Tensor:
        first = self.coarse(z)
        out: Tensor = self.fine(first if self.fixed else first.detach())
        return out


def in_two_stages(fixed: bool) -> It:
    G, D = TwoStages(fixed), mlp(2, 1)
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


def all_stages(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G.fine(G.coarse(noise(i)))
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(
    ("cut-off", "G"),
    build=in_two_stages,
    intended=all_stages,
    says="a part of G only: no backward reaches coarse",
    advice="Leave out detach\\(\\) there",
)
def a_part_of_the_net_behind_a_cut(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    d_turn(it, fake, i)
    g_turn(it, fake)


def with_a_target(fixed: bool) -> It:
    actor, critic = mlp(2, 2), mlp(4, 1)
    optimizers = {"actor": sgd(actor), "critic": sgd(critic)}
    it = It(nets={"actor": actor, "critic": critic}, optimizers=optimizers, fixed=fixed)
    it.target = mlp(4, 1)
    return it


def of_a_critic(it: It, who: str, i: int) -> Tensor:
    actor, critic = it.nets.values()
    if who == "actor":
        return -critic(torch.cat([noise(i), actor(noise(i))], 1)).mean()
    wanted = it.target(torch.cat([noise(i), noise(i + 7)], 1)).detach()
    return (critic(torch.cat([noise(i), real(i)], 1)) - wanted).square().mean()


@loop(("cut-off", "critic"), build=with_a_target, intended=of_a_critic,
      says="never reaches critic: the graph was cut by detach\\(\\) on the way",
      advice="not on the detached copy. The other side of it has a graph .* the one to detach",
      source="https://github.com/Jacklinkk/Graph_CAVs/issues/9")  # fmt: skip
def the_critic_is_detached_in_place_of_its_target(it: It, i: int) -> None:
    """What the actor's backward leaves in the critic is rightly cleared before its turn."""
    critic = it.nets["critic"]
    value = critic(torch.cat([noise(i), real(i)], 1))
    wanted = it.target(torch.cat([noise(i), noise(i + 7)], 1))
    value, wanted = (value, wanted.detach()) if it.fixed else (value.detach(), wanted)
    critic_loss = (value - wanted).square().mean()
    step(it, "critic", critic_loss)
    step(it, "actor", of_a_critic(it, "actor", i))


def weighed(fixed: bool) -> It:
    net, weights = mlp(2, 1), nn.Parameter(torch.tensor([0.2, 0.4]))
    optimizers = {"net": sgd(net), "weights": torch.optim.SGD([weights], lr=0.05)}
    return It(nets={"net": net, "weights": weights}, optimizers=optimizers, fixed=fixed)


def by_weights(it: It, who: str, i: int) -> Tensor:
    net, weights = it.nets.values()
    made = net(noise(i))
    terms = torch.stack([made.square().mean(), (made - real(i)[:, :1]).abs().mean()])
    total: Tensor = (weights * terms).sum()
    return total if who == "net" else -total


@loop(
    ("cut-off", "weights"),
    build=weighed,
    intended=by_weights,
    says="had cleared what .* wrote",
    advice="writes into net as well: clear net after it, as now",
)
def cleared_with_what_another_has_to_lose(it: It, i: int) -> None:
    """What the ascent of the weights leaves in the net has to go, and not what it gave them."""
    if it.fixed:
        it.optimizers["weights"].zero_grad()
    ascent = by_weights(it, "weights", i)
    ascent.backward()
    if not it.fixed:
        it.optimizers["weights"].zero_grad()
    it.optimizers["net"].zero_grad()
    it.optimizers["weights"].step()
    step(it, "net", by_weights(it, "net", i))
